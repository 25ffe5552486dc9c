//! What a function writes, for those who ask for it.

use serde_json::json;

use super::support::{Lab, invocation};

async fn log(lab: &Lab, steps: serde_json::Value) -> String {
    let mut call = invocation(steps);
    call.wants_log = true;
    let (_, completion) = lab.invoke(call).await.unwrap().rest().await;
    completion.log.unwrap().into()
}

#[tokio::test]
async fn the_tail_has_the_lines_between_start_and_report() {
    let lab = Lab::new();
    let text = log(
        &lab,
        json!([
            ["print", "thinking"],
            ["print", "äöü"],
            ["buffered", "well"]
        ]),
    )
    .await;
    let lines: Vec<&str> = text.lines().collect();
    let id = lines[0].strip_prefix("START RequestId: ").unwrap();
    let id = id.strip_suffix(" Version: $LATEST").unwrap();
    assert_eq!(lines[1..3], ["thinking", "äöü"]);
    assert_eq!(lines[3], format!("END RequestId: {id}"));
    let report = lines[4]
        .strip_prefix(&format!("REPORT RequestId: {id}\tDuration: "))
        .unwrap();
    assert!(report.contains("\tInit Duration: "), "{report}");
    assert!(report.contains("\tTime To First Byte: "), "{report}");
    assert!(report.ends_with("\tStreamed Bytes: 4"), "{report}");

    let text = log(&lab, json!([["print", "again"], ["buffered", "well"]])).await;
    assert!(
        !text.contains("Init Duration") && !text.contains("thinking"),
        "{text}"
    );
}

#[tokio::test]
async fn the_last_words_before_a_crash_are_in_its_log() {
    let lab = Lab::new();
    let text = log(&lab, json!([["print", "farewell"], ["exit", 2]])).await;
    assert!(text.contains("\nfarewell\nEND RequestId: "), "{text}");
    assert!(
        text.contains("\tStatus: error\tError Type: Runtime.ExitError\n"),
        "{text}"
    );
}

#[tokio::test]
async fn only_the_last_four_kilobytes_are_kept() {
    let lab = Lab::new();
    let long = "x".repeat(100_000);
    let text = log(&lab, json!([["print", long], ["buffered", "well"]])).await;
    assert!(text.len() <= 4096, "{}", text.len());
    assert!(text.contains("xxx\nEND"), "{text}");
}

#[tokio::test]
async fn nobody_gets_a_log_without_asking() {
    let lab = Lab::new();
    assert_eq!(
        lab.run(json!([["print", "x"], ["buffered", "well"]]))
            .await
            .1
            .log,
        None
    );
}
