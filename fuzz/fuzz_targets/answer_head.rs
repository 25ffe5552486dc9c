//! Heads of backends' answers: the verdict doesn't depend on how a head arrives, and what is taken has one meaning only.

#![no_main]

use http::Method;
use libfuzzer_sys::fuzz_target;
use sluicegate::{
    stream::framing::Framing,
    types::known::Known,
    upstream::h1::head::{Head, parse},
};
use sluicegate_fuzz::{assert_sound, pairs};

fn verdict(data: &[u8], method: &Method) -> Option<Result<String, ()>> {
    match parse(data, method) {
        Ok(None) => None,
        Err(_) => Some(Err(())),
        Ok(Some((head, length))) => Some(Ok(format!(
            "{head:?} {length} {:?}",
            String::from_utf8_lossy(head.fields.wire())
        ))),
    }
}

fn assert_framing(head: &Head, method: &Method) {
    let count = |known| head.fields.all(known).count();
    let (lengths, codings) = (count(Known::ContentLength), count(Known::TransferEncoding));
    assert!(lengths + codings <= 1);
    let has_body = *method != Method::HEAD
        && !head.status.is_informational()
        && !matches!(head.status.as_u16(), 204 | 304);
    match head.framing {
        Framing::Length(0) if !has_body => {}
        Framing::Length(length) => {
            let said = head.fields.get(Known::ContentLength).unwrap_or_default();
            assert_eq!(String::from_utf8_lossy(said).parse(), Ok(length));
        }
        Framing::Chunked(_) => assert_eq!((has_body, codings), (true, 1)),
        Framing::UntilClose => {
            assert!(has_body && lengths + codings == 0 && !head.keeps_alive);
        }
    }
}

fn assert_agreed(text: &[u8], head: &Head) {
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut response = httparse::Response::new(&mut fields);
    let parsed = response.parse(text).expect("the other parser takes it");
    assert_eq!(parsed, httparse::Status::Complete(text.len()));
    assert_eq!(response.code, Some(head.status.as_u16()));
    let theirs = response.headers.iter().map(|field| {
        (
            field.name.as_bytes().to_vec(),
            field.value.trim_ascii().to_vec(),
        )
    });
    assert_eq!(theirs.collect::<Vec<_>>(), pairs(&head.fields));
}

fuzz_target!(|data: &[u8]| {
    for method in [Method::GET, Method::HEAD] {
        let whole = verdict(data, &method);
        for cut in 0..data.len() {
            let part = verdict(&data[..cut], &method);
            assert!(
                part.is_none() || part == whole,
                "at {cut}: {part:?}, not {whole:?}"
            );
        }
        if let Ok(Some((head, length))) = parse(data, &method) {
            assert!((100..600).contains(&head.status.as_u16()) && head.status.as_u16() != 101);
            assert_sound(&head.fields);
            assert_framing(&head, &method);
            assert_agreed(&data[..length], &head);
        }
    }
});
