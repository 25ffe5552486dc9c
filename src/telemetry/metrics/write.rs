//! Adds the shards up and writes them down.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicU64, atomic::Ordering::Relaxed},
};

use super::{
    FAULTS, FaultCount, ROUTES, Route, Shard, connections, handshakes,
    histogram::{Histogram, Sum},
    locked, open,
    page::{Kind, Page},
    process, reloads, spans, sum,
};
use crate::{telemetry::writer, types::outcome::Outcome};

type Routes = Vec<(Route, Vec<Arc<Shard>>)>;

/// Writes everything that is counted here.
pub fn write(page: &mut Page) {
    // The lock is held for a moment only; a worker that is being given a shard doesn't wait for the page.
    let routes: Routes = locked(&ROUTES)
        .iter()
        .map(|(route, shards)| (route.clone(), shards.clone()))
        .collect();
    requests(page, &routes);
    faults(page);
    outcomes(page, &routes);
    durations(page, &routes);
    amounts(page, &routes);
    connections(page);
    handshakes::write(page);
    gateway(page);
    spans::write(page);
    process::write(page);
}

impl Route {
    fn labels(&self) -> [(&str, &str); 4] {
        [
            ("api", &self.api),
            ("stage", &self.stage),
            ("resource", &self.resource),
            ("method", &self.method),
        ]
    }
}

fn requests(page: &mut Page, routes: &Routes) {
    let help = "Requests whose response has ended, by the status that was sent; one for each line of the access log.";
    page.family("sluicegate_requests_total", Kind::Counter, help);
    for (route, shards) in routes {
        let mut statuses: BTreeMap<u16, u64> = BTreeMap::new();
        for (status, count) in shards.iter().flat_map(|shard| shard.counted_statuses()) {
            *statuses.entry(status).or_default() += count;
        }
        let [api, stage, resource, method] = route.labels();
        for (status, count) in statuses {
            let status = match status {
                0 => "none".to_owned(),
                sent => sent.to_string(),
            };
            page.value(&[api, stage, resource, method, ("status", &status)], count);
        }
    }
    page.family(
        "sluicegate_streams_open",
        Kind::Gauge,
        "Requests of STREAM integrations under way.",
    );
    for (route, shards) in routes {
        page.value(&route.labels(), open(shards));
    }
}

fn faults(page: &mut Page) {
    let mut counts: Vec<FaultCount> = Vec::new();
    for own in locked(&FAULTS).iter() {
        counts.extend(locked(&own.0).iter().cloned());
    }
    // Alerts watch for its first increase, which must not also be the first that is told of it.
    let mut faults: BTreeMap<(&str, &str), u64> = BTreeMap::from([(("panicked", "gateway"), 0)]);
    let mut rejected: BTreeMap<&str, u64> = BTreeMap::new();
    for fault in counts {
        *faults
            .entry((fault.reason, fault.side.as_str()))
            .or_default() += fault.count;
        if fault.is_early {
            *rejected.entry(fault.reason).or_default() += fault.count;
        }
    }
    let help = "Requests that the gateway answered itself because something was wrong, by what it was and whose side it was on.";
    page.family("sluicegate_faults_total", Kind::Counter, help);
    for ((reason, side), count) in faults {
        page.value(&[("reason", reason), ("side", side)], count);
    }
    let help = "The part of sluicegate_faults_total that reached no route.";
    page.family("sluicegate_rejected_total", Kind::Counter, help);
    for (reason, count) in rejected {
        page.value(&[("reason", reason)], count);
    }
}

fn outcomes(page: &mut Page, routes: &Routes) {
    let help = "How responses ended, and whose side it was on.";
    page.family("sluicegate_outcomes_total", Kind::Counter, help);
    for (route, shards) in routes {
        let [api, stage, resource, method] = route.labels();
        for outcome in Outcome::ALL {
            let counts = shards
                .iter()
                .filter_map(|shard| shard.outcomes.get(outcome as usize));
            let count: u64 = counts.map(|count| count.load(Relaxed)).sum();
            // Routes on which something has never happened would be most of the page.
            if count > 0 {
                let side = outcome.side().map_or("none", |side| side.as_str());
                let outcome = ("outcome", outcome.as_str());
                page.value(
                    &[api, stage, resource, method, outcome, ("side", side)],
                    count,
                );
            }
        }
    }
}

/// A histogram of each shard, with its name and what it says.
type Measure = (&'static str, &'static str, fn(&Shard) -> &Histogram);

fn durations(page: &mut Page, routes: &Routes) {
    let measures: [Measure; 6] = [
        (
            "sluicegate_time_to_headers_seconds",
            "From the integration's call to its complete head.",
            |shard| &shard.time_to_headers,
        ),
        (
            "sluicegate_time_to_first_content_seconds",
            "From the integration's call to the first byte of its body.",
            |shard| &shard.time_to_first_content,
        ),
        (
            "sluicegate_request_duration_seconds",
            "From a request's complete head to the end of its response, where that isn't streamed.",
            |shard| &shard.request_duration,
        ),
        (
            "sluicegate_integration_duration_seconds",
            "From the integration's call to the end of its answer, where that isn't streamed.",
            |shard| &shard.integration_duration,
        ),
        (
            "sluicegate_stream_duration_seconds",
            "From a request's complete head to the end of its response, of STREAM integrations.",
            |shard| &shard.stream_duration,
        ),
        (
            "sluicegate_longest_gap_seconds",
            "The longest time between two arrivals from the integration, one per stream.",
            |shard| &shard.longest_gap,
        ),
    ];
    for (name, help, histogram) in measures {
        page.family(name, Kind::Histogram, help);
        for (route, shards) in routes {
            if let Some(sum) = Sum::of(shards.iter().map(|shard| histogram(shard))) {
                page.histogram(&route.labels(), &sum);
            }
        }
    }
}

type Amount = (&'static str, &'static str, fn(&Shard) -> &AtomicU64);

fn amounts(page: &mut Page, routes: &Routes) {
    let whole: [Amount; 2] = [
        (
            "sluicegate_response_bytes_total",
            "Bytes of response bodies given to clients.",
            |shard| &shard.response_bytes,
        ),
        (
            "sluicegate_billed_units_total",
            "Requests as API Gateway would bill them: one for each 10 MiB of a response or part of it.",
            |shard| &shard.billed_units,
        ),
    ];
    let times: [Amount; 3] = [
        (
            "sluicegate_throttled_seconds_total",
            "Time in which responses were held to their bandwidth.",
            |shard| &shard.throttled,
        ),
        (
            "sluicegate_blocked_on_client_seconds_total",
            "Time in which responses waited for their client.",
            |shard| &shard.blocked_on_client,
        ),
        (
            "sluicegate_blocked_on_integration_seconds_total",
            "Time in which responses waited for their integration.",
            |shard| &shard.blocked_on_integration,
        ),
    ];
    for (name, help, amount) in whole {
        page.family(name, Kind::Counter, help);
        for (route, shards) in routes {
            page.value(&route.labels(), sum(shards, amount));
        }
    }
    for (name, help, amount) in times {
        page.family(name, Kind::Counter, help);
        for (route, shards) in routes {
            page.seconds(&route.labels(), sum(shards, amount));
        }
    }
}

fn connections(page: &mut Page) {
    let (open, accepted, refused) = connections::counts();
    let help = "Client connections that are open.";
    page.family("sluicegate_connections_open", Kind::Gauge, help)
        .value(&[], open);
    let help = "Client connections that were accepted.";
    page.family("sluicegate_connections_accepted_total", Kind::Counter, help)
        .value(&[], accepted);
    let help = "Client connections that there was no room for. They don't count as accepted, nor as requests.";
    page.family("sluicegate_connections_refused_total", Kind::Counter, help)
        .value(&[], refused);
}

fn gateway(page: &mut Page) {
    let reloads = reloads::so_far();
    let help = "Reloads of the configuration.";
    page.family("sluicegate_reloads_total", Kind::Counter, help)
        .value(&[("result", "success")], reloads.succeeded)
        .value(&[("result", "failure")], reloads.failed);
    let help = "Which configuration is served: 1 from the start, one more with each reload.";
    page.family("sluicegate_config_generation", Kind::Gauge, help)
        .value(&[], reloads.generation);
    let help = "Log lines that were lost because their output didn't keep up or failed.";
    page.family("sluicegate_log_lines_lost_total", Kind::Counter, help);
    for (output, lost) in writer::lost() {
        page.value(&[("output", &output)], lost);
    }
    let help = "The version that runs.";
    page.family("sluicegate_build_info", Kind::Gauge, help)
        .value(&[("version", env!("CARGO_PKG_VERSION"))], 1);
}
