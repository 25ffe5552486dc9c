//! Sends spans to an OpenTelemetry collector: OTLP over HTTP, in JSON (<https://opentelemetry.io/docs/specs/otlp/>).
//!
//! One task on the control thread takes spans from a tracer's queue in batches. When the tracer is gone and its queue is
//! empty, the task ends. A collector that fails costs spans, and nothing else.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::json;
use tokio::{
    runtime::Handle,
    sync::{mpsc::Receiver, oneshot},
    time::{sleep, timeout},
};

use crate::{
    config::model::{Secret, Tracing},
    stream::{clocks::Clocks, collect::collect, request_body::RequestBody},
    telemetry::{
        metrics::spans::{Loss, lost, sent},
        tracer::{Message, Tracer},
    },
    types::{context::Transfer, fields::Fields, known::Known},
    upstream::{
        endpoint::Endpoint,
        request::Outgoing,
        send::{Destination, send},
        tls::ClientTls,
    },
};

/// How long the first span of a batch waits for others.
const GATHER: Duration = Duration::from_millis(200);
/// Spans of a batch.
const BATCH: usize = 512;
/// How long the collector may take for one.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long opening a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long is waited before a batch is sent again.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(4)];
/// Bytes of the collector's answer.
const LONGEST_ANSWER: u64 = 64 * 1024;

/// Starts sending, on `control`. The spans of the tracer go to the collector of `model`.
pub fn start(model: &Tracing, control: &Handle) -> Arc<Tracer> {
    let (tracer, spans) = Tracer::new(model.rate);
    control.spawn(Sender::new(model).run(spans));
    Arc::new(tracer)
}

struct Sender {
    collector: Destination,
    authority: Box<str>,
    path: Box<str>,
    headers: Vec<(Box<str>, Secret)>,
    /// What stands before and after the spans of each batch.
    frame: (String, &'static str),
    is_failing: bool,
}

/// Why a batch wasn't taken.
enum Refusal {
    /// It may be taken later.
    NotNow(String),
    /// It never will be.
    Never(String),
}

impl Sender {
    fn new(model: &Tracing) -> Sender {
        let origin = &model.origin;
        let tls = origin
            .is_tls
            .then(|| Arc::new(ClientTls::new(false, None, None)));
        let endpoint = Endpoint::new(&origin.host, origin.port, tls);
        Sender {
            collector: Destination::Endpoint(Arc::new(endpoint)),
            authority: origin.authority.clone(),
            path: model.path.clone(),
            headers: model.headers.clone(),
            frame: frame(model),
            is_failing: false,
        }
    }

    async fn run(mut self, mut queue: Receiver<Message>) {
        let (mut spans, mut waiting) = (Vec::new(), Vec::new());
        while let Some(first) = queue.recv().await {
            if matches!(first, Message::Span(_)) {
                sleep(GATHER).await;
            }
            sort(first, &mut spans, &mut waiting);
            while spans.len() < BATCH
                && let Ok(next) = queue.try_recv()
            {
                sort(next, &mut spans, &mut waiting);
            }
            self.pass_on(&mut spans).await;
            for waiting in waiting.drain(..) {
                let _ = waiting.send(());
            }
        }
    }

    async fn pass_on(&mut self, spans: &mut Vec<Vec<u8>>) {
        if spans.is_empty() {
            return;
        }
        let (before, after) = &self.frame;
        let body = [before.as_bytes(), &spans.join(&b','), after.as_bytes()].concat();
        let result = self.deliver(&body.into()).await;
        match &result {
            Ok(()) => sent(spans.len()),
            Err(_) => lost(Loss::Collector, spans.len()),
        }
        self.tell(result);
        spans.clear();
    }

    /// Says once that the collector fails, and once that it works again.
    fn tell(&mut self, result: Result<(), String>) {
        let collector = format_args!("{}{}", self.authority, self.path);
        let failed_before = std::mem::replace(&mut self.is_failing, result.is_err());
        match result {
            Err(error) if !failed_before => {
                tracing::warn!(%collector, %error, "spans can't be sent and are lost");
            }
            Ok(()) if failed_before => tracing::info!(%collector, "spans are sent again"),
            _ => {}
        }
    }

    /// Sends a batch, more than once if need be.
    async fn deliver(&self, body: &Bytes) -> Result<(), String> {
        let mut pauses = PAUSES.iter();
        loop {
            let attempt = timeout(PATIENCE, self.post(body)).await;
            match attempt.unwrap_or_else(|_| Err(Refusal::NotNow("it took too long".to_owned()))) {
                Ok(()) => return Ok(()),
                Err(Refusal::Never(why)) => return Err(why),
                Err(Refusal::NotNow(why)) => match pauses.next() {
                    Some(pause) => sleep(*pause).await,
                    None => return Err(why),
                },
            }
        }
    }

    async fn post(&self, body: &Bytes) -> Result<(), Refusal> {
        let mut fields = Fields::with_capacity(256);
        fields.push_known(Known::Host, b"Host", self.authority.as_bytes());
        fields.push_known(Known::ContentType, b"Content-Type", b"application/json");
        let agent = concat!("sluicegate/", env!("CARGO_PKG_VERSION"));
        fields.push_known(Known::UserAgent, b"User-Agent", agent.as_bytes());
        for (name, value) in &self.headers {
            fields.push(name.as_bytes(), value.0.as_bytes());
        }
        let mut request = Outgoing {
            method: Method::POST,
            target: self.path.to_string(),
            fields,
            body: RequestBody::whole(body.clone()),
        };
        let clocks = Clocks::default();
        let answer = send(&self.collector, &mut request, &clocks, CONNECT).await;
        let mut answer = answer.map_err(|it| Refusal::NotNow(it.fault.detail.into()))?;
        // Read to its end, the connection can be used again.
        let mut transfer = Transfer::default();
        let _ = collect(&mut answer.body, LONGEST_ANSWER, &clocks, &mut transfer).await;
        let status = answer.head.status;
        match status {
            _ if status.is_success() => Ok(()),
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Err(Refusal::NotNow(format!("it said {status}"))),
            _ => Err(Refusal::Never(format!("it said {status}"))),
        }
    }
}

fn sort(message: Message, spans: &mut Vec<Vec<u8>>, waiting: &mut Vec<oneshot::Sender<()>>) {
    match message {
        Message::Span(span) => spans.push(span),
        Message::Flush(done) => waiting.push(done),
    }
}

/// What a batch says of the gateway itself, cut where its spans belong.
fn frame(model: &Tracing) -> (String, &'static str) {
    let attribute = |key, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let version = env!("CARGO_PKG_VERSION");
    let resource = json!({"attributes": [
        attribute("service.name", &model.service),
        attribute("service.version", version),
        attribute("service.instance.id", &model.instance),
    ]});
    let scope = json!({"name": "sluicegate", "version": version});
    let before = format!(
        r#"{{"resourceSpans":[{{"resource":{resource},"scopeSpans":[{{"scope":{scope},"spans":["#
    );
    (before, "]}]}]}")
}
