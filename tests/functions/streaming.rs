//! Answers that come piece by piece.

use std::{fs, time::Duration};

use serde_json::json;
use sluicegate::config::model::TransferMode;

use super::support::{Lab, error, invocation, until};

#[tokio::test]
async fn each_piece_arrives_before_the_next_is_written() {
    let lab = Lab::new();
    let mut steps = vec![json!(["stream", "text/plain"])];
    for number in 0..20 {
        steps.push(json!(["chunk", format!("piece {number}")]));
        steps.push(json!(["wait", format!("go{number}")]));
    }
    steps.push(json!(["end"]));
    let mut answer = lab.begin(json!(steps)).await;
    for number in 0..20 {
        assert_eq!(answer.next().await, Some(format!("piece {number}")));
        lab.let_go(&format!("go{number}"));
    }
    assert_eq!(answer.next().await, None);
}

#[tokio::test]
async fn the_head_comes_before_the_first_piece() {
    let lab = Lab::new();
    let kind = "application/vnd.awslambda.http-integration-response";
    let steps = json!([["stream", kind], ["wait", "go"], ["chunk", "x"], ["end"]]);
    let answer = lab.begin(steps).await;
    assert_eq!(answer.content_type.as_deref(), Some(kind));
    lab.let_go("go");
    assert_eq!(answer.rest().await.0, "x");
}

#[tokio::test]
async fn only_streaming_answers_have_a_content_type_and_both_flow_in_either_mode() {
    let lab = Lab::new();
    for mode in [TransferMode::Buffered, TransferMode::Stream] {
        for (steps, kind) in [
            (
                json!([["stream", "text/plain"], ["chunk", "x"], ["end"]]),
                Some("text/plain"),
            ),
            (json!([["stream"], ["chunk", "x"], ["end"]]), None),
            (json!([["buffered", "x"]]), None),
        ] {
            let mut call = invocation(steps);
            call.mode = mode;
            let answer = lab.invoke(call).await.unwrap();
            assert_eq!(answer.content_type.as_deref(), kind);
            assert_eq!(answer.rest().await.0, "x");
        }
    }
}

#[tokio::test]
async fn an_error_in_the_trailers_is_the_functions() {
    let lab = Lab::new();
    let text = r#"{"errorType":"Error","errorMessage":"out of ideas","trace":[]}"#;
    let steps = json!([
        ["stream", "text/plain"],
        ["chunk", "well, "],
        ["trailers", "Function.Error", text]
    ]);
    let (payload, completion) = lab.run(steps).await;
    assert_eq!(payload, "well, ");
    assert_eq!(&*error(&completion).code, "Function.Error");
    assert_eq!(&*error(&completion).details, text);
    assert_eq!(lab.noted("end", 1).await[0][0], 202);
    let counts = lab.local().counters().unwrap().read();
    assert_eq!(counts, [1, 1, 0, 1, 0, 0]);
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_not_complete() {
    let lab = Lab::new();
    let (payload, completion) = lab
        .run(json!([
            ["stream", "text/plain"],
            ["chunk", "half"],
            ["cut"]
        ]))
        .await;
    assert_eq!(payload, "half");
    assert_eq!(&*error(&completion).code, "Runtime.TruncatedResponse");
    lab.pid().await;
    assert_eq!(lab.notes("start").len(), 1, "the process lives on");
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_function() {
    let lab = Lab::new();
    let answer = lab
        .begin(json!([["stream", "text/plain"], ["flood", 1024], ["end"]]))
        .await;
    let written = || {
        let text = fs::read_to_string(lab.directory.join(".flood")).unwrap_or_default();
        text.parse::<usize>().unwrap_or(0)
    };
    until(|| written() > 0).await;
    let mut before = 0;
    while written() > before {
        before = written();
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    // The kernel holds some megabytes on both sides of the socket; 64 MB were to be written.
    assert!(before < 16 << 20, "{before} bytes were written to nobody");
    let (payload, completion) = answer.rest().await;
    assert_eq!((payload.len(), completion.error), (64 << 20, None));
}
