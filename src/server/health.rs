//! Active health checks of target groups, from the control thread.

use std::{sync::Arc, time::Duration};

use http::Method;
use tokio::{runtime::Runtime, time::timeout};

use crate::{
    config::model::{HealthCheck, Model},
    gateway::snapshot::Shared,
    stream::{clocks::Clocks, request_body::RequestBody},
    types::{fields::Fields, known::Known},
    upstream::{
        endpoint::Endpoint,
        group::Group,
        request::Outgoing,
        send::{Destination, send},
    },
};

/// Starts the checks that `model` asks for.
pub fn start(control: &Runtime, model: &Model, shared: &Arc<Shared>) {
    for (id, link) in &model.vpc_links {
        let (Some(check), Some(group)) = (&link.health_check, shared.groups.get(id)) else {
            continue;
        };
        for (at, endpoint) in group.endpoints().enumerate() {
            control.spawn(watch(group.clone(), at, endpoint.clone(), check.clone()));
        }
    }
}

async fn watch(group: Arc<Group>, at: usize, endpoint: Arc<Endpoint>, check: HealthCheck) {
    loop {
        let is_healthy = timeout(check.timeout, ask(&endpoint, &check))
            .await
            .unwrap_or(false);
        group.set_health(at, is_healthy);
        tokio::time::sleep(check.interval.max(Duration::from_millis(100))).await;
    }
}

/// Whether a target answers below 400.
async fn ask(endpoint: &Arc<Endpoint>, check: &HealthCheck) -> bool {
    let mut fields = Fields::default();
    fields.push_known(
        Known::Host,
        b"Host",
        format!("{}:{}", endpoint.host, endpoint.port).as_bytes(),
    );
    fields.push_known(Known::UserAgent, b"User-Agent", b"Sluicegate-HealthCheck");
    let target = if check.path.starts_with('/') {
        check.path.clone()
    } else {
        format!("/{}", check.path)
    };
    let mut request = Outgoing {
        method: Method::GET,
        target,
        fields,
        body: RequestBody::empty(),
    };
    let destination = Destination::Endpoint(endpoint.clone());
    let answer = send(
        &destination,
        &mut request,
        &Clocks::default(),
        check.timeout,
    )
    .await;
    answer.is_ok_and(|answer| answer.head.status.as_u16() < 400)
}
