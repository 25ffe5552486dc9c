//! `/metrics`: what telemetry counts, and the state of what is shared.

use http::StatusCode;

use super::{Current, answer::Answer};
use crate::{
    gateway::snapshot::Shared,
    telemetry::metrics::{
        self,
        page::{CONTENT_TYPE, Kind, Page},
    },
    types::{clock::Tick, lifecycle::Phase},
    upstream::pool,
};

pub(super) fn page(current: &Current, phase: Phase) -> Answer {
    let mut page = Page::default();
    metrics::write(&mut page);
    let help = "Whether the gateway takes requests and doesn't shut down.";
    page.family("sluicegate_ready", Kind::Gauge, help)
        .value(&[], u64::from(phase == Phase::Running));
    upstream(&mut page);
    targets(&mut page, &current.shared);
    Answer::new(StatusCode::OK, CONTENT_TYPE, page.into_text())
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

fn targets(page: &mut Page, shared: &Shared) {
    let now = Tick::now();
    let help = "Whether a VPC link's target gets requests: it is healthy and wasn't left out for its failures.";
    page.family("sluicegate_target_available", Kind::Gauge, help);
    for (link, group) in &shared.groups {
        for target in group.states(now) {
            let name = target.endpoint.to_string();
            page.value(
                &[("vpc_link", link), ("target", &name)],
                u64::from(target.is_available),
            );
        }
    }
    let help = "What the health check of a VPC link's target last found.";
    page.family("sluicegate_target_healthy", Kind::Gauge, help);
    for (link, group) in &shared.groups {
        for target in group.states(now) {
            let name = target.endpoint.to_string();
            page.value(
                &[("vpc_link", link), ("target", &name)],
                u64::from(target.is_healthy),
            );
        }
    }
    let help = "Requests under way at a VPC link's target.";
    page.family("sluicegate_target_requests", Kind::Gauge, help);
    for (link, group) in &shared.groups {
        for target in group.states(now) {
            let name = target.endpoint.to_string();
            page.value(
                &[("vpc_link", link), ("target", &name)],
                u64::from(target.under_way),
            );
        }
    }
}
