//! CPU time per request and per chunk, of the gateway and of a bare hyper pass-through, in the same run.
//!
//! `cargo bench --bench end_to_end`. Gateway and pass-through are processes of their own with one worker each; client
//! and backend run in this one and are not counted. What counts is the ratio: how much the machine has to do besides,
//! and how fast it is, changes both alike. Rounds alternate, the median is told. Linux only, since the CPU time is
//! read from `/proc`. Without `--bench`, as `cargo test --benches` calls it, it only shows that it works.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench that is wrong about its world should stop at once, and prints"
)]

use std::{
    convert::Infallible,
    env, fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, ChildStderr, Command, Stdio},
    rc::Rc,
};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Either, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Body, Frame, Incoming},
    client::conn::http1::{self, SendRequest},
    server::conn::http1 as server,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Mutex, Notify},
    task::{JoinHandle, JoinSet, LocalSet},
};

#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// As an argument, makes this program the pass-through to the address that follows it.
const PASS_THROUGH: &str = "--pass-through";
/// The gateway with what a deployment has switched on: a record of every request.
const SETTINGS: &str = r#"{"listeners": [{"address": "127.0.0.1:0"}], "apis": [{"definition": "end_to_end.openapi.json"}],
    "accessLog": {"path": "end_to_end.log", "format": "json"}, "workers": 1}"#;

/// Keep-alive connections, and streams at a time, of the client.
const CONNECTIONS: usize = 16;

/// How much is done in a round.
#[derive(Clone, Copy)]
struct Size {
    rounds: usize,
    requests: usize,
    chunks: usize,
}

const FULL: Size = Size {
    rounds: 7,
    requests: 30_000,
    chunks: 30_000,
};
const GLANCE: Size = Size {
    rounds: 1,
    requests: 200,
    chunks: 200,
};

fn main() {
    let arguments: Vec<String> = env::args().collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let local = LocalSet::new();
    let asked = |word: &str| arguments.iter().position(|argument| argument == word);
    if let Some(at) = asked(PASS_THROUGH) {
        let backend = arguments.get(at + 1).unwrap().parse().unwrap();
        return local.block_on(&runtime, pass_through(backend));
    }
    let size = if asked("--bench").is_some() {
        FULL
    } else {
        GLANCE
    };
    local.block_on(&runtime, compare(size));
}

/// The figures of one round.
#[derive(Clone, Copy)]
struct Sample {
    per_request: f64,
    per_lone_chunk: f64,
}

async fn compare(size: Size) {
    let backend = backend().await;
    let gateway = Proxy::gateway(backend);
    let hyper = Proxy::pass_through(backend);
    let mut samples = Vec::new();
    for _ in 0..size.rounds {
        samples.push((gateway.round(size).await, hyper.round(size).await));
    }
    if size.rounds < FULL.rounds {
        println!("a glance, not a measurement:");
    }
    println!("CPU time, median of {} rounds", size.rounds);
    tell("per request", &samples, |sample| sample.per_request);
    tell("per lone chunk", &samples, |sample| sample.per_lone_chunk);
}

fn tell(what: &str, samples: &[(Sample, Sample)], figure: impl Fn(&Sample) -> f64) {
    let gateway = median(samples.iter().map(|(gateway, _)| figure(gateway)));
    let hyper = median(samples.iter().map(|(_, hyper)| figure(hyper)));
    let ratio = median(
        samples
            .iter()
            .map(|(gateway, hyper)| figure(gateway) / figure(hyper)),
    );
    println!("{what:15} gateway {gateway:6.2} us   bare hyper {hyper:6.2} us   ratio {ratio:5.2}");
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap()
}

// --- what is measured

/// A proxy in a process of its own, which ends with this value.
struct Proxy {
    child: Child,
    /// Kept open, so that the process can go on writing to it.
    _stderr: BufReader<ChildStderr>,
    address: SocketAddr,
}

impl Proxy {
    fn gateway(backend: SocketAddr) -> Proxy {
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let config = directory.join("end_to_end.json");
        let document = format!(
            r#"{{"openapi": "3.0.3", "info": {{"title": "Bench", "version": "1"}}, "paths": {{"/{{proxy+}}":
            {{"get": {{"parameters": [{{"name": "proxy", "in": "path", "required": true, "schema": {{"type": "string"}}}}],
            "x-amazon-apigateway-integration": {{"type": "http_proxy", "httpMethod": "GET",
            "uri": "http://{backend}/{{proxy}}", "responseTransferMode": "STREAM", "timeoutInMillis": 900000,
            "requestParameters": {{"integration.request.path.proxy": "method.request.path.proxy"}}}}}}}}}}}}"#
        );
        fs::write(directory.join("end_to_end.openapi.json"), document).unwrap();
        fs::write(&config, SETTINGS).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_sluicegate"));
        command.arg("serve").arg(&config);
        Proxy::start(command)
    }

    fn pass_through(backend: SocketAddr) -> Proxy {
        let mut command = Command::new(env::current_exe().unwrap());
        command.arg(PASS_THROUGH).arg(backend.to_string());
        Proxy::start(command)
    }

    /// Starts the proxy and waits until it says where it listens.
    fn start(mut command: Command) -> Proxy {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert!(
                stderr.read_line(&mut line).unwrap() > 0,
                "{command:?} ended"
            );
            if let Some((_, rest)) = line.split_once("listening on http://") {
                let end = rest.find(|c: char| c.is_whitespace()).unwrap();
                break rest.split_at(end).0.parse().unwrap();
            }
        };
        Proxy {
            child,
            _stderr: stderr,
            address,
        }
    }

    async fn round(&self, size: Size) -> Sample {
        let connections = Rc::new(self.connect().await);
        let before = self.cpu_micros();
        requests(connections, size.requests).await;
        let between = self.cpu_micros();
        lone_chunks(self.address, size.chunks).await;
        Sample {
            per_request: (between - before) / size.requests as f64,
            per_lone_chunk: (self.cpu_micros() - between) / size.chunks as f64,
        }
    }

    async fn connect(&self) -> Vec<Sender> {
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut connection = connect(self.address).await;
            // The proxy's own connections to the backend are open before anything is measured.
            fetch(&mut connection, "/answer").await;
            connections.push(Mutex::new(connection));
        }
        connections
    }

    /// CPU time of all its threads.
    fn cpu_micros(&self) -> f64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let nanos: f64 = tasks
            .map(|task| fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap())
            .map(|text| text.split(' ').next().unwrap().parse::<f64>().unwrap())
            .sum();
        nanos / 1000.0
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// --- the client

type Sender = Mutex<SendRequest<Full<Bytes>>>;

async fn connect<B>(address: SocketAddr) -> SendRequest<B>
where
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static,
{
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::task::spawn_local(connection);
    sender
}

fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(path)
        .header(header::HOST, "bench")
        .body(Full::default())
        .unwrap()
}

async fn fetch(connection: &mut SendRequest<Full<Bytes>>, path: &str) {
    let answer = connection.send_request(get(path)).await.unwrap();
    assert_eq!(answer.status(), 200);
    let body = answer.into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes().len(), 128);
}

/// So many requests over all connections, one after another on each.
async fn requests(connections: Rc<Vec<Sender>>, count: usize) {
    let mut tasks = JoinSet::new();
    for index in 0..CONNECTIONS {
        let connections = connections.clone();
        tasks.spawn_local(async move {
            let mut connection = connections.get(index).unwrap().lock().await;
            for _ in 0..count / CONNECTIONS {
                fetch(&mut connection, "/answer").await;
            }
        });
    }
    tasks.join_all().await;
}

/// Streams whose chunks each come alone: the backend writes the next one when the client has read the one before.
async fn lone_chunks(proxy: SocketAddr, count: usize) {
    let mut tasks = JoinSet::new();
    for (stream, seen) in SEEN.iter().enumerate() {
        tasks.spawn_local(async move {
            let mut connection = connect(proxy).await;
            let request = get(&format!("/chunks/{}/{stream}", count / CONNECTIONS));
            let mut body = connection.send_request(request).await.unwrap().into_body();
            let mut bytes = 0;
            while let Some(frame) = body.frame().await {
                bytes += frame.unwrap().data_ref().map_or(0, Bytes::len);
                seen.notify_one();
            }
            assert_eq!(bytes, count / CONNECTIONS * CHUNK.len());
        });
    }
    tasks.join_all().await;
}

// --- the backend

const CHUNK: &[u8] = &[b'x'; 64];

/// For each stream, tells the backend that the client has read a chunk.
static SEEN: [Notify; CONNECTIONS] = [const { Notify::const_new() }; CONNECTIONS];

type Answer = Either<Full<Bytes>, UnsyncBoxBody<Bytes, Infallible>>;

/// A backend that answers `/answer` with 128 bytes, and `/chunks/COUNT/STREAM` in lock-step.
async fn backend() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    accept(listener, async |stream| {
        let service = service_fn(async |request: Request<Incoming>| {
            Ok::<_, Infallible>(Response::new(answer(request.uri().path())))
        });
        // A client that leaves is nobody's fault.
        let _ = server::Builder::new()
            .serve_connection(stream, service)
            .await;
    });
    address
}

fn answer(path: &str) -> Answer {
    let mut words = path
        .split('/')
        .skip(2)
        .map(|word| word.parse::<usize>().unwrap());
    let (Some(count), Some(stream)) = (words.next(), words.next()) else {
        return Either::Left(Full::from(vec![b'x'; 128]));
    };
    let seen = SEEN.get(stream).unwrap();
    let chunks = futures_util::stream::unfold(0, move |number| async move {
        if number > 0 {
            seen.notified().await;
        }
        (number < count).then(|| (Ok(Frame::data(Bytes::from_static(CHUNK))), number + 1))
    });
    Either::Right(StreamBody::new(chunks).boxed_unsync())
}

// --- the pass-through

/// As little as hyper can do between a client and a backend: heads and bodies as they are, one connection for each.
async fn pass_through(backend: SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    eprintln!("listening on http://{} ", listener.local_addr().unwrap());
    accept(listener, async move |stream| {
        let upstream = Mutex::new(connect(backend).await);
        let service = service_fn(async |request: Request<Incoming>| {
            upstream.lock().await.send_request(request).await
        });
        let _ = server::Builder::new()
            .serve_connection(stream, service)
            .await;
    })
    .await
    .unwrap();
}

/// Serves each connection in a task of its own.
fn accept<F>(listener: TcpListener, serve: F) -> JoinHandle<()>
where
    F: AsyncFn(TokioIo<TcpStream>) + 'static,
{
    let serve = Rc::new(serve);
    tokio::task::spawn_local(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let serve = serve.clone();
            tokio::task::spawn_local(async move { serve(TokioIo::new(stream)).await });
        }
    })
}
