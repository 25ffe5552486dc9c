//! A server without a socket for the tests of its connections, and replies that aren't what a gateway answers.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{StatusCode, Version};

use super::{
    Origin, Service,
    registry::{Entry, NO_DOOR},
};
use crate::{
    config::{
        build::{Overrides, load_text},
        model::LogSink,
    },
    gateway::{
        Gateway,
        reply::{Answer, Reply},
        snapshot::{Shared, Snapshot},
    },
    integration::payload::{Broken, Payload},
    stream::{clocks::Clocks, shaper::Bandwidth, streamed::StreamedBody},
    telemetry::{
        metrics::{self, page::Page},
        record::{AccessLog, Record},
        writer::{self, Output, sink},
    },
    types::{
        context::Context,
        fields::Fields,
        head::RequestHead,
        peer::{Peer, Serves},
        template::Template,
    },
};

/// What a gateway has to serve at least.
const DOCUMENT: &str = r#"
openapi: 3.0.1
info: { title: test, version: "1" }
paths:
  /:
    get:
      responses: { "200": { description: ok } }
      x-amazon-apigateway-integration:
        type: mock
        requestTemplates: { application/json: '{"statusCode": 200}' }
        responses: { default: { statusCode: "200" } }
"#;

/// A worker's things, and a log of the records of a test.
pub(super) struct Stage {
    pub(super) origin: Origin,
    pub(super) entry: Entry,
    log: Arc<AccessLog>,
    path: PathBuf,
}

impl Stage {
    /// A stage of the test called `name`.
    pub(super) fn new(name: &str) -> Stage {
        let none = Overrides::default();
        let mut model = load_text("test", DOCUMENT, "nowhere".as_ref(), &none)
            .model
            .unwrap();
        model.access_log.sink = LogSink::None;
        let shared = Shared::new(&model, &tokio::runtime::Handle::current());
        let gateway = Gateway::new(Snapshot::build(&model, &shared).unwrap());
        let entry = Entry::new(Arc::default(), NO_DOOR);
        let origin = Origin {
            service: Arc::new(Service {
                gateway: Arc::new(gateway),
                http: model.http.clone(),
                ends_keep_alive: Arc::default(),
            }),
            peer: peer(),
            handle: entry.handle().clone(),
            may_be_http2: false,
        };
        let path = std::env::temp_dir().join(format!("sluicegate-{}-{name}", std::process::id()));
        let sink = sink(&Output::File(path.clone())).unwrap();
        let said = "$context.status $context.sluicegate.outcome $context.sluicegate.reason";
        let log = Arc::new(AccessLog::new(Some(sink), Template::compile(said).0));
        Stage {
            origin,
            entry,
            log,
            path,
        }
    }

    /// A streamed reply to a request of this version.
    pub(super) fn reply(&self, payload: Payload, version: Version, clocks: Arc<Clocks>) -> Reply {
        let head = RequestHead {
            version,
            ..RequestHead::unreadable()
        };
        let counts = metrics::shard(metrics::Route::stray());
        let record = Record::open(Context::open(peer(), head), self.log.clone(), counts);
        let stream = StreamedBody::new(payload, Bandwidth::UNLIMITED, clocks.clone());
        let answer = Answer::streamed(StatusCode::OK, Fields::default(), stream);
        Reply::answer(record, answer, clocks)
    }

    /// What was recorded.
    pub(super) fn records(&self) -> String {
        writer::flush(Duration::from_secs(5));
        fs::read_to_string(&self.path).unwrap()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn peer() -> Arc<Peer> {
    let address = ([192, 0, 2, 1], 4000).into();
    Arc::new(Peer::new(address, address, None, Serves::Apis))
}

/// A payload of these pieces, after which the gateway fails.
pub(super) fn breaking_after(pieces: &[&'static str]) -> Payload {
    let pieces = pieces
        .iter()
        .map(|piece| Bytes::from_static(piece.as_bytes()));
    Payload::Broken(Broken(pieces.collect()))
}

/// How many panics were counted.
pub(super) fn panics() -> u64 {
    let mut page = Page::default();
    metrics::write(&mut page);
    let text = page.into_text();
    let line = text
        .lines()
        .find(|line| line.contains("reason=\"panicked\""));
    line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
}
