//! What is told of reloads, and to whom.

use serde_json::Value;

use crate::{
    process::{Process, mock},
    support::{document, status, within},
};

/// What `/metrics` says of a series.
async fn metric(process: &Process, series: &str) -> u64 {
    let (_, page) = process.ask_admin("GET /metrics").await;
    let value = page
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    let value = value.unwrap_or_else(|| panic!("no {series} in {page}"));
    value.parse().unwrap()
}

/// Reloads that went well and that didn't, the configuration that is served, and whether the last reload went well.
async fn counted(process: &Process) -> (u64, u64, u64, Value) {
    let generation = metric(process, "sluicegate_config_generation").await;
    let readiness = process.readiness().await;
    assert_eq!(readiness["configGeneration"], generation);
    (
        metric(process, "sluicegate_reloads_total{result=\"success\"}").await,
        metric(process, "sluicegate_reloads_total{result=\"failure\"}").await,
        generation,
        readiness["lastReload"]["succeeded"].clone(),
    )
}

#[tokio::test]
async fn reloads_are_counted_and_the_last_one_is_told() {
    let good = document(&mock("/ping", "good"));
    let process = Process::start(&[("api.yaml", &good)], "").await;
    assert_eq!(counted(&process).await, (0, 0, 1, Value::Null));
    assert_eq!(process.readiness().await["lastReload"], Value::Null);
    assert_eq!(status(&process.reload().await.0), 200);
    assert_eq!(counted(&process).await, (1, 0, 2, true.into()));
    let last = process.readiness().await["lastReload"].clone();
    assert_eq!(last["finding"], Value::Null);
    process.write("api.yaml", "openapi: 3.0.1\ninfo: {title: Test\n");
    assert_eq!(status(&process.reload().await.0), 422);
    assert_eq!(counted(&process).await, (1, 1, 2, false.into()));
    let finding = process.readiness().await["lastReload"]["finding"].clone();
    let finding = finding.as_str().unwrap();
    assert!(
        finding.starts_with("E002 ") && finding.contains("api.yaml:"),
        "{finding}"
    );
    // One that only methods speak against.
    process.write("api.yaml", &good.replace("type: mock", "type: http"));
    assert_eq!(status(&process.reload().await.0), 422);
    let finding = process.readiness().await["lastReload"]["finding"].clone();
    let finding = finding.as_str().unwrap();
    assert!(finding.starts_with("E031 "), "{finding}");
    assert!(finding.ends_with("would answer 500\n"), "{finding}");
    process.write("api.yaml", &good);
    assert_eq!(status(&process.reload().await.0), 200);
    assert_eq!(counted(&process).await, (2, 2, 3, true.into()));
    let last = process.readiness().await["lastReload"].clone();
    assert_eq!(last["finding"], Value::Null);
}

#[tokio::test]
async fn what_is_wrong_is_told_without_the_secrets_beside_it() {
    let api = document(&mock("/ping", "ok"));
    let process = Process::start(&[("api.yaml", &api)], "").await;
    let listener = format!("  - address: {}\n", process.address);
    // A value that a finding's sentence quotes, and one that only stands in the line.
    let api = document(&mock("/ping", "ok"))
        + "x-amazon-apigateway-gateway-responses: {s3cret-in-the-document: {}}\n";
    process.write("api.yaml", &api);
    process.configure(
        &listener,
        "definition: api.yaml, stageVariables: {key: s3cret-in-the-line, other: [1]}, endpointType: s3cret-in-a-sentence\n",
    );
    let (head, told) = process.reload().await;
    assert_eq!(status(&head), 422, "{told}");
    for secret in [
        "s3cret-in-the-line",
        "`s3cret-in-a-sentence`",
        "`s3cret-in-the-document`",
    ] {
        assert!(told.contains(secret), "{told}");
    }
    let readiness = process.readiness().await;
    let finding = readiness["lastReload"]["finding"].as_str().unwrap();
    assert!(!readiness.to_string().contains("s3cret"), "{readiness}");
    let lines: Vec<&str> = finding.lines().collect();
    let expected = [
        (
            "E043 ",
            "/api.yaml:10:41: a gateway response that API Gateway rejects",
        ),
        ("E011 ", "/sluicegate.yaml:5:80: a value of the wrong type"),
        (
            "E013 ",
            "/sluicegate.yaml:5:100: a value that isn't one of those allowed",
        ),
    ];
    assert_eq!(lines.len(), expected.len(), "{finding}");
    for (line, (code, end)) in lines.iter().zip(expected) {
        assert!(line.starts_with(code) && line.ends_with(end), "{finding}");
    }
    // Operators find the whole in the log.
    process.line_with("s3cret-in-the-line").await;
}

#[tokio::test]
async fn a_pipe_or_a_device_in_the_place_of_a_file_is_told_and_never_waited_for() {
    let api = document(&mock("/ping", "ok"));
    let process = Process::start(&[("api.yaml", &api)], "watch: true\n").await;
    let path = process.directory.join("api.yaml");
    for place in ["pipe", "/dev/zero"] {
        std::fs::remove_file(&path).unwrap();
        if place == "pipe" {
            let made = std::process::Command::new("mkfifo").arg(&path).status();
            assert!(made.unwrap().success());
        } else {
            std::os::unix::fs::symlink(place, &path).unwrap();
        }
        let (head, told) = within(process.reload()).await;
        assert_eq!(status(&head), 422, "{told}");
        assert!(
            told.contains("E001") && told.contains("isn't a regular file"),
            "{told}"
        );
    }
    std::fs::remove_file(&path).unwrap();
    process.write("api.yaml", &api);
    assert_eq!(status(&within(process.reload()).await.0), 200);
}
