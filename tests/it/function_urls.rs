//! Function URLs, on sockets and with a function that runs.

use serde_json::{Value, json};

use crate::support::{Client, Gateway, header, headers, status};

/// A request to the URL of `chat` by its path, for a function that does these steps.
fn steps(path: &str, steps: &Value) -> String {
    let body = json!({ "do": steps }).to_string();
    format!(
        "POST /lambda-url/chat{path} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

const STREAM: &str = ", functionUrlConfig: {invokeMode: RESPONSE_STREAM}";
const PRELUDE: &str = "application/vnd.awslambda.http-integration-response";
const NULS: &str = "\0\0\0\0\0\0\0\0";

#[tokio::test(flavor = "multi_thread")]
async fn a_request_becomes_an_event_by_path_and_by_host() {
    let gateway = Gateway::with_functions(&["chat"], "");
    let by_path = "GET /lambda-url/chat/a%2Fb?c=d&c=e HTTP/1.1\r\nHost: test\r\nCookie: f=g; h=i\r\nX-A: 1\r\nx-a: 2\r\n\r\n";
    let (head, body) = Client::ask(gateway.address, by_path).await;
    assert_eq!(status(&head), 200, "{body}");
    let told: Value = serde_json::from_str(&body).unwrap();
    let event = &told["event"];
    assert_eq!(
        (&event["version"], &event["rawPath"]),
        (&json!("2.0"), &json!("/a%2Fb"))
    );
    assert_eq!(event["queryStringParameters"], json!({ "c": "d,e" }));
    assert_eq!(event["cookies"], json!(["f=g", "h=i"]));
    assert_eq!(event["headers"]["x-a"], "1,2");
    let context = &event["requestContext"];
    assert_eq!(context["domainName"], "chat.lambda-url.eu-west-3.on.aws");
    assert_eq!(context["http"]["method"], "GET");
    // The function's id, the event's and the response's are one.
    let id = header(&head, "x-amzn-requestid").unwrap();
    assert_eq!(context["requestId"], id);
    assert_eq!(told["headers"]["Lambda-Runtime-Aws-Request-Id"], id);
    assert!(header(&head, "x-amzn-trace-id").is_some_and(|trace| trace.starts_with("Root=1-")));
    assert_eq!(header(&head, "x-amz-apigw-id"), None);
    for address in [gateway.address, gateway.functions()] {
        let by_host = "GET /x HTTP/1.1\r\nHost: Chat.lambda-url.localhost:80\r\n\r\n";
        let (head, body) = Client::ask(address, by_host).await;
        assert_eq!(status(&head), 200, "{body}");
        let told: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(told["event"]["rawPath"], "/x");
        assert_eq!(
            told["event"]["requestContext"]["domainName"],
            "Chat.lambda-url.localhost"
        );
    }
    let records = gateway.records(3).await;
    assert_eq!(records.len(), 3);
    assert!(records.iter().all(|record| record["outcome"] == "complete"));
    assert_eq!(records[0]["responseTransferMode"], "BUFFERED");
}

#[tokio::test(flavor = "multi_thread")]
async fn results_are_read_or_taken_for_bodies() {
    let gateway = Gateway::with_functions(&["chat"], "");
    let ask = async |result: Value| {
        Client::ask(gateway.address, &steps("/", &json!([["return", result]]))).await
    };
    let (head, body) = ask(json!({
        "statusCode": 201, "headers": {"Content-Type": "text/plain", "X-B": "c"}, "cookies": ["d=e", "f=g"],
        "isBase64Encoded": true, "body": "aGk="
    }))
    .await;
    assert_eq!((status(&head), body.as_str()), (201, "hi"));
    assert_eq!(header(&head, "content-type"), Some("text/plain"));
    let cookies: Vec<&str> = headers(&head, "set-cookie").collect();
    assert_eq!(cookies, ["d=e", "f=g"]);
    let (head, body) = ask(json!({"message": "hi"})).await;
    assert_eq!(
        (status(&head), body.as_str()),
        (200, r#"{"message": "hi"}"#)
    );
    assert_eq!(header(&head, "content-type"), Some("application/json"));
    assert_eq!(ask(json!("bare")).await.1, "bare");
    let (head, body) = ask(json!({"statusCode": "no"})).await;
    assert_eq!(
        (status(&head), body.as_str()),
        (502, "Internal Server Error")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_fails_or_says_too_much_is_a_502() {
    let gateway = Gateway::with_functions(&["chat"], "");
    for failing in [
        json!([["error", "Oops", {"errorMessage": "why"}]]),
        json!([["exit", 3]]),
        json!([["size", 6 * 1024 * 1024 + 200]]),
    ] {
        let (head, body) = Client::ask(gateway.address, &steps("/", &failing)).await;
        assert_eq!(
            (status(&head), body.as_str()),
            (502, "Internal Server Error"),
            "{failing}"
        );
    }
    let records = gateway.records(3).await;
    assert!(
        records
            .iter()
            .all(|record| record["outcome"] == "integration_failed" && record["status"] == "502"),
        "{records:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_leaves_as_it_is_written() {
    let gateway = Gateway::with_functions(&["chat"], STREAM);
    let mut client = Client::connect(gateway.address).await;
    let metadata =
        r#"{"statusCode":201,"headers":{"Content-Type":"text/event-stream"},"cookies":["a=b"]}"#;
    let written = json!([
        ["stream", PRELUDE],
        ["chunk", metadata],
        ["chunk", NULS],
        ["wait", "one"],
        ["chunk", "first"],
        ["wait", "two"],
        ["chunk", "second"],
        ["end"],
    ]);
    client.send(steps("/", &written)).await;
    let head = client.head().await;
    assert_eq!(status(&head), 201);
    assert_eq!(header(&head, "content-type"), Some("text/event-stream"));
    assert_eq!(header(&head, "set-cookie"), Some("a=b"));
    gateway.let_go("one");
    assert_eq!(client.chunk().await, b"first");
    gateway.let_go("two");
    assert_eq!(client.chunk().await, b"second");
    assert_eq!(client.chunk().await, b"");
    let record = gateway.record().await;
    assert_eq!(
        (&record["outcome"], &record["responseTransferMode"]),
        (&json!("complete"), &json!("STREAMED"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn other_content_types_and_whole_results_pass_raw_through_a_streaming_url() {
    let gateway = Gateway::with_functions(&["chat"], STREAM);
    let raw = json!([
        ["stream", "text/plain"],
        ["chunk", "{}"],
        ["chunk", NULS],
        ["end"]
    ]);
    let (head, body) = Client::ask(gateway.address, &steps("/", &raw)).await;
    assert_eq!(
        (status(&head), header(&head, "content-type"), body),
        (200, Some("text/plain"), format!("{{}}{NULS}"))
    );
    let whole = json!([["return", {"statusCode": 404, "body": "x"}]]);
    let (head, body) = Client::ask(gateway.address, &steps("/", &whole)).await;
    assert_eq!(
        (status(&head), body.as_str()),
        (200, r#"{"statusCode": 404, "body": "x"}"#)
    );
    let failed = json!([["error", "Oops", {"errorMessage": "why"}]]);
    let (head, body) = Client::ask(gateway.address, &steps("/", &failed)).await;
    assert_eq!(
        (status(&head), body.as_str()),
        (502, "Internal Server Error")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_fails_in_the_middle_is_never_made_to_look_complete() {
    let gateway = Gateway::with_functions(&["chat"], STREAM);
    for last in [json!(["end", "Oops", "{}"]), json!(["exit", 3])] {
        let written = json!([["stream", "text/plain"], ["chunk", "part"], last]);
        let mut client = Client::connect(gateway.address).await;
        client.send(steps("/", &written)).await;
        assert_eq!(status(&client.head().await), 200);
        assert_eq!(client.chunk().await, b"part");
        client.is_closed().await;
    }
    let records = gateway.records(2).await;
    assert!(
        records
            .iter()
            .all(|record| record["outcome"] == "integration_truncated"),
        "{records:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_that_isnt_there_or_not_open_is_refused() {
    let gateway = Gateway::with_functions(&["chat"], ", functionUrlConfig: {authType: AWS_IAM}");
    let (head, body) = Client::get(gateway.address, "/lambda-url/chat/").await;
    assert_eq!(
        (status(&head), body.as_str()),
        (403, r#"{"Message":"Forbidden"}"#)
    );
    let nowhere = "GET / HTTP/1.1\r\nHost: other.lambda-url.localhost\r\n\r\n";
    let (head, body) = Client::ask(gateway.address, nowhere).await;
    assert_eq!((status(&head), body.as_str()), (403, r#"{"Message":null}"#));
    let (head, body) = Client::get(gateway.functions(), "/lambda-url/other/").await;
    assert_eq!((status(&head), body.as_str()), (403, r#"{"Message":null}"#));
    let (head, body) = Client::get(gateway.functions(), "/").await;
    assert_eq!(status(&head), 404);
    assert!(body.contains("Unknown operation"), "{body}");
    // Where APIs are served, too, what isn't a function's is theirs.
    let (head, _) = Client::get(gateway.address, "/lambda-url/other/").await;
    assert_eq!(
        header(&head, "x-amzn-errortype"),
        Some("ForbiddenException")
    );
    assert_eq!(gateway.records(5).await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_beyond_6_mb_are_refused() {
    let gateway = Gateway::with_functions(&["chat"], "");
    let request =
        "POST /lambda-url/chat/ HTTP/1.1\r\nHost: test\r\nContent-Length: 6291457\r\n\r\n";
    let (head, _) = Client::ask(gateway.address, request).await;
    assert_eq!(status(&head), 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn cross_origin_requests_are_answered_from_the_configuration() {
    let cors = ", functionUrlConfig: {cors: {allowOrigins: ['https://a.example'], allowMethods: [GET], maxAge: 60}}";
    let gateway = Gateway::with_functions(&["chat"], cors);
    let preflight = "OPTIONS /lambda-url/chat/ HTTP/1.1\r\nHost: test\r\nOrigin: https://a.example\r\n\
        Access-Control-Request-Method: GET\r\n\r\n";
    let (head, body) = Client::ask(gateway.address, preflight).await;
    assert_eq!((status(&head), body.as_str()), (200, ""));
    assert_eq!(header(&head, "access-control-allow-methods"), Some("GET"));
    assert_eq!(header(&head, "access-control-max-age"), Some("60"));
    let returned =
        json!([["return", {"statusCode": 200, "headers": {"Access-Control-Allow-Origin": "*"}}]]);
    let request =
        steps("/", &returned).replace("Host: test", "Host: test\r\nOrigin: https://a.example");
    let (head, _) = Client::ask(gateway.address, &request).await;
    let allowed: Vec<&str> = headers(&head, "access-control-allow-origin").collect();
    assert_eq!(allowed, ["https://a.example"]);
    let (head, _) = Client::ask(gateway.address, &steps("/", &returned)).await;
    assert_eq!(header(&head, "access-control-allow-origin"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_behind_a_proxy_serves_no_functions_unasked() {
    for (settings, is_served) in [
        ("", true),
        ("http: {trustedHops: 1}", false),
        ("http: {trustedHops: 1}\nlambda: {onListeners: true}", true),
    ] {
        let settings = format!(
            "listeners: [{{address: 127.0.0.1:0}}]\nworkers: 1\naccessLog: {{path: none}}\napis: [{{definition: api.yaml}}]\n\
             functions: {{far: {{endpoint: 'http://127.0.0.1:9', functionUrlConfig: {{authType: AWS_IAM}}}}}}\n{settings}"
        );
        let api = crate::support::document("  /a: {}\n");
        let gateway = Gateway::from_files(&[("sluicegate.yaml", &settings), ("api.yaml", &api)]);
        let (_, body) = Client::get(gateway.address, "/lambda-url/far/").await;
        let expected = if is_served {
            r#"{"Message":"Forbidden"}"#
        } else {
            r#"{"message":"Missing Authentication Token"}"#
        };
        assert_eq!(body, expected, "{settings}");
    }
}
