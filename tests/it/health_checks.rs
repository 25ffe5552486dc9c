//! Active health checks: who is asked, and who gets requests.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::support::{Backend, Client, Gateway, document, proxy, status, within};

/// A target that never answers its checks.
const SILENT: u16 = 0;

/// A backend that answers its name, and its checks with the status that it is told.
struct Target {
    address: SocketAddr,
    state: Arc<AtomicU16>,
    checks: Arc<AtomicUsize>,
}

impl Target {
    async fn start(name: &'static str) -> Target {
        let (state, checks) = (Arc::new(AtomicU16::new(200)), Arc::<AtomicUsize>::default());
        let (own, checked) = (state.clone(), checks.clone());
        let backend = Backend::start().await;
        let host = format!("\r\nhost: {}\r\n", backend.address);
        let address = backend.answering(move |head| {
            let is_check = head.starts_with("GET /well?deep=1 HTTP/1.1\r\n")
                && head.contains("Sluicegate-HealthCheck")
                && head.to_ascii_lowercase().contains(&host);
            if !is_check {
                let length = name.len();
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{name}");
                return Some(answer.into_bytes());
            }
            checked.fetch_add(1, Relaxed);
            let status = own.load(Relaxed);
            let answer = format!("HTTP/1.1 {status} Told\r\nContent-Length: 0\r\n\r\n");
            (status != SILENT).then(|| answer.into_bytes())
        });
        Target {
            address,
            state,
            checks,
        }
    }

    /// From now on its checks are answered so; returns once one has been begun and another one after it.
    async fn becomes(&self, status: u16) {
        self.state.store(status, Relaxed);
        let before = self.checks.load(Relaxed);
        within(async {
            while self.checks.load(Relaxed) < before + 2 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }
}

async fn who_answers(gateway: &Gateway) -> String {
    let (head, body) = Client::get(gateway.address, "/x").await;
    assert_eq!(status(&head), 200, "{body}");
    body
}

/// Asks until `name` answers.
async fn answers(gateway: &Gateway, name: &str) {
    within(async { while who_answers(gateway).await != name {} }).await;
}

#[tokio::test]
async fn a_target_that_fails_its_checks_gets_no_requests_until_it_is_well_again() {
    let (one, other) = (Target::start("one").await, Target::start("other").await);
    let settings = format!(
        "vpcLinks: {{checked: {{targets: [\"http://{}\", \"http://{}\"], \
         healthCheck: {{path: '/well?deep=1', intervalInMillis: 100, timeoutInMillis: 300}}}}}}",
        one.address, other.address
    );
    let link = "connectionType: VPC_LINK\nconnectionId: checked";
    let gateway = Gateway::start(&settings, &document(&proxy("/{proxy+}", one.address, link)));
    for state in [500, 404, SILENT] {
        answers(&gateway, "one").await;
        answers(&gateway, "other").await;
        // The second check has begun, so that the first has failed.
        one.becomes(state).await;
        for _ in 0..10 {
            assert_eq!(who_answers(&gateway).await, "other", "{state}");
        }
        one.becomes(302).await;
    }
    answers(&gateway, "one").await;
    // If none is well, they are asked all the same: a wrong verdict must not make an outage.
    one.becomes(503).await;
    other.becomes(503).await;
    answers(&gateway, "one").await;
    answers(&gateway, "other").await;
}
