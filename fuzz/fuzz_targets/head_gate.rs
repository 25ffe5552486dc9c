//! The head gate: its verdict doesn't depend on how a head arrives, what it passes has one meaning only, and another
//! parser finds the same meaning in it.

#![no_main]

use http::Version;
use libfuzzer_sys::fuzz_target;
use sluicegate::{
    server::gate::{Judged, MOST_FIELDS, Refused, Sizes, judge},
    stream::framing::Framing,
};
use sluicegate_fuzz::{assert_sound, pairs};

const SIZES: Sizes = Sizes {
    line: 256,
    fields: 1024,
};

/// What a verdict comes to.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    More,
    Refused,
    Passed(String),
}

fn verdict(judged: &Result<Option<Judged>, Refused>) -> Verdict {
    match judged {
        Ok(None) => Verdict::More,
        Err(refused) => {
            let status = refused.fault.kind.row().status;
            assert!(matches!(status, 400..=599) && !refused.fault.reason.is_empty());
            Verdict::Refused
        }
        Ok(Some(judged)) => Verdict::Passed(format!(
            "{judged:?} {:?}",
            String::from_utf8_lossy(judged.head.fields.wire())
        )),
    }
}

/// What was decided by a part is decided.
fn assert_steady(data: &[u8]) {
    let whole = verdict(&judge(data, SIZES));
    for cut in 0..data.len() {
        let part = verdict(&judge(&data[..cut], SIZES));
        assert!(
            part == Verdict::More || part == whole,
            "at {cut}: {part:?}, not {whole:?}"
        );
    }
}

/// The lines of a head that passed, its framing's counted by hand.
fn assert_framing(head: &[u8], judged: &Judged) {
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    let values = |name: &str| -> Vec<String> {
        let lines = text
            .split("\r\n")
            .filter_map(|line| line.strip_prefix(name));
        lines.map(|value| value.trim().to_owned()).collect()
    };
    let (lengths, codings) = (values("content-length:"), values("transfer-encoding:"));
    match (&judged.framing, &lengths[..], &codings[..]) {
        (None, [], []) => {}
        (None, [length], []) => assert!(length.bytes().all(|byte| byte == b'0')),
        (Some(Framing::Length(length)), [said], []) => {
            assert!(said.bytes().all(|byte| byte.is_ascii_digit()));
            assert_eq!(said.parse(), Ok(*length));
        }
        (Some(Framing::Chunked(_)), [], [coding]) => {
            assert_eq!(
                (coding.as_str(), judged.head.version),
                ("chunked", Version::HTTP_11)
            );
        }
        other => panic!("{other:?}"),
    }
    let hosts = values("host:");
    assert!(hosts.len() <= 1 && (hosts.len() == 1 || judged.head.version == Version::HTTP_10));
    assert!(!judged.expects_continue || judged.framing.is_some());
}

fn assert_agreed(head: &[u8], judged: &Judged) {
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let parsed = request.parse(head).expect("the other parser takes it");
    assert_eq!(parsed, httparse::Status::Complete(head.len()));
    let own = &judged.head;
    assert_eq!(request.method, Some(own.method.as_str()));
    let target = request.path.unwrap_or_default();
    assert!(target.ends_with(own.target.as_str()) || target.contains("://"));
    assert_eq!(
        request.version,
        Some(u8::from(own.version == Version::HTTP_11))
    );
    let theirs = request.headers.iter().map(|field| {
        (
            field.name.as_bytes().to_vec(),
            field.value.trim_ascii().to_vec(),
        )
    });
    assert_eq!(theirs.collect::<Vec<_>>(), pairs(&own.fields));
}

fuzz_target!(|data: &[u8]| {
    assert_steady(data);
    let Ok(Some(judged)) = judge(data, SIZES) else {
        return;
    };
    let head = &data[..judged.length];
    assert!(head.ends_with(b"\r\n\r\n"));
    assert_sound(&judged.head.fields);
    assert_framing(head, &judged);
    assert_agreed(head, &judged);
});
