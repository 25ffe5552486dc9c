//! Functions that break: what their caller sees, and that the next invocation is served.

use std::time::Duration;

use serde_json::json;

use super::support::{Lab, error, lives, until};

#[tokio::test]
async fn an_exit_before_the_answer_is_the_answer() {
    let lab = Lab::new();
    let first = lab.pid().await;
    let answer = lab.begin(json!([["exit", 7]])).await;
    assert_eq!(answer.content_type, None);
    let (payload, completion) = answer.rest().await;
    assert_eq!(&*error(&completion).code, "Runtime.ExitError");
    assert!(
        payload.contains(r#"{"errorType":"Runtime.ExitError","errorMessage":"RequestId: "#),
        "{payload}"
    );
    assert!(
        payload.contains("Runtime exited with error: exit status 7"),
        "{payload}"
    );
    assert_ne!(lab.pid().await, first);
}

#[tokio::test]
async fn an_exit_mid_stream_ends_the_stream_with_an_error_after_what_was_said() {
    let lab = Lab::new();
    let steps = json!([
        ["stream", "text/plain"],
        ["chunk", "half an "],
        ["chunk", "ans"],
        ["exit", 5]
    ]);
    let (payload, completion) = lab.run(steps).await;
    assert_eq!(payload, "half an ans");
    assert_eq!(&*error(&completion).code, "Runtime.ExitError");
    assert!(
        error(&completion).details.ends_with("exit status 5"),
        "{completion:?}"
    );
    lab.pid().await;
}

#[tokio::test]
async fn a_process_killed_mid_stream_leaves_others_unharmed() {
    let lab = Lab::with(|local| local.most_environments = 2);
    let mut other = lab
        .begin(json!([
            ["stream", "text/plain"],
            ["chunk", "a"],
            ["wait", "go"],
            ["chunk", "b"],
            ["end"]
        ]))
        .await;
    assert_eq!(other.next().await.as_deref(), Some("a"));
    let steps = json!([["stream", "text/plain"], ["chunk", "x"], ["kill"]]);
    let (payload, completion) = lab.run(steps).await;
    assert_eq!(payload, "x");
    assert!(
        error(&completion).details.ends_with("signal: killed"),
        "{completion:?}"
    );
    lab.let_go("go");
    let (payload, completion) = other.rest().await;
    assert_eq!((&*payload, completion.error), ("b", None));
}

#[tokio::test]
async fn an_exit_in_good_order_in_the_middle_is_none() {
    let lab = Lab::new();
    let (_, completion) = lab.run(json!([["exit", 0]])).await;
    assert!(
        error(&completion)
            .details
            .ends_with("Runtime exited without providing a reason"),
        "{completion:?}"
    );
}

#[tokio::test]
async fn an_exit_right_after_the_answer_harms_nobody() {
    let lab = Lab::new();
    let (payload, completion) = lab.run(json!([["buffered", "well"], ["exit", 1]])).await;
    assert_eq!((&*payload, completion.error), ("well", None));
    lab.pid().await;
}

#[tokio::test]
async fn a_hang_is_ended_by_the_timeout() {
    let lab = Lab::with(|local| local.timeout = Duration::from_secs(1));
    let first = lab.pid().await;
    let (payload, completion) = lab.run(json!([["stubborn"], ["hang"]])).await;
    assert_eq!(&*error(&completion).code, "Sandbox.Timedout");
    assert!(
        payload.contains(r#""errorType":"Sandbox.Timedout""#),
        "{payload}"
    );
    assert!(
        payload.contains("Error: Task timed out after 1.00 seconds"),
        "{payload}"
    );
    // It ignores SIGTERM.
    until(|| !lives(first)).await;
    assert_ne!(lab.pid().await, first);
    let counts = lab.local().counters().unwrap().read();
    assert_eq!(counts, [3, 2, 0, 1, 1, 0]);
}

#[tokio::test]
async fn a_hang_mid_stream_is_cut_by_the_timeout() {
    let lab = Lab::with(|local| local.timeout = Duration::from_secs(1));
    let steps = json!([
        ["stream", "text/plain"],
        ["chunk", "well"],
        ["closed"],
        ["exit", 0]
    ]);
    let (payload, completion) = lab.run(steps).await;
    assert_eq!(payload, "well");
    assert_eq!(&*error(&completion).code, "Sandbox.Timedout");
    lab.pid().await;
}

#[tokio::test]
async fn a_runtime_that_does_not_come_back_from_its_answer_is_replaced() {
    let lab = Lab::with(|local| local.timeout = Duration::from_secs(1));
    let (_, completion) = lab.run(json!([["buffered", "well"], ["hang"]])).await;
    assert_eq!(completion.error, None);
    let stuck = lab.notes("start")[0][1].as_u64().unwrap() as u32;
    assert_ne!(lab.pid().await, stuck);
    until(|| !lives(stuck)).await;
}

#[tokio::test]
async fn with_another_environment_allowed_nobody_waits_for_one_that_does_not_come_back() {
    let lab = Lab::with(|local| local.most_environments = 2);
    lab.run(json!([["buffered", "well"], ["wait", "never"]]))
        .await;
    lab.pid().await;
    assert_eq!(lab.notes("start").len(), 2);
    lab.let_go("never");
}
