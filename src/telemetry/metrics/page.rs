//! A page of metrics in Prometheus's text format, version 0.0.4.

use std::fmt::Write as _;

use super::histogram::Sum;

/// The page's `Content-Type`.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a family's numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// They only grow.
    Counter,
    /// They go up and down.
    Gauge,
    /// Counts by bucket.
    Histogram,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// Names and values of a series.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

/// A page being written.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
    name: &'static str,
}

impl Page {
    /// Begins a family; its series follow.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> &mut Page {
        self.name = name;
        let kind = kind.as_str();
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        self
    }

    /// A series of a counter or a gauge.
    pub fn value(&mut self, labels: Labels<'_>, value: u64) -> &mut Page {
        self.series("", labels, None);
        let _ = writeln!(self.text, " {value}");
        self
    }

    /// A series whose value isn't whole.
    pub fn real(&mut self, labels: Labels<'_>, value: f64) -> &mut Page {
        self.series("", labels, None);
        let _ = writeln!(self.text, " {value}");
        self
    }

    /// A series in seconds.
    pub fn seconds(&mut self, labels: Labels<'_>, micros: u64) -> &mut Page {
        self.real(labels, seconds(micros))
    }

    /// A series of a histogram.
    pub fn histogram(&mut self, labels: Labels<'_>, sum: &Sum) {
        let mut count = 0;
        for (bound, own) in sum.bounds.iter().zip(&sum.counts) {
            count += own;
            self.series("_bucket", labels, Some(&seconds(*bound).to_string()));
            let _ = writeln!(self.text, " {count}");
        }
        let all = sum.count();
        self.series("_bucket", labels, Some("+Inf"));
        let _ = writeln!(self.text, " {all}");
        self.series("_sum", labels, None);
        let _ = writeln!(self.text, " {}", seconds(sum.micros));
        self.series("_count", labels, None);
        let _ = writeln!(self.text, " {all}");
    }

    /// The page's text.
    pub fn into_text(self) -> String {
        self.text
    }

    fn series(&mut self, suffix: &str, labels: Labels<'_>, bound: Option<&str>) {
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        let bound = bound.map(|bound| ("le", bound));
        let mut open = '{';
        for (name, value) in labels.iter().copied().chain(bound) {
            self.text.push(open);
            open = ',';
            self.text.push_str(name);
            self.text.push_str("=\"");
            for character in value.chars() {
                match character {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    other => self.text.push(other),
                }
            }
            self.text.push('"');
        }
        if open == ',' {
            self.text.push('}');
        }
    }
}

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::histogram::{Histogram, LATENCY};

    #[test]
    fn label_values_are_escaped() {
        let mut page = Page::default();
        page.family("a_total", Kind::Counter, "A.")
            .value(&[("x", "a\"b\\c\nd"), ("y", "ü")], 7)
            .value(&[], 8);
        assert_eq!(
            page.into_text(),
            "# HELP a_total A.\n# TYPE a_total counter\na_total{x=\"a\\\"b\\\\c\\nd\",y=\"ü\"} 7\na_total 8\n"
        );
    }

    #[test]
    fn buckets_of_a_histogram_add_up() {
        let histogram = Histogram::new(&LATENCY);
        histogram.observe(900);
        histogram.observe(2_000);
        histogram.observe(400_000_000);
        let mut page = Page::default();
        page.family("h", Kind::Histogram, "H.");
        page.histogram(
            &[("r", "/")],
            &Sum::of(std::iter::once(&histogram)).unwrap(),
        );
        let text = page.into_text();
        for line in [
            "h_bucket{r=\"/\",le=\"0.001\"} 1\n",
            "h_bucket{r=\"/\",le=\"0.0025\"} 2\n",
            "h_bucket{r=\"/\",le=\"300\"} 2\n",
            "h_bucket{r=\"/\",le=\"+Inf\"} 3\n",
            "h_sum{r=\"/\"} 400.0029\n",
            "h_count{r=\"/\"} 3\n",
        ] {
            assert!(text.contains(line), "{line} isn't in\n{text}");
        }
    }
}
