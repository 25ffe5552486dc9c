//! Active health checks of target groups, from the control thread.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use http::Method;
use tokio::{runtime::Handle, time::timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    config::model::{HealthCheck, Model},
    gateway::snapshot::Shared,
    stream::{clocks::Clocks, request_body::RequestBody},
    types::{fault::FaultKind, fields::Fields, known::Known},
    upstream::{
        endpoint::Endpoint,
        group::Group,
        request::Outgoing,
        send::{Destination, send},
    },
};

/// The checks that run, by VPC link id. They end when this is dropped.
#[derive(Debug, Default)]
pub struct Checks(BTreeMap<String, Checked>);

/// The checks of one group.
#[derive(Debug)]
struct Checked {
    group: Arc<Group>,
    check: HealthCheck,
    _tasks: Vec<AbortOnDropHandle<()>>,
}

impl Checks {
    /// Runs the checks that `model` asks for. Those that stay the same aren't disturbed; a group that is no longer checked
    /// is taken for healthy.
    pub fn follow(&mut self, model: &Model, shared: &Shared, control: &Handle) {
        let mut before = std::mem::take(&mut self.0);
        for (id, link) in &model.vpc_links {
            let Some(group) = shared.groups.get(id) else {
                continue;
            };
            let running = before.remove(id);
            let Some(check) = &link.health_check else {
                if running.is_some() {
                    (0..group.len()).for_each(|at| group.set_health(at, true));
                }
                continue;
            };
            let is_same = |it: &Checked| it.check == *check && Arc::ptr_eq(&it.group, group);
            let checked = running
                .filter(is_same)
                .unwrap_or_else(|| Checked::start(group, check, control));
            self.0.insert(id.clone(), checked);
        }
    }
}

impl Checked {
    fn start(group: &Arc<Group>, check: &HealthCheck, control: &Handle) -> Checked {
        let start = |(at, endpoint): (usize, &Arc<Endpoint>)| {
            let watching = watch(group.clone(), at, endpoint.clone(), check.clone());
            AbortOnDropHandle::new(control.spawn(watching))
        };
        Checked {
            group: group.clone(),
            check: check.clone(),
            _tasks: group.endpoints().enumerate().map(start).collect(),
        }
    }
}

async fn watch(group: Arc<Group>, at: usize, endpoint: Arc<Endpoint>, check: HealthCheck) {
    loop {
        let found = timeout(check.timeout, ask(&endpoint, &check)).await;
        if let Some(is_healthy) = found.unwrap_or(Some(false)) {
            group.set_health(at, is_healthy);
        }
        tokio::time::sleep(check.interval.max(Duration::from_millis(100))).await;
    }
}

/// Whether a target answers below 400; `None` if this host was too short of something to find out.
async fn ask(endpoint: &Arc<Endpoint>, check: &HealthCheck) -> Option<bool> {
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
    match answer {
        Ok(answer) => Some(answer.head.status.as_u16() < 400),
        Err(failure) => (failure.fault.kind != FaultKind::Overloaded).then_some(false),
    }
}
