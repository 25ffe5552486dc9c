//! `/metrics`: what telemetry counts, and the state of what is shared.

use http::StatusCode;

use super::{Current, answer::Answer, status};
use crate::{
    config::model::Model,
    gateway::snapshot::Shared,
    lambda::{
        function::Target,
        local::{Counters, Local},
    },
    telemetry::metrics::{
        self,
        page::{CONTENT_TYPE, Kind, Page},
    },
    types::{clock::Tick, lifecycle::Phase, memory::Memory},
    upstream::{group::TargetState, pool},
};

pub(super) fn page(current: &Current, phase: Phase) -> Answer {
    let mut page = Page::default();
    metrics::write(&mut page);
    let help = "Whether the gateway takes requests and doesn't shut down.";
    let is_ready = status::is_ready(phase, current.shared.memory.level());
    page.family("sluicegate_ready", Kind::Gauge, help)
        .value(&[], is_ready.into());
    memory(&mut page, &current.shared.memory);
    upstream(&mut page);
    targets(&mut page, &current.shared);
    functions(&mut page, &current.shared);
    certificates(&mut page, &current.model);
    Answer::new(StatusCode::OK, CONTENT_TYPE, page.into_text())
}

/// What the memory guard goes by.
fn memory(page: &mut Page, memory: &Memory) {
    let help = "What is kept from growing: 0 nothing, 1 no idle connections are kept, 2 new requests are refused.";
    page.family("sluicegate_memory_pressure", Kind::Gauge, help)
        .value(&[], memory.level() as u64);
    let Some(amount) = memory.amount() else {
        return;
    };
    let help = "Memory that counts against the limit.";
    page.family("sluicegate_memory_used_bytes", Kind::Gauge, help)
        .value(&[], amount.used);
    let help = "The memory limit.";
    page.family("sluicegate_memory_limit_bytes", Kind::Gauge, help)
        .value(&[], amount.limit);
}

/// The certificates that clients are shown.
fn certificates(page: &mut Page, model: &Model) {
    let help = "The end of a listener's certificate's validity, in seconds since the Unix epoch.";
    page.family(
        "sluicegate_certificate_not_after_timestamp_seconds",
        Kind::Gauge,
        help,
    );
    for listener in &model.listeners {
        let address = listener.address.to_string();
        let certificates = listener.tls.iter().flat_map(|tls| &tls.certificates);
        for (number, certificate) in certificates.enumerate() {
            let number = number.to_string();
            let name = certificate.names.first().map_or("", |name| &**name);
            let labels = [
                ("listener", &*address),
                ("certificate", &*number),
                ("name", name),
            ];
            page.value(&labels, (*certificate.valid.end()).max(0).cast_unsigned());
        }
    }
}

fn upstream(page: &mut Page) {
    let totals = pool::totals();
    let help = "Idle HTTP/1.1 connections to backends.";
    page.family("sluicegate_upstream_connections_idle", Kind::Gauge, help)
        .value(&[], totals.idle);
    let help = "Connections to backends that were opened.";
    page.family(
        "sluicegate_upstream_connections_opened_total",
        Kind::Counter,
        help,
    )
    .value(&[], totals.opened);
    let help = "Requests that went out on an idle connection.";
    page.family(
        "sluicegate_upstream_connections_reused_total",
        Kind::Counter,
        help,
    )
    .value(&[], totals.reused);
}

/// One value per target of each VPC link.
fn targets(page: &mut Page, shared: &Shared) {
    type Measure = (&'static str, &'static str, fn(&TargetState<'_>) -> u64);
    let measures: [Measure; 3] = [
        (
            "sluicegate_target_available",
            "Whether a VPC link's target gets requests: it is healthy and wasn't left out for its failures.",
            |target| target.is_available.into(),
        ),
        (
            "sluicegate_target_healthy",
            "What the health check of a VPC link's target last found.",
            |target| target.is_healthy.into(),
        ),
        (
            "sluicegate_target_requests",
            "Requests under way at a VPC link's target.",
            |target| target.under_way.into(),
        ),
    ];
    let now = Tick::now();
    for (name, help, measure) in measures {
        page.family(name, Kind::Gauge, help);
        for (link, group) in &shared.groups {
            for target in group.states(now) {
                let labels = [
                    ("vpc_link", &**link),
                    ("target", &target.endpoint.to_string()),
                ];
                page.value(&labels, measure(&target));
            }
        }
    }
}

/// What happens in functions that run here.
fn functions(page: &mut Page, shared: &Shared) {
    let local: Vec<(&str, &Local)> = shared
        .functions
        .iter()
        .filter_map(|(name, function)| match &function.target {
            Target::Local(local) => Some((&**name, local)),
            Target::Remote(_) => None,
        })
        .collect();
    let help = "Execution environments of a function, by what they do.";
    page.family("sluicegate_function_environments", Kind::Gauge, help);
    for (name, local) in &local {
        let gauges = local.gauges();
        for (state, count) in [
            ("starting", gauges.starting),
            ("warm", gauges.warm),
            ("busy", gauges.busy),
            ("ending", gauges.ending),
        ] {
            page.value(&[("function", name), ("state", state)], count as u64);
        }
    }
    let help = "Invocations that wait for an execution environment.";
    page.family("sluicegate_function_waiting", Kind::Gauge, help);
    for (name, local) in &local {
        page.value(&[("function", name)], local.gauges().waiting as u64);
    }
    // In the order in which they are read.
    let counters = [
        (
            "sluicegate_function_invocations_total",
            "Invocations that were taken in.",
        ),
        (
            "sluicegate_function_cold_starts_total",
            "Execution environments that were started.",
        ),
        (
            "sluicegate_function_init_errors_total",
            "Starts of execution environments that failed.",
        ),
        (
            "sluicegate_function_errors_total",
            "Invocations that ended with an error, timeouts among them.",
        ),
        (
            "sluicegate_function_timeouts_total",
            "Invocations that ran out of time.",
        ),
        (
            "sluicegate_function_cancelled_total",
            "Invocations that were cancelled because nobody took their output any more.",
        ),
    ];
    for (at, (name, help)) in counters.into_iter().enumerate() {
        page.family(name, Kind::Counter, help);
        for (function, local) in &local {
            let counts = local.counters().map(Counters::read);
            let count = counts.and_then(|counts| counts.get(at).copied());
            page.value(&[("function", function)], count.unwrap_or(0));
        }
    }
}
