//! Deeds with functions, whose runtime does what their events say.

use serde_json::{Value, json};

use crate::{
    deeds::post,
    ledger::Ledger,
    stage::Stage,
    support::{Client, status},
};

/// The metadata of a streamed answer, and the eight zero bytes behind it.
fn prelude() -> String {
    format!("{{\"statusCode\": 200}}{}", "\0".repeat(8))
}

const TYPE: &str = "application/vnd.awslambda.http-integration-response";

async fn invoke(stage: &Stage, path: &str, steps: Value) -> Client {
    let body = json!({ "do": steps }).to_string();
    let mut client = stage.client().await;
    client
        .send(post(path, &format!("Content-Length: {}", body.len())) + &body)
        .await;
    client
}

/// A whole answer, or a stream.
pub async fn answers(stage: &Stage, ledger: &Ledger) {
    let steps = json!([["return", { "statusCode": 200, "body": "well" }]]);
    let (head, body) = invoke(stage, "function", steps).await.answer().await;
    assert_eq!((status(&head), body.as_str()), (200, "well"));
    ledger.note("function", "complete", 1);
    let steps = json!([
        ["stream", TYPE],
        ["chunk", prelude()],
        ["chunk", "a"],
        ["chunk", "b"],
        ["end"]
    ]);
    let (head, body) = invoke(stage, "function-stream", steps).await.answer().await;
    assert_eq!((status(&head), body.as_str()), (200, "ab"));
    ledger.note("function-stream", "complete", 1);
}

/// An error in place of an answer, and one in the midst of it.
pub async fn fails(stage: &Stage, ledger: &Ledger) {
    let steps = json!([["error", "Function.Broken", { "errorMessage": "no" }]]);
    let (head, _) = invoke(stage, "function", steps).await.answer().await;
    assert_eq!(status(&head), 502);
    ledger.note("function", "integration_failed", 1);
    let steps = json!([
        ["stream", TYPE],
        ["chunk", prelude()],
        ["chunk", "a"],
        ["end", "Function.Broken", "no"]
    ]);
    breaks_off(stage, steps, ledger).await;
}

/// Its process ends in the midst of a stream.
pub async fn crashes(stage: &Stage, ledger: &Ledger) {
    let steps = json!([
        ["stream", TYPE],
        ["chunk", prelude()],
        ["chunk", "a"],
        ["exit", 1]
    ]);
    breaks_off(stage, steps, ledger).await;
}

async fn breaks_off(stage: &Stage, steps: Value, ledger: &Ledger) {
    let mut client = invoke(stage, "function-stream", steps).await;
    assert_eq!(status(&client.head().await), 200);
    let (rest, _) = client.rest().await;
    assert!(!rest.ends_with(b"0\r\n\r\n"), "an early end looks complete");
    ledger.note("function-stream", "integration_truncated", 1);
}

/// Its client goes away in the midst of a stream.
pub async fn is_left(stage: &Stage, ledger: &Ledger) {
    let steps = json!([
        ["stream", TYPE],
        ["chunk", prelude()],
        ["chunk", "a"],
        ["wait", "for ever"]
    ]);
    let mut client = invoke(stage, "function-stream", steps).await;
    assert_eq!(status(&client.head().await), 200);
    assert_eq!(client.chunk().await, b"a");
    client.vanish();
    ledger.note("function-stream", "client_left", 1);
}
