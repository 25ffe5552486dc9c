//! Trace ids of clients: only what has their form is taken, and what goes on to the backend always has it.

#![no_main]

use std::{net::SocketAddr, sync::Arc};

use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};
use sluicegate::types::{
    context::Context,
    fields::{Fields, is_field_value},
    ids::{RequestId, is_trace_header},
    known::Known,
    peer::{Peer, Serves},
    trace::{Asked, Span, drop_malformed, root_of, said, trace_id},
};
use sluicegate_fuzz::request;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    is_twice: bool,
    /// Version, trace, parent and flags that stand before the bytes below, well-formed.
    w3c: Option<(u8, u128, u64, u8)>,
    /// The same of the other field.
    root: Option<(u32, u64)>,
    state: Option<&'a [u8]>,
    amazon: &'a [u8],
    parent: &'a [u8],
}

fn is_id(text: &str, length: usize) -> bool {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    text.len() == length && text.bytes().all(is_digit) && text.bytes().any(|byte| byte != b'0')
}

/// The trace, parent and flags of a `traceparent`, as its specification has them.
fn by_hand(value: &[u8]) -> Option<(&str, &str, u8)> {
    let text = std::str::from_utf8(value.get(..55)?).ok()?;
    let parts: Vec<&str> = text.split('-').collect();
    let [version, trace, parent, flags] = parts[..] else {
        return None;
    };
    let is_hex = |text: &str| text.len() == 2 && is_id(&format!("1{text}"), 3);
    let ends = match version {
        "ff" => false,
        "00" => value.len() == 55,
        _ => value.get(55).is_none_or(|byte| *byte == b'-'),
    };
    let is_known =
        is_hex(version) && ends && is_id(trace, 32) && is_id(parent, 16) && is_hex(flags);
    let flags = u8::from_str_radix(flags, 16).ok()?;
    is_known.then_some((trace, parent, flags))
}

fn assert_asked(fields: &Fields, amazon: &[u8], parent: Option<(&str, &str, u8)>) {
    let asked = Asked::of(fields, amazon);
    let trace = String::from_utf8(asked.trace.to_vec()).expect("it is text");
    assert!(is_id(&trace, 32), "{trace}");
    if let Some(id) = asked.parent {
        assert!(is_id(&String::from_utf8_lossy(&id), 16));
    }
    if let Some((trace, id, flags)) = parent {
        assert_eq!(&asked.trace[..], trace.as_bytes());
        assert_eq!(asked.parent.as_ref().map(|id| &id[..]), Some(id.as_bytes()));
        assert_eq!(asked.is_sampled, Some(flags & 1 == 1));
    }
    let sent = Span::below(&asked).traceparent();
    assert_eq!(trace_id(&sent), Some(&asked.trace[..]));
    assert!(by_hand(&sent).is_some());
}

fuzz_target!(|input: Input<'_>| {
    let w3c = input.w3c.map(|(version, trace, id, flags)| {
        format!("{version:02x}-{trace:032x}-{id:016x}-{flags:02x}")
    });
    let root = input
        .root
        .map(|(epoch, unique)| format!("Root=1-{epoch:08x}-{unique:024x}"));
    let said_parent = [w3c.unwrap_or_default().as_bytes(), input.parent].concat();
    let said_amazon = [root.unwrap_or_default().as_bytes(), input.amazon].concat();
    let parent = by_hand(&said_parent);
    assert_eq!(
        trace_id(&said_parent),
        parent.map(|(trace, ..)| trace.as_bytes())
    );
    let mut fields = Fields::default();
    for _ in 0..1 + u8::from(input.is_twice) {
        if is_field_value(&said_parent) {
            fields.push(b"traceparent", &said_parent);
        }
    }
    if let Some(state) = input.state.filter(|state| is_field_value(state)) {
        fields.push(b"tracestate", state);
    }
    if is_field_value(&said_amazon) {
        fields.push(b"X-Amzn-Trace-Id", &said_amazon);
        fields.push(b"x-amzn-RequestId", &said_amazon);
    }
    let parent = parent.filter(|_| !input.is_twice && fields.has(Known::Traceparent));
    assert_eq!(said(&fields), parent.map(|(trace, ..)| trace.as_bytes()));
    drop_malformed(&mut fields);
    assert_eq!(fields.has(Known::Traceparent), parent.is_some());
    assert!(parent.is_some() || !fields.has(Known::Tracestate));
    assert_asked(&fields, &said_amazon, parent);

    let address = SocketAddr::from(([192, 0, 2, 1], 4000));
    let peer = Arc::new(Peer::new(address, address, None, Serves::Apis));
    let context = Context::open(peer, request(b"/", fields));
    assert!(is_trace_header(&context.trace));
    assert_eq!(context.trace_root().len(), 35);
    let is_own = RequestId::from_client(&said_amazon).is_some_and(|id| id == context.request_id);
    assert!(is_own || context.request_id.as_str().len() == 36);
    if let Some((trace, ..)) = parent.filter(|_| !is_trace_header(&said_amazon)) {
        assert_eq!(
            root_of(trace.as_bytes()).as_ref().map(|root| &root[..]),
            Some(&context.trace[..])
        );
    }
});
