//! Outputs of logs that don't take what they get (acceptance items 163 and 173): requests are served, other logs are
//! written, and what is lost is counted and told.

use std::{fs, io::pipe, time::Duration};

use super::{
    process::{Process, mock},
    support::{Client, document, status, within},
};

/// An API whose log is a file of its own, and a line for all other requests so long that few of them fill an output.
fn two_logs(path: &str) -> String {
    let long = "x".repeat(60_000);
    format!(
        "accessLog: {{path: '{path}', format: '$context.requestId {long}'}}\nshutdown: {{preStopDelayInMillis: 0}}\n\
         definition: api.yaml, domains: [api.test], accessLog: {{path: own.log, format: clf}}\n"
    )
}

async fn start(settings: &str, stdout: impl Into<std::process::Stdio>) -> Process {
    let api = document(&mock("/ping", "ok"));
    Process::start(&[("api.yaml", &api)], settings)
        .with_stdout(stdout)
        .await
}

/// A request for the API; its line goes to its own log.
async fn ask_api(process: &Process) {
    let request = "GET /ping HTTP/1.1\r\nHost: api.test\r\n\r\n";
    let (head, body) = Client::ask(process.address, request).await;
    assert_eq!((status(&head), &*body), (200, "ok"));
}

/// A request that reaches no API.
async fn ask_nobody(process: &Process) {
    let request = "GET /ping HTTP/1.1\r\nHost: nobody.test\r\n\r\n";
    let (head, _) = Client::ask(process.address, request).await;
    assert_eq!(status(&head), 403);
}

async fn lost(process: &Process, output: &str) -> u64 {
    let page = process.ask_admin("GET /metrics").await.1;
    let series = format!("sluicegate_log_lines_lost_total{{output=\"{output}\"}} ");
    let value = page.lines().find_map(|line| line.strip_prefix(&series));
    value.unwrap().parse().unwrap()
}

async fn has_lost(process: &Process, output: &str, count: u64) {
    within(async {
        while lost(process, output).await < count {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// Waits until the API's log has so many lines.
async fn own_log_has(process: &Process, count: usize) {
    let path = process.directory.join("own.log");
    within(async {
        while fs::read_to_string(&path).unwrap().lines().count() < count {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn item_163_a_full_disk_loses_lines_and_no_requests() {
    let process = start(&two_logs("/dev/full"), std::process::Stdio::null()).await;
    for count in 1..=3 {
        ask_nobody(&process).await;
        has_lost(&process, "/dev/full", count).await;
    }
    ask_api(&process).await;
    own_log_has(&process, 1).await;
    assert_eq!(lost(&process, "/dev/full").await, 3);
    process.signal("TERM");
    assert_eq!(process.exit_status().await, Some(0));
    let said = process.last_words().await;
    let complaints = said.iter().filter(|line| {
        line.contains("log lines can't be written and are lost") && line.contains("/dev/full")
    });
    assert_eq!(complaints.count(), 1, "{said:#?}");
}

#[tokio::test]
async fn an_output_that_fails_now_and_then_is_told_once_for_many() {
    let api = document(&mock("/ping", "ok"));
    let settings = two_logs("logs/most.log");
    let process = Process::start(&[("api.yaml", &api)], &settings)
        .prepared(|directory| fs::create_dir(directory.join("logs")).unwrap())
        .with_stdout(std::process::Stdio::null())
        .await;
    let output = process.directory.join("logs/most.log");
    let name = output.display().to_string();
    let (place, aside) = (
        process.directory.join("logs"),
        process.directory.join("aside"),
    );
    for count in 1..=3 {
        fs::rename(&place, &aside).unwrap();
        ask_nobody(&process).await;
        has_lost(&process, &name, count).await;
        fs::rename(&aside, &place).unwrap();
        ask_nobody(&process).await;
        within(async {
            while fs::read_to_string(&output).unwrap().lines().count() < count as usize {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }
    process.signal("TERM");
    assert_eq!(process.exit_status().await, Some(0));
    let said = process.last_words().await;
    let about_lines: Vec<&String> = said
        .iter()
        .filter(|line| line.contains("log lines"))
        .collect();
    assert!(
        matches!(&about_lines[..], [lost, again]
            if lost.contains("can't be written and are lost") && again.contains("are written again")),
        "{said:#?}"
    );
}

#[tokio::test]
async fn item_173_a_pipe_that_nobody_reads_stops_nothing_but_its_own_lines() {
    let (_reader, writer) = pipe().unwrap();
    let process = start(&two_logs("stdout"), writer).await;
    // More than a pipe and the buffers before it hold.
    let fill = async {
        while lost(&process, "stdout").await == 0 {
            for _ in 0..40 {
                ask_nobody(&process).await;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), fill)
        .await
        .expect("the buffer is bounded");
    let complaint = process.line_with("the output doesn't keep up").await;
    assert!(complaint.contains("stdout"), "{complaint}");
    ask_api(&process).await;
    own_log_has(&process, 1).await;
    ask_nobody(&process).await;
    assert_eq!(status(&process.reload().await.0), 200);
    process.line_with("generation=2").await;
    process.signal("TERM");
    assert_eq!(process.exit_status().await, Some(0));
}

#[tokio::test]
async fn item_173_a_pipe_whose_reader_is_gone_loses_lines_and_no_requests() {
    let (reader, writer) = pipe().unwrap();
    let process = start(&two_logs("stdout"), writer).await;
    drop(reader);
    for count in 1..=2 {
        ask_nobody(&process).await;
        has_lost(&process, "stdout", count).await;
    }
    process.line_with("can't be written and are lost").await;
    ask_api(&process).await;
    own_log_has(&process, 1).await;
    process.signal("TERM");
    assert_eq!(process.exit_status().await, Some(0));
}

#[tokio::test]
async fn a_log_that_a_reload_does_without_is_closed() {
    let process = start(&two_logs("first.log"), std::process::Stdio::null()).await;
    let is_open = |name: &str| {
        let path = process.directory.join(name);
        let open = fs::read_dir(format!("/proc/{}/fd", process.id())).unwrap();
        open.filter_map(|it| fs::read_link(it.unwrap().path()).ok())
            .any(|it| it == path)
    };
    ask_nobody(&process).await;
    ask_api(&process).await;
    own_log_has(&process, 1).await;
    within(async {
        while !is_open("first.log") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let listener = format!("  - address: {}\n", process.address);
    process.configure(&listener, &two_logs("second.log"));
    assert_eq!(status(&process.reload().await.0), 200);
    within(async {
        while is_open("first.log") {
            ask_nobody(&process).await;
        }
    })
    .await;
    assert!(is_open("own.log"));
    let first = fs::read_to_string(process.directory.join("first.log")).unwrap();
    assert_eq!((first.lines().count(), first.ends_with('\n')), (1, true));
}
