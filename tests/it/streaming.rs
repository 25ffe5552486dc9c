//! Streaming is sacred: what has arrived leaves, nothing waits for more, and an early end never looks complete.

use std::time::Duration;

use tokio::{io::AsyncWriteExt as _, time::timeout};

use crate::support::{Backend, Client, End, Gateway, header, headers, status};

const GET: &str = "GET /s HTTP/1.1\r\nHost: test\r\n\r\n";
const CHUNKED: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

#[tokio::test]
async fn the_next_chunk_is_produced_only_after_the_client_saw_the_last() {
    let backend = Backend::start().await;
    let gateway = Gateway::streaming(backend.address);
    let mut client = Client::connect(gateway.address).await;
    client.send(GET).await;
    let (mut conn, _) = backend.request().await;
    conn.write(CHUNKED).await;
    let head = client.head().await;
    assert_eq!(
        (status(&head), header(&head, "content-type")),
        (200, Some("text/event-stream"))
    );
    for number in 0..20 {
        let event = format!("data: {number}\n\n");
        conn.write(format!("{:x}\r\n{event}\r\n", event.len()))
            .await;
        assert_eq!(String::from_utf8(client.chunk().await).unwrap(), event);
    }
    conn.write("0\r\n\r\n").await;
    client.expect("0\r\n\r\n").await;
    let record = gateway.record().await;
    assert_eq!(
        (&record["outcome"], &record["chunks"]),
        (&"complete".into(), &"20".into())
    );
    assert_eq!(record["responseTransferMode"], "STREAMED");
}

#[tokio::test]
async fn a_chunk_that_arrives_in_pieces_is_passed_on_in_pieces() {
    let backend = Backend::start().await;
    let gateway = Gateway::streaming(backend.address);
    let mut client = Client::connect(gateway.address).await;
    client.send(GET).await;
    let (mut conn, _) = backend.request().await;
    conn.write(format!("{CHUNKED}a\r\nhe")).await;
    client.head().await;
    assert_eq!(client.chunk().await, b"he");
    conn.write("llo").await;
    assert_eq!(client.chunk().await, b"llo");
    conn.write(", you\r\n0\r\n\r\n").await;
    assert_eq!(client.chunk().await, b", you");
    client.expect("0\r\n\r\n").await;
}

#[tokio::test]
async fn the_head_is_sent_when_it_is_complete_body_or_not() {
    let backend = Backend::start().await;
    let gateway = Gateway::streaming(backend.address);
    for framing in ["Transfer-Encoding: chunked", "Content-Length: 5"] {
        let mut client = Client::connect(gateway.address).await;
        client.send(GET).await;
        let (mut conn, _) = backend.request().await;
        conn.write(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n"))
            .await;
        assert_eq!(status(&client.head().await), 200);
        assert!(client.is_kept().await);
    }
}

#[tokio::test]
async fn a_length_is_kept_and_raw_bytes_pass_as_they_are() {
    let backend = Backend::start().await;
    let gateway = Gateway::streaming(backend.address);
    let mut client = Client::connect(gateway.address).await;
    client.send(GET).await;
    let (mut conn, _) = backend.request().await;
    conn.write(
        b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x00",
    )
    .await;
    let head = client.head().await;
    assert_eq!(header(&head, "content-length"), Some("6"));
    assert_eq!(header(&head, "content-encoding"), Some("gzip"));
    assert_eq!(client.take(3).await, b"\x1f\x8b\x00");
    conn.write(b"\xff\x00\r").await;
    assert_eq!(client.take(3).await, b"\xff\x00\r");
    assert!(client.is_kept().await);
}

#[tokio::test]
async fn a_keep_alive_connection_serves_one_stream_after_the_other_over_one_backend_connection() {
    let backend = Backend::start().await;
    let gateway = Gateway::streaming(backend.address);
    let mut client = Client::connect(gateway.address).await;
    client.send(GET).await;
    let (mut conn, _) = backend.request().await;
    for _ in 0..3 {
        conn.write(format!("{CHUNKED}2\r\nhi\r\n0\r\n\r\n")).await;
        assert_eq!(client.answer().await.1, "hi");
        client.send(GET).await;
        conn.head().await;
    }
    conn.write("HTTP/1.1 204 No Content\r\n\r\n").await;
    let head = client.head().await;
    assert_eq!(
        (status(&head), header(&head, "content-length")),
        (204, None)
    );
    assert_eq!(gateway.records(4).await.len(), 4);
}

#[tokio::test]
async fn a_truncated_stream_ends_without_its_last_chunk() {
    let backend = Backend::start().await;
    let gateway = Gateway::streaming(backend.address);
    for reset in [false, true] {
        let mut client = Client::connect(gateway.address).await;
        client.send(GET).await;
        let (mut conn, _) = backend.request().await;
        conn.write(format!("{CHUNKED}5\r\nhello\r\n")).await;
        client.head().await;
        assert_eq!(client.chunk().await, b"hello");
        if reset {
            conn.reset();
        } else {
            drop(conn);
        }
        assert_eq!(client.is_closed().await, End::Fin);
    }
    for record in gateway.records(2).await {
        assert_eq!(
            (&record["outcome"], &record["status"]),
            (&"integration_truncated".into(), &"200".into())
        );
        assert_eq!(
            (&record["responseLength"], &record["side"]),
            (&"5".into(), &"integration".into())
        );
    }
}

#[tokio::test]
async fn bytes_that_arrived_with_the_end_are_delivered_before_the_cut() {
    let backend = Backend::start().await;
    let gateway = Gateway::streaming(backend.address);
    let mut client = Client::connect(gateway.address).await;
    client.send(GET).await;
    let (mut conn, _) = backend.request().await;
    conn.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nlast words")
        .await;
    drop(conn);
    let head = client.head().await;
    assert_eq!(header(&head, "content-length"), Some("100"));
    let (rest, end) = client.rest().await;
    assert_eq!((rest.as_slice(), end), (&b"last words"[..], End::Fin));
}

#[tokio::test]
async fn an_old_client_sees_a_reset_where_only_the_end_would_tell() {
    let backend = Backend::start().await;
    let gateway = Gateway::streaming(backend.address);
    let mut client = Client::connect(gateway.address).await;
    client.send("GET /s HTTP/1.0\r\n\r\n").await;
    let (mut conn, _) = backend.request().await;
    conn.write(format!("{CHUNKED}5\r\nhello\r\n")).await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.0 200 OK\r\n"), "{head}");
    assert_eq!(
        (
            header(&head, "transfer-encoding"),
            header(&head, "connection")
        ),
        (None, Some("close"))
    );
    client.expect("hello").await;
    drop(conn);
    assert_eq!(client.is_closed().await, End::Reset);
}

#[tokio::test]
async fn a_close_delimited_answer_becomes_chunks_and_ends_properly() {
    let backend = Backend::start().await;
    let gateway = Gateway::streaming(backend.address);
    let mut client = Client::connect(gateway.address).await;
    client.send(GET).await;
    let (mut conn, _) = backend.request().await;
    conn.write("HTTP/1.0 200 OK\r\n\r\nuntil the end").await;
    let head = client.head().await;
    assert_eq!(header(&head, "transfer-encoding"), Some("chunked"));
    assert_eq!(client.chunk().await, b"until the end");
    drop(conn);
    client.expect("0\r\n\r\n").await;
    assert_eq!(gateway.record().await["outcome"], "complete");
}

#[tokio::test]
async fn trailers_pass_to_clients_that_take_them_and_the_forbidden_ones_dont() {
    let backend = Backend::start().await;
    let gateway = Gateway::streaming(backend.address);
    let answer = "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\
                  X-Sum: 1\r\nContent-Length: 9\r\n\r\n";
    for (te, expected) in [
        ("TE: trailers\r\n", "0\r\nX-Sum: 1\r\n\r\n"),
        ("", "0\r\n\r\n"),
    ] {
        let mut client = Client::connect(gateway.address).await;
        client
            .send(format!("GET /s HTTP/1.1\r\nHost: test\r\n{te}\r\n"))
            .await;
        let (mut conn, head) = backend.request().await;
        assert_eq!(header(&head, "te").is_some(), !te.is_empty());
        conn.write(answer).await;
        let head = client.head().await;
        assert_eq!(header(&head, "trailer").is_some(), !te.is_empty());
        assert_eq!(client.chunk().await, b"hi");
        // The helper has taken the last chunk's size line already where there is one.
        let _ = expected;
        let rest = if te.is_empty() { "0\r\n\r\n" } else { expected };
        client.expect(rest).await;
    }
}

#[tokio::test]
async fn head_has_no_body_and_keeps_the_length() {
    let backend = Backend::start().await;
    let gateway = Gateway::streaming(backend.address);
    let mut client = Client::connect(gateway.address).await;
    client.send("HEAD /s HTTP/1.1\r\nHost: test\r\n\r\n").await;
    let (mut conn, head) = backend.request().await;
    assert!(head.starts_with("HEAD /s HTTP/1.1\r\n"));
    conn.write("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n")
        .await;
    let head = client.head().await;
    assert_eq!(header(&head, "content-length"), Some("1234"));
    // The connection goes on: nothing was taken for a body.
    client.send(GET).await;
    conn.head().await;
    conn.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await;
    assert_eq!(client.answer().await.1, "ok");
}

#[tokio::test]
async fn cookies_stay_apart_and_in_order() {
    let backend = Backend::start().await;
    let gateway = Gateway::streaming(backend.address);
    let mut client = Client::connect(gateway.address).await;
    client.send(GET).await;
    let (mut conn, _) = backend.request().await;
    conn.write("HTTP/1.1 200 OK\r\nSet-Cookie: b=2\r\nX: y\r\nset-cookie: a=1\r\nContent-Length: 0\r\n\r\n").await;
    let head = client.head().await;
    assert_eq!(
        headers(&head, "set-cookie").collect::<Vec<_>>(),
        ["b=2", "a=1"]
    );
}

#[tokio::test]
async fn the_first_bytes_are_free_and_the_rest_is_held_to_its_rate() {
    let backend = Backend::start().await;
    let stream = "responseTransferMode: STREAM\ntimeoutInMillis: 60000\n\
                  x-sluicegate-stream: {burstBytes: 1000000, rateBytesPerSecond: 1000000}";
    let gateway = Gateway::with_integration(backend.address, stream);
    let mut client = Client::connect(gateway.address).await;
    client.send(GET).await;
    let (mut conn, _) = backend.request().await;
    let sending = tokio::spawn(async move {
        conn.write("HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n")
            .await;
        conn.write(vec![b'x'; 2_000_000]).await;
        conn
    });
    client.head().await;
    client.take(1_000_000).await;
    client.take(1_000_000).await;
    sending.await.unwrap();
    let record = gateway.record().await;
    let throttled: u64 = record["throttledTime"].as_str().unwrap().parse().unwrap();
    // The second million takes a second, less what the timer's grain and the last quantum make of it.
    assert!((800..3000).contains(&throttled), "{throttled}");
    assert_eq!(
        (&record["outcome"], &record["responseLength"]),
        (&"complete".into(), &"2000000".into())
    );
}

#[tokio::test]
async fn a_client_that_stops_reading_stops_the_backend_before_reads_grow() {
    const TAKEN: usize = 1 << 20;
    let backend = Backend::start().await;
    let gateway = Gateway::streaming(backend.address);
    let mut client = Client::narrow(gateway.address).await;
    client.send(GET).await;
    let (mut conn, _) = backend.request().await;
    socket2::SockRef::from(&conn.stream)
        .set_send_buffer_size(16 * 1024)
        .unwrap();
    conn.write("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        .await;
    let mut written = 0;
    let moment = Duration::from_millis(500);
    while let Ok(result) = timeout(moment, conn.stream.write(&[b'x'; 16 * 1024])).await {
        written += result.unwrap();
        assert!(written < 3 * TAKEN, "the gateway takes it all");
    }
    client.vanish();
    let record = gateway.record().await;
    let sent: usize = record["responseLength"].as_str().unwrap().parse().unwrap();
    // A megabyte of full reads is what makes reads larger.
    assert!(sent > 0 && sent < TAKEN, "{sent} of {written}");
}
