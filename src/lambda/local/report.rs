//! What an invocation took: the line that Lambda writes at its end.

use std::{fmt::Write as _, time::Duration};

use crate::types::{clock::Tick, ids::RequestId};

/// What is noted while an invocation runs.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// When its event was delivered.
    pub delivered: Tick,
    /// How long the environment took to start, if it was started for this invocation.
    pub init: Option<Duration>,
    first_byte: Option<Tick>,
    bytes: u64,
}

/// How an invocation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Success,
    Error,
    Timeout,
    Cancelled,
}

/// A report that is complete.
#[derive(Debug)]
pub(super) struct Ended {
    /// How it ended.
    pub status: Status,
    /// The error's type.
    pub error: Option<Box<str>>,
    duration: Duration,
    init: Option<Duration>,
    first_byte: Option<Duration>,
    bytes: u64,
}

impl Report {
    /// A piece of payload arrived.
    pub(super) fn piece(&mut self, length: usize, now: Tick) {
        self.first_byte.get_or_insert(now);
        self.bytes += length as u64;
    }

    /// The invocation is over.
    pub(super) fn end(&self, now: Tick, status: Status, error: Option<Box<str>>) -> Ended {
        let since = |at: Tick| at.since(self.delivered);
        Ended {
            status,
            error,
            duration: if self.delivered == Tick::default() {
                Duration::ZERO
            } else {
                since(now)
            },
            init: self.init,
            first_byte: self.first_byte.map(since),
            bytes: self.bytes,
        }
    }
}

impl Ended {
    /// `REPORT RequestId: …`, tabs between its fields as on AWS, and two of our own: time to first byte, streamed bytes.
    pub(super) fn line(&self, id: &RequestId) -> String {
        let millis = |duration: Duration| duration.as_secs_f64() * 1000.0;
        let duration = millis(self.duration);
        let mut line = format!(
            "REPORT RequestId: {}\tDuration: {duration:.2} ms\tBilled Duration: {:.0} ms",
            id.as_str(),
            duration.ceil()
        );
        // Writing to a string doesn't fail.
        if let Some(init) = self.init {
            let _ = write!(line, "\tInit Duration: {:.2} ms", millis(init));
        }
        if let Some(first) = self.first_byte {
            let _ = write!(line, "\tTime To First Byte: {:.2} ms", millis(first));
        }
        let _ = write!(line, "\tStreamed Bytes: {}", self.bytes);
        match self.status {
            Status::Success => {}
            Status::Error => {
                let error = self.error.as_deref().unwrap_or("Unhandled");
                let _ = write!(line, "\tStatus: error\tError Type: {error}");
            }
            Status::Timeout => line.push_str("\tStatus: timeout"),
            Status::Cancelled => line.push_str("\tStatus: cancelled"),
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(report: &Report, status: Status, error: Option<&str>) -> String {
        let id = RequestId::from_client(b"9f3b6a4e-6a1c-4c62-8b8e-0d1f5b2c7a10").unwrap();
        let end = report.delivered.after(Duration::from_micros(12_345));
        let line = report.end(end, status, error.map(Into::into)).line(&id);
        line.replace(
            "REPORT RequestId: 9f3b6a4e-6a1c-4c62-8b8e-0d1f5b2c7a10\t",
            "",
        )
    }

    #[test]
    fn a_report_tells_what_the_invocation_took() {
        let mut report = Report {
            delivered: Tick::from_micros(1_000_000),
            ..Report::default()
        };
        assert_eq!(
            line(&report, Status::Success, None),
            "Duration: 12.35 ms\tBilled Duration: 13 ms\tStreamed Bytes: 0"
        );
        report.init = Some(Duration::from_millis(80));
        report.piece(100, Tick::from_micros(1_002_000));
        report.piece(23, Tick::from_micros(1_009_000));
        assert_eq!(
            line(&report, Status::Error, Some("Unhandled")),
            "Duration: 12.35 ms\tBilled Duration: 13 ms\tInit Duration: 80.00 ms\tTime To First Byte: 2.00 ms\t\
             Streamed Bytes: 123\tStatus: error\tError Type: Unhandled"
        );
    }
}
