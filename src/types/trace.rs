//! W3C Trace Context (<https://www.w3.org/TR/trace-context/>) and its counterpart in `X-Amzn-Trace-Id`.
//!
//! Well-formed fields pass to the backend, malformed ones don't pass at all. Only a request that is traced has a span of
//! its own, which takes the place of its parent on the way to the backend.

use super::{fields::Fields, ids, known::Known};

/// Places in a `traceparent`: `00-{32 digits, the trace}-{16 digits, the parent}-{2 digits, flags}`.
const LENGTH: usize = 55;
const DASHES: [usize; 3] = [2, 35, 52];

/// The trace's id in a well-formed `traceparent`: 32 lower-case hexadecimal digits.
pub fn trace_id(value: &[u8]) -> Option<&[u8]> {
    let (known, rest) = value.split_at_checked(LENGTH)?;
    let is_digit = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    let has_form = known.iter().enumerate().all(|(at, byte)| {
        if DASHES.contains(&at) {
            *byte == b'-'
        } else {
            is_digit(byte)
        }
    });
    let is_some = |part: &[u8]| part.iter().any(|byte| *byte != b'0');
    let (version, trace, parent) = (known.get(..2)?, known.get(3..35)?, known.get(36..52)?);
    // Later versions may say more, behind another dash.
    let ends = match version {
        b"ff" => false,
        b"00" => rest.is_empty(),
        _ => rest.first().is_none_or(|byte| *byte == b'-'),
    };
    (has_form && ends && is_some(trace) && is_some(parent)).then_some(trace)
}

/// The id of the trace that a request says it belongs to.
pub fn said(fields: &Fields) -> Option<&[u8]> {
    let mut parents = fields.all(Known::Traceparent);
    let parent = parents.next()?;
    trace_id(parent).filter(|_| parents.next().is_none())
}

/// Takes out what is malformed. A `tracestate` means nothing without its `traceparent`.
pub fn drop_malformed(fields: &mut Fields) {
    let is_there = fields.has(Known::Traceparent) || fields.has(Known::Tracestate);
    if is_there && said(fields).is_none() {
        fields.retain(|field| !matches!(field.known, Known::Traceparent | Known::Tracestate));
    }
}

/// The id of a trace, in lower-case hexadecimal digits.
pub type TraceId = [u8; 32];
/// The id of a span, in lower-case hexadecimal digits.
pub type SpanId = [u8; 16];

/// What a request says of the trace that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The trace; a new one if the request says nothing.
    pub trace: TraceId,
    /// The caller's span.
    pub parent: Option<SpanId>,
    /// Whether the caller records its span; `None` if it leaves that to others.
    pub is_sampled: Option<bool>,
}

impl Asked {
    /// What `fields` and the request's `X-Amzn-Trace-Id` say; the former is nearer.
    pub fn of(fields: &Fields, amazon: &[u8]) -> Asked {
        let w3c = said(fields).and_then(|_| Asked::of_w3c(fields.get(Known::Traceparent)?));
        w3c.or_else(|| Asked::of_amazon(amazon))
            .unwrap_or_else(|| Asked {
                trace: random_trace(),
                parent: None,
                is_sampled: None,
            })
    }

    fn of_w3c(value: &[u8]) -> Option<Asked> {
        let flags = std::str::from_utf8(value.get(53..55)?).ok()?;
        Some(Asked {
            trace: value.get(3..35)?.try_into().ok()?,
            parent: Some(value.get(36..52)?.try_into().ok()?),
            is_sampled: Some(u8::from_str_radix(flags, 16).ok()? & 1 == 1),
        })
    }

    /// `Root=1-{8 digits}-{24 digits};Parent={16 digits};Sampled={0 or 1}`, of which only the root must be there.
    fn of_amazon(value: &[u8]) -> Option<Asked> {
        let part = |name: &[u8]| {
            let mut parts = value.split(|byte| *byte == b';');
            parts.find_map(|part| part.trim_ascii().strip_prefix(name))
        };
        let root = part(b"Root=1-")?;
        let trace = [root.get(..8)?, root.get(9..)?].concat();
        Some(Asked {
            trace: id(&trace)?,
            parent: part(b"Parent=").and_then(id),
            is_sampled: match part(b"Sampled=") {
                Some(b"1") => Some(true),
                Some(b"0") => Some(false),
                _ => None,
            },
        })
    }
}

/// An id in its form: digits, not all of them zero.
fn id<const LENGTH: usize>(text: &[u8]) -> Option<[u8; LENGTH]> {
    let is_id = text.iter().all(u8::is_ascii_hexdigit) && text.iter().any(|byte| *byte != b'0');
    text.to_ascii_lowercase().try_into().ok().filter(|_| is_id)
}

fn random_trace() -> TraceId {
    let text = format!("{:016x}{:016x}", ids::random(), ids::random() | 1);
    text.into_bytes().try_into().unwrap_or([b'1'; 32])
}

/// The gateway's own part of a trace that is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The trace.
    pub trace: TraceId,
    /// The span's own id.
    pub id: SpanId,
    /// The caller's span.
    pub parent: Option<SpanId>,
}

impl Span {
    /// A new span in the trace of a request.
    pub fn below(asked: &Asked) -> Span {
        let id = format!("{:016x}", ids::random() | 1);
        Span {
            trace: asked.trace,
            id: id.into_bytes().try_into().unwrap_or([b'1'; 16]),
            parent: asked.parent,
        }
    }

    /// The `traceparent` of what the gateway calls in turn.
    pub fn traceparent(&self) -> Vec<u8> {
        [b"00-", &self.trace[..], b"-", &self.id[..], b"-01"].concat()
    }
}

/// `Root=1-{8 digits}-{24 digits}` for `X-Amzn-Trace-Id`: the form in which X-Ray writes a W3C trace id.
pub fn root_of(trace_id: &[u8]) -> Option<[u8; 40]> {
    let (epoch, unique) = trace_id.split_at_checked(8)?;
    let root = [b"Root=1-", epoch, b"-", unique].concat();
    root.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_taken_in_its_exact_form_only() {
        assert_eq!(
            trace_id(GOOD.as_bytes()),
            Some(&b"4bf92f3577b34da6a3ce929d0e0e4736"[..])
        );
        let later = format!("cc{}-what-comes", &GOOD[2..]);
        assert!(trace_id(later.as_bytes()).is_some());
        for bad in [
            String::new(),
            GOOD[..54].to_owned(),
            format!("{GOOD}-more"),
            format!("cc{}.more", &GOOD[2..]),
            format!("ff{}", &GOOD[2..]),
            GOOD.to_uppercase(),
            GOOD.replace('-', "_"),
            GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
            GOOD.replace("4bf9", "4bg9"),
        ] {
            assert_eq!(trace_id(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn two_of_them_are_none_and_a_state_goes_with_its_parent() {
        let mut fields = Fields::default();
        fields.push(b"traceparent", GOOD.as_bytes());
        fields.push(b"tracestate", b"a=1");
        drop_malformed(&mut fields);
        assert!(fields.has(Known::Traceparent) && fields.has(Known::Tracestate));
        fields.push(b"Traceparent", GOOD.as_bytes());
        fields.push(b"x", b"y");
        drop_malformed(&mut fields);
        assert_eq!(fields.len(), 1);
    }

    #[test]
    fn a_trace_has_one_id_in_both_forms() {
        let root = root_of(trace_id(GOOD.as_bytes()).unwrap()).unwrap();
        assert_eq!(&root, b"Root=1-4bf92f35-77b34da6a3ce929d0e0e4736");
        assert!(super::super::ids::is_trace_header(&root));
        assert_eq!(root_of(b"4bf9"), None);
    }

    fn asked(traceparent: &str, amazon: &str) -> Asked {
        let mut fields = Fields::default();
        if !traceparent.is_empty() {
            fields.push(b"traceparent", traceparent.as_bytes());
        }
        Asked::of(&fields, amazon.as_bytes())
    }

    #[test]
    fn a_traceparent_is_nearer_than_amazons_header() {
        let amazon = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995C3F42CD8AD8;Sampled=0";
        let by_w3c = asked(GOOD, amazon);
        assert_eq!(&by_w3c.trace, b"4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(by_w3c.parent.as_ref(), Some(b"00f067aa0ba902b7"));
        assert_eq!(by_w3c.is_sampled, Some(true));
        let by_amazon = asked("", amazon);
        assert_eq!(&by_amazon.trace, b"5759e988bd862e3fe1be46a994272793");
        assert_eq!(by_amazon.parent.as_ref(), Some(b"53995c3f42cd8ad8"));
        assert_eq!(by_amazon.is_sampled, Some(false));
    }

    #[test]
    fn the_lowest_flag_alone_says_whether_the_caller_records() {
        for (flags, is_sampled) in [("00", false), ("01", true), ("02", false), ("ff", true)] {
            let parent = format!("{}{flags}", &GOOD[..53]);
            assert_eq!(asked(&parent, "").is_sampled, Some(is_sampled), "{flags}");
        }
    }

    #[test]
    fn a_root_alone_names_the_trace_and_leaves_the_choice_open() {
        let by_root = asked("", "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=?");
        assert_eq!(&by_root.trace, b"5759e988bd862e3fe1be46a994272793");
        assert_eq!((by_root.parent, by_root.is_sampled), (None, None));
        let zeros = format!("Root=1-{}-{}", "0".repeat(8), "0".repeat(24));
        for without in ["", &zeros] {
            let own = asked("", without);
            assert!(id::<32>(&own.trace).is_some() && own.parent.is_none());
            assert_ne!(own.trace, asked("", without).trace);
        }
    }

    #[test]
    fn what_is_called_in_turn_gets_the_own_span_for_its_parent() {
        let asked = asked(GOOD, "");
        let span = Span::below(&asked);
        let next = Asked::of_w3c(&span.traceparent()).unwrap();
        assert_eq!((next.trace, next.is_sampled), (asked.trace, Some(true)));
        assert_eq!(next.parent, Some(span.id));
        assert_ne!(next.parent, asked.parent);
        assert_eq!(trace_id(&span.traceparent()), Some(&asked.trace[..]));
    }
}
