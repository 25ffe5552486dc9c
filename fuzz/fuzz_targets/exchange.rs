//! A whole HTTP/1.1 connection in memory, with everything that a request meets on its way to a MOCK integration: the
//! same replies, however the bytes arrive, and replies that a client can tell apart.

#![no_main]

use std::{
    collections::VecDeque,
    future::Future,
    io,
    net::SocketAddr,
    path::Path,
    pin::{Pin, pin},
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
};

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use sluicegate::{
    config::{
        build::{Overrides, load_text},
        model::{LogSink, Model},
    },
    gateway::{
        Gateway,
        snapshot::{Shared, Snapshot},
    },
    server::{
        Origin, Service,
        client_stream::ClientStream,
        h1,
        registry::{Entry, NO_DOOR},
    },
    stream::framing::Framing,
    types::peer::{Peer, Serves},
};
use sluicegate_fuzz::pieces;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    runtime::{Builder, Runtime},
};

const DOCUMENT: &str = r#"
openapi: 3.0.1
info: { title: fuzz, version: "1" }
paths:
  /a/{id}:
    x-amazon-apigateway-any-method:
      parameters: [{ name: id, in: path, required: true, schema: { type: string } }]
      responses: { "200": { description: ok } }
      x-amazon-apigateway-integration:
        type: mock
        requestTemplates: { application/json: '{"statusCode": 200}' }
        responses:
          default:
            statusCode: "200"
            responseTemplates: { application/json: '{"id": "$context.resourcePath"}' }
  /b:
    post:
      responses: { "200": { description: ok }, "204": { description: none } }
      x-amazon-apigateway-integration:
        type: mock
        responses:
          "204": { statusCode: "204" }
          default: { statusCode: "200", responseTemplates: { text/plain: "hello" } }
"#;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let built = Builder::new_current_thread().enable_time().build();
    built.expect("a runtime can be built")
});

static MODEL: LazyLock<Model> = LazyLock::new(|| {
    let loaded = load_text(
        "fuzz",
        DOCUMENT,
        Path::new("nowhere"),
        &Overrides::default(),
    );
    let mut model = loaded
        .model
        .unwrap_or_else(|| panic!("{:?}", loaded.diagnostics));
    model.access_log.sink = LogSink::None;
    model
});

static GATEWAY: LazyLock<Arc<Gateway>> = LazyLock::new(|| {
    let shared = Shared::new(&MODEL, RUNTIME.handle());
    let snapshot = Snapshot::build(&MODEL, &shared).expect("there is no log to open");
    Arc::new(Gateway::new(snapshot))
});

/// A client that says its piece and then waits, or leaves.
struct Client {
    says: VecDeque<Vec<u8>>,
    leaves: bool,
    is_asked: bool,
    hears: Arc<Mutex<Vec<u8>>>,
}

impl AsyncRead for Client {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.is_asked = !self.is_asked;
        if self.is_asked && !self.says.is_empty() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Some(mut piece) = self.says.pop_front() else {
            return if self.leaves {
                Poll::Ready(Ok(()))
            } else {
                Poll::Pending
            };
        };
        let rest = piece.split_off(piece.len().min(buffer.remaining()));
        buffer.put_slice(&piece);
        if !rest.is_empty() {
            self.says.push_front(rest);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Client {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut hears = self.hears.lock().expect("nobody panics with it");
        hears.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl ClientStream for Client {
    fn tcp(&self) -> Option<&TcpStream> {
        None
    }
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

/// What a client hears until the gateway has nothing more to do.
fn serve(says: VecDeque<Vec<u8>>, leaves: bool) -> Vec<u8> {
    let _guard = RUNTIME.enter();
    let hears = Arc::new(Mutex::new(Vec::new()));
    let client = Client {
        says,
        leaves,
        is_asked: false,
        hears: hears.clone(),
    };
    let address = SocketAddr::from(([192, 0, 2, 1], 4000));
    let entry = Entry::new(Arc::default(), NO_DOOR);
    let origin = Origin {
        service: Arc::new(Service {
            gateway: GATEWAY.clone(),
            http: MODEL.http.clone(),
            ends_keep_alive: Arc::default(),
        }),
        peer: Arc::new(Peer::new(address, address, None, Serves::Apis)),
        handle: entry.handle().clone(),
        may_be_http2: false,
    };
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    let mut serving = pin!(h1::serve(client, origin));
    loop {
        woken.0.store(false, Relaxed);
        let polled = serving.as_mut().poll(&mut Context::from_waker(&waker));
        if polled.is_ready() || !woken.0.load(Relaxed) {
            return std::mem::take(&mut *hears.lock().expect("nobody panics with it"));
        }
    }
}

/// The lines that are the same each time.
fn steady(heard: &[u8]) -> String {
    const OWN: [&str; 3] = ["x-amzn-requestid:", "x-amz-apigw-id:", "date:"];
    let heard = String::from_utf8_lossy(heard);
    let is_steady = |line: &&str| {
        let line = line.to_ascii_lowercase();
        !OWN.iter().any(|own| line.starts_with(own))
    };
    let lines: Vec<&str> = heard.split("\r\n").filter(is_steady).collect();
    lines.join("\r\n")
}

/// Reads the replies one by one, as a client does that never says HEAD.
fn assert_replies(heard: &[u8]) {
    let mut rest = heard;
    while !rest.is_empty() {
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut reply = httparse::Response::new(&mut fields);
        let parsed = reply.parse(rest).expect("it is a head");
        let httparse::Status::Complete(length) = parsed else {
            panic!("half a head: {:?}", String::from_utf8_lossy(rest));
        };
        rest = &rest[length..];
        let value = |name: &str| {
            let mut fields = reply.headers.iter();
            let field = fields.find(|field| field.name.eq_ignore_ascii_case(name))?;
            std::str::from_utf8(field.value).ok()
        };
        assert!(value("transfer-encoding").is_none() || value("content-length").is_none());
        if value("transfer-encoding").is_some() {
            let mut body = BytesMut::from(rest);
            let surplus = Framing::chunked()
                .decode(&mut body)
                .expect("they are chunks");
            rest = &rest[rest.len() - surplus.map_or(0, |surplus| surplus.len())..];
        } else if let Some(length) = value("content-length") {
            rest = &rest[length.parse().expect("a length is a number")..];
        } else {
            assert!(matches!(reply.code, Some(100 | 204 | 304)), "{reply:?}");
        }
    }
}

fuzz_target!(|input: (u8, &[u8])| {
    let (seed, data) = input;
    let whole = serve(VecDeque::from([data.to_vec()]), false);
    let in_pieces = || pieces(seed, data).map(<[u8]>::to_vec).collect();
    let heard = serve(in_pieces(), false);
    assert_eq!(steady(&heard), steady(&whole));
    if !data.windows(4).any(|window| window == b"HEAD") {
        assert_replies(&whole);
        assert_replies(&serve(in_pieces(), true));
    }
});
