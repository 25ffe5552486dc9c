//! W3C Trace Context, as far as a gateway that makes no spans of its own has to know it: well-formed fields pass to the
//! backend unchanged, malformed ones don't pass at all (<https://www.w3.org/TR/trace-context/>).

use super::{fields::Fields, known::Known};

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
}
