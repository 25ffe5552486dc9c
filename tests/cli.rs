//! The program as its user meets it: commands, exit statuses, what is said where, signals.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that is wrong about its world should stop at once"
)]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    time::Duration,
};

const GUARD: Duration = Duration::from_secs(5);

const GOOD: &str = "openapi: 3.0.1\ninfo: {title: Shop}\npaths:\n  /items/{id}:\n    get:\n      \
    x-amazon-apigateway-integration:\n        type: http_proxy\n        uri: http://127.0.0.1:9/items\n  \
    /ping:\n    get:\n      x-amazon-apigateway-integration:\n        type: mock\n        \
    requestTemplates: {application/json: '{\"statusCode\": 200}'}\n        responses: {default: {statusCode: 200}}\n";
/// One method is served, the other can't be.
const HALF_GOOD: &str = "openapi: 3.0.1\ninfo: {title: Shop}\npaths:\n  /ping:\n    get:\n      \
    x-amazon-apigateway-integration:\n        type: mock\n        \
    requestTemplates: {application/json: '{\"statusCode\": 200}'}\n        responses: {default: {statusCode: 200}}\n    post:\n      \
    x-amazon-apigateway-integration: {type: http, uri: 'http://127.0.0.1:9'}\n";

fn sluicegate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluicegate"));
    for name in [
        "SLUICEGATE_ADMIN",
        "SLUICEGATE_LISTEN",
        "SLUICEGATE_WORKERS",
        "RUST_LOG",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_HEADERS",
        "OTEL_TRACES_SAMPLER_ARG",
        "OTEL_SERVICE_NAME",
        "OTEL_SDK_DISABLED",
    ] {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    sluicegate(arguments).output().unwrap()
}

fn run_with_input(arguments: &[&str], input: &str) -> Output {
    let mut command = sluicegate(arguments);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A directory with files, removed at the end.
struct Files(PathBuf);

impl Files {
    fn new(name: &str, files: &[(&str, &str)]) -> Files {
        let directory =
            std::env::temp_dir().join(format!("sluicegate-cli-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        for (name, text) in files {
            fs::write(directory.join(name), text).unwrap();
        }
        Files(directory)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_string_lossy().into_owned()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A gateway in a process of its own, with the lines it says.
struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
    address: SocketAddr,
}

impl Running {
    fn start(mut command: Command) -> Running {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (said, lines) = mpsc::channel();
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let also = said.clone();
        std::thread::spawn(move || {
            BufReader::new(out)
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| said.send(line))
        });
        std::thread::spawn(move || {
            BufReader::new(err)
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| also.send(line))
        });
        let mut running = Running {
            child,
            lines,
            address: ([127, 0, 0, 1], 0).into(),
        };
        let line = running.line_with(" on http://");
        let address = line.split("http://").nth(1).unwrap();
        let end = address
            .find(|c: char| c != '.' && c != ':' && !c.is_ascii_digit())
            .unwrap_or(address.len());
        running.address = address[..end].parse().unwrap();
        running
    }

    /// Waits for a line with `text`.
    fn line_with(&self, text: &str) -> String {
        let mut seen = Vec::new();
        loop {
            match self.lines.recv_timeout(GUARD) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => seen.push(line),
                Err(error) => panic!("no line with `{text}` ({error}), only {seen:#?}"),
            }
        }
    }

    /// Stops it, and returns the lines with `text` that it said before.
    fn last_lines_with(&self, text: &str) -> Vec<String> {
        self.signal("TERM");
        let mut told = Vec::new();
        loop {
            match self.lines.recv_timeout(GUARD) {
                Ok(line) if line.contains("SIGTERM") => return told,
                Ok(line) if line.contains(text) => told.push(line),
                Ok(_) => {}
                Err(error) => panic!("it wasn't stopped ({error})"),
            }
        }
    }

    fn get(&self, path: &str) -> String {
        let mut tcp = TcpStream::connect(self.address).unwrap();
        tcp.set_read_timeout(Some(GUARD)).unwrap();
        write!(
            tcp,
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).unwrap();
        answer
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }

    fn exit_status(mut self) -> Option<i32> {
        for _ in 0..500 {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(GUARD / 500);
        }
        panic!("it still runs");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn help_teaches_and_wrong_usage_is_told() {
    let help = run(&["--help"]);
    for command in [
        "serve", "check", "routes", "invoke", "schema", "demo", "top", "health",
    ] {
        assert!(out(&help).contains(command), "{}", out(&help));
        let own = run(&[command, "--help"]);
        assert!(
            own.status.success() && out(&own).contains("Usage"),
            "{}",
            out(&own)
        );
    }
    assert!(out(&run(&["--version"])).starts_with("sluicegate "));
    for wrong in [
        &["check"][..],
        &["check", "--colour", "x"],
        &["frobnicate"],
        &["routes", "x.yaml", "GET"],
        &[],
    ] {
        assert_eq!(run(wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn check_exits_as_documented() {
    let files = Files::new(
        "check",
        &[
            ("good.yaml", GOOD),
            ("half.yaml", HALF_GOOD),
            ("bad.yaml", "openapi: 2\n"),
        ],
    );
    let warned = GOOD.replace(
        "type: http_proxy",
        "type: http_proxy\n        responseTransferMode: STREAM",
    );
    fs::write(files.0.join("warned.yaml"), warned).unwrap();
    for (name, status, code) in [
        ("good", 0, None),
        ("warned", 0, Some("W101")),
        ("half", 1, Some("E031")),
        ("bad", 1, Some("E021")),
    ] {
        let path = files.path(&format!("{name}.yaml"));
        let human = run(&["check", &path]);
        assert_eq!(human.status.code(), Some(status), "{name}: {}", out(&human));
        let json: serde_json::Value =
            serde_json::from_slice(&run(&["check", "--format", "json", &path]).stdout).unwrap();
        assert_eq!(json[0]["code"].as_str(), code, "{name}: {json}");
        assert!(
            code.is_none_or(|code| out(&human).contains(code)),
            "{name}: {}",
            out(&human)
        );
    }
    // All of several, in one go.
    let both = run(&["check", &files.path("half.yaml"), &files.path("bad.yaml")]);
    assert!(
        out(&both).contains("E031")
            && out(&both).contains("E021")
            && out(&both).contains("2 errors"),
        "{}",
        out(&both)
    );
}

#[test]
fn standard_input_is_a_configuration_too() {
    let good = run_with_input(&["check", "-"], GOOD);
    assert!(good.status.success(), "{}", out(&good));
    let json = r#"{"openapi": "3.0.1", "info": {"title": "x"}, "paths": {"/a": {"get": {}}}}"#;
    let warned = run_with_input(&["check", "-"], json);
    assert!(
        out(&warned).contains("W109") && out(&warned).contains("<stdin>:1:"),
        "{}",
        out(&warned)
    );
    let routes = run_with_input(&["routes", "-", "GET", "/ping"], GOOD);
    assert!(out(&routes).contains("MOCK"), "{}", out(&routes));
}

#[test]
fn colour_is_for_terminals_only() {
    let files = Files::new("colour", &[("bad.yaml", "openapi: 2\n")]);
    assert!(!out(&run(&["check", &files.path("bad.yaml")])).contains('\u{1b}'));
}

#[test]
fn routes_lists_and_explains() {
    let files = Files::new(
        "routes",
        &[
            ("api.yaml", GOOD),
            (
                "sluicegate.yaml",
                "apis:\n  - {definition: api.yaml, domains: [api.example.com], basePath: prod, stage: prod}\n",
            ),
        ],
    );
    let table = out(&run(&["routes", &files.path("sluicegate.yaml")]));
    let header: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(
        header,
        ["METHOD", "PATH", "INTEGRATION", "MODE", "TIMEOUT", "TARGET"]
    );
    assert!(table.contains("api.example.com/prod/items/{id}"), "{table}");
    let explain = |method: &str, url: &str| {
        out(&run(&[
            "routes",
            &files.path("sluicegate.yaml"),
            method,
            url,
        ]))
    };
    let hit = explain("GET", "http://api.example.com/prod/items/7");
    assert!(
        hit.contains("/items/{id} (GET): wins") && hit.contains("id = 7"),
        "{hit}"
    );
    let wrong_method = explain("DELETE", "http://api.example.com/prod/items/7");
    assert!(
        wrong_method.contains("has no DELETE") && wrong_method.contains("403"),
        "{wrong_method}"
    );
    let elsewhere = explain("GET", "http://other.example.com/prod/items/7");
    assert!(elsewhere.contains("no API is mounted"), "{elsewhere}");
    assert_eq!(
        run(&["routes", &files.path("sluicegate.yaml"), "GE T", "/"])
            .status
            .code(),
        Some(2)
    );
}

#[test]
fn the_schema_describes_every_setting() {
    let schema: serde_json::Value = serde_json::from_slice(&run(&["schema"]).stdout).unwrap();
    let properties = schema["properties"].as_object().unwrap();
    for key in ["listeners", "apis", "accessLog", "shutdown", "vpcLinks"] {
        assert!(properties[key]["description"].is_string(), "{key}");
    }
}

#[test]
fn serve_answers_and_stops_on_sigterm() {
    let files = Files::new("serve", &[("api.yaml", GOOD)]);
    let mut command = sluicegate(&["serve", &files.path("api.yaml")]);
    // The address 127.0.0.1:8080 of a bare document may be taken.
    command
        .env("SLUICEGATE_LISTEN", "127.0.0.1:0")
        .env("SLUICEGATE_WORKERS", "2");
    let running = Running::start(command);
    assert!(running.get("/ping").starts_with("HTTP/1.1 200 "));
    let record: serde_json::Value =
        serde_json::from_str(&running.line_with("\"path\":\"/ping\"")).unwrap();
    assert_eq!(
        (record["status"].as_str(), record["outcome"].as_str()),
        (Some("200"), Some("complete"))
    );
    running.signal("INT");
    running.line_with("stopped");
    assert_eq!(running.exit_status(), Some(0));
}

/// The first batch of spans that comes to `collector`, answered.
#[cfg(feature = "otel")]
fn spans(collector: &TcpListener) -> String {
    let (mut tcp, _) = collector.accept().unwrap();
    tcp.set_read_timeout(Some(GUARD)).unwrap();
    let mut read = Vec::new();
    while !read.ends_with(b"]}]}]}") {
        let mut some = [0; 4096];
        let count = tcp.read(&mut some).unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&read));
        read.extend_from_slice(&some[..count]);
    }
    tcp.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        .unwrap();
    String::from_utf8(read).unwrap()
}

#[cfg(feature = "otel")]
#[test]
fn the_environment_names_a_collector_and_the_last_spans_reach_it() {
    let files = Files::new("otel", &[("api.yaml", GOOD)]);
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = collector.local_addr().unwrap();
    let (said, taken) = mpsc::channel();
    std::thread::spawn(move || said.send(spans(&collector)));
    let mut command = sluicegate(&["serve", &files.path("api.yaml")]);
    command
        .env("SLUICEGATE_LISTEN", "127.0.0.1:0")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}/"))
        .env("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20secret")
        .env("OTEL_SERVICE_NAME", "by-the-environment");
    let running = Running::start(command);
    assert!(running.get("/ping").starts_with("HTTP/1.1 200 "));
    // Spans gather for longer than the end takes.
    running.signal("INT");
    running.line_with("stopped");
    assert_eq!(running.exit_status(), Some(0));
    let spans = taken.recv_timeout(GUARD).unwrap();
    for part in [
        "POST /v1/traces ",
        "x-key: a secret\r\n",
        "by-the-environment",
        "\"GET /ping\"",
    ] {
        assert!(spans.contains(part), "{part} isn't in {spans}");
    }
}

#[cfg(feature = "otel")]
#[test]
fn a_variable_that_cant_be_used_keeps_it_from_starting() {
    let files = Files::new("otel-odd", &[("api.yaml", GOOD)]);
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318"),
        ("OTEL_TRACES_SAMPLER_ARG", "often"),
    ] {
        let mut command =
            sluicegate(&["serve", "--listen", "127.0.0.1:0", &files.path("api.yaml")]);
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9");
        let output = command.env(name, value).output().unwrap();
        let said = err(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(name) && said.contains(value), "{said}");
    }
    let mut command = sluicegate(&["serve", "--listen", "127.0.0.1:0", &files.path("api.yaml")]);
    command
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
        .env("OTEL_EXPORTER_OTLP_HEADERS", "a secret");
    let said = err(&command.output().unwrap());
    assert!(
        said.contains("OTEL_EXPORTER_OTLP_HEADERS") && !said.contains("a secret"),
        "{said}"
    );
}

#[test]
fn the_environment_names_the_admin_address_of_a_configuration_without_one() {
    let files = Files::new("admin", &[("api.yaml", GOOD)]);
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let admin = format!("http://127.0.0.1:{port}/");
    let mut command = sluicegate(&["serve", "--listen", "127.0.0.1:0", &files.path("api.yaml")]);
    command.env("SLUICEGATE_ADMIN", &admin);
    let running = Running::start(command);
    let health = sluicegate(&["health"])
        .env("SLUICEGATE_ADMIN", &admin)
        .output()
        .unwrap();
    assert_eq!(
        (health.status.code(), out(&health).as_str()),
        (Some(0), "ready\n")
    );
    running.signal("INT");
    assert_eq!(running.exit_status(), Some(0));
    let mut command = sluicegate(&["serve", "--listen", "127.0.0.1:0", &files.path("api.yaml")]);
    let output = command
        .env("SLUICEGATE_ADMIN", "gateway:9901")
        .output()
        .unwrap();
    assert!(
        err(&output).contains("SLUICEGATE_ADMIN"),
        "{}",
        err(&output)
    );
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn rust_log_chooses_what_is_told() {
    let files = Files::new(
        "log",
        &[
            ("api.yaml", HALF_GOOD),
            (
                "sluicegate.yaml",
                "apis: [{definition: api.yaml}]\naccessLog: {path: none}\nshutdown: {preStopDelayInMillis: 0}\n",
            ),
        ],
    );
    let mut command = sluicegate(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        &files.path("sluicegate.yaml"),
    ]);
    command.env("RUST_LOG", "info");
    let running = Running::start(command);
    running.get("/nowhere");
    running.line_with("no_route");
    running.signal("TERM");
    assert_eq!(running.exit_status(), Some(0));
}

#[test]
fn connections_that_find_no_room_are_told_once_for_many() {
    let settings = "listeners: [{address: 127.0.0.1:0}]\nworkers: 1\nhttp: {maxConnections: 1}\n\
        accessLog: {path: none}\napis: [{definition: api.yaml}]\n";
    let files = Files::new("room", &[("sluicegate.yaml", settings), ("api.yaml", GOOD)]);
    let gateway = Running::start(sluicegate(&["serve", &files.path("sluicegate.yaml")]));
    // It hasn't had its first request, and isn't asked to make room yet.
    let holder = TcpStream::connect(gateway.address).unwrap();
    for _ in 0..5 {
        let answer = gateway.get("/ping");
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    }
    let told = gateway.last_lines_with("turned away");
    assert_eq!(told.len(), 1, "{told:#?}");
    let line = &told[0];
    assert!(
        line.contains("WARN") && line.contains("connections=1 most=1"),
        "{line}"
    );
    drop(holder);
}

#[test]
fn the_descriptor_limit_is_raised_whether_or_not_connections_are_limited() {
    for (name, http) in [
        ("default", ""),
        ("limited", "http: {maxConnections: 1000}\n"),
    ] {
        let settings = format!(
            "listeners: [{{address: 127.0.0.1:0}}]\nworkers: 1\n{http}accessLog: {{path: none}}\napis: [{{definition: api.yaml}}]\n"
        );
        let files = [("sluicegate.yaml", settings.as_str()), ("api.yaml", GOOD)];
        let files = Files::new(&format!("descriptors-{name}"), &files);
        let mut command = Command::new("sh");
        command.env_remove("SLUICEGATE_LISTEN").args([
            "-c",
            "ulimit -Sn 200 && exec \"$0\" serve \"$1\"",
            env!("CARGO_BIN_EXE_sluicegate"),
            &files.path("sluicegate.yaml"),
        ]);
        let gateway = Running::start(command);
        let limits = fs::read_to_string(format!("/proc/{}/limits", gateway.child.id())).unwrap();
        let line = limits.lines().find(|it| it.starts_with("Max open files"));
        let words: Vec<&str> = line.unwrap().split_whitespace().collect();
        let (soft, hard) = (words[3], words[4]);
        assert_ne!(hard, "200", "the test can't see anything here");
        assert_eq!(soft, hard, "{name}");
    }
}

#[test]
fn failures_before_http_are_told_once_for_many() {
    let settings = "listeners: [{address: 127.0.0.1:0, proxyProtocol: true}]\nworkers: 1\n\
        accessLog: {path: none}\napis: [{definition: api.yaml}]\n";
    let files = Files::new(
        "handshakes",
        &[("sluicegate.yaml", settings), ("api.yaml", GOOD)],
    );
    let gateway = Running::start(sluicegate(&["serve", &files.path("sluicegate.yaml")]));
    for _ in 0..5 {
        let mut tcp = TcpStream::connect(gateway.address).unwrap();
        tcp.write_all(b"GET /ping HTTP/1.1\r\n\r\n").unwrap();
        tcp.set_read_timeout(Some(GUARD)).unwrap();
        // It is closed, or reset because there was more to read.
        assert!(!matches!(tcp.read(&mut [0; 1]), Ok(1..)));
    }
    let told = gateway.last_lines_with("failed before");
    assert_eq!(told.len(), 1, "{told:#?}");
    let line = &told[0];
    for said in [
        "INFO",
        "connections=1 ",
        "proxy_header",
        "client=127.0.0.1:",
    ] {
        assert!(line.contains(said), "{line} lacks {said}");
    }
}

#[test]
fn strict_refuses_what_serve_would_answer_with_500() {
    let files = Files::new("strict", &[("api.yaml", HALF_GOOD)]);
    let path = files.path("api.yaml");
    let strict = run(&["serve", "--strict", "--listen", "127.0.0.1:0", &path]);
    assert_eq!(strict.status.code(), Some(1));
    assert!(
        err(&strict).contains("E031") && err(&strict).contains("the gateway was not started"),
        "{}",
        err(&strict)
    );
    let running = Running::start(sluicegate(&["serve", "--listen", "127.0.0.1:0", &path]));
    assert!(running.get("/ping").starts_with("HTTP/1.1 200 "));
}

#[test]
fn what_keeps_it_from_starting_is_told_with_a_way_out() {
    let files = Files::new("start", &[("api.yaml", GOOD)]);
    let path = files.path("api.yaml");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let busy = run(&["serve", "--listen", &address, &path]);
    assert_eq!(busy.status.code(), Some(1));
    assert!(
        err(&busy).contains(&address) && err(&busy).contains("hint"),
        "{}",
        err(&busy)
    );
    let odd = run(&["serve", "--listen", "8080", &path]);
    assert!(
        err(&odd).contains("E015") && err(&odd).contains("127.0.0.1:8080"),
        "{}",
        err(&odd)
    );
    let mut nothing = sluicegate(&["serve"]);
    let nothing = nothing.current_dir(&files.0).output().unwrap();
    assert_eq!(nothing.status.code(), Some(1));
    assert!(
        err(&nothing).contains("sluicegate serve openapi.yaml"),
        "{}",
        err(&nothing)
    );
    let missing = run(&["serve", &files.path("nope.yaml")]);
    assert!(err(&missing).contains("E001"), "{}", err(&missing));
}

#[test]
fn the_demo_streams_and_gives_its_document_away() {
    let running = Running::start(sluicegate(&["demo", "--listen", "127.0.0.1:0"]));
    let document = running.get("/openapi.yaml");
    assert!(
        document.contains("responseTransferMode: STREAM"),
        "{document}"
    );
    let checked = run_with_input(&["check", "-"], document.split("\r\n\r\n").nth(1).unwrap());
    assert!(checked.status.success(), "{}", out(&checked));
    let head_first = running.get("/head-first");
    assert!(
        head_first.contains("200 OK")
            && head_first.contains("The head was there long before this."),
        "{head_first}"
    );
    // A broken stream must not end as a whole one does.
    let broken = running.get("/broken");
    assert!(
        broken.contains("The rest of this is about") && !broken.ends_with("0\r\n\r\n"),
        "{broken}"
    );
    running.line_with("integration_truncated");
    running.signal("INT");
    assert_eq!(running.exit_status(), Some(0));
}

/// A gateway whose admin address is told first, and its files.
fn with_admin(name: &str) -> (Running, Files) {
    let settings = "listeners: [{address: 127.0.0.1:0}]\nadmin: {address: 127.0.0.1:0}\n\
        apis: [{definition: api.yaml}]\naccessLog: {path: none}\nshutdown: {preStopDelayInMillis: 0}\n";
    let files = Files::new(name, &[("api.yaml", GOOD), ("sluicegate.yaml", settings)]);
    let mut command = sluicegate(&["serve", &files.path("sluicegate.yaml")]);
    command.env("RUST_LOG", "info");
    (Running::start(command), files)
}

#[test]
fn top_prints_the_streams_once_where_there_is_no_terminal() {
    let (admin, _files) = with_admin("top");
    let url = format!("http://{}", admin.address);
    let told = run(&["top", "--admin", &url]);
    assert!(told.status.success(), "{}", err(&told));
    assert!(
        out(&told).starts_with("0 open\nID ") && out(&told).contains("WAITS FOR"),
        "{}",
        out(&told)
    );
}

/// Runs a program on a terminal, ends it once it has drawn, by SIGTERM or by hanging up, and prints what it wrote and how it
/// ended.
const ON_A_TERMINAL: &str = r#"
import fcntl, os, pty, signal, struct, sys, termios
signal.alarm(20)
ready, go = os.pipe()
pid, terminal = pty.fork()
if pid == 0:
    os.read(ready, 1)
    os.execv(sys.argv[2], sys.argv[2:])
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
os.write(go, b"1")
written = b""
while b"WAITS FOR" not in written:
    written += os.read(terminal, 4096)
if sys.argv[1] == "hang up":
    os.close(terminal)
else:
    os.kill(pid, signal.SIGTERM)
    try:
        while more := os.read(terminal, 4096):
            written += more
    except OSError:
        pass
print(repr(written), os.waitpid(pid, 0)[1])
"#;

#[test]
fn top_ends_when_it_is_told_to_and_leaves_the_terminal_as_it_was() {
    let (admin, _files) = with_admin("top-terminated");
    let url = format!("http://{}", admin.address);
    let watched = |end: &str| {
        let program = env!("CARGO_BIN_EXE_sluicegate");
        let told = Command::new("python3")
            .args(["-c", ON_A_TERMINAL, end, program, "top", "--admin", &url])
            .env("TERM", "xterm")
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        let (written, status) = told.trim().rsplit_once(' ').unwrap();
        assert_eq!(status, "0", "{told}");
        written.to_owned()
    };
    watched("hang up");
    let written = watched("terminate");
    // The cursor is shown, and the other screen left.
    let tail = written.rsplit_once("?25h").unwrap().1;
    assert!(tail.contains("?1049l"), "{written}");
}

#[test]
fn top_says_what_to_do_when_no_gateway_answers() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap().to_string();
    drop(nobody);
    let told = run(&["top", "--admin", &address]);
    assert_eq!(told.status.code(), Some(1));
    assert!(
        err(&told).contains(&address) && err(&told).contains("hint: give the gateway an admin"),
        "{}",
        err(&told)
    );
}

#[test]
fn the_admin_address_changes_the_log_level_and_drains() {
    let (admin, _files) = with_admin("drain");
    let ask = |request: &str, body: &str| {
        let mut tcp = TcpStream::connect(admin.address).unwrap();
        tcp.set_read_timeout(Some(GUARD)).unwrap();
        let (host, length) = (admin.address, body.len());
        write!(
            tcp,
            "{request} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(ask("GET /log-level", "").ends_with("\r\n\r\ninfo\n"));
    let wrong = ask("PUT /log-level", "loud=very");
    assert!(wrong.starts_with("HTTP/1.1 400 "), "{wrong}");
    let set = ask("PUT /log-level", "debug,hyper=info");
    assert!(set.starts_with("HTTP/1.1 200 "), "{set}");
    assert!(ask("GET /log-level", "").contains("debug"));
    assert!(ask("POST /drain", "").starts_with("HTTP/1.1 202 "));
    admin.line_with("stopped");
    assert_eq!(admin.exit_status(), Some(0));
}

#[test]
fn health_asks_the_admin_address() {
    let files = Files::new(
        "health",
        &[
            ("api.yaml", GOOD),
            (
                "sluicegate.yaml",
                "listeners: [{address: '127.0.0.1:0'}]\nadmin: {address: '127.0.0.1:0'}\napis: [{definition: api.yaml}]\n\
                 shutdown: {preStopDelayInMillis: 60000}\n",
            ),
        ],
    );
    let mut gateway = sluicegate(&["serve", &files.path("sluicegate.yaml")]);
    gateway.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut gateway = gateway.spawn().unwrap();
    let mut lines = BufReader::new(gateway.stderr.take().unwrap()).lines();
    let mut line_with = |text: &str| {
        let line = lines.find(|line| line.as_ref().unwrap().contains(text));
        line.unwrap().unwrap()
    };
    let admin = line_with("admin on http://");
    let admin = admin.rsplit("http://").next().unwrap().to_owned();
    line_with("listening on");

    let ready = run(&["health", "--admin", &admin]);
    assert!(ready.status.success(), "{}", err(&ready));
    assert_eq!(out(&ready), "ready\n");
    // As `top` takes it, and as a listener on every address is written.
    let mut by_environment = sluicegate(&["health", "--live"]);
    let everywhere = format!("http://{}/", admin.replace("127.0.0.1", "0.0.0.0"));
    let live = by_environment.env("SLUICEGATE_ADMIN", everywhere).output();
    assert_eq!(out(&live.unwrap()), "ok\n");

    let id = gateway.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-s", "TERM", &id])
            .status()
            .unwrap()
            .success()
    );
    line_with("SIGTERM");
    let stopping = run(&["health", "--admin", &admin]);
    assert_eq!(
        (stopping.status.code(), err(&stopping).as_str()),
        (Some(1), "shutting down\n")
    );
    assert!(
        run(&["health", "--live", "--admin", &admin])
            .status
            .success()
    );
    gateway.kill().unwrap();
    gateway.wait().unwrap();
}

#[test]
fn health_says_when_nothing_answers_or_something_else_does() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let (mut tcp, _) = other.accept().unwrap();
        // Also waits until it has been asked.
        let _ = tcp.read(&mut [0; 1024]);
        tcp.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").unwrap();
    });
    let wrong = run(&["health", "--admin", &address]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(
        err(&wrong).contains("isn't a gateway's admin address"),
        "{}",
        err(&wrong)
    );
    // The listener has gone with its thread.
    let nobody = run(&["health", "--admin", &address]);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(
        err(&nobody).contains(&address) && err(&nobody).contains("hint"),
        "{}",
        err(&nobody)
    );
}
