//! `/readyz`: a word for probes, and details for those who accept JSON.

use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

use super::answer::Answer;
use crate::{
    telemetry::metrics::{self, connections, reloads},
    types::{lifecycle::Phase, memory::Level},
};

/// Whether new requests are taken, and will be for a while.
pub(super) fn is_ready(phase: Phase, level: Level) -> bool {
    phase == Phase::Running && level < Level::Short
}

pub(super) fn ready(phase: Phase, level: Level, headers: &HeaderMap) -> Answer {
    let status = if is_ready(phase, level) {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let wants_json = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("application/json"));
    if wants_json {
        return Answer::json(status, &details(phase, level));
    }
    let text = match (phase, level) {
        (Phase::Running, Level::Short) => "short of memory\n",
        (Phase::Running, _) => "ready\n",
        _ => "shutting down\n",
    };
    Answer::text(status, text)
}

fn details(phase: Phase, level: Level) -> Value {
    let reloads = reloads::so_far();
    let last = reloads.last.map(|last| {
        let mut at = Vec::new();
        last.at.write_rfc3339(&mut at);
        json!({
            "at": String::from_utf8_lossy(&at),
            "succeeded": last.finding.is_none(),
            "finding": last.finding,
        })
    });
    json!({
        "ready": is_ready(phase, level),
        "phase": match phase {
            Phase::Running => "running",
            Phase::Unready => "unready",
            Phase::Draining => "draining",
            Phase::Cut => "cut",
        },
        "memory": level.as_str(),
        "connections": connections::counts().0,
        "streams": metrics::open_streams(),
        "configGeneration": reloads.generation,
        "lastReload": last,
        "version": env!("CARGO_PKG_VERSION"),
    })
}
