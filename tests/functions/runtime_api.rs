//! What a runtime may say, and what it is told when it says something else.

use serde_json::{Value, json};
use sluicegate::config::model::TransferMode;

use super::support::{Lab, error, invocation};

const PREFIX: &str = "/2018-06-01/runtime";

/// The statuses and error types that a runtime got, after an invocation that was answered all the same.
async fn told(steps: Value, name: &str) -> Vec<(u64, String)> {
    let lab = Lab::new();
    let (payload, completion) = lab.run(steps).await;
    assert_eq!((&*payload, completion.error), ("well", None));
    lab.pid().await;
    assert_eq!(lab.notes("start").len(), 1, "the runtime lives on");
    let told = lab.notes(name);
    told.iter()
        .map(|note| {
            let body: Value = serde_json::from_str(note[1].as_str().unwrap()).unwrap();
            let said = body.get("errorType").or(body.get("status"));
            (
                note[0].as_u64().unwrap(),
                said.map_or(String::new(), |said| said.as_str().unwrap().to_owned()),
            )
        })
        .collect()
}

#[tokio::test]
async fn an_event_comes_with_its_headers_in_awss_case_and_without_empty_ones() {
    let lab = Lab::new();
    let mut call = invocation(json!([["headers"]]));
    call.client_context = Some(r#"{"client":{}}"#.into());
    call.qualifier = Some("live".into());
    let id = call.request_id;
    let (payload, _) = lab.invoke(call).await.unwrap().rest().await;
    let headers: Value = serde_json::from_str(&payload).unwrap();
    for (name, value) in [
        ("Lambda-Runtime-Aws-Request-Id", id.as_str()),
        (
            "Lambda-Runtime-Invoked-Function-Arn",
            "arn:aws:lambda:eu-west-3:123456789012:function:chat:live",
        ),
        (
            "Lambda-Runtime-Trace-Id",
            "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1",
        ),
        ("Lambda-Runtime-Client-Context", r#"{"client":{}}"#),
        ("Content-Type", "application/json"),
    ] {
        assert_eq!(headers[name], value, "{name}");
    }
    let deadline = headers["Lambda-Runtime-Deadline-Ms"].as_str().unwrap();
    assert!(deadline.parse::<u64>().unwrap() > 1_600_000_000_000);
    assert!(headers["Lambda-Runtime-Invocation-Id"].is_string());
    let (payload, _) = lab.run(json!([["headers"]])).await;
    assert!(!payload.contains("Client-Context"), "{payload}");
    let mut call = invocation(json!([["headers"]]));
    call.function = Some("arn:aws:lambda:us-east-1:1:function:chat:beta".into());
    let (payload, _) = lab.invoke(call).await.unwrap().rest().await;
    assert!(
        payload.contains(":123456789012:function:chat:beta"),
        "{payload}"
    );
}

#[tokio::test]
async fn an_answer_to_another_invocation_harms_nobody() {
    let other = format!("{PREFIX}/invocation/8476a536-e9f4-11e8-9739-2dfe598c3fcd/response");
    let steps = json!([["post", other, "bad", {}], ["buffered", "well"]]);
    assert_eq!(
        told(steps, "post").await,
        [(400, "InvalidRequestID".into())]
    );
}

#[tokio::test]
async fn an_answer_under_another_nonce_is_too_late() {
    let own = format!("{PREFIX}/invocation/ID/response");
    let steps = json!([
        ["post", own, "bad", {"Lambda-Runtime-Invocation-Id": "other"}],
        ["post", own, "well", {"Lambda-Runtime-Invocation-Id": "NONCE"}],
    ]);
    let expected = [(410, "InvokeTimeout".into()), (202, "OK".into())];
    assert_eq!(told(steps, "post").await, expected);
}

#[tokio::test]
async fn only_the_first_answer_counts() {
    let own = |what: &str| format!("{PREFIX}/invocation/ID/{what}");
    let steps = json!([
        ["buffered", "well"],
        ["post", own("response"), "again", {}],
        ["post", own("error"), "{}", {}],
    ]);
    let refused = || (403, "InvalidStateTransition".to_owned());
    assert_eq!(told(steps, "post").await, [refused(), refused()]);
    let steps = json!([
        ["stream", "text/plain"],
        ["chunk", "we"],
        ["chunk", "ll"],
        ["sleep", 0.3],
        ["post", own("error"), "{}", {}],
        ["post", own("response"), "again", {}],
        ["end"],
    ]);
    assert_eq!(told(steps, "post").await, [refused(), refused()]);
}

#[tokio::test]
async fn what_comes_out_of_turn_or_is_not_in_the_api_is_refused() {
    let steps = json!([
        ["get", format!("{PREFIX}/invocation/next")],
        ["get", "/2018-06-01/ping/pong"],
        ["get", format!("{PREFIX}/invocation/ID/response")],
        ["buffered", "well"],
    ]);
    let expected = [
        (403, "InvalidStateTransition".into()),
        (404, "NotFound".into()),
        (404, "NotFound".into()),
    ];
    assert_eq!(told(steps, "get").await, expected);
    let steps = json!([
        ["post", format!("{PREFIX}/init/error"), "{}", {}],
        ["post", "/2020-01-01/extension/register", "{", {}],
        ["post", "/2020-01-01/extension/exit/error", "{}", {}],
        ["buffered", "well"],
    ]);
    let expected = [
        (403, "InvalidStateTransition".into()),
        (400, "InvalidRequestFormat".into()),
        (403, "Extension.UnknownExtensionIdentifier".into()),
    ];
    assert_eq!(told(steps, "post").await, expected);
}

#[tokio::test]
async fn an_answer_is_accepted_when_it_has_ended() {
    let accepted = || (202, "OK".to_owned());
    let steps = json!([["buffered", "well"]]);
    assert_eq!(told(steps, "buffered").await, [accepted()]);
    let steps = json!([
        ["stream", "text/plain"],
        ["chunk", "we"],
        ["chunk", "ll"],
        ["end"]
    ]);
    assert_eq!(told(steps, "end").await, [accepted()]);
}

#[tokio::test]
async fn an_error_is_the_payload_and_its_type_the_code() {
    let lab = Lab::new();
    let text = r#"{"errorMessage": "broken", "errorType": "Error", "trace": []}"#;
    let answer = lab.begin(json!([["error", "Function.Broken", text]])).await;
    assert_eq!(
        (answer.content_type.as_deref(), &*answer.version),
        (None, "$LATEST")
    );
    let (payload, completion) = answer.rest().await;
    assert_eq!(payload, text);
    assert_eq!(&*error(&completion).code, "Function.Broken");
    assert_eq!(&*error(&completion).details, text);
    let untyped = json!([["post", format!("{PREFIX}/invocation/ID/error"), text, {}]]);
    assert_eq!(&*error(&lab.run(untyped).await.1).code, "Unhandled");
}

#[tokio::test]
async fn the_cause_of_an_error_may_be_long() {
    let lab = Lab::new();
    let cause = json!({"Lambda-Runtime-Function-XRay-Error-Cause": "x".repeat(100_000)});
    let steps = json!([["post", format!("{PREFIX}/invocation/ID/error"), "{}", cause]]);
    lab.run(steps).await;
    assert_eq!(lab.noted("post", 1).await[0][0], 202);
}

#[tokio::test]
async fn a_runtime_may_give_up_waiting_and_ask_again() {
    let lab = Lab::new();
    lab.run(json!([["buffered", "well"], ["impatient"]])).await;
    lab.noted("patient", 1).await;
    for _ in 0..2 {
        lab.pid().await;
    }
    assert_eq!(lab.notes("start").len(), 1);
}

#[tokio::test]
async fn only_one_response_mode_is_known() {
    let lab = Lab::new();
    let own = format!("{PREFIX}/invocation/ID/response");
    let steps = json!([["post", own, "x", {"Lambda-Runtime-Function-Response-Mode": "buffered"}]]);
    let (_, completion) = lab.run(steps).await;
    assert_eq!(
        &*error(&completion).code,
        "Runtime.InvalidResponseModeHeader"
    );
    assert_eq!(lab.noted("post", 1).await[0][0], 400);
}

#[tokio::test]
async fn a_buffered_invocation_returns_no_more_than_six_megabytes() {
    const MOST: usize = 6 * 1024 * 1024 + 100;
    let lab = Lab::new();
    let buffered = |steps| {
        let mut call = invocation(steps);
        call.mode = TransferMode::Buffered;
        call
    };
    let whole = lab
        .invoke(buffered(json!([["buffered_size", MOST]])))
        .await
        .unwrap();
    let (payload, completion) = whole.rest().await;
    assert_eq!((payload.len(), completion.error), (MOST, None));

    let refused = lab
        .invoke(buffered(json!([["buffered_size", MOST + 1]])))
        .await
        .unwrap();
    let (payload, completion) = refused.rest().await;
    assert_eq!(&*error(&completion).code, "Function.ResponseSizeTooLarge");
    assert!(
        payload.contains(
            "Response payload size exceeded maximum allowed payload size (6291556 bytes)."
        )
    );
    let told = lab.noted("buffered", 2).await;
    assert_eq!(told[1][0], 413);

    let chunked = json!([["stream"], ["flood", 97], ["end"]]);
    let (payload, completion) = lab.invoke(buffered(chunked)).await.unwrap().rest().await;
    assert!(payload.len() <= MOST);
    assert_eq!(&*error(&completion).code, "Function.ResponseSizeTooLarge");
    assert_eq!(lab.noted("end", 1).await[0][0], 413);

    let (payload, completion) = lab.run(json!([["buffered_size", MOST + 1]])).await;
    assert_eq!((payload.len(), completion.error), (MOST + 1, None));
    assert_eq!(lab.notes("start").len(), 1);
}
