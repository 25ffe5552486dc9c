//! `/readyz`: a word for probes, and details for those who accept JSON.

use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

use super::answer::Answer;
use crate::{
    telemetry::metrics::{self, connections, reloads},
    types::lifecycle::Phase,
};

pub(super) fn ready(phase: Phase, headers: &HeaderMap) -> Answer {
    let status = match phase {
        Phase::Running => StatusCode::OK,
        Phase::Unready | Phase::Draining | Phase::Cut => StatusCode::SERVICE_UNAVAILABLE,
    };
    let wants_json = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("application/json"));
    if wants_json {
        return Answer::json(status, &details(phase));
    }
    let text = match phase {
        Phase::Running => "ready\n",
        _ => "shutting down\n",
    };
    Answer::text(status, text)
}

fn details(phase: Phase) -> Value {
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
        "ready": phase == Phase::Running,
        "phase": match phase {
            Phase::Running => "running",
            Phase::Unready => "unready",
            Phase::Draining => "draining",
            Phase::Cut => "cut",
        },
        "connections": connections::counts().0,
        "streams": metrics::open_streams(),
        "configGeneration": reloads.generation,
        "lastReload": last,
        "version": env!("CARGO_PKG_VERSION"),
    })
}
