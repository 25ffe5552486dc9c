//! Every clock, with a client or a backend that lets it run out.

use crate::support::{Backend, Client, Conn, End, Gateway, status, within};

const GET: &str = "GET /s HTTP/1.1\r\nHost: test\r\n\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

fn integration(timeout: u32, timeouts: &str) -> String {
    format!(
        "responseTransferMode: STREAM\ntimeoutInMillis: {timeout}\nx-sluicegate-timeouts: {{{timeouts}}}"
    )
}

/// Writes chunks until the gateway doesn't take any more.
async fn flood(mut conn: Conn) {
    use tokio::io::AsyncWriteExt as _;
    let chunk = [b"4000\r\n".as_slice(), &[b'x'; 0x4000], b"\r\n"].concat();
    while conn.stream.write_all(&chunk).await.is_ok() {}
}

#[tokio::test]
async fn the_deadline_before_the_head_is_504() {
    let backend = Backend::start().await;
    let gateway = Gateway::with_integration(backend.address, &integration(200, ""));
    let mut client = Client::connect(gateway.address).await;
    client.send(GET).await;
    let (mut conn, _) = backend.request().await;
    let (head, body) = client.answer().await;
    assert_eq!(
        (status(&head), body.as_str()),
        (504, r#"{"message":"Endpoint request timed out"}"#)
    );
    conn.is_closed().await;
    let record = gateway.record().await;
    assert_eq!(
        (&record["outcome"], &record["errorType"]),
        (&"deadline".into(), &"INTEGRATION_TIMEOUT".into())
    );
}

#[tokio::test]
async fn the_idle_timeout_before_the_head_is_504() {
    let backend = Backend::start().await;
    let gateway =
        Gateway::with_integration(backend.address, &integration(60_000, "idleInMillis: 200"));
    let mut client = Client::connect(gateway.address).await;
    client.send(GET).await;
    let _kept = backend.request().await;
    assert_eq!(status(&client.answer().await.0), 504);
    assert_eq!(gateway.record().await["outcome"], "idle");
}

#[tokio::test]
async fn the_deadline_cuts_a_stream_that_is_silent() {
    let backend = Backend::start().await;
    let gateway = Gateway::with_integration(backend.address, &integration(300, ""));
    let mut client = Client::connect(gateway.address).await;
    client.send(GET).await;
    let (mut conn, _) = backend.request().await;
    conn.write(format!("{CHUNKED}2\r\nhi\r\n")).await;
    client.head().await;
    client.chunk().await;
    assert_eq!(client.is_closed().await, End::Fin);
    conn.is_closed().await;
    assert_eq!(gateway.record().await["outcome"], "deadline");
}

#[tokio::test]
async fn the_deadline_cuts_a_stream_that_never_pauses() {
    let backend = Backend::start().await;
    let unlimited = format!(
        "{}\nx-sluicegate-stream: {{policy: unlimited}}",
        integration(300, "")
    );
    let gateway = Gateway::with_integration(backend.address, &unlimited);
    let mut client = Client::connect(gateway.address).await;
    client.send(GET).await;
    let (mut conn, _) = backend.request().await;
    conn.write(CHUNKED).await;
    tokio::spawn(flood(conn));
    let (rest, _) = client.rest().await;
    assert!(!rest.ends_with(b"0\r\n\r\n"));
    assert_eq!(gateway.record().await["outcome"], "deadline");
}

#[tokio::test]
async fn the_idle_timeout_cuts_a_silent_stream_and_bytes_put_it_off() {
    let backend = Backend::start().await;
    let gateway =
        Gateway::with_integration(backend.address, &integration(60_000, "idleInMillis: 400"));
    let mut client = Client::connect(gateway.address).await;
    client.send(GET).await;
    let (mut conn, _) = backend.request().await;
    conn.write(CHUNKED).await;
    client.head().await;
    for _ in 0..6 {
        tokio::time::sleep(std::time::Duration::from_millis(150)).await;
        conn.write("1\r\nx\r\n").await;
        client.chunk().await;
    }
    assert_eq!(client.is_closed().await, End::Fin);
    let record = gateway.record().await;
    assert_eq!(
        (&record["outcome"], &record["chunks"]),
        (&"idle".into(), &"6".into())
    );
}

#[tokio::test]
async fn every_clock_fires_while_the_client_has_stopped_reading() {
    for (limits, outcome) in [
        (integration(400, ""), "deadline"),
        (
            integration(60_000, "clientStallInMillis: 400"),
            "client_stalled",
        ),
    ] {
        let backend = Backend::start().await;
        let limits = format!("{limits}\nx-sluicegate-stream: {{policy: unlimited}}");
        let gateway = Gateway::with_integration(backend.address, &limits);
        let mut client = Client::narrow(gateway.address).await;
        client.send(GET).await;
        let (mut conn, _) = backend.request().await;
        conn.write(CHUNKED).await;
        within(flood(conn)).await;
        let record = gateway.record().await;
        assert_eq!(record["outcome"], outcome);
        // What the client never took isn't called sent: the kernels' buffers are all there is.
        let sent: u64 = record["responseLength"].as_str().unwrap().parse().unwrap();
        assert!(sent < 16 * 1024 * 1024, "{sent}");
        assert_eq!(client.rest().await.1, End::Reset);
    }
}

#[tokio::test]
async fn a_client_that_stops_reading_stops_the_backend() {
    let backend = Backend::start().await;
    let unlimited = "responseTransferMode: STREAM\ntimeoutInMillis: 60000\nx-sluicegate-stream: {policy: unlimited}";
    let gateway = Gateway::with_integration(backend.address, unlimited);
    let mut client = Client::narrow(gateway.address).await;
    client.send(GET).await;
    let (mut conn, _) = backend.request().await;
    conn.write("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        .await;
    // Whatever the kernels on the way hold is taken, and then no more.
    let mut taken = 0_u64;
    let chunk = vec![b'x'; 65_536];
    let moment = std::time::Duration::from_millis(700);
    while let Ok(Ok(count)) = tokio::time::timeout(
        moment,
        tokio::io::AsyncWriteExt::write(&mut conn.stream, &chunk),
    )
    .await
    {
        taken += count as u64;
        assert!(taken < 100_000_000, "the gateway takes everything");
    }
    assert!(client.take(100_000).await.len() == 100_000);
}

#[tokio::test]
async fn a_reply_that_was_buffered_is_watched_for_stalls_too() {
    let backend = Backend::start().await;
    let body = vec![b'x'; 9_000_000];
    let mut answer =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend_from_slice(&body);
    let limits = "timeoutInMillis: 29000\nx-sluicegate-timeouts: {clientStallInMillis: 400}";
    let gateway = Gateway::with_integration(backend.always(answer), limits);
    let mut client = Client::narrow(gateway.address).await;
    client.send(GET).await;
    let record = gateway.record().await;
    assert_eq!(
        (&record["outcome"], &record["status"]),
        (&"client_stalled".into(), &"200".into())
    );
}

#[tokio::test]
async fn an_upload_that_stops_is_408_and_the_backend_is_told() {
    let backend = Backend::start().await;
    let gateway = Gateway::with_integration(
        backend.address,
        &integration(60_000, "requestBodyInMillis: 300"),
    );
    let mut client = Client::connect(gateway.address).await;
    client
        .send("POST /s HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhalf")
        .await;
    let (mut conn, _) = backend.request().await;
    assert_eq!(conn.take(4).await, b"half");
    let (head, _) = client.answer().await;
    assert_eq!(status(&head), 408);
    client.is_closed().await;
    conn.is_closed().await;
    assert_eq!(gateway.record().await["reason"], "body_timeout");
}

#[tokio::test]
async fn an_upload_that_is_needed_whole_and_stops_is_408_too() {
    let backend = Backend::start().await;
    let more = "x-sluicegate-timeouts: {requestBodyInMillis: 300}\nrequestParameters:\n  \
        integration.request.path.proxy: method.request.path.proxy\n  integration.request.header.X: method.request.body.a";
    let document =
        crate::support::document(&crate::support::proxy("/{proxy+}", backend.address, more));
    let mapping =
        "        requestParameters: {integration.request.path.proxy: method.request.path.proxy}\n";
    let gateway = Gateway::start("", &document.replace(mapping, ""));
    let mut client = Client::connect(gateway.address).await;
    client
        .send("POST /s HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhalf")
        .await;
    assert_eq!(status(&client.answer().await.0), 408);
    assert_eq!(gateway.record().await["reason"], "body_timeout");
}

#[tokio::test]
async fn an_upload_that_only_drips_is_408() {
    let backend = Backend::start().await;
    let gateway = Gateway::with_integration(
        backend.address,
        &integration(60_000, "requestBodyInMillis: 600"),
    );
    let mut client = Client::connect(gateway.address).await;
    client
        .send("POST /s HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\n")
        .await;
    let _kept = backend.request().await;
    for _ in 0..20 {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        if tokio::io::AsyncWriteExt::write_all(&mut client.stream, b"x")
            .await
            .is_err()
        {
            break;
        }
    }
    assert_eq!(gateway.record().await["reason"], "body_timeout");
}

#[tokio::test]
async fn heads_have_clocks_of_their_own() {
    let backend = Backend::start().await;
    let http = "http: {firstByteTimeoutInMillis: 300, headTimeoutInMillis: 300, keepAliveTimeoutInMillis: 300}";
    let document =
        crate::support::document(&crate::support::proxy("/{proxy+}", backend.address, ""));
    let gateway = Gateway::start(http, &document);
    // Not a byte: closed without a word or a record (item 75).
    assert_eq!(
        Client::connect(gateway.address).await.is_closed().await,
        End::Fin
    );
    // Half a head: 408 (item 76).
    let mut client = Client::connect(gateway.address).await;
    client.send("GET / HTTP/1.1\r\nHo").await;
    assert_eq!(status(&client.answer().await.0), 408);
    client.is_closed().await;
    // Idle between requests: closed without a word (item 77).
    let mut client = Client::connect(gateway.address).await;
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
    assert_eq!(status(&client.answer().await.0), 403);
    assert_eq!(client.is_closed().await, End::Fin);
    let reasons: Vec<_> = gateway
        .records(2)
        .await
        .iter()
        .map(|record| record["reason"].clone())
        .collect();
    assert_eq!(reasons, ["head_timeout", "no_route"]);
}
