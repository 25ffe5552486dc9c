//! Functions behind methods of an API, on sockets and in a runtime that does what its events say.

use serde_json::{Value, json};

use crate::support::{Client, Gateway, header, status};

const PRELUDE: &str = "application/vnd.awslambda.http-integration-response";
const NULS: &str = "\0\0\0\0\0\0\0\0";

fn steps(method: &str, path: &str, steps: &Value) -> String {
    let body = json!({ "do": steps }).to_string();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Steps of a function that streams.
fn streamed(metadata: &Value) -> Value {
    json!([
        ["stream", PRELUDE],
        ["chunk", metadata.to_string()],
        ["chunk", NULS],
        ["chunk", "payload"],
        ["end"],
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_streams_behind_a_buffered_method_gives_its_head_and_no_body() {
    let gateway = Gateway::with_function_api();
    let metadata =
        json!({"statusCode": 201, "headers": {"X-A": "b", "Content-Type": "text/plain"}});
    let request = steps("POST", "/whole", &streamed(&metadata));
    let (head, body) = Client::ask(gateway.address, &request).await;
    assert_eq!((status(&head), body.as_str()), (201, ""), "{head}");
    assert_eq!(header(&head, "x-a"), Some("b"));
    assert_eq!(header(&head, "content-length"), Some("0"));
    let request = steps("POST", "/stream", &streamed(&metadata));
    let (head, body) = Client::ask(gateway.address, &request).await;
    assert_eq!((status(&head), body.as_str()), (201, "payload"), "{head}");
    let unknown = streamed(&json!({"statusCode": 201, "unknown": 1}));
    let (head, body) = Client::ask(gateway.address, &steps("POST", "/whole", &unknown)).await;
    assert_eq!(status(&head), 502, "{body}");
    let (head, body) = Client::ask(gateway.address, &steps("POST", "/stream", &unknown)).await;
    assert_eq!(status(&head), 500, "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_without_a_body_cancels_no_function() {
    let gateway = Gateway::with_function_api();
    let metadata = json!({"statusCode": 200, "headers": {"Content-Length": "7"}});
    let slow = |metadata: &Value, last: &str| {
        json!([
            ["stream", PRELUDE],
            ["chunk", metadata.to_string()],
            ["chunk", NULS],
            ["wait", last],
            ["chunk", "payload"],
            ["end"],
            ["touch", format!("{last}-over")],
        ])
    };
    let mut client = Client::connect(gateway.address).await;
    client
        .send(steps("HEAD", "/stream", &slow(&metadata, "one")))
        .await;
    let head = client.head().await;
    assert_eq!(status(&head), 200);
    assert_eq!(header(&head, "content-length"), Some("7"));
    gateway.let_go("one");
    gateway.touched("one-over").await;
    let empty = json!({"statusCode": 204});
    // A HEAD request with a body is its connection's last.
    let mut client = Client::connect(gateway.address).await;
    client
        .send(steps("POST", "/stream", &slow(&empty, "two")))
        .await;
    assert_eq!(status(&client.head().await), 204);
    gateway.let_go("two");
    gateway.touched("two-over").await;
    let records = gateway.records(2).await;
    assert!(
        records.iter().all(|record| record["outcome"] == "complete"),
        "{records:?}"
    );
}
