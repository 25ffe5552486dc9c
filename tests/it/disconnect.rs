//! Clients that leave: the integration is told at once, or goes on to its end, as the route has it.

use tokio::io::AsyncWriteExt as _;

use crate::support::{Backend, Client, Gateway};

const GET: &str = "GET /s HTTP/1.1\r\nHost: test\r\n\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

#[tokio::test]
async fn a_client_that_leaves_during_silence_cancels_the_backend() {
    let backend = Backend::start().await;
    let gateway = Gateway::streaming(backend.address);
    for vanishes in [false, true] {
        let mut client = Client::connect(gateway.address).await;
        client.send(GET).await;
        let (mut conn, _) = backend.request().await;
        conn.write(format!("{CHUNKED}2\r\nhi\r\n")).await;
        client.head().await;
        client.chunk().await;
        if vanishes {
            client.vanish();
        } else {
            drop(client);
        }
        conn.is_closed().await;
    }
    for record in gateway.records(2).await {
        assert_eq!(
            (&record["outcome"], &record["status"]),
            (&"client_left".into(), &"200".into())
        );
    }
}

#[tokio::test]
async fn a_waiting_pipelined_request_hides_no_disconnect() {
    let backend = Backend::start().await;
    let gateway = Gateway::streaming(backend.address);
    for waiting in [
        GET.to_owned(),
        format!(
            "POST /s HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\n{}",
            "x".repeat(60_000)
        ),
    ] {
        let mut client = Client::connect(gateway.address).await;
        client.send(GET).await;
        let (mut conn, _) = backend.request().await;
        conn.write(CHUNKED).await;
        client.head().await;
        client.send(waiting).await;
        assert!(conn.is_kept().await);
        drop(client);
        conn.is_closed().await;
    }
    // The request that waited was never begun.
    assert_eq!(gateway.records(2).await.len(), 2);
}

#[tokio::test]
async fn an_unfinished_upload_hides_no_disconnect() {
    let backend = Backend::start().await;
    let gateway = Gateway::streaming(backend.address);
    let mut client = Client::connect(gateway.address).await;
    client
        .send("POST /s HTTP/1.1\r\nHost: test\r\nContent-Length: 9000000\r\n\r\nbegin")
        .await;
    let (mut conn, _) = backend.request().await;
    // The backend answers before it has read everything, and reads no more.
    conn.write(format!("{CHUNKED}2\r\nhi\r\n")).await;
    client.head().await;
    client.chunk().await;
    let moment = std::time::Duration::from_millis(300);
    let more = vec![b'x'; 8_000_000];
    let _ = tokio::time::timeout(
        moment,
        tokio::io::AsyncWriteExt::write_all(&mut client.stream, &more),
    )
    .await;
    drop(client);
    conn.is_closed().await;
    assert_eq!(gateway.record().await["outcome"], "client_left");
}

#[tokio::test]
async fn a_client_that_leaves_before_the_head_cancels_the_backend() {
    let backend = Backend::start().await;
    let gateway = Gateway::streaming(backend.address);
    let mut client = Client::connect(gateway.address).await;
    client.send(GET).await;
    let (mut conn, _) = backend.request().await;
    assert!(conn.is_kept().await);
    drop(client);
    conn.is_closed().await;
    let record = gateway.record().await;
    assert_eq!(
        (&record["outcome"], &record["status"]),
        (&"client_left".into(), &"-".into())
    );
    let blocked: u64 = record["integrationBlockedTime"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(blocked > 0, "it was the backend that was waited for");
}

#[tokio::test]
async fn a_client_that_leaves_in_its_upload_is_no_success_for_the_backend() {
    let backend = Backend::start().await;
    let gateway = Gateway::streaming(backend.address);
    let mut client = Client::connect(gateway.address).await;
    client
        .send("POST /s HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        .await;
    let (mut conn, _) = backend.request().await;
    conn.take(10).await;
    drop(client);
    // No last chunk: the backend can't take the half for the whole (item 34).
    assert_eq!(conn.rest().await, b"");
    assert_eq!(gateway.record().await["outcome"], "client_left");
}

#[tokio::test]
async fn with_finish_the_backend_is_read_to_its_end() {
    let backend = Backend::start().await;
    let finish = "responseTransferMode: STREAM\ntimeoutInMillis: 60000\nx-sluicegate-on-client-disconnect: finish";
    let gateway = Gateway::with_integration(backend.address, finish);
    // After the head.
    let mut client = Client::connect(gateway.address).await;
    client.send(GET).await;
    let (mut conn, _) = backend.request().await;
    conn.write(format!("{CHUNKED}2\r\nhi\r\n")).await;
    client.head().await;
    drop(client);
    assert_eq!(gateway.record().await["outcome"], "client_left");
    for _ in 0..300 {
        conn.write([b"4000\r\n".as_slice(), &[b'x'; 0x4000], b"\r\n"].concat())
            .await;
    }
    conn.write("0\r\n\r\n").await;
    // Before the head.
    let mut client = Client::connect(gateway.address).await;
    client.send(GET).await;
    let mut conn =
        match tokio::time::timeout(std::time::Duration::from_millis(500), conn.head()).await {
            Ok(_) => conn,
            Err(_) => backend.request().await.0,
        };
    drop(client);
    assert_eq!(gateway.records(2).await[1]["outcome"], "client_left");
    assert!(conn.is_kept().await);
    conn.write("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        .await;
    conn.write(vec![b'x'; 100_000]).await;
    assert!(conn.is_kept().await);
}

/// A call that goes on without its client can't go on without the rest of the request.
#[tokio::test]
async fn with_finish_an_upload_that_breaks_off_while_nobody_reads_it_ends_the_call() {
    let backend = Backend::start().await;
    let gateway = Gateway::with_integration(
        backend.address,
        "timeoutInMillis: 25000\nx-sluicegate-on-client-disconnect: finish",
    );
    let mut client = Client::connect(gateway.address).await;
    client
        .send("POST /x HTTP/1.1\r\nHost: test\r\nContent-Length: 9000000\r\n\r\n")
        .await;
    let (mut conn, _) = backend.request().await;
    // Until every buffer on the way is full.
    let filling = async { while client.stream.write_all(&[b'x'; 65_536]).await.is_ok() {} };
    let moment = std::time::Duration::from_millis(500);
    assert!(tokio::time::timeout(moment, filling).await.is_err());
    client.vanish();
    assert_eq!(gateway.record().await["outcome"], "client_left");
    let received = conn.rest().await.len();
    assert!(received < 9_000_000, "{received}");
}
