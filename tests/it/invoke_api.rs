//! The Invoke API, on sockets and with a function that runs.

use std::time::Duration;

use aws_smithy_eventstream::frame::read_message_from;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::{Value, json};

use sluicegate::types::lifecycle::Phase;

use crate::support::{Client, Gateway, header, status};

/// A call of `Invoke`, or of `InvokeWithResponseStream`, with these further header lines.
fn call(function: &str, more: &str, steps: &Value) -> String {
    invoke(
        &format!("/2015-03-31/functions/{function}/invocations"),
        more,
        steps,
    )
}

fn streaming(more: &str, steps: &Value) -> String {
    invoke(
        "/2021-11-15/functions/chat/response-streaming-invocations",
        more,
        steps,
    )
}

fn invoke(path: &str, more: &str, steps: &Value) -> String {
    let body = json!({ "do": steps }).to_string();
    format!(
        "POST {path} HTTP/1.1\r\nHost: test\r\n{more}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A function's error, the function's own description of it.
fn oops() -> Value {
    json!([["error", "Oops", {"errorMessage": "why", "errorType": "Oops"}]])
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invocation_gives_the_output_its_version_and_its_log() {
    let gateway = Gateway::with_functions(&["chat"], "");
    let more = "X-Amz-Log-Type: Tail\r\nX-Amz-Client-Context: eyJjdXN0b20iOnsiYSI6MX19\r\n\
        Authorization: AWS4-HMAC-SHA256 nobody looks at it\r\n";
    for function in [
        "chat",
        "chat:live",
        "arn%3Aaws%3Alambda%3Aeu-west-3%3A123456789012%3Afunction%3Achat",
    ] {
        let steps = json!([["print", "hello log"], ["return", {"statusCode": 404, "a": [1]}]]);
        let (head, body) = Client::ask(gateway.functions(), &call(function, more, &steps)).await;
        assert_eq!(
            (status(&head), body.as_str()),
            (200, r#"{"statusCode": 404, "a": [1]}"#)
        );
        assert_eq!(header(&head, "x-amz-executed-version"), Some("$LATEST"));
        assert_eq!(header(&head, "x-amzn-remapped-content-length"), Some("0"));
        assert_eq!(header(&head, "x-amz-function-error"), None);
        let log = STANDARD
            .decode(header(&head, "x-amz-log-result").unwrap())
            .unwrap();
        let log = String::from_utf8(log).unwrap();
        assert!(
            log.contains("START RequestId") && log.contains("REPORT"),
            "{log}"
        );
    }
    let told = call("chat", more, &json!([["event"]]));
    let (_, body) = Client::ask(gateway.address, &told).await;
    let result: Value = serde_json::from_str(&body).unwrap();
    let told: Value = serde_json::from_str(result["body"].as_str().unwrap()).unwrap();
    assert_eq!(
        told["headers"]["Lambda-Runtime-Client-Context"],
        r#"{"custom":{"a":1}}"#
    );
    assert_eq!(gateway.records(4).await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_functions_error_is_a_result() {
    let gateway = Gateway::with_functions(&["chat"], "");
    let (head, body) = Client::ask(gateway.functions(), &call("chat", "", &oops())).await;
    assert_eq!(
        (status(&head), header(&head, "x-amz-function-error")),
        (200, Some("Unhandled"))
    );
    let error: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(error["errorMessage"], "why");
    let large = json!([["size", 6 * 1024 * 1024 + 200]]);
    for steps in [json!([["exit", 1]]), large] {
        let (head, body) = Client::ask(gateway.functions(), &call("chat", "", &steps)).await;
        assert_eq!(header(&head, "x-amz-function-error"), Some("Unhandled"));
        let error: Value = serde_json::from_str(&body).unwrap();
        assert!(error["errorType"].is_string(), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_lambda_refuses_are_refused_in_its_words() {
    let gateway = Gateway::with_functions(&["chat"], "");
    let missing = call("other:live", "", &json!([]));
    let (head, body) = Client::ask(gateway.functions(), &missing).await;
    assert_eq!(
        (status(&head), header(&head, "x-amzn-errortype")),
        (404, Some("ResourceNotFoundException"))
    );
    assert_eq!(
        body,
        r#"{"Type":"User","Message":"Function not found: arn:aws:lambda:eu-west-3:123456789012:function:other:live"}"#
    );
    let path = "POST /2015-03-31/functions/chat/invocations";
    for (request, code, error_type) in [
        (
            format!("{path} HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\n{{a"),
            400,
            "InvalidRequestContentException",
        ),
        (
            format!("{path} HTTP/1.1\r\nHost: test\r\nX-Amz-Invocation-Type: Never\r\n\r\n"),
            400,
            "InvalidParameterValueException",
        ),
        (
            format!("{path} HTTP/1.1\r\nHost: test\r\nContent-Length: 6291457\r\n\r\n"),
            413,
            "RequestEntityTooLargeException",
        ),
        (
            "GET /2015-03-31/functions HTTP/1.1\r\nHost: test\r\n\r\n".to_owned(),
            404,
            "UnknownOperationException",
        ),
    ] {
        let (head, _) = Client::ask(gateway.functions(), &request).await;
        assert_eq!(
            (status(&head), header(&head, "x-amzn-errortype")),
            (code, Some(error_type)),
            "{request}"
        );
    }
    let dry = call(
        "chat",
        "X-Amz-Invocation-Type: DryRun\r\n",
        &json!([["exit", 1]]),
    );
    assert_eq!(status(&Client::ask(gateway.functions(), &dry).await.0), 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrency_beyond_the_reserved_one_is_throttled() {
    let gateway = Gateway::with_functions(&["chat"], ", reservedConcurrentExecutions: 1");
    let mut first = Client::connect(gateway.functions()).await;
    let waiting = json!([["touch", "there"], ["wait", "on"], ["return", 1]]);
    first.send(call("chat", "", &waiting)).await;
    gateway.touched("there").await;
    let request = call("chat", "", &json!([]));
    let (head, body) = Client::ask(gateway.functions(), &request).await;
    assert_eq!(
        (
            status(&head),
            header(&head, "x-amzn-errortype"),
            header(&head, "retry-after")
        ),
        (429, Some("TooManyRequestsException"), Some("1"))
    );
    let refusal: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        refusal["Reason"],
        "ReservedFunctionConcurrentInvocationLimitExceeded"
    );
    gateway.let_go("on");
    assert_eq!(first.answer().await.1, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_taken_at_once_and_run_without_its_caller() {
    let gateway = Gateway::with_functions(&["chat"], "");
    let steps = json!([["wait", "on"], ["touch", "done"], ["return", 1]]);
    let request = call("chat", "X-Amz-Invocation-Type: Event\r\n", &steps);
    let (head, body) = Client::ask(gateway.functions(), &request).await;
    assert_eq!((status(&head), body.as_str()), (202, ""));
    gateway.let_go("on");
    gateway.touched("done").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_gateway_waits_for_the_events_it_has_taken() {
    let gateway = Gateway::with_functions(&["chat"], "");
    let steps = json!([["wait", "on"], ["touch", "done"], ["return", 1]]);
    let request = call("chat", "X-Amz-Invocation-Type: Event\r\n", &steps);
    let (head, _) = Client::ask(gateway.functions(), &request).await;
    assert_eq!(status(&head), 202);
    gateway.conductor().advance(Phase::Draining);
    // Long enough for a worker that has nothing left to end.
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(gateway.exchanges().await, 1);
    gateway.let_go("on");
    gateway.touched("done").await;
    gateway.ended().await;
}

/// The type and payload of the event in a chunk.
fn event(chunk: Vec<u8>) -> (String, String) {
    let mut chunk = Bytes::from(chunk);
    let message = read_message_from(&mut chunk).unwrap();
    assert!(chunk.is_empty(), "more than one frame in a chunk");
    let kind = message
        .headers()
        .iter()
        .find(|header| header.name().as_str() == ":event-type")
        .map(|header| header.value().as_string().unwrap().as_str().to_owned());
    let payload = String::from_utf8(message.payload().to_vec()).unwrap();
    (kind.unwrap(), payload)
}

fn chunk(payload: &str) -> (String, String) {
    ("PayloadChunk".to_owned(), payload.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_piece_of_a_stream_is_an_event_as_it_is_written() {
    let gateway = Gateway::with_functions(&["chat"], "");
    let mut client = Client::connect(gateway.functions()).await;
    let steps = json!([
        [
            "stream",
            "application/vnd.awslambda.http-integration-response"
        ],
        ["chunk", "{}\0\0\0\0\0\0\0\0"],
        ["wait", "one"],
        ["chunk", "first"],
        ["wait", "two"],
        ["chunk", "second"],
        ["end"],
    ]);
    client.send(streaming("", &steps)).await;
    let head = client.head().await;
    assert_eq!(
        (status(&head), header(&head, "content-type")),
        (200, Some("application/vnd.amazon.eventstream"))
    );
    // The prelude is the caller's to read.
    assert_eq!(event(client.chunk().await), chunk("{}\0\0\0\0\0\0\0\0"));
    gateway.let_go("one");
    assert_eq!(event(client.chunk().await), chunk("first"));
    gateway.let_go("two");
    assert_eq!(event(client.chunk().await), chunk("second"));
    let last = ("InvokeComplete".to_owned(), "{}".to_owned());
    assert_eq!(event(client.chunk().await), last);
    assert_eq!(client.chunk().await, b"");
    let record = gateway.record().await;
    assert_eq!(
        (&record["outcome"], &record["responseTransferMode"]),
        (&json!("complete"), &json!("STREAMED"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_event_says_how_a_stream_failed() {
    let gateway = Gateway::with_functions(&["chat"], "");
    let trailers = json!([
        ["stream", "text/plain"],
        ["chunk", "part"],
        ["end", "Oops", "{\"a\":1}"]
    ]);
    let more = "X-Amz-Log-Type: Tail\r\n";
    let mut client = Client::connect(gateway.functions()).await;
    client.send(streaming(more, &trailers)).await;
    assert_eq!(status(&client.head().await), 200);
    assert_eq!(event(client.chunk().await), chunk("part"));
    let (kind, last) = event(client.chunk().await);
    let last: Value = serde_json::from_str(&last).unwrap();
    assert_eq!(
        (kind.as_str(), &last["ErrorCode"]),
        ("InvokeComplete", &json!("Oops"))
    );
    let log = STANDARD
        .decode(last["LogResult"].as_str().unwrap())
        .unwrap();
    assert!(String::from_utf8_lossy(&log).contains("REPORT"));
    // An error before the first byte is payload, too.
    client.chunk().await;
    client.expect("\r\n").await;
    client.send(streaming("", &oops())).await;
    assert_eq!(status(&client.head().await), 200);
    assert!(event(client.chunk().await).1.contains("why"));
    assert_eq!(event(client.chunk().await).0, "InvokeComplete");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_leaves_cancels_a_local_function() {
    let gateway = Gateway::with_functions(&["chat"], "");
    let mut client = Client::connect(gateway.functions()).await;
    let steps = json!([
        ["stream", "text/plain"],
        ["chunk", "part"],
        ["wait", "never"]
    ]);
    client.send(streaming("", &steps)).await;
    client.head().await;
    client.chunk().await;
    client.vanish();
    let record = gateway.record().await;
    assert_eq!(record["outcome"], "client_left");
    // The environment is replaced, so that the next call doesn't wait for it.
    let steps = json!([["return", 1]]);
    let answer = async {
        loop {
            let (head, body) = Client::ask(gateway.functions(), &call("chat", "", &steps)).await;
            if status(&head) == 200 {
                return body;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert_eq!(crate::support::within(answer).await, "1");
}
