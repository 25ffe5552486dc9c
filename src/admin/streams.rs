//! `/streams`: what is under way, who keeps it waiting, and an end to it.

use http::StatusCode;
use serde_json::{Value, json};

use super::{answer::Answer, routes::parameter};
use crate::{
    stream::clocks::Waiting,
    telemetry::live::{self, LiveStream},
    types::clock::Tick,
};

/// Streams that are listed unless more are asked for.
const MOST: usize = 1000;

pub(super) fn list(query: &str) -> Answer {
    let most = match parameter(query, "limit").map(|limit| limit.parse()) {
        None => MOST,
        Some(Ok(limit)) => limit,
        Some(Err(_)) => {
            return Answer::text(StatusCode::BAD_REQUEST, "`limit` isn't a number\n");
        }
    };
    let now = Tick::now();
    let open = live::open();
    let streams: Vec<Value> = open
        .iter()
        .take(most)
        .map(|stream| told(stream, now))
        .collect();
    Answer::json(
        StatusCode::OK,
        &json!({ "open": open.len(), "streams": streams }),
    )
}

fn told(stream: &LiveStream, now: Tick) -> Value {
    let age = now.since(stream.opened).as_secs_f64();
    let (site, resource) = (stream.site.as_ref(), stream.resource.as_ref());
    json!({
        "id": stream.request_id.as_str(),
        "api": site.map(|site| &*site.api_name),
        "stage": site.map(|site| &*site.stage),
        "resource": resource.map(|resource| &*resource.path),
        "method": stream.method.as_str(),
        "path": stream.path,
        "mode": stream.mode,
        "client": client(stream),
        "ageSeconds": rounded(age),
        "bytes": stream.bytes(),
        "bytesPerSecond": (stream.bytes() as f64 / age.max(0.001)).round(),
        "secondsSinceLastSent": stream.last_sent().map(|at| rounded(now.since(at).as_secs_f64())),
        "waitingFor": waits_for(stream.waiting()),
        "throttledSeconds": waited(stream, &[Waiting::Shaper], now),
        "blockedOnClientSeconds": waited(stream, &[Waiting::Client, Waiting::Upload], now),
        "blockedOnIntegrationSeconds": waited(stream, &[Waiting::Integration], now),
    })
}

fn client(stream: &LiveStream) -> String {
    match &stream.told_ip {
        Some(ip) => ip.to_string(),
        None => stream.peer.address.to_string(),
    }
}

/// Whom an exchange waits for, in a word.
fn waits_for(waiting: Waiting) -> Option<&'static str> {
    match waiting {
        Waiting::Nobody => None,
        Waiting::Integration => Some("integration"),
        Waiting::Client => Some("client"),
        Waiting::Shaper => Some("bandwidth"),
        Waiting::Upload => Some("upload"),
    }
}

fn waited(stream: &LiveStream, whom: &[Waiting], now: Tick) -> f64 {
    let micros: u64 = whom.iter().map(|whom| stream.waited_for(*whom, now)).sum();
    rounded(micros as f64 / 1e6)
}

fn rounded(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

/// Characters of an id that may stand for all of it if no other begins so; `sluicegate top` shows as many.
const SHORT: usize = 8;

pub(super) fn terminate(id: &str) -> Answer {
    let open = live::open();
    let mut meant: Vec<&str> = open
        .iter()
        .map(|stream| stream.request_id.as_str())
        .collect();
    let is_whole = meant.contains(&id);
    meant.retain(|other| *other == id || (!is_whole && id.len() >= SHORT && other.starts_with(id)));
    meant.sort_unstable();
    meant.dedup();
    let id = match meant.as_slice() {
        [] => id,
        [whole] => whole,
        _ => {
            return Answer::text(
                StatusCode::CONFLICT,
                "several streams' ids begin so; give more of it\n",
            );
        }
    };
    match live::terminate(id) {
        0 => Answer::text(StatusCode::NOT_FOUND, "no such stream is open\n"),
        _ => {
            tracing::info!(id, "an operator ended a stream");
            Answer::text(StatusCode::ACCEPTED, "ended\n")
        }
    }
}
