//! The memory guard: limits near what the process uses, set by reloads, move it from level to level.

use std::{fs, net::SocketAddr};

use bytes::Bytes;
use h2::client::{Connection, SendRequest};
use http::Request;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::{
    process::{Process, free_port, mock},
    support::{Backend, Client, Conn, End, document, header, proxy, status, within},
};

const STREAM: &str = "responseTransferMode: STREAM\ntimeoutInMillis: 60000";
const GET: &str = "GET /x HTTP/1.1\r\nHost: test\r\n\r\n";

/// A gateway with a mock, streams of a backend, and a function.
struct Stage {
    process: Process,
    functions: SocketAddr,
    backend: Backend,
}

impl Stage {
    async fn set() -> Stage {
        let backend = Backend::start().await;
        let paths = [mock("/ping", "ok"), proxy("/x", backend.address, STREAM)];
        let api = document(&paths.concat());
        let functions = ([127, 0, 0, 1], free_port()).into();
        let settings = settings(functions, "unlimited");
        let process =
            Process::start(&[("api.yaml", &api)], &settings).with_listener("    h2c: true\n");
        Stage {
            process: process.await,
            functions,
            backend,
        }
    }

    /// Reloads with another limit.
    async fn limit(&self, limit: &str) {
        let listener = format!("  - address: {}\n    h2c: true\n", self.process.address);
        let settings = settings(self.functions, limit);
        self.process.configure(&listener, &settings);
        let (head, text) = self.process.reload().await;
        assert_eq!(status(&head), 200, "{text}");
    }

    /// Waits until the gauge of the pressure has this value.
    async fn pressure(&self, wanted: u64) {
        let line = format!("\nsluicegate_memory_pressure {wanted}\n");
        within(async { while !self.metrics().await.contains(&line) {} }).await;
    }

    async fn metrics(&self) -> String {
        self.process.ask_admin("GET /metrics").await.1
    }

    /// Sets limits of which the process uses 90 % until one is found so.
    async fn tighten(&self) {
        let found = async {
            loop {
                self.limit(&(self.resident() * 10 / 9).to_string()).await;
                if self
                    .metrics()
                    .await
                    .contains("\nsluicegate_memory_pressure 1\n")
                {
                    break;
                }
            }
        };
        within(found).await;
    }

    fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.unwrap().trim().strip_suffix(" kB").unwrap();
        kib.parse::<u64>().unwrap() * 1024
    }

    /// A client whose stream is open, and the backend's end of it.
    async fn stream(&self) -> (Client, Conn) {
        let mut client = Client::connect(self.process.address).await;
        client.send(GET).await;
        let (mut conn, _) = self.backend.request().await;
        conn.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
            .await;
        let head = client.head().await;
        assert_eq!((status(&head), header(&head, "connection")), (200, None));
        assert_eq!(client.chunk().await, b"hi");
        (client, conn)
    }

    /// The same when it has ended: two idle connections.
    async fn idle(&self) -> (Client, Conn) {
        let (mut client, mut conn) = self.stream().await;
        end(&mut client, &mut conn).await;
        (client, conn)
    }

    /// An idle HTTP/2 connection.
    async fn http2(&self) -> (SendRequest<Bytes>, Connection<TcpStream>) {
        let tcp = TcpStream::connect(self.process.address).await.unwrap();
        let (mut requests, mut connection) = within(h2::client::handshake(tcp)).await.unwrap();
        assert_eq!(ask(&mut requests, &mut connection).await.0, 200);
        (requests, connection)
    }

    async fn readiness(&self) -> (u16, String) {
        let (head, text) = self.process.ask_admin("GET /readyz").await;
        (status(&head), text)
    }
}

fn settings(functions: SocketAddr, limit: &str) -> String {
    format!(
        "workers: 1\nmemoryLimitBytes: {limit}\nlambda: {{address: '{functions}'}}\n\
         functions: {{f: {{endpoint: 'http://127.0.0.1:9'}}}}\n"
    )
}

/// One more chunk, and the end.
async fn end(client: &mut Client, conn: &mut Conn) {
    conn.write("3\r\nbye\r\n").await;
    assert_eq!(client.chunk().await, b"bye");
    conn.write("0\r\n\r\n").await;
    client.expect("0\r\n\r\n").await;
}

/// The status and `Retry-After` of an answer over HTTP/2.
async fn ask(
    requests: &mut SendRequest<Bytes>,
    connection: &mut Connection<TcpStream>,
) -> (u16, Option<String>) {
    let request = Request::get("http://test/ping").body(()).unwrap();
    let (response, _) = requests.send_request(request, true).unwrap();
    let answer = async {
        tokio::select! {
            response = response => response.unwrap(),
            ended = connection => panic!("it ended: {ended:?}"),
        }
    };
    let answer = within(answer).await;
    let after = answer.headers().get("retry-after");
    let after = after.map(|after| after.to_str().unwrap().to_owned());
    (answer.status().as_u16(), after)
}

#[tokio::test]
async fn item_87_at_85_percent_of_the_memory_limit_nothing_idle_is_kept() {
    let stage = Stage::set().await;
    let (mut open, mut conn) = stage.stream().await;
    let (mut kept, mut pooled) = stage.idle().await;
    let (_requests, connection) = stage.http2().await;
    assert!(kept.is_kept().await && pooled.is_kept().await);
    assert!(!stage.metrics().await.contains("sluicegate_memory_limit"));
    stage.tighten().await;
    stage
        .process
        .line_with("no idle connections are kept")
        .await;
    assert_eq!(kept.is_closed().await, End::Fin);
    pooled.is_closed().await;
    within(connection).await.unwrap();
    // Requests are served, but nobody keeps the connection.
    let mut client = Client::connect(stage.process.address).await;
    client
        .send("GET /ping HTTP/1.1\r\nHost: test\r\n\r\n")
        .await;
    let (head, body) = client.answer().await;
    assert_eq!((status(&head), body.as_str()), (200, "ok"));
    assert_eq!(header(&head, "connection"), Some("close"));
    assert_eq!(client.is_closed().await, End::Fin);
    assert_eq!(stage.readiness().await, (200, "ready\n".to_owned()));
    let metrics = stage.metrics().await;
    for name in ["used", "limit"] {
        let line = format!("\nsluicegate_memory_{name}_bytes ");
        assert!(metrics.contains(&line), "{metrics}");
    }
    // What was open goes on, and is kept no longer than the others once it has ended.
    end(&mut open, &mut conn).await;
    assert_eq!(open.is_closed().await, End::Fin);
    conn.is_closed().await;
    stage.limit("unlimited").await;
    stage.pressure(0).await;
    let (mut kept, _pooled) = stage.idle().await;
    assert!(kept.is_kept().await);
}

#[tokio::test]
async fn item_87_at_95_percent_new_requests_are_refused_and_streams_go_on() {
    let stage = Stage::set().await;
    let process = &stage.process;
    let (mut open, mut conn) = stage.stream().await;
    stage.limit("1000000").await;
    stage.pressure(2).await;
    process.line_with("new requests are refused").await;
    assert_eq!(
        stage.readiness().await,
        (503, "short of memory\n".to_owned())
    );
    assert_eq!(status(&process.ask_admin("GET /healthz").await.0), 200);
    for path in ["/ping", "/x", "/nowhere"] {
        let mut client = Client::connect(process.address).await;
        client
            .send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"))
            .await;
        let (head, body) = client.answer().await;
        assert_eq!(
            (status(&head), header(&head, "retry-after")),
            (503, Some("1"))
        );
        assert_eq!(
            header(&head, "x-amzn-errortype"),
            Some("ServiceUnavailableException")
        );
        assert_eq!(body, r#"{"message":"Service Unavailable"}"#);
        assert_eq!(client.is_closed().await, End::Fin);
        let record = process.line_with(&format!(r#""path":"{path}""#)).await;
        let record: Value = serde_json::from_str(&record).unwrap();
        let said = ["status", "outcome", "side", "reason"].map(|name| &record[name]);
        assert_eq!(said, ["503", "refused", "gateway", "memory"]);
        let resource = if path == "/nowhere" { "-" } else { path };
        assert_eq!(record["resourcePath"], resource);
    }
    let tcp = TcpStream::connect(process.address).await.unwrap();
    let (mut requests, mut connection) = within(h2::client::handshake(tcp)).await.unwrap();
    let answer = ask(&mut requests, &mut connection).await;
    assert_eq!(answer, (503, Some("1".to_owned())));
    let invoke = "POST /2015-03-31/functions/f/invocations HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n";
    let (head, _) = Client::ask(stage.functions, invoke).await;
    assert_eq!(
        (status(&head), header(&head, "retry-after")),
        (503, Some("1"))
    );
    assert_eq!(header(&head, "x-amzn-errortype"), Some("ServiceException"));
    end(&mut open, &mut conn).await;
    drop((open, conn));
    stage.limit("unlimited").await;
    stage.pressure(0).await;
    assert_eq!(stage.readiness().await, (200, "ready\n".to_owned()));
    let (mut kept, _pooled) = stage.idle().await;
    assert!(kept.is_kept().await);
}
