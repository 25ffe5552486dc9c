//! The head gate against AWS's own classifier of request smuggling, `http_desync_guardian`.
//!
//! What the classifier calls severe must be refused, or stripped of what makes it so. What it calls ambiguous must at
//! least be the last request of its connection. The gate may be stricter, never more lenient.

#![allow(
    clippy::unwrap_used,
    reason = "a test that is wrong about its world should stop at once"
)]

use http_desync_guardian::{
    RequestSafetyTier, http_token_utils::http_token, request_analyzer::HttpRequestData,
};
use proptest::prelude::*;
use sluicegate::server::gate::{Sizes, judge};

const SIZES: Sizes = Sizes {
    line: 8192,
    fields: 10_240,
};

/// What the gate makes of a head.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Refused,
    /// Nothing may follow it, and a field that only looks like the framing's is left behind.
    Defused,
    /// Nothing may follow it.
    Last,
    Kept,
}

fn fate(head: &str) -> Fate {
    match judge(head.as_bytes(), SIZES) {
        Err(_) => Fate::Refused,
        Ok(Some(judged)) if judged.keeps_alive => Fate::Kept,
        Ok(Some(judged))
            if judged
                .head
                .fields
                .iter()
                .any(|field| field.resembles_framing()) =>
        {
            Fate::Defused
        }
        Ok(Some(_)) => Fate::Last,
        Ok(None) => panic!("the head is incomplete: {head:?}"),
    }
}

/// Holds the gate to the classifier's verdict. Whether that was severe or ambiguous.
fn is_held(head: &str) -> bool {
    let verdict = HttpRequestData::analyze_raw_request(http_token(head));
    let fate = fate(head);
    match verdict.tier {
        RequestSafetyTier::Severe => assert!(
            matches!(fate, Fate::Refused | Fate::Defused),
            "{head:?}: {fate:?}"
        ),
        RequestSafetyTier::Ambiguous => assert_ne!(fate, Fate::Kept, "{head:?}"),
        _ => return false,
    }
    true
}

fn head(method: &str, fields: &[&str]) -> String {
    format!(
        "{method} /x HTTP/1.1\r\nHost: test\r\n{}\r\n\r\n",
        fields.join("\r\n")
    )
}

const LENGTHS: [&str; 12] = [
    "Content-Length: 5",
    "Content-Length: 0",
    "Content-Length: +5",
    "Content-Length: -5",
    "Content-Length: 5, 5",
    "Content-Length: 5 5",
    "Content-Length: 0x5",
    "Content-Length:",
    "Content-Length : 5",
    "Content_Length: 5",
    "content-length: 99999999999999999999",
    "Content-Length: 5\u{b}",
];
const CODINGS: [&str; 14] = [
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: CHUNKED",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding:\u{b}chunked",
    "Transfer-Encoding:",
    "Transfer-Encoding : chunked",
    " Transfer-Encoding: chunked",
    "Transfer_Encoding: chunked",
    "Transfer--Encoding: chunked",
    "X: y\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
];

#[test]
fn the_gate_is_as_strict_as_the_classifier() {
    let (mut judged, mut held) = (0, 0);
    for method in ["GET", "HEAD", "POST", "DELETE"] {
        let alone = LENGTHS.iter().chain(&CODINGS).map(|one| vec![*one]);
        let pairs = LENGTHS
            .iter()
            .flat_map(|one| LENGTHS.iter().chain(&CODINGS).map(|two| vec![*one, *two]));
        for fields in alone.chain(pairs) {
            judged += 1;
            held += usize::from(is_held(&head(method, &fields)));
        }
    }
    assert!(
        held * 2 > judged,
        "only {held} of {judged} heads are a trial"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Names and values with something inserted somewhere that is neither a letter nor a digit.
    #[test]
    fn disguised_framing_is_seen_through(
        name in prop_oneof![Just("Transfer-Encoding"), Just("Content-Length"), Just("transfer-encoding")],
        value in prop_oneof![Just("chunked"), Just("5"), Just("0")],
        extra in "[ -/;-@\\[-`{-~\t\u{1}\u{b}\u{7f}]{1,2}",
        at in any::<prop::sample::Index>(),
        companion in prop::option::of(prop_oneof![Just("Content-Length: 3"), Just("Transfer-Encoding: chunked")]),
        method in prop_oneof![Just("GET"), Just("POST")],
    ) {
        let mut line = format!("{name}: {value}");
        line.insert_str(at.index(line.len() + 1), &extra);
        let fields: Vec<&str> = std::iter::once(line.as_str()).chain(companion).collect();
        is_held(&head(method, &fields));
    }
}
