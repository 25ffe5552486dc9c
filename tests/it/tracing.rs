//! Spans of requests, as a collector gets them: one for each request, with the parent that the request says it has.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

use crate::support::{Backend, Client, Gateway, document, header, headers, proxy, status, within};

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const STREAM: &str = "responseTransferMode: STREAM\ntimeoutInMillis: 60000";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// A collector that answers every batch with one status and hands over what it was sent.
struct Collector {
    address: SocketAddr,
    batches: UnboundedReceiver<Value>,
}

impl Collector {
    async fn answering(status: &'static str) -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (got, batches) = unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(take(stream, status, got.clone()));
            }
        });
        Collector { address, batches }
    }

    /// Settings that send spans here; `rate` is the share of requests whose caller leaves it open.
    fn settings(&self, rate: f64) -> String {
        let collector = self.address;
        format!(
            "tracing: {{otlpEndpoint: 'http://{collector}', sampleRate: {rate}, serviceName: shop}}"
        )
    }

    /// The next span, and what is said of the gateway itself.
    async fn span(&mut self) -> (Value, Value) {
        let batch = within(self.batches.recv()).await.unwrap();
        let of_gateway = &batch["resourceSpans"][0];
        let spans = of_gateway["scopeSpans"][0]["spans"].as_array().unwrap();
        assert_eq!(spans.len(), 1, "{batch:#}");
        (spans[0].clone(), of_gateway["resource"].clone())
    }

    /// No other span comes: one that is asked for is the next.
    async fn has_no_other(&mut self, gateway: &Gateway) {
        Client::get(gateway.address, "/../the-last-one").await;
        let (span, _) = self.span().await;
        assert_eq!(text(&span, "sluicegate.reason"), Some("climbs"), "{span:#}");
    }
}

async fn take(mut stream: TcpStream, status: &str, got: UnboundedSender<Value>) {
    let mut read = Vec::new();
    loop {
        let head = loop {
            if let Some(end) = read.windows(4).position(|it| it == b"\r\n\r\n") {
                let head: Vec<u8> = read.drain(..end + 4).collect();
                break String::from_utf8(head).unwrap();
            }
            if !matches!(stream.read_buf(&mut read).await, Ok(count) if count > 0) {
                return;
            }
        };
        assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
        assert_eq!(header(&head, "content-type"), Some("application/json"));
        let length: usize = header(&head, "content-length").unwrap().parse().unwrap();
        while read.len() < length {
            if !matches!(stream.read_buf(&mut read).await, Ok(count) if count > 0) {
                return;
            }
        }
        let body: Vec<u8> = read.drain(..length).collect();
        let _ = got.send(serde_json::from_slice(&body).unwrap());
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

fn text<'a>(of: &'a Value, key: &str) -> Option<&'a str> {
    let all = of["attributes"].as_array().unwrap();
    let found = all.iter().find(|it| it["key"] == key)?;
    found["value"]
        .as_object()
        .unwrap()
        .values()
        .next()?
        .as_str()
}

fn events(span: &Value) -> Vec<&str> {
    let events = span["events"].as_array().unwrap();
    let nanos = |of: &Value, key: &str| -> u64 { of[key].as_str().unwrap().parse().unwrap() };
    let times: Vec<u64> = events.iter().map(|it| nanos(it, "timeUnixNano")).collect();
    assert!(times.is_sorted(), "{span:#}");
    assert!(nanos(span, "startTimeUnixNano") <= times[0], "{span:#}");
    assert_eq!(
        times.last(),
        Some(&nanos(span, "endTimeUnixNano")),
        "{span:#}"
    );
    events
        .iter()
        .map(|event| event["name"].as_str().unwrap())
        .collect()
}

fn orders(backend: SocketAddr) -> String {
    document(&proxy("/orders/{id}", backend, STREAM))
}

/// A request for an order, by a caller that records its span or doesn't.
fn by_caller(flags: &str) -> String {
    format!(
        "GET /orders/7?key=secret HTTP/1.1\r\nHost: shop.example:8080\r\nTraceparent: 00-{TRACE}-{CALLER}-{flags}\r\n\
         Tracestate: a=1\r\n\r\n"
    )
}

#[tokio::test]
async fn a_stream_has_one_span_between_its_caller_and_its_backend() {
    let backend = Backend::start().await;
    let mut collector = Collector::answering("200 OK").await;
    let gateway = Gateway::start(&collector.settings(0.0), &orders(backend.address));
    let mut client = Client::connect(gateway.address).await;
    client.send(by_caller("01")).await;
    let (mut conn, called) = backend.request().await;
    conn.write(format!("{CHUNKED}5\r\nhello\r\n0\r\n\r\n"))
        .await;
    assert_eq!(client.answer().await.1, "hello");
    let (span, resource) = collector.span().await;
    assert_eq!(
        (&span["traceId"], &span["parentSpanId"], &span["traceState"]),
        (&TRACE.into(), &CALLER.into(), &"a=1".into())
    );
    // The backend's parent is the span, and nobody else.
    let own = span["spanId"].as_str().unwrap();
    let parents: Vec<&str> = headers(&called, "traceparent").collect();
    assert_eq!(parents, [format!("00-{TRACE}-{own}-01")]);
    assert_eq!(header(&called, "tracestate"), Some("a=1"));
    assert_eq!(
        (&span["name"], &span["kind"]),
        (&"GET /orders/{id}".into(), &2.into())
    );
    assert_eq!(events(&span), ["all_headers", "first_content", "end"]);
    for (key, value) in [
        ("http.request.method", "GET"),
        ("http.route", "/orders/{id}"),
        ("http.response.status_code", "200"),
        ("url.path", "/orders/7"),
        ("server.address", "shop.example"),
        ("client.address", "127.0.0.1"),
        ("network.protocol.version", "1.1"),
        ("sluicegate.api", "Test"),
        ("sluicegate.stage", "default"),
        ("sluicegate.outcome", "complete"),
        ("sluicegate.transfer_mode", "STREAMED"),
        ("sluicegate.bytes", "5"),
        ("sluicegate.chunks", "1"),
    ] {
        assert_eq!(text(&span, key), Some(value), "{key} of {span:#}");
    }
    assert_eq!(text(&span, "error.type"), None);
    assert_eq!(span["status"], serde_json::json!({}));
    assert!(!span.to_string().contains("secret"));
    assert_eq!(text(&resource, "service.name"), Some("shop"));
}

#[tokio::test]
async fn a_truncated_stream_is_an_error() {
    let backend = Backend::start().await;
    let mut collector = Collector::answering("200 OK").await;
    let gateway = Gateway::start(&collector.settings(1.0), &orders(backend.address));
    let mut client = Client::connect(gateway.address).await;
    let request = "GET /orders/7 HTTP/1.1\r\nHost: test\r\nX-Amzn-Trace-Id: \
                   Root=1-5759e988-bd862e3fe1be46a994272793\r\n\r\n";
    client.send(request).await;
    let (mut conn, called) = backend.request().await;
    conn.write(format!("{CHUNKED}5\r\nhello\r\n")).await;
    client.head().await;
    assert_eq!(client.chunk().await, b"hello");
    drop(conn);
    let (span, _) = collector.span().await;
    let trace = "5759e988bd862e3fe1be46a994272793";
    assert_eq!(
        (&span["traceId"], &span["parentSpanId"]),
        (&trace.into(), &"".into())
    );
    let own = span["spanId"].as_str().unwrap();
    let parent = format!("00-{trace}-{own}-01");
    assert_eq!(header(&called, "traceparent"), Some(&*parent));
    assert_eq!(events(&span), ["all_headers", "first_content", "end"]);
    assert_eq!(span["status"]["code"], 2);
    for (key, value) in [
        ("error.type", "integration_truncated"),
        ("sluicegate.outcome", "integration_truncated"),
        ("sluicegate.side", "integration"),
        ("http.response.status_code", "200"),
    ] {
        assert_eq!(text(&span, key), Some(value), "{key} of {span:#}");
    }
}

#[tokio::test]
async fn a_refused_request_has_its_span_too() {
    let mut collector = Collector::answering("200 OK").await;
    let nobody = Backend::start().await.address;
    let gateway = Gateway::start(&collector.settings(1.0), &orders(nobody));
    let (head, _) = Client::get(gateway.address, "/nowhere").await;
    assert_eq!(status(&head), 403);
    let (span, _) = collector.span().await;
    // Its trace is the one that the access log tells.
    let trace = span["traceId"].as_str().unwrap();
    let record = gateway.record().await;
    let root = format!("1-{}-{}", &trace[..8], &trace[8..]);
    assert_eq!(record["xrayTraceId"], root);
    assert_eq!(
        (&span["name"], &span["parentSpanId"]),
        (&"GET".into(), &"".into())
    );
    assert_eq!(events(&span), ["end"]);
    assert_eq!(span["status"], serde_json::json!({}));
    for (key, value) in [
        ("http.response.status_code", Some("403")),
        ("sluicegate.outcome", Some("refused")),
        ("sluicegate.reason", Some("no_route")),
        ("http.route", None),
        ("error.type", None),
    ] {
        assert_eq!(text(&span, key), value, "{key} of {span:#}");
    }
    // A backend that isn't there, however, is an error.
    let (head, _) = Client::get(gateway.address, "/orders/7").await;
    assert_eq!(status(&head), 504);
    let (span, _) = collector.span().await;
    assert_eq!(span["status"]["code"], 2, "{span:#}");
    assert_eq!(text(&span, "http.response.status_code"), Some("504"));
    collector.has_no_other(&gateway).await;
}

#[tokio::test]
async fn what_its_caller_doesnt_record_passes_unchanged_and_leaves_no_span() {
    let backend = Backend::start().await;
    let mut collector = Collector::answering("200 OK").await;
    let gateway = Gateway::start(&collector.settings(1.0), &orders(backend.address));
    let mut client = Client::connect(gateway.address).await;
    client.send(by_caller("00")).await;
    let (mut conn, called) = backend.request().await;
    conn.write("HTTP/1.1 204 No Content\r\n\r\n").await;
    client.head().await;
    let passed = format!("Traceparent: 00-{TRACE}-{CALLER}-00\r\n");
    assert!(called.contains(&passed), "{called}");
    gateway.record().await;
    collector.has_no_other(&gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_finds_the_span_in_its_event() {
    let mut collector = Collector::answering("200 OK").await;
    // The function's settings end, and those of the gateway go on.
    let gateway =
        Gateway::with_functions(&["chat"], &format!("}}\n{}\n#", collector.settings(1.0)));
    let (_, body) = Client::get(gateway.address, "/lambda-url/chat/").await;
    let told: Value = serde_json::from_str(&body).unwrap();
    let (span, _) = collector.span().await;
    let parent = format!(
        "00-{}-{}-01",
        span["traceId"].as_str().unwrap(),
        span["spanId"].as_str().unwrap()
    );
    assert_eq!(told["event"]["headers"]["traceparent"], parent);
}

#[tokio::test]
async fn spans_that_the_collector_refuses_are_counted_and_cost_no_request() {
    let mut collector = Collector::answering("400 Bad Request").await;
    let nobody = Backend::start().await.address;
    let gateway = Gateway::start(&collector.settings(1.0), &orders(nobody));
    let admin = gateway.admin();
    let (head, _) = Client::get(gateway.address, "/nowhere").await;
    assert_eq!(status(&head), 403);
    collector.span().await;
    let lost = async || {
        let (_, page) = Client::get(admin, "/metrics").await;
        let series = "sluicegate_spans_lost_total{reason=\"collector\"} ";
        let value = page.lines().find_map(|line| line.strip_prefix(series));
        value.unwrap().parse::<u64>().unwrap()
    };
    within(async {
        while lost().await == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
}
