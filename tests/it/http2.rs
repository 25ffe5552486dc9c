//! HTTP/2: the same claims as over HTTP/1.1, and what HTTP/2 can get wrong by itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use h2::{
    Reason,
    client::{ResponseFuture, SendRequest},
};
use http::{HeaderMap, Request};
use tokio::{net::TcpStream, sync::Barrier};

use crate::support::{Backend, Client, Gateway, document, header, headers, proxy, status, within};

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// A gateway that takes HTTP/2 with prior knowledge.
fn gateway(backend: &Backend, more: &str) -> Gateway {
    let settings = "listeners: [{address: 127.0.0.1:0, h2c: true}]\naccessLog: {path: access.log}\n\
        apis: [{definition: api.yaml}]\nworkers: 1\n";
    let api = document(&proxy(
        "/{proxy+}",
        backend.address,
        &format!("responseTransferMode: STREAM\n{more}"),
    ));
    Gateway::from_files(&[("sluicegate.yaml", settings), ("api.yaml", &api)])
}

/// An HTTP/2 connection, driven by a task of its own.
async fn connect(gateway: &Gateway) -> SendRequest<Bytes> {
    let tcp = TcpStream::connect(gateway.address).await.unwrap();
    let (send, connection) = within(h2::client::handshake(tcp)).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    send
}

async fn send(
    send: &mut SendRequest<Bytes>,
    request: Request<()>,
    is_end: bool,
) -> (ResponseFuture, h2::SendStream<Bytes>) {
    *send = within(send.clone().ready()).await.unwrap();
    send.send_request(request, is_end).unwrap()
}

/// Nothing more comes but the end.
async fn ends(body: &mut h2::RecvStream) {
    while let Some(data) = within(body.data()).await {
        assert_eq!(data.unwrap(), "");
    }
}

fn get(path: &str) -> Request<()> {
    Request::get(format!("http://test{path}")).body(()).unwrap()
}

#[tokio::test]
async fn the_next_chunk_is_produced_only_after_the_client_saw_the_last() {
    let backend = Backend::start().await;
    let gateway = gateway(&backend, "timeoutInMillis: 60000");
    let mut client = connect(&gateway).await;
    let (response, _) = send(&mut client, get("/s"), true).await;
    let (mut conn, head) = backend.request().await;
    assert_eq!(
        header(&head, "via").map(|via| via.starts_with("2.0 ")),
        Some(true)
    );
    conn.write(CHUNKED).await;
    let mut body = within(response).await.unwrap().into_body();
    for number in 0..20 {
        let event = format!("data: {number}\n\n");
        conn.write(format!("{:x}\r\n{event}\r\n", event.len()))
            .await;
        let data = within(body.data()).await.unwrap().unwrap();
        assert_eq!(data, event);
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    conn.write("0\r\n\r\n").await;
    ends(&mut body).await;
    let record = gateway.record().await;
    assert_eq!(
        (&record["outcome"], &record["protocol"]),
        (&"complete".into(), &"HTTP/2.0".into())
    );
}

#[tokio::test]
async fn a_truncated_stream_is_reset_and_its_neighbours_are_unharmed() {
    let backend = Backend::start().await;
    let gateway = gateway(&backend, "timeoutInMillis: 60000");
    let mut client = connect(&gateway).await;
    let (broken, _) = send(&mut client, get("/broken"), true).await;
    let (mut first, _) = backend.request().await;
    let (whole, _) = send(&mut client, get("/whole"), true).await;
    let (mut second, _) = backend.request().await;
    first.write(format!("{CHUNKED}5\r\nhello\r\n")).await;
    second.write(CHUNKED).await;
    let mut broken = within(broken).await.unwrap().into_body();
    let mut whole = within(whole).await.unwrap().into_body();
    drop(first);
    assert_eq!(within(broken.data()).await.unwrap().unwrap(), "hello");
    let error = within(broken.data()).await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
    second.write("2\r\nok\r\n0\r\n\r\n").await;
    assert_eq!(within(whole.data()).await.unwrap().unwrap(), "ok");
    ends(&mut whole).await;
    let outcomes: Vec<_> = gateway
        .records(2)
        .await
        .iter()
        .map(|record| record["outcome"].clone())
        .collect();
    assert_eq!(outcomes, ["integration_truncated", "complete"]);
}

#[tokio::test]
async fn a_whole_body_that_nobody_reads_is_under_the_clocks_to_its_last_byte() {
    let backend = Backend::start().await;
    let length = 1_000_000;
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes();
    answer.resize(answer.len() + length, b'x');
    let address = backend.always(answer);
    let settings = "listeners: [{address: 127.0.0.1:0, h2c: true}]\naccessLog: {path: access.log}\n\
        apis: [{definition: api.yaml}]\nworkers: 1\n";
    let impatient = "x-sluicegate-timeouts: {clientStallInMillis: 400}";
    let api = document(&proxy("/{proxy+}", address, impatient));
    let gateway = Gateway::from_files(&[("sluicegate.yaml", settings), ("api.yaml", &api)]);
    let mut client = connect(&gateway).await;
    let (response, _) = send(&mut client, get("/s"), true).await;
    let body = within(response).await.unwrap().into_body();
    let record = gateway.record().await;
    assert_eq!(record["outcome"], "client_stalled");
    let given: usize = record["responseLength"].as_str().unwrap().parse().unwrap();
    assert!(given < 200_000, "{given} bytes count as given");
    drop(body);
}

#[tokio::test]
async fn a_client_that_reads_steadily_is_not_stalled() {
    let backend = Backend::start().await;
    let gateway = gateway(
        &backend,
        "timeoutInMillis: 60000\nx-sluicegate-timeouts: {clientStallInMillis: 1000}",
    );
    let mut client = connect(&gateway).await;
    let (response, _) = send(&mut client, get("/s"), true).await;
    let (mut conn, _) = backend.request().await;
    let length = 400_000;
    conn.write(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"
    ))
    .await;
    let writing = tokio::spawn(async move { conn.write(vec![b'x'; length]).await });
    let mut body = within(response).await.unwrap().into_body();
    let mut read = 0;
    // All of it takes longer than the limit, each part much less.
    while let Some(data) = within(body.data()).await {
        let count = data.unwrap().len();
        read += count;
        tokio::time::sleep(Duration::from_millis(80)).await;
        body.flow_control().release_capacity(count).unwrap();
    }
    assert_eq!(read, length);
    within(writing).await.unwrap();
    assert_eq!(gateway.record().await["outcome"], "complete");
}

#[tokio::test]
async fn a_client_that_waits_to_be_told_is_told_to_go_on_unless_it_is_refused() {
    let backend = Backend::start().await;
    let gateway = gateway(&backend, "timeoutInMillis: 60000");
    let mut client = connect(&gateway).await;
    let post = |path: &str| {
        let request = Request::post(format!("http://test{path}"));
        let request = request
            .header("expect", "100-continue")
            .header("content-length", "2");
        request.body(()).unwrap()
    };
    let (mut response, mut upload) = send(&mut client, post("/s"), false).await;
    let told = std::future::poll_fn(|cx| response.poll_informational(cx));
    assert_eq!(within(told).await.unwrap().unwrap().status(), 100);
    upload.send_data(Bytes::from_static(b"hi"), true).unwrap();
    let (mut conn, head) = backend.request().await;
    assert_eq!(header(&head, "expect"), None);
    assert_eq!(conn.take(2).await, b"hi");
    conn.write("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(within(response).await.unwrap().status(), 204);
    let (response, _upload) = send(&mut client, post("/../x"), false).await;
    assert_eq!(within(response).await.unwrap().status(), 400);
}

#[tokio::test]
async fn a_client_that_ignores_the_end_of_its_connection_is_left() {
    let backend = Backend::start().await;
    let gateway = gateway(&backend, "timeoutInMillis: 60000");
    let mut client = Client::connect(gateway.address).await;
    // The preface and empty SETTINGS, and never an answer to anything.
    client
        .send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await;
    client.take(9).await;
    gateway
        .conductor()
        .advance(sluicegate::types::lifecycle::Phase::Draining);
    client.rest().await;
    gateway.ended().await;
}

#[tokio::test]
async fn what_came_before_a_cut_reaches_a_client_that_is_slow_to_take_it() {
    let backend = Backend::start().await;
    let gateway = gateway(&backend, "timeoutInMillis: 60000");
    let tcp = TcpStream::connect(gateway.address).await.unwrap();
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(10);
    let (mut client, connection) = within(builder.handshake(tcp)).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    let (response, _) = send(&mut client, get("/broken"), true).await;
    let (mut conn, _) = backend.request().await;
    let text = "thirty bytes, ten at each time";
    conn.write(format!("{CHUNKED}{:x}\r\n{text}\r\n", text.len()))
        .await;
    drop(conn);
    let mut body = within(response).await.unwrap().into_body();
    let mut read = Vec::new();
    let error = loop {
        match within(body.data()).await.unwrap() {
            Ok(data) => {
                read.extend_from_slice(&data);
                // Longer than a gateway that waits for nobody would take to reset the stream.
                tokio::time::sleep(Duration::from_millis(150)).await;
                body.flow_control().release_capacity(data.len()).unwrap();
            }
            Err(error) => break error,
        }
    };
    assert_eq!(String::from_utf8_lossy(&read), text);
    assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
    assert_eq!(gateway.record().await["outcome"], "integration_truncated");
}

#[tokio::test]
async fn item_110_a_client_that_cancels_cancels_the_backend() {
    let backend = Backend::start().await;
    let gateway = gateway(&backend, "timeoutInMillis: 60000");
    let mut client = connect(&gateway).await;
    // During silence.
    let (response, mut sending) = send(&mut client, get("/s"), false).await;
    let (mut conn, _) = backend.request().await;
    conn.write(CHUNKED).await;
    let body = within(response).await.unwrap().into_body();
    sending.send_reset(Reason::CANCEL);
    drop(body);
    conn.is_closed().await;
    // Before the head.
    let (response, mut sending) = send(&mut client, get("/s"), false).await;
    let (mut conn, _) = backend.request().await;
    sending.send_reset(Reason::CANCEL);
    drop(response);
    conn.is_closed().await;
    for record in gateway.records(2).await {
        assert_eq!(record["outcome"], "client_left");
    }
}

/// A reset with `NO_ERROR` could be taken for the end of a body; a backend must not.
#[tokio::test]
async fn an_upload_that_is_reset_without_an_error_never_looks_complete() {
    for reason in [Reason::NO_ERROR, Reason::CANCEL, Reason::INTERNAL_ERROR] {
        let backend = Backend::start().await;
        let gateway = gateway(&backend, "timeoutInMillis: 60000");
        let mut client = connect(&gateway).await;
        let request = Request::post("http://test/x").body(()).unwrap();
        let (_response, mut sending) = send(&mut client, request, false).await;
        sending.send_data(Bytes::from("hello"), false).unwrap();
        let (mut conn, _) = backend.request().await;
        assert_eq!(conn.take(10).await, b"5\r\nhello\r\n");
        sending.send_reset(reason);
        assert_eq!(conn.rest().await, b"", "{reason:?}");
        assert_eq!(gateway.record().await["outcome"], "client_left");
    }
}

/// A connection that breaks takes all of its streams along, wherever they are.
#[tokio::test]
async fn a_connection_that_breaks_cancels_all_its_backends() {
    let backend = Backend::start().await;
    let gateway = gateway(&backend, "timeoutInMillis: 60000");
    let tcp = TcpStream::connect(gateway.address).await.unwrap();
    let (mut client, connection) = within(h2::client::handshake(tcp)).await.unwrap();
    let driver = tokio::spawn(async move { drop(connection.await) });
    let (response, _) = send(&mut client, get("/silent"), true).await;
    let (mut silent, _) = backend.request().await;
    silent.write(CHUNKED).await;
    let _body = within(response).await.unwrap().into_body();
    let (_response, _) = send(&mut client, get("/waiting"), true).await;
    let (mut waiting, _) = backend.request().await;
    let (_response, _sending) = send(&mut client, get("/uploading"), false).await;
    let (mut uploading, _) = backend.request().await;
    driver.abort();
    for conn in [&mut silent, &mut waiting, &mut uploading] {
        conn.is_closed().await;
    }
    for record in gateway.records(3).await {
        assert_eq!(record["outcome"], "client_left");
    }
}

#[tokio::test]
async fn every_clock_fires_for_a_client_that_never_opens_its_window() {
    for (limits, outcome) in [
        ("timeoutInMillis: 400", "deadline"),
        (
            "timeoutInMillis: 60000\nx-sluicegate-timeouts: {clientStallInMillis: 400}",
            "client_stalled",
        ),
    ] {
        let backend = Backend::start().await;
        let gateway = gateway(&backend, limits);
        let mut client = connect(&gateway).await;
        let (response, _) = send(&mut client, get("/s"), true).await;
        let (mut conn, _) = backend.request().await;
        conn.write("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
            .await;
        let body = within(response).await.unwrap().into_body();
        let flooding = tokio::spawn(async move {
            while tokio::io::AsyncWriteExt::write_all(&mut conn.stream, &[b'x'; 65_536])
                .await
                .is_ok()
            {}
        });
        // Nothing is released: the window of 64 KiB fills and stays full.
        within(flooding).await.unwrap();
        assert_eq!(gateway.record().await["outcome"], outcome);
        drop(body);
        // The connection itself goes on.
        let (response, _) = send(&mut client, get("/again"), true).await;
        let (mut conn, _) = backend.request().await;
        conn.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .await;
        assert_eq!(within(response).await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn the_idle_timeout_resets_a_silent_stream() {
    let backend = Backend::start().await;
    let gateway = gateway(
        &backend,
        "timeoutInMillis: 60000\nx-sluicegate-timeouts: {idleInMillis: 300}",
    );
    let mut client = connect(&gateway).await;
    let (response, _) = send(&mut client, get("/s"), true).await;
    let (mut conn, _) = backend.request().await;
    conn.write(format!("{CHUNKED}2\r\nhi\r\n")).await;
    let mut body = within(response).await.unwrap().into_body();
    assert_eq!(within(body.data()).await.unwrap().unwrap(), "hi");
    assert!(within(body.data()).await.unwrap().is_err());
    conn.is_closed().await;
    assert_eq!(gateway.record().await["outcome"], "idle");
}

#[tokio::test]
async fn uploads_and_trailers_pass_in_both_directions() {
    let backend = Backend::start().await;
    let gateway = gateway(&backend, "timeoutInMillis: 60000");
    let mut client = connect(&gateway).await;
    let request = Request::post("http://test/s").body(()).unwrap();
    let (response, mut sending) = send(&mut client, request, false).await;
    sending
        .send_data(Bytes::from_static(b"hello"), false)
        .unwrap();
    let (mut conn, head) = backend.request().await;
    // Item 106: the framing towards the backend is the gateway's own.
    assert_eq!(
        (
            header(&head, "transfer-encoding"),
            header(&head, "content-length")
        ),
        (Some("chunked"), None)
    );
    assert_eq!(conn.take(10).await, b"5\r\nhello\r\n");
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "1".parse().unwrap());
    sending.send_trailers(trailers).unwrap();
    assert_eq!(conn.take(15).await, b"0\r\nx-sum: 1\r\n\r\n");
    conn.write("HTTP/1.1 200 OK\r\nTrailer: x-back\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-back: 2\r\n\r\n").await;
    let mut body = within(response).await.unwrap().into_body();
    assert_eq!(within(body.data()).await.unwrap().unwrap(), "ok");
    let trailers = within(body.trailers()).await.unwrap().unwrap();
    assert_eq!(trailers["x-back"], "2");
    assert_eq!(gateway.record().await["outcome"], "complete");
}

#[tokio::test]
async fn items_101_to_107_heads_that_http2_allows_are_judged_like_all() {
    let backend = Backend::start().await;
    let gateway = gateway(&backend, "timeoutInMillis: 60000");
    let mut client = connect(&gateway).await;
    let mismatch = Request::get("http://test/x")
        .header("host", "other")
        .body(())
        .unwrap();
    let climbing = Request::get("http://test/a/../../b").body(()).unwrap();
    let large = Request::get("http://test/x")
        .header("x", "y".repeat(10_300))
        .body(())
        .unwrap();
    let long = Request::get(format!("http://test/{}", "a".repeat(8200)))
        .body(())
        .unwrap();
    let many = (0..101).fold(Request::get("http://test/x"), |request, _| {
        request.header("x", "y")
    });
    let lengths = Request::get("http://test/x")
        .header("content-length", "0")
        .header("content-length", "0")
        .body(())
        .unwrap();
    for (request, code) in [
        (mismatch, 400),
        (climbing, 400),
        (large, 431),
        (long, 414),
        (many.body(()).unwrap(), 431),
        (lengths, 400),
    ] {
        let (response, _) = send(&mut client, request, true).await;
        assert_eq!(within(response).await.unwrap().status(), code);
    }
    assert!(backend.is_left_alone().await);
    let crumbs = Request::get("http://test/x")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .body(())
        .unwrap();
    let (_response, _) = send(&mut client, crumbs, true).await;
    let (_conn, head) = backend.request().await;
    assert_eq!(headers(&head, "cookie").collect::<Vec<_>>(), ["a=1; b=2"]);
}

#[tokio::test]
async fn item_103_a_body_that_lies_about_its_length_aborts_the_backend() {
    let backend = Backend::start().await;
    let gateway = gateway(&backend, "timeoutInMillis: 60000");
    let mut client = connect(&gateway).await;
    let request = Request::post("http://test/s")
        .header("content-length", "5")
        .body(())
        .unwrap();
    let (response, mut sending) = send(&mut client, request, false).await;
    let (mut conn, head) = backend.request().await;
    assert_eq!(header(&head, "content-length"), Some("5"));
    sending
        .send_data(Bytes::from_static(b"too long"), true)
        .unwrap();
    let rest = conn.rest().await;
    assert!(rest.len() < 5, "{rest:?}");
    assert!(within(response).await.is_err());
}

#[tokio::test]
async fn a_body_over_the_limit_is_413() {
    let backend = Backend::start().await;
    let gateway = gateway(
        &backend,
        "timeoutInMillis: 60000\nx-sluicegate-limits: {requestBodyBytes: 5}",
    );
    let mut client = connect(&gateway).await;
    let request = Request::post("http://test/s").body(()).unwrap();
    let (response, mut sending) = send(&mut client, request, false).await;
    sending
        .send_data(Bytes::from_static(b"hello!"), true)
        .unwrap();
    assert_eq!(within(response).await.unwrap().status(), 413);
}

#[tokio::test]
async fn item_108_a_draining_gateway_lets_streams_finish() {
    let backend = Backend::start().await;
    let gateway = gateway(&backend, "timeoutInMillis: 60000");
    let mut client = connect(&gateway).await;
    let (response, _) = send(&mut client, get("/s"), true).await;
    let (mut conn, _) = backend.request().await;
    conn.write(CHUNKED).await;
    let mut body = within(response).await.unwrap().into_body();
    gateway
        .conductor()
        .advance(sluicegate::types::lifecycle::Phase::Draining);
    tokio::time::sleep(Duration::from_millis(100)).await;
    conn.write("2\r\nok\r\n0\r\n\r\n").await;
    assert_eq!(within(body.data()).await.unwrap().unwrap(), "ok");
    ends(&mut body).await;
    gateway.ended().await;
}

#[tokio::test]
async fn at_the_limit_of_a_shutdown_streams_are_cut_as_drained() {
    let backend = Backend::start().await;
    let gateway = gateway(&backend, "timeoutInMillis: 60000");
    let mut client = connect(&gateway).await;
    let (response, _) = send(&mut client, get("/s"), true).await;
    let (mut conn, _) = backend.request().await;
    conn.write(CHUNKED).await;
    let mut body = within(response).await.unwrap().into_body();
    gateway
        .conductor()
        .advance(sluicegate::types::lifecycle::Phase::Draining);
    gateway
        .conductor()
        .advance(sluicegate::types::lifecycle::Phase::Cut);
    let error = within(body.data()).await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR), "{error}");
    assert_eq!(gateway.record().await["outcome"], "drained");
    gateway.ended().await;
}

#[tokio::test]
async fn an_operator_ends_one_stream_and_not_its_neighbour() {
    let backend = Backend::start().await;
    let gateway = gateway(&backend, "timeoutInMillis: 60000");
    let admin = gateway.admin();
    let mut client = connect(&gateway).await;
    let (one, _) = send(&mut client, get("/one"), true).await;
    let (mut conn, _) = backend.request().await;
    conn.write(CHUNKED).await;
    let one = within(one).await.unwrap();
    let (other, _) = send(&mut client, get("/other"), true).await;
    let (mut neighbour, _) = backend.request().await;
    neighbour.write(CHUNKED).await;
    let mut other = within(other).await.unwrap().into_body();
    let id = one.headers()["x-amzn-requestid"].to_str().unwrap();
    let ask = format!("DELETE /streams/{id} HTTP/1.1\r\nHost: {admin}\r\n\r\n");
    assert_eq!(status(&Client::ask(admin, &ask).await.0), 202);
    let end = within(one.into_body().data()).await.unwrap().unwrap_err();
    assert!(end.is_reset(), "{end}");
    conn.is_closed().await;
    assert_eq!(gateway.record().await["outcome"], "terminated");
    neighbour.write("2\r\nhi\r\n0\r\n\r\n").await;
    assert_eq!(within(other.data()).await.unwrap().unwrap(), "hi");
    // The end may come with an empty frame.
    let end = within(other.data()).await;
    assert!(end.is_none_or(|data| data.unwrap().is_empty()));
}

#[tokio::test]
async fn without_h2c_the_preface_is_refused_and_with_it_http1_still_works() {
    let backend = Backend::start()
        .await
        .always("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let plain = Gateway::streaming(backend);
    let (head, _) = Client::ask(plain.address, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert_eq!(status(&head), 505);
    let settings = "listeners: [{address: 127.0.0.1:0, h2c: true}]\naccessLog: {path: none}\napis: [{definition: api.yaml}]\n";
    let api = document(&proxy("/{proxy+}", backend, ""));
    let both = Gateway::from_files(&[("sluicegate.yaml", settings), ("api.yaml", &api)]);
    for path in ["/x", "/P"] {
        assert_eq!(Client::get(both.address, path).await.1, "ok");
    }
    // A method that begins like the preface.
    let (head, _) = Client::ask(both.address, "PR / HTTP/1.1\r\nHost: test\r\n\r\n").await;
    assert_eq!(status(&head), 403);
}

#[tokio::test]
async fn a_burst_of_streams_leaves_connections_for_the_next_burst() {
    const CLIENTS: usize = 2;
    const STREAMS: usize = 80;
    let backend = Backend::start().await;
    let gateway = gateway(&backend, "timeoutInMillis: 60000");
    let opened = Arc::new(AtomicUsize::new(0));
    let all_there = Arc::new(Barrier::new(CLIENTS * STREAMS));
    let counted = opened.clone();
    tokio::spawn(async move {
        loop {
            let mut conn = backend.accept().await;
            let all_there = all_there.clone();
            counted.fetch_add(1, Relaxed);
            tokio::spawn(async move {
                loop {
                    conn.head().await;
                    all_there.wait().await;
                    conn.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
                        .await;
                }
            });
        }
    });
    let mut clients = [connect(&gateway).await, connect(&gateway).await];
    for _ in 0..2 {
        let mut responses = Vec::new();
        for client in &mut clients {
            for _ in 0..STREAMS {
                responses.push(send(client, get("/s"), true).await.0);
            }
        }
        for response in responses {
            let mut body = within(response).await.unwrap().into_body();
            assert_eq!(within(body.data()).await.unwrap().unwrap(), "hi");
            ends(&mut body).await;
        }
    }
    assert_eq!(opened.load(Relaxed), CLIENTS * STREAMS);
}
