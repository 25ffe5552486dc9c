//! A gateway that goes on while everything about it changes: reloads, upgrades, and how it ends.
//!
//! The program runs in a process of its own, as operators run it; clients and backends are the tests'. Streams move in
//! lock-step: a backend sends its next chunk only when the test says so, and the test goes on when every client has it.

#![expect(unreachable_pub, reason = "a test binary has no public interface")]
#![allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    clippy::print_stdout,
    clippy::format_collect,
    clippy::large_stack_arrays,
    reason = "a test that is wrong about its world should stop at once"
)]

#[path = "it/support/mod.rs"]
mod support;

#[path = "reload/logs.rs"]
mod logs;

#[path = "reload/memory.rs"]
mod memory;

#[path = "reload/process.rs"]
mod process;

#[path = "reload/told.rs"]
mod told;

#[path = "reload/trust.rs"]
mod trust;

#[path = "reload/streams.rs"]
mod streams;

use std::{
    fs,
    os::{fd::OwnedFd, unix::fs::symlink},
    sync::{Arc, atomic::Ordering::Relaxed},
};

use command_fds::{CommandFdExt as _, FdMapping};
use process::{Load, Process, free_port, mock, sluicegate};
use rustls::{
    ClientConfig, HandshakeKind, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use sluicegate::{
    config::{build::Overrides, load, render::render},
    gateway::snapshot::Shared,
    server::run::Server,
    types::lifecycle::Phase,
};
use streams::Streams;
use support::{Backend, Client, End, document, header, proxy, status, within};
use tokio::net::{TcpStream, UnixDatagram};
use tokio_rustls::{TlsConnector, client::TlsStream};

const STREAM: &str = "responseTransferMode: STREAM\ntimeoutInMillis: 60000";
const GET: &str = "GET /x HTTP/1.1\r\nHost: test\r\n\r\n";
const READY: &str = "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_reloads_under_load_lose_nothing() {
    const STREAMS: usize = 100;
    let streams = Streams::backend().await;
    let api = |version: usize| {
        document(&format!(
            "{}{}",
            proxy("/streams", streams.address, STREAM),
            mock("/ping", &format!("version {version}"))
        ))
    };
    let process = Process::start(&[("api.yaml", &api(0))], "").await;
    let clients = streams.open(process.address, "/streams", STREAMS).await;
    let load = Load::start(process.address, "/ping", 4, true);
    for version in 1..=30 {
        process.write("api.yaml", &api(version));
        if version % 10 == 0 {
            process.signal("HUP");
            process
                .line_with(&format!("generation={}", version + 1))
                .await;
        } else {
            let (head, text) = process.reload().await;
            assert_eq!(status(&head), 200, "{text}");
            assert!(
                text.starts_with(&format!("configuration {}", version + 1)),
                "{text}"
            );
        }
        let (_, body) = Client::get(process.address, "/ping").await;
        assert_eq!(body, format!("version {version}"));
        streams.step(&clients).await;
    }
    streams.finish(clients).await;
    assert!(load.stop().await > 100);
}

#[tokio::test]
async fn a_finding_leaves_everything_as_it_is_and_is_told() {
    let good = document(&mock("/ping", "good"));
    let process = Process::start(&[("api.yaml", &good)], "").await;
    process.write("api.yaml", "openapi: 3.0.1\ninfo: {title: Test\n");
    let (head, text) = process.reload().await;
    assert_eq!(status(&head), 422, "{text}");
    assert!(
        text.contains("configuration 1 is still served") && text.contains("E002"),
        "{text}"
    );
    process
        .line_with("the one from before is still served")
        .await;
    process.line_with("error[E002]").await;
    // A method that would answer 500 from now on is a finding, too.
    let worse = good.replace("type: mock", "type: http");
    process.write("api.yaml", &worse);
    process.signal("HUP");
    process.line_with("would answer 500").await;
    assert_eq!(Client::get(process.address, "/ping").await.1, "good");
    // An address that can't be had keeps the rest of the configuration from taking effect.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    process.write("api.yaml", &document(&mock("/ping", "better")));
    let first = process.address;
    process.configure(
        &format!(
            "  - address: {first}\n  - address: {}\n",
            taken.local_addr().unwrap()
        ),
        "",
    );
    let (head, text) = process.reload().await;
    assert_eq!(
        (status(&head), text.contains("can't listen")),
        (422, true),
        "{text}"
    );
    assert_eq!(Client::get(process.address, "/ping").await.1, "good");
    process.configure(&format!("  - address: {first}\n"), "");
    assert_eq!(status(&process.reload().await.0), 200);
    assert_eq!(Client::get(process.address, "/ping").await.1, "better");
}

#[tokio::test]
async fn a_method_that_never_worked_doesnt_keep_others_from_changing() {
    let half = |text: &str| {
        let broken = mock("/broken", "x").replace("type: mock", "type: http");
        document(&format!("{broken}{}", mock("/ping", text)))
    };
    let process = Process::start(&[("api.yaml", &half("one"))], "").await;
    process.write("api.yaml", &half("two"));
    let (head, text) = process.reload().await;
    assert_eq!(
        (status(&head), text.contains("E031")),
        (200, true),
        "{text}"
    );
    assert_eq!(Client::get(process.address, "/ping").await.1, "two");
}

#[tokio::test]
async fn a_watched_configuration_follows_the_swap_of_a_link() {
    let versions = ["one", "two", "three"].map(|text| document(&mock("/ping", text)));
    let process = Process::start(&[], "watch: true\ndefinition: mounted/api.yaml\n");
    let mounted = |directory: &std::path::Path| directory.join("mounted");
    // The layout of a ConfigMap's volume.
    let prepare = |directory: &std::path::Path| {
        for (at, text) in versions.iter().enumerate() {
            let version = mounted(directory).join(format!("..{at}"));
            fs::create_dir_all(&version).unwrap();
            fs::write(version.join("api.yaml"), text).unwrap();
        }
        symlink("..0", mounted(directory).join("..data")).unwrap();
        symlink("..data/api.yaml", mounted(directory).join("api.yaml")).unwrap();
    };
    let process = process.prepared(prepare).await;
    assert_eq!(Client::get(process.address, "/ping").await.1, "one");
    for (at, text) in [(1, "two"), (2, "three")] {
        let mounted = mounted(&process.directory);
        symlink(format!("..{at}"), mounted.join("..tmp")).unwrap();
        fs::rename(mounted.join("..tmp"), mounted.join("..data")).unwrap();
        process.line_with(&format!("generation={}", at + 1)).await;
        assert_eq!(Client::get(process.address, "/ping").await.1, text);
    }
}

#[tokio::test]
async fn listeners_come_and_go_without_disturbing_others() {
    let backend = Backend::start().await;
    let api = document(&proxy("/{proxy+}", backend.address, STREAM));
    let process = Process::start(&[("api.yaml", &api)], "workers: 1\n").await;
    let first = process.address;
    let mut kept = Client::connect(first).await;
    kept.send(GET).await;
    let (mut conn, _) = backend.request().await;
    conn.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await;
    kept.answer().await;
    let second: std::net::SocketAddr = ([127, 0, 0, 1], free_port()).into();
    process.configure(
        &format!("  - address: {first}\n  - address: {second}\n"),
        "workers: 1\n",
    );
    assert_eq!(status(&process.reload().await.0), 200);
    // An idle connection to the backend outlives the reload.
    let mut client = Client::connect(second).await;
    client.send(GET).await;
    conn.head().await;
    conn.write(format!("{CHUNKED}2\r\nhi\r\n")).await;
    client.head().await;
    client.chunk().await;
    let mut idle = Client::connect(second).await;
    process.configure(&format!("  - address: {first}\n"), "workers: 1\n");
    assert_eq!(status(&process.reload().await.0), 200);
    assert_eq!(idle.is_closed().await, End::Fin);
    within(async { while TcpStream::connect(second).await.is_ok() {} }).await;
    conn.write("3\r\nbye\r\n0\r\n\r\n").await;
    assert_eq!(client.chunk().await, b"bye");
    client.expect("0\r\n\r\n").await;
    assert_eq!(client.is_closed().await, End::Fin);
    // The first listener's connection has seen nothing of it.
    assert!(kept.is_kept().await);
    kept.send(GET).await;
    conn.head().await;
    conn.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await;
    assert_eq!(kept.answer().await.1, "ok");
}

#[tokio::test]
async fn a_route_that_is_gone_serves_its_open_stream_to_the_end() {
    let backend = Backend::start().await;
    let api = document(&proxy("/x", backend.address, STREAM));
    let process = Process::start(&[("api.yaml", &api)], "").await;
    let mut client = Client::connect(process.address).await;
    client.send(GET).await;
    let (mut conn, _) = backend.request().await;
    conn.write(format!("{CHUNKED}2\r\nhi\r\n")).await;
    client.head().await;
    client.chunk().await;
    process.write("api.yaml", &document(&mock("/ping", "only")));
    assert_eq!(status(&process.reload().await.0), 200);
    assert_eq!(status(&Client::get(process.address, "/x").await.0), 403);
    conn.write("3\r\nbye\r\n0\r\n\r\n").await;
    assert_eq!(client.chunk().await, b"bye");
    client.expect("0\r\n\r\n").await;
    client.send(GET).await;
    assert_eq!(status(&client.answer().await.0), 403);
}

/// A certificate for `localhost`, signed by itself, and its key; both in PEM.
fn certificate() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

fn trusting(certificates: &[&str]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots
            .add(CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap())
            .unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

async fn handshake(
    process: &Process,
    config: &Arc<ClientConfig>,
) -> std::io::Result<Client<TlsStream<TcpStream>>> {
    let tcp = TcpStream::connect(process.address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let stream = within(TlsConnector::from(config.clone()).connect(name, tcp)).await?;
    Ok(Client::over(stream))
}

/// Asks over TLS, and says how the handshake went.
async fn ping(process: &Process, config: &Arc<ClientConfig>) -> HandshakeKind {
    let mut client = handshake(process, config).await.unwrap();
    client
        .send("GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.1, "ok");
    client.stream.get_ref().1.handshake_kind().unwrap()
}

#[tokio::test]
async fn item_166_new_handshakes_get_the_new_certificate_and_none_is_resumed_from_before() {
    let (old, new) = (certificate(), certificate());
    let files = [
        ("api.yaml", document(&mock("/ping", "ok"))),
        ("own.pem", old.0.clone()),
        ("own.key", old.1.clone()),
    ];
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    let tls = "    tls: {certificates: [{certificate: own.pem, privateKey: own.key}]}\n";
    let process = Process::start(&files, "").with_listener(tls).await;
    let both = trusting(&[&old.0, &new.0]);
    let mut open = handshake(&process, &both).await.unwrap();
    assert_eq!(ping(&process, &both).await, HandshakeKind::Full);
    assert_eq!(ping(&process, &both).await, HandshakeKind::Resumed);
    // A reload that changes nothing about TLS leaves sessions alone.
    assert_eq!(status(&process.reload().await.0), 200);
    assert_eq!(ping(&process, &both).await, HandshakeKind::Resumed);
    process.write("own.pem", &new.0);
    assert_eq!(
        status(&process.reload().await.0),
        422,
        "the key doesn't fit"
    );
    process.write("own.key", &new.1);
    assert_eq!(status(&process.reload().await.0), 200);
    assert_eq!(ping(&process, &both).await, HandshakeKind::Full);
    ping(&process, &trusting(&[&new.0])).await;
    assert!(handshake(&process, &trusting(&[&old.0])).await.is_err());
    open.send("GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    assert_eq!(open.answer().await.1, "ok");
}

#[tokio::test]
async fn functions_and_targets_that_stay_are_the_same_ones() {
    let directory = std::env::temp_dir().join(format!("sluicegate-shared-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("api.yaml"), document(&mock("/ping", "ok"))).unwrap();
    let model = |other: &str, age: u32| {
        let settings = format!(
            "listeners: [{{address: 127.0.0.1:0}}]\nworkers: 1\naccessLog: {{path: none}}\napis: [{{definition: api.yaml}}]\n\
             functions:\n  kept: {{endpoint: 'http://127.0.0.1:9', functionUrlConfig: {{cors: {{maxAge: {age}}}}}}}\n  {other}: {{endpoint: 'http://127.0.0.1:9'}}\n\
             vpcLinks:\n  kept: {{targets: ['http://127.0.0.1:9', 'http://127.0.0.1:10']}}\n\
             tracing: {{otlpEndpoint: 'http://127.0.0.1:9'}}\n"
        );
        fs::write(directory.join("sluicegate.yaml"), settings).unwrap();
        let loaded = load(&directory.join("sluicegate.yaml"), &Overrides::default());
        loaded
            .model
            .unwrap_or_else(|| panic!("{}", render(&loaded.diagnostics, false)))
    };
    let control = tokio::runtime::Handle::current();
    let server = Arc::new(Server::start(&model("before", 1), &control).unwrap());
    let before = server.shared();
    let (next, reloading) = (model("after", 2), server.clone());
    let reloaded = tokio::task::spawn_blocking(move || reloading.reload(next));
    assert_eq!(
        within(reloaded).await.unwrap().unwrap(),
        Vec::<String>::new()
    );
    let after = server.shared();
    assert!(Arc::ptr_eq(
        &before.functions["kept"],
        &after.functions["kept"]
    ));
    assert!(Arc::ptr_eq(&before.groups["kept"], &after.groups["kept"]));
    let names: Vec<&str> = after.functions.keys().map(AsRef::as_ref).collect();
    assert_eq!(names, ["after", "kept"]);
    let tracer = |shared: &Shared| shared.tracer.as_ref().map(Arc::as_ptr);
    assert_eq!(tracer(&before), tracer(&after));
    // Nobody but the test holds what is gone, so that it ends with its last invocation.
    assert_eq!(Arc::strong_count(&before.functions["before"]), 1);
    server.conductor().advance(Phase::Cut);
    server.join();
    let _ = fs::remove_dir_all(directory);
}

/// A function that tells its process's id; if asked to wait, only once it may.
const FUNCTION: &str = "import os, time\n\ndef handler(event, context):\n    \
    while event['path'] == '/wait' and not os.path.exists('may-go'):\n        time.sleep(0.01)\n    \
    return {'statusCode': 200, 'body': str(os.getpid())}\n";

#[tokio::test]
async fn functions_that_stay_keep_their_processes_and_others_finish_what_they_have() {
    let integration = "        type: aws_proxy\n        httpMethod: POST\n        uri: 'arn:aws:apigateway:us-east-1:lambda:path/\
        2015-03-31/functions/arn:aws:lambda:us-east-1:123456789012:function:pid/invocations'\n";
    let api = |more: &str| {
        document(&format!(
            "  /{{proxy+}}:\n    get:\n      x-amazon-apigateway-integration:\n{integration}{more}"
        ))
    };
    let settings = |memory: u32| {
        format!(
            "functions:\n  pid: {{runtime: python3.12, codeUri: ., handler: index.handler, memorySize: {memory}}}\n"
        )
    };
    let before = settings(128);
    let files = [("api.yaml", api("")), ("index.py", FUNCTION.to_owned())];
    let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
    let process = Process::start(&files, &before).await;
    let pid = async || {
        let (head, body) = Client::get(process.address, "/pid").await;
        assert_eq!(status(&head), 200, "{body}");
        body
    };
    let first = pid().await;
    process.write("api.yaml", &api(&mock("/ping", "ok")));
    assert_eq!(status(&process.reload().await.0), 200);
    assert_eq!(pid().await, first);
    let mut waiting = Client::connect(process.address).await;
    waiting
        .send("GET /wait HTTP/1.1\r\nHost: test\r\n\r\n")
        .await;
    let only = process.address;
    process.configure(&format!("  - address: {only}\n"), &settings(256));
    // The invocation is under way once another one needs another process.
    within(async { while pid().await == first {} }).await;
    assert_eq!(status(&process.reload().await.0), 200);
    let second = pid().await;
    assert_ne!(second, first);
    let counts = async || {
        let page = process.ask_admin("GET /metrics").await.1;
        ["invocations", "cold_starts"].map(|what| {
            let series = format!("sluicegate_function_{what}_total{{function=\"pid\"}} ");
            let value = page.lines().find_map(|line| line.strip_prefix(&series));
            value.unwrap().parse::<u32>().unwrap()
        })
    };
    // Those of the function as it was before are among them.
    let [invocations, cold_starts] = counts().await;
    assert!(
        invocations >= 5 && cold_starts >= 3,
        "{invocations}, {cold_starts}"
    );
    process.write("may-go", "");
    assert_eq!(waiting.answer().await.1, first);
    assert_eq!(pid().await, second);
    assert_eq!(counts().await, [invocations + 1, cold_starts]);
    let gone = std::path::PathBuf::from(format!("/proc/{first}"));
    within(async {
        while gone.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_184_a_new_process_takes_over_and_nothing_is_refused_or_cut() {
    const STREAMS: usize = 50;
    let streams = Streams::backend().await;
    let api = document(&format!(
        "{}{}",
        proxy("/streams", streams.address, STREAM),
        mock("/ping", "ok")
    ));
    let process = Process::start(
        &[("api.yaml", &api)],
        "shutdown: {preStopDelayInMillis: 300}\n",
    )
    .await;
    let clients = streams.open(process.address, "/streams", STREAMS).await;
    let connecting = Load::start(process.address, "/ping", 4, false);
    let keeping = Load::start(process.address, "/ping", 2, true);
    process.signal("USR2");
    let line = process.line_with("the new process serves").await;
    let successor = process::number_after(&line, "successor=");
    streams.step(&clients).await;
    process.line_with("waiting for open requests to end").await;
    // By now only the new process accepts.
    let before = connecting.answered.load(Relaxed);
    streams.step(&clients).await;
    within(async {
        while connecting.answered.load(Relaxed) < before + 50 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    streams.finish(clients).await;
    assert_eq!(process.exit_status().await, Some(0));
    assert!(connecting.stop().await > 50 && keeping.stop().await > 0);
    // Hand over once more, to see that what was inherited can be inherited.
    process::signal_to(successor, "USR2");
    let line = process.line_with("the new process serves").await;
    let third = process::number_after(&line, "successor=");
    process.line_with("stopped").await;
    assert_eq!(Client::get(process.address, "/ping").await.1, "ok");
    process::signal_to(third, "TERM");
    process.line_with("stopped").await;
}

#[tokio::test]
async fn after_a_hand_over_the_operators_connections_are_the_new_processs() {
    let streams = Streams::backend().await;
    let api = document(&proxy("/streams", streams.address, STREAM));
    let process = Process::start(&[("api.yaml", &api)], "").await;
    let clients = streams.open(process.address, "/streams", 1).await;
    let mut kept = process.connect_admin().await;
    kept.send(READY).await;
    assert_eq!(status(&kept.answer().await.0), 200);
    process.signal("USR2");
    let line = process.line_with("the new process serves").await;
    assert_eq!(kept.is_closed().await, End::Fin);
    assert_eq!(status(&process.ask_admin("GET /readyz").await.0), 200);
    process::signal_to(process::number_after(&line, "successor="), "INT");
    streams.finish(clients).await;
    assert_eq!(process.exit_status().await, Some(0));
}

#[tokio::test]
async fn without_a_descriptor_left_each_probe_is_answered_in_its_turn() {
    let process = Process::start(&[("api.yaml", &document(&mock("/ping", "ok")))], "").await;
    let descriptors = || {
        let open = fs::read_dir(format!("/proc/{}/fd", process.id())).unwrap();
        open.filter_map(|it| it.unwrap().file_name().to_str()?.parse().ok())
            .collect::<std::collections::BTreeSet<u64>>()
    };
    // What it opens and closes as it starts must be over: the limit is to leave none free.
    let mut open = descriptors();
    loop {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        let now = descriptors();
        if std::mem::replace(&mut open, now.clone()) == now {
            break;
        }
    }
    let free = (0..65_536).find(|number| !open.contains(number)).unwrap();
    let id = i32::try_from(process.id()).unwrap();
    rlimit::prlimit(id, rlimit::Resource::NOFILE, Some((free, free)), None).unwrap();
    let mut silent = process.connect_admin().await;
    let mut probes = Vec::new();
    for _ in 0..3 {
        let mut probe = process.connect_admin().await;
        probe.send(READY).await;
        probes.push(probe);
    }
    for mut probe in probes {
        let (head, _) = probe.answer().await;
        assert_eq!(
            (status(&head), header(&head, "connection")),
            (200, Some("close"))
        );
        assert_eq!(probe.is_closed().await, End::Fin);
    }
    silent.is_closed().await;
}

#[tokio::test]
async fn a_new_process_that_cant_serve_leaves_the_old_one_in_its_place() {
    let process = Process::start(&[("api.yaml", &document(&mock("/ping", "ok")))], "").await;
    process.write("api.yaml", "nonsense: [");
    process.signal("USR2");
    process.line_with("this one goes on").await;
    assert_eq!(Client::get(process.address, "/ping").await.1, "ok");
    process.signal("INT");
    assert_eq!(process.exit_status().await, Some(0));
}

#[tokio::test]
async fn sockets_of_systemd_are_used_by_address_and_strangers_are_closed() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let stranger = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, strange) = (socket.local_addr().unwrap(), stranger.local_addr().unwrap());
    let notices = std::env::temp_dir().join(format!("sluicegate-notify-{}", std::process::id()));
    let _ = fs::remove_file(&notices);
    let manager = UnixDatagram::bind(&notices).unwrap();
    let passed = [socket.try_clone().unwrap(), stranger].map(OwnedFd::from);
    let process = Process::start(
        &[("api.yaml", &document(&mock("/ping", "ok")))],
        "shutdown: {preStopDelayInMillis: 0}\nworkers: 3\n",
    )
    .at(address)
    .with_command(|command| {
        command
            .env("NOTIFY_SOCKET", &notices)
            .env("LISTEN_FDS", "2");
        let mappings = (3..).zip(passed);
        let mappings = mappings.map(|(child_fd, parent_fd)| FdMapping {
            parent_fd,
            child_fd,
        });
        command.fd_mappings(mappings.collect()).unwrap();
    })
    .await;
    drop(socket);
    let notice = async || {
        let mut bytes = [0; 256];
        let count = within(manager.recv(&mut bytes)).await.unwrap();
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    };
    assert_eq!(notice().await, "READY=1\n");
    process
        .line_with(&format!("no listener has the address {strange}"))
        .await;
    within(async { while TcpStream::connect(strange).await.is_ok() {} }).await;
    for _ in 0..20 {
        assert_eq!(Client::get(address, "/ping").await.1, "ok");
    }
    process.signal("HUP");
    let reloading = notice().await;
    assert!(
        reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="),
        "{reloading}"
    );
    assert_eq!(notice().await, "READY=1\n");
    process.signal("TERM");
    assert_eq!(notice().await, "STOPPING=1\n");
    assert_eq!(process.exit_status().await, Some(0));
    let _ = fs::remove_file(notices);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_183_a_drain_loses_no_stream_and_ends_with_the_last() {
    const STREAMS: usize = 200;
    let streams = Streams::backend().await;
    let api = document(&format!(
        "{}{}",
        proxy("/streams", streams.address, STREAM),
        mock("/ping", "ok")
    ));
    let process = Process::start(
        &[("api.yaml", &api)],
        "shutdown: {preStopDelayInMillis: 400}\n",
    )
    .await;
    let clients = streams.open(process.address, "/streams", STREAMS).await;
    let mut idle = Client::connect(process.address).await;
    idle.send("GET /ping HTTP/1.1\r\nHost: test\r\n\r\n").await;
    idle.answer().await;
    process.signal("TERM");
    process.line_with("not ready from now on").await;
    assert_eq!(status(&process.ask_admin("GET /readyz").await.0), 503);
    // Until the delay is over, everybody is served, and asked to connect anew.
    let (head, _) = Client::get(process.address, "/ping").await;
    assert_eq!(
        (status(&head), header(&head, "connection")),
        (200, Some("close"))
    );
    process.line_with("requests=200").await;
    assert_eq!(idle.is_closed().await, End::Fin);
    within(async { while TcpStream::connect(process.address).await.is_ok() {} }).await;
    streams.step(&clients).await;
    streams.finish(clients).await;
    assert_eq!(process.exit_status().await, Some(0));
}

#[tokio::test]
async fn item_185_at_the_limit_stuck_streams_are_cut_and_counted() {
    let streams = Streams::backend().await;
    let api = document(&proxy("/streams", streams.address, STREAM));
    let settings = "shutdown: {preStopDelayInMillis: 0, drainTimeoutInMillis: 300}\n";
    let process = Process::start(&[("api.yaml", &api)], settings).await;
    let _clients = streams.open(process.address, "/streams", 3).await;
    process.signal("TERM");
    process.line_with("requests=3").await;
    let cut = process.line_with("cutting what is still under way").await;
    assert!(cut.contains("requests=3"), "{cut}");
    for _ in 0..3 {
        process.line_with("[drained]").await;
    }
    assert_eq!(process.exit_status().await, Some(0));
}

#[tokio::test]
async fn item_185_a_client_that_takes_nothing_is_cut_at_the_limit() {
    const LENGTH: usize = 64 << 20;
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n");
    let answer = [head.into_bytes(), vec![b'x'; LENGTH]].concat();
    let backend = Backend::start().await.always(answer);
    let api = document(&proxy("/x", backend, STREAM));
    let settings = "shutdown: {preStopDelayInMillis: 0, drainTimeoutInMillis: 300}\n";
    let process = Process::start(&[("api.yaml", &api)], settings).await;
    let mut stuck = Client::connect(process.address).await;
    stuck.send(GET).await;
    stuck.head().await;
    process.signal("TERM");
    process.line_with("requests=1").await;
    let cut = process.line_with("cutting what is still under way").await;
    assert!(cut.contains("requests=1"), "{cut}");
    process.line_with("[drained]").await;
    assert_eq!(process.exit_status().await, Some(0));
}

#[tokio::test]
async fn item_183_an_interrupt_waits_for_streams_and_for_nobody_to_look_away() {
    let streams = Streams::backend().await;
    let api = document(&proxy("/streams", streams.address, STREAM));
    let settings = "shutdown: {preStopDelayInMillis: 3600000}\n";
    let process = Process::start(&[("api.yaml", &api)], settings).await;
    let clients = streams.open(process.address, "/streams", 2).await;
    process.signal("INT");
    process.line_with("SIGINT: shutting down").await;
    process.line_with("requests=2").await;
    within(async { while TcpStream::connect(process.address).await.is_ok() {} }).await;
    streams.step(&clients).await;
    streams.finish(clients).await;
    assert_eq!(process.exit_status().await, Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_a_drain_at_once() {
    let streams = Streams::backend().await;
    let api = document(&proxy("/streams", streams.address, STREAM));
    let settings = "shutdown: {preStopDelayInMillis: 0}\n";
    for (first, second) in [("TERM", "TERM"), ("TERM", "INT"), ("INT", "INT")] {
        let process = Process::start(&[("api.yaml", &api)], settings).await;
        let _client = streams.open(process.address, "/streams", 1).await;
        process.signal(first);
        process.line_with("requests=1").await;
        // What comes at once is taken for the same signal.
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        process.signal(second);
        process.line_with("second signal: stopping at once").await;
        process.line_with("[drained]").await;
        assert_eq!(process.exit_status().await, Some(0));
    }
}

#[tokio::test]
async fn the_end_follows_the_settings_that_were_loaded_last() {
    let api = document(&mock("/ping", "ok"));
    let process = Process::start(&[("api.yaml", &api)], "").await;
    let first = process.address;
    process.configure(
        &format!("  - address: {first}\n"),
        "shutdown: {preStopDelayInMillis: 0}\nworkers: 1\n",
    );
    let (head, text) = process.reload().await;
    assert_eq!(status(&head), 200);
    assert!(text.contains("needs a restart: `workers`"), "{text}");
    process.signal("TERM");
    process.line_with("SIGTERM: shutting down").await;
    assert_eq!(process.exit_status().await, Some(0));
}

#[tokio::test]
async fn what_came_from_standard_input_cant_be_loaded_anew() {
    let mut command = sluicegate(&["serve", "--listen", "127.0.0.1:0", "-"]);
    command.stdin(std::process::Stdio::piped());
    let process = process::with_input(command, &document(&mock("/ping", "ok"))).await;
    process.signal("HUP");
    process.line_with("standard input").await;
    assert_eq!(Client::get(process.address, "/ping").await.1, "ok");
}

/// With `RELOADS=100` it takes a minute and a half, 1,000 streams are open, and the figures mean something; best with an
/// optimised program, as in `soak.rs`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_and_then_a_drain_lose_nothing_and_tell_their_figures() {
    let asked = std::env::var("RELOADS").ok();
    let (reloads, open, pause) = asked.map_or((10, 100, 50), |reloads| {
        (reloads.parse().unwrap(), 1000, 600)
    });
    let streams = Streams::backend().await;
    let api = |version: usize| {
        document(&format!(
            "{}{}",
            proxy(
                "/streams",
                streams.address,
                STREAM.replace("60000", "600000").as_str()
            ),
            mock("/ping", &format!("version {version}"))
        ))
    };
    let settings = "accessLog: {path: access.log}\nshutdown: {preStopDelayInMillis: 1000}\n";
    let process = Process::start(&[("api.yaml", &api(0))], settings).await;
    let clients = streams.open(process.address, "/streams", open).await;
    let calm = Load::start(process.address, "/ping", 8, true);
    let mut pace = tokio::time::interval(std::time::Duration::from_millis(pause));
    for _ in 0..reloads / 2 {
        pace.tick().await;
        streams.step(&clients).await;
    }
    calm.tell("without reloads").await;
    let load = Load::start(process.address, "/ping", 8, true);
    let mut took = Vec::new();
    for version in 1..=reloads {
        pace.tick().await;
        process.write("api.yaml", &api(version));
        let begun = tokio::time::Instant::now();
        assert_eq!(status(&process.reload().await.0), 200);
        took.push(begun.elapsed());
        streams.step(&clients).await;
    }
    load.tell(&format!("with {reloads} reloads")).await;
    took.sort();
    println!(
        "a reload took {:?} at the median, {:?} at most",
        took[took.len() / 2],
        took.last().unwrap()
    );
    process.signal("TERM");
    process.line_with(&format!("requests={open}")).await;
    streams.step(&clients).await;
    streams.finish(clients).await;
    let begun = tokio::time::Instant::now();
    assert_eq!(process.exit_status().await, Some(0));
    println!("it ended {:?} after its last stream", begun.elapsed());
}
