//! Acceptance items 112 to 139: backends that fail, lie or misbehave.

use crate::support::{Backend, Client, End, Gateway, document, header, proxy, status};

const GET: &str = "GET /x HTTP/1.1\r\nHost: test\r\n\r\n";

/// Answers one request with `answer` and closes; what the client gets before anything of a body.
async fn answered(answer: impl AsRef<[u8]>) -> (u16, String, serde_json::Value) {
    let backend = Backend::start().await;
    let gateway = Gateway::streaming(backend.address);
    let mut client = Client::connect(gateway.address).await;
    client.send(GET).await;
    let (mut conn, _) = backend.request().await;
    conn.write(answer).await;
    let _ = tokio::io::AsyncWriteExt::shutdown(&mut conn.stream).await;
    let (head, body) = client.answer().await;
    (status(&head), body, gateway.record().await)
}

#[tokio::test]
async fn item_112_refused_is_504_and_unresolvable_is_500() {
    let closed = {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap()
    };
    let gateway = Gateway::streaming(closed);
    let (head, body) = Client::get(gateway.address, "/x").await;
    assert_eq!(status(&head), 504);
    assert_eq!(
        body,
        r#"{"message":"Network error communicating with endpoint"}"#
    );
    let record = gateway.record().await;
    assert_eq!(
        (&record["reason"], &record["outcome"]),
        (&"connect_refused".into(), &"integration_failed".into())
    );
    assert!(
        record["integrationError"]
            .as_str()
            .unwrap()
            .contains("refused"),
        "{record}"
    );
    let api = document(&proxy("/{proxy+}", closed, ""))
        .replace(&closed.to_string(), "no-such-host.invalid");
    let gateway = Gateway::start("", &api);
    let (head, body) = Client::get(gateway.address, "/x").await;
    assert_eq!(
        (status(&head), body.as_str()),
        (500, r#"{"message": "Internal server error"}"#)
    );
    assert_eq!(header(&head, "content-length"), Some("36"));
    assert_eq!(
        header(&head, "x-amzn-errortype"),
        Some("InternalServerErrorException")
    );
    assert_eq!(gateway.record().await["reason"], "unresolvable");
}

#[tokio::test]
async fn item_115_a_fresh_connection_that_closes_without_a_byte_is_504() {
    let backend = Backend::start().await;
    let gateway = Gateway::streaming(backend.address);
    let mut client = Client::connect(gateway.address).await;
    client.send(GET).await;
    drop(backend.request().await);
    assert_eq!(status(&client.answer().await.0), 504);
    assert_eq!(gateway.record().await["reason"], "closed_without_answer");
    assert!(backend.is_left_alone().await, "it isn't tried again");
}

#[tokio::test]
async fn item_115_a_reused_connection_that_dies_is_tried_once_more_if_that_is_safe() {
    let backend = Backend::start().await;
    let gateway = Gateway::streaming(backend.address);
    for (request, is_repeated) in [
        (GET.to_owned(), true),
        (
            "POST /x HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n".to_owned(),
            false,
        ),
    ] {
        let mut client = Client::connect(gateway.address).await;
        client.send(GET).await;
        let (mut conn, _) = backend.request().await;
        conn.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .await;
        assert_eq!(status(&client.head().await), 200);
        // The backend reads the next request and dies without an answer.
        client.send(request).await;
        conn.head().await;
        conn.reset();
        if is_repeated {
            let (mut conn, _) = backend.request().await;
            conn.write("HTTP/1.1 201 Again\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                .await;
            assert_eq!(status(&client.head().await), 201);
        } else {
            assert_eq!(status(&client.answer().await.0), 504);
            assert!(backend.is_left_alone().await);
        }
    }
}

#[tokio::test]
async fn item_138_an_idle_connection_that_was_closed_is_replaced() {
    let backend = Backend::start().await;
    let gateway = Gateway::streaming(backend.address);
    let mut client = Client::connect(gateway.address).await;
    for _ in 0..3 {
        client
            .send("POST /x HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi")
            .await;
        let (mut conn, _) = backend.request().await;
        conn.take(2).await;
        conn.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .await;
        assert_eq!(status(&client.head().await), 200);
        drop(conn);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn items_117_to_127_malformed_heads_are_502() {
    let endless = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(66_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(101));
    let interim = "HTTP/1.1 103 Early\r\nLink: x\r\n\r\n".repeat(33);
    for answer in [
        endless.as_str(),
        &many,
        &interim,
        "HTTP/1.1 abc OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
        "HTTP/1.1 200 OK\nX: y\n\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "<html>no head at all</html>",
        "SSH-2.0-OpenSSH_9.2\r\n",
    ] {
        let (code, body, record) = answered(answer).await;
        assert_eq!(
            (code, body.as_str()),
            (502, r#"{"message": "Internal server error"}"#),
            "{answer:.60}"
        );
        assert_eq!(
            (&record["reason"], &record["outcome"]),
            (&"bad_answer".into(), &"integration_failed".into())
        );
    }
}

#[tokio::test]
async fn item_120_a_few_interim_responses_are_passed_over() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
    let (code, body, _) = answered(format!(
        "{interim}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    ))
    .await;
    assert_eq!((code, body.as_str()), (200, "ok"));
}

#[tokio::test]
async fn item_123_bytes_behind_the_end_are_dropped_and_the_connection_with_them() {
    let backend = Backend::start().await;
    let gateway = Gateway::streaming(backend.address);
    // Items 123, 128 and 129: surplus after a length, after the last chunk, after an answer without a body.
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 204 OK\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    ] {
        let mut client = Client::connect(gateway.address).await;
        client.send(GET).await;
        let (mut conn, _) = backend.request().await;
        conn.write(answer).await;
        assert_ne!(client.answer().await.1, "evil");
        conn.is_closed().await;
        client.send(GET).await;
        let (mut fresh, _) = backend.request().await;
        fresh
            .write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ngood")
            .await;
        assert_eq!(client.answer().await.1, "good");
    }
}

#[tokio::test]
async fn item_129_an_answer_that_comes_unasked_is_never_delivered() {
    let backend = Backend::start().await;
    let gateway = Gateway::streaming(backend.address);
    let mut client = Client::connect(gateway.address).await;
    client.send(GET).await;
    let (mut conn, _) = backend.request().await;
    conn.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await;
    assert_eq!(client.answer().await.1, "ok");
    conn.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        .await;
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    client.send(GET).await;
    let (mut fresh, _) = backend.request().await;
    fresh
        .write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood")
        .await;
    assert_eq!(client.answer().await.1, "good");
}

#[tokio::test]
async fn items_122_and_124_broken_bodies_cut_the_stream() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in [
        "5\r\nhel",
        "zz\r\n",
        "2 x\r\nhi\r\n0\r\n\r\n",
        "5\r\nhelloXX",
        "2\r\nhi\r\n",
        "fffffffffffffffff\r\n",
        "",
    ] {
        let backend = Backend::start().await;
        let gateway = Gateway::streaming(backend.address);
        let mut client = Client::connect(gateway.address).await;
        client.send(GET).await;
        let (mut conn, _) = backend.request().await;
        conn.write(format!("{chunked}{body}")).await;
        drop(conn);
        assert_eq!(status(&client.head().await), 200);
        let (rest, end) = client.rest().await;
        assert!(
            !rest.ends_with(b"0\r\n\r\n"),
            "{body:?} looks complete: {:?}",
            String::from_utf8_lossy(&rest)
        );
        assert_eq!(end, End::Fin);
        assert_eq!(
            gateway.record().await["outcome"],
            "integration_truncated",
            "{body:?}"
        );
    }
}

/// The last valid bytes are delivered, even if what breaks the answer came with them.
#[tokio::test]
async fn payload_before_a_broken_chunk_is_delivered() {
    for broken in ["zz\r\n", "2\r\nabXX", "0\r\nbad trailer\r\n\r\n"] {
        let backend = Backend::start().await;
        let gateway = Gateway::streaming(backend.address);
        let mut client = Client::connect(gateway.address).await;
        client.send(GET).await;
        let (mut conn, _) = backend.request().await;
        conn.write(format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n{broken}"
        ))
        .await;
        assert_eq!(status(&client.head().await), 200);
        assert!(client.chunk().await.starts_with(b"hello"), "{broken:?}");
        let (rest, end) = client.rest().await;
        assert_eq!((rest.as_slice(), end), (&b""[..], End::Fin), "{broken:?}");
        let record = gateway.record().await;
        assert_eq!(record["outcome"], "integration_truncated", "{broken:?}");
        assert!(
            record["integrationError"]
                .as_str()
                .unwrap()
                .contains("malformed"),
            "{record}"
        );
    }
}

#[tokio::test]
async fn item_132_an_answer_before_the_whole_request_is_read() {
    let backend = Backend::start().await;
    let gateway = Gateway::streaming(backend.address);
    let mut client = Client::connect(gateway.address).await;
    client
        .send("POST /x HTTP/1.1\r\nHost: test\r\nContent-Length: 9000000\r\n\r\n")
        .await;
    let (mut conn, _) = backend.request().await;
    conn.write("HTTP/1.1 400 No\r\nContent-Length: 4\r\nConnection: close\r\n\r\nnope")
        .await;
    drop(conn);
    let (head, body) = client.answer().await;
    assert_eq!((status(&head), body.as_str()), (400, "nope"));
}

#[tokio::test]
async fn item_137_one_dead_backend_doesnt_concern_the_other_api() {
    let good = Backend::start()
        .await
        .always("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let silent = Backend::start().await;
    let api = document(&format!(
        "{}{}",
        proxy("/good", good, ""),
        proxy("/silent", silent.address, "")
    ));
    let gateway = Gateway::start("", &api);
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let mut client = Client::connect(gateway.address).await;
        client
            .send("GET /silent HTTP/1.1\r\nHost: test\r\n\r\n")
            .await;
        waiting.push(client);
    }
    for _ in 0..20 {
        assert_eq!(Client::get(gateway.address, "/good").await.1, "ok");
    }
}

#[tokio::test]
async fn item_70_redirects_are_the_clients_business() {
    let (code, _, record) =
        answered("HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n")
            .await;
    assert_eq!((code, &record["outcome"]), (302, &"complete".into()));
}
