//! Callers that leave.

use std::fs;

use serde_json::json;

use super::support::{Answer, Lab, invocation, lives, until};

#[tokio::test]
async fn a_caller_that_leaves_before_the_answer_cancels_it_and_the_environment_serves_on() {
    let lab = Lab::new();
    let pid = lab.pid().await;
    let local = lab.local();
    let steps = json!([["note", "begun"], ["wait", "go"], ["buffered", "too late"]]);
    let mut call = Box::pin(local.invoke(invocation(steps)));
    assert!(futures_util::poll!(call.as_mut()).is_pending());
    lab.noted("begun", 1).await;
    drop(call);
    until(|| local.counters().unwrap().read()[5] == 1).await;
    lab.let_go("go");
    assert_eq!(lab.noted("buffered", 1).await[0][0], 410);
    assert_eq!(lab.pid().await, pid);
}

#[tokio::test]
async fn a_caller_that_leaves_in_silence_closes_the_runtimes_connection() {
    let lab = Lab::new();
    let steps = json!([["stream", "text/plain"], ["chunk", "x"], ["closed"]]);
    let mut answer = lab.begin(steps).await;
    answer.next().await;
    let pid = lab.notes("start")[0][1].as_u64().unwrap() as u32;
    drop(answer);
    assert_eq!(lab.noted("closed", 1).await[0][0], true);
    assert_eq!(lab.pid().await, pid, "it came back within its grace");
    assert_eq!(lab.local().counters().unwrap().read(), [2, 1, 0, 0, 0, 1]);
}

#[tokio::test]
async fn a_caller_that_leaves_mid_stream_stops_the_writing() {
    let lab = Lab::new();
    let steps = json!([["stream", "text/plain"], ["flood", 1_000_000]]);
    let mut answer = lab.begin(steps).await;
    answer.next().await;
    drop(answer);
    lab.noted("flood cut", 1).await;
    lab.pid().await;
    assert_eq!(lab.notes("start").len(), 1);
}

#[tokio::test]
async fn a_function_that_ignores_its_cancellation_is_ended_after_a_grace() {
    let lab = Lab::new();
    let steps = json!([
        ["stubborn"],
        ["child"],
        ["stream", "text/plain"],
        ["chunk", "x"],
        ["hang"]
    ]);
    let mut answer = lab.begin(steps).await;
    answer.next().await;
    let pid = lab.notes("start")[0][1].as_u64().unwrap() as u32;
    drop(answer);
    assert_ne!(lab.pid().await, pid);
    until(|| !lives(pid)).await;
}

#[tokio::test]
async fn runtimes_that_exit_when_they_are_cancelled_are_replaced_without_a_pause() {
    let lab = Lab::new();
    let begun = tokio::time::Instant::now();
    for _ in 0..7 {
        let steps = json!([
            ["stream", "text/plain"],
            ["chunk", "x"],
            ["closed"],
            ["exit", 128]
        ]);
        lab.begin(steps).await.next().await;
    }
    // As failed starts in a row they would have cost six seconds and more.
    assert!(begun.elapsed() < std::time::Duration::from_secs(5));
    assert_eq!(lab.notes("start").len(), 7);
}

#[tokio::test]
async fn a_caller_that_leaves_the_queue_is_not_served() {
    let lab = Lab::new();
    let held = lab
        .begin(json!([["stream", "text/plain"], ["wait", "go"], ["end"]]))
        .await;
    let local = lab.local();
    let mut waiting = Box::pin(local.invoke(invocation(json!([["note", "ran"], ["pid"]]))));
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    assert_eq!(lab.gauges().waiting, 1);
    drop(waiting);
    assert_eq!(lab.gauges().waiting, 0);
    lab.let_go("go");
    held.rest().await;
    lab.pid().await;
    assert!(lab.notes("ran").is_empty());
}

#[tokio::test]
async fn a_function_that_runs_on_ends_its_answer_without_a_caller() {
    let lab = Lab::new();
    let steps = json!([
        ["stream", "text/plain"],
        ["chunk", "x"],
        ["wait", "go"],
        ["flood", 200],
        ["end"]
    ]);
    let mut call = invocation(steps);
    call.runs_on = true;
    let mut answer: Answer = lab.invoke(call).await.unwrap();
    answer.next().await;
    drop(answer);
    lab.let_go("go");
    assert_eq!(lab.noted("end", 1).await[0][0], 202);
    let written = fs::read_to_string(lab.directory.join(".flood")).unwrap();
    assert_eq!(written, (200 * 65536).to_string());
    lab.pid().await;
    assert_eq!(lab.notes("start").len(), 1);
}

#[tokio::test]
async fn beside_others_in_its_environment_a_cancelled_invocation_ends_nobody_else() {
    let lab = Lab::with(|local| local.per_environment = 2);
    let steps = json!([
        ["stream", "text/plain"],
        ["chunk", "x"],
        ["wait", "go"],
        ["chunk", "y"],
        ["end"]
    ]);
    let mut other = lab.begin(steps).await;
    other.next().await;
    let hanging = lab.begin(json!([["stream", "text/plain"], ["hang"]])).await;
    drop(hanging);
    until(|| lab.gauges().ending == 1).await;
    lab.let_go("go");
    assert_eq!(other.rest().await.0, "y");
    let pid = lab.notes("start")[0][1].as_u64().unwrap() as u32;
    until(|| !lives(pid)).await;
}
