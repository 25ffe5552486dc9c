//! Environments that start, or don't.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use serde_json::{Value, json};
use sluicegate::config::model::Runtime;

use super::support::{Lab, error, invocation, lives, python, until, within};

#[tokio::test]
async fn a_runtime_finds_its_world_as_on_aws() {
    let lab = Lab::with(|local| {
        let own = [
            ("OWN", "mine"),
            ("AWS_REGION", "mars"),
            ("TZ", "Asia/Tokyo"),
        ];
        local.environment = own
            .map(|(name, value)| (name.into(), value.into()))
            .to_vec();
        local.memory_size = 512;
    });
    let (environment, _) = lab.run(json!([["environment"]])).await;
    let environment: Value = serde_json::from_str(&environment).unwrap();
    let directory = lab.directory.to_str().unwrap();
    for (name, value) in [
        ("OWN", "mine"),
        ("TZ", "Asia/Tokyo"),
        ("AWS_REGION", "eu-west-3"),
        ("AWS_DEFAULT_REGION", "eu-west-3"),
        ("_HANDLER", "index.handler"),
        ("LAMBDA_TASK_ROOT", directory),
        ("cwd", directory),
        ("AWS_LAMBDA_FUNCTION_NAME", "chat"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/chat"),
    ] {
        assert_eq!(environment[name], value, "{name}");
    }
    let passed = ["CARGO", "CARGO_MANIFEST_DIR", "USER"];
    assert!(passed.iter().all(|name| environment.get(name).is_none()));
}

#[tokio::test]
async fn an_exit_while_starting_is_told_to_all_who_wait() {
    let lab = Lab::with(|local| {
        local.environment = vec![("START".into(), "exit".into())];
        local.most_environments = 2;
    });
    let (one, other) = tokio::join!(lab.run(json!([["pid"]])), lab.run(json!([["pid"]])));
    for (payload, completion) in [one, other] {
        let error = error(&completion);
        assert_eq!(&*error.code, "Runtime.ExitError");
        assert!(
            error
                .details
                .ends_with("Error: Runtime exited with error: exit status 3"),
            "{error}"
        );
        let payload: Value = serde_json::from_str(&payload).unwrap();
        let told = json!({"errorType": "Runtime.ExitError", "errorMessage": &*error.details});
        assert_eq!(payload, told);
    }
}

#[tokio::test]
async fn an_error_of_the_start_is_passed_on_as_the_runtime_tells_it() {
    let lab = Lab::with(|local| local.environment = vec![("START".into(), "error".into())]);
    let (payload, completion) = lab.run(json!([["pid"]])).await;
    let text = r#"{"errorType": "ImportError", "errorMessage": "no such module"}"#;
    assert_eq!(payload, text);
    assert_eq!(&*error(&completion).code, "Runtime.ImportError");
    assert_eq!(&*error(&completion).details, text);
    let told = lab.noted("init", 1).await;
    assert_eq!(told, [json!([202, "{\"status\":\"OK\"}"])]);
}

#[tokio::test]
async fn a_start_that_takes_too_long_is_ended() {
    let lab = Lab::with(|local| {
        local.environment = vec![("START".into(), "hang".into())];
        local.init_timeout = Duration::from_secs(1);
    });
    let (_, completion) = lab.run(json!([["pid"]])).await;
    assert_eq!(&*error(&completion).code, "Sandbox.Timedout");
    assert!(
        error(&completion)
            .details
            .ends_with("Task timed out after 1.00 seconds"),
        "{:?}",
        completion.error
    );
    let pid = lab.notes("start")[0][1].as_u64().unwrap() as u32;
    until(|| !lives(pid)).await;
}

#[tokio::test]
async fn a_program_that_cannot_be_started_is_named_with_a_cure() {
    for (command, words) in [
        ("no-such-program", "wasn't found on the PATH"),
        (
            "./no-such-program",
            "/./no-such-program` wasn't found; put it there",
        ),
        ("./notes", "chmod +x"),
    ] {
        let lab = Lab::with(|local| {
            local.command = vec![command.into()];
            std::fs::write(local.directory.join("notes"), "").unwrap();
        });
        let (payload, completion) = lab.run(json!([["pid"]])).await;
        assert_eq!(
            &*error(&completion).code,
            "Runtime.InvalidEntrypoint",
            "{command}"
        );
        assert!(payload.contains(words), "{payload}");
    }
    let lab = Lab::with(|local| local.directory = "/no/such/directory".into());
    let (_, completion) = lab.run(json!([["pid"]])).await;
    assert_eq!(&*error(&completion).code, "Runtime.InvalidWorkingDir");
}

#[tokio::test]
async fn a_crash_loop_is_slowed_down() {
    let lab = Lab::with(|local| local.environment = vec![("START".into(), "exit".into())]);
    let begun = tokio::time::Instant::now();
    for _ in 0..4 {
        lab.run(json!([["pid"]])).await;
    }
    // The second start is immediate, the third waits for 100 ms, the fourth for 200 ms.
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert_eq!(lab.local().counters().unwrap().init_errors.load(Relaxed), 4);
}

#[tokio::test]
async fn what_waits_for_a_start_has_it_when_the_gateway_stops() {
    let lab = Lab::with(|local| local.environment = vec![("START".into(), "hang".into())]);
    let local = lab.local().clone();
    let waiting = tokio::spawn(async move { local.invoke(invocation(json!([["pid"]]))).await });
    lab.noted("start", 1).await;
    lab.stop().await;
    assert!(within(waiting).await.unwrap().is_err());
}

#[tokio::test]
async fn the_bundled_python_runtime_runs_and_streams() {
    let lab = Lab::with(|local| {
        local.runtime = Runtime::Python;
        local.runtime_name = "python3.11".into();
        local.environment = vec![("PATH".into(), path_of_python().into())];
        let code = "def handler(event, context):\n    return {'got': event}\n\n\
                    def stream(event, context):\n    yield b'one '\n    yield b'two'\n";
        std::fs::write(local.directory.join("index.py"), code).unwrap();
    });
    let (payload, completion) = lab.run(json!([])).await;
    assert_eq!(completion.error, None, "{payload}");
    let payload: Value = serde_json::from_str(&payload).unwrap();
    assert_eq!(payload, json!({"got": {"do": []}}));
    drop(lab);

    let lab = Lab::with(|local| {
        local.runtime = Runtime::Python;
        local.handler = "index.stream".into();
        local.environment = vec![("PATH".into(), path_of_python().into())];
        let code = "def stream(event, context):\n    yield b'one '\n    yield b'two'\n";
        std::fs::write(local.directory.join("index.py"), code).unwrap();
    });
    let answer = lab.begin(json!([])).await;
    assert!(answer.content_type.is_some());
    assert_eq!(answer.rest().await.0, "one two");
}

#[tokio::test]
async fn the_bundled_node_runtime_streams_piece_by_piece() {
    if std::process::Command::new("node")
        .arg("--version")
        .output()
        .is_err()
    {
        eprintln!("there is no node");
        return;
    }
    let lab = Lab::with(|local| {
        local.runtime = Runtime::Node;
        local.runtime_name = "nodejs20.x".into();
        let path = std::env::var("PATH").unwrap();
        local.environment = vec![("PATH".into(), path.into())];
        let code = "import fs from 'node:fs';
            import { setTimeout } from 'node:timers/promises';
            export const handler = awslambda.streamifyResponse(async (event, stream) => {
              stream = awslambda.HttpResponseStream.from(stream, { statusCode: 201 });
              stream.write('one ');
              while (!fs.existsSync('go')) await setTimeout(2);
              stream.write('two');
              stream.end();
            });";
        std::fs::write(local.directory.join("index.mjs"), code).unwrap();
    });
    let mut answer = lab.begin(json!([])).await;
    let kind = "application/vnd.awslambda.http-integration-response";
    assert_eq!(answer.content_type.as_deref(), Some(kind));
    let mut first = String::new();
    while !first.ends_with("one ") {
        first.push_str(&answer.next().await.unwrap());
    }
    assert!(first.starts_with(r#"{"statusCode":201}"#), "{first:?}");
    lab.let_go("go");
    assert_eq!(answer.rest().await.0, "two");
}

fn path_of_python() -> String {
    let directory = std::path::Path::new(python()).parent().unwrap();
    format!("{}:/usr/bin:/bin", directory.display())
}

#[tokio::test]
async fn an_extension_is_told_of_invocations_and_of_the_end() {
    let lab = Lab::with(|local| local.extensions = vec!["extension.py".into()]);
    let registered = |lab: &Lab| lab.notes("registered");
    let mut call = invocation(json!([["wait", "go"], ["pid"]]));
    call.trace = b"Root=1-x".to_vec().into();
    let id = call.request_id;
    let asked = async {
        lab.noted("registered", 1).await;
        lab.let_go("go");
    };
    let (answer, ()) = tokio::join!(lab.invoke(call), asked);
    answer.unwrap().rest().await;
    let about = &registered(&lab)[0];
    let names =
        json!({"functionName": "chat", "functionVersion": "$LATEST", "handler": "index.handler"});
    assert_eq!((&about[0], &about[1]), (&json!(200), &names));
    assert_eq!(lab.notes("stranger")[0][0], 403);
    lab.pid().await;
    let events = lab.noted("event", 1).await;
    let event = &events.last().unwrap()[0];
    assert_eq!(event["eventType"], "INVOKE");
    assert!(event["deadlineMs"].as_u64().unwrap() > 1_600_000_000_000);
    let first = &events[0][0];
    if first["requestId"] == id.as_str() {
        assert_eq!(
            first["tracing"],
            json!({"type": "X-Amzn-Trace-Id", "value": "Root=1-x"})
        );
    }
    lab.stop().await;
    let last = lab.notes("event").last().unwrap()[0].clone();
    assert_eq!(
        (&last["eventType"], &last["shutdownReason"]),
        (&json!("SHUTDOWN"), &json!("spindown"))
    );
    let pid = about[2].as_u64().unwrap() as u32;
    assert!(!lives(pid));
}
