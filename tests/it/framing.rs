//! Acceptance items 1 to 40: request framing and syntax, as raw bytes. What is refused reaches no backend, is answered
//! once, leaves one record, and its connection is closed.

use crate::support::{Backend, Client, End, Gateway, document, header, proxy, status};

/// Sends `bytes`, and expects `code`, a closed connection and one record with `reason`.
async fn refuses(bytes: &str, code: u16, reason: &str) {
    let backend = Backend::start().await;
    let gateway = Gateway::streaming(backend.address);
    let mut client = Client::connect(gateway.address).await;
    client.send(bytes).await;
    let (head, _) = client.answer().await;
    assert_eq!(status(&head), code, "{bytes:?}");
    assert_eq!(header(&head, "connection"), Some("close"), "{bytes:?}");
    assert_eq!(client.is_closed().await, End::Fin, "{bytes:?}");
    let record = gateway.record().await;
    assert_eq!(
        (&record["status"], &record["reason"]),
        (&code.to_string().into(), &reason.into()),
        "{bytes:?}"
    );
    assert_eq!(record["outcome"], "refused");
    assert!(backend.is_left_alone().await, "{bytes:?}");
}

fn post(fields: &str, body: &str) -> String {
    format!("POST /x HTTP/1.1\r\nHost: test\r\n{fields}\r\n\r\n{body}")
}

#[tokio::test]
async fn items_1_to_9_ambiguous_framing() {
    refuses(
        &post(
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "0\r\n\r\n",
        ),
        400,
        "te_cl",
    )
    .await;
    refuses(
        &post(
            "Transfer-Encoding: chunked\r\nContent-Length: 5",
            "0\r\n\r\n",
        ),
        400,
        "te_cl",
    )
    .await;
    refuses(
        &post("Content-Length: 5\r\nContent-Length: 6", "hello"),
        400,
        "duplicate_length",
    )
    .await;
    refuses(
        &post("Content-Length: 5\r\nContent-Length: 5", "hello"),
        400,
        "duplicate_length",
    )
    .await;
    refuses(&post("Content-Length: -5", ""), 400, "bad_length").await;
    refuses(
        &post("Content-Length: 99999999999999999999", ""),
        400,
        "bad_length",
    )
    .await;
    refuses(
        &post("Transfer-Encoding: xchunked", ""),
        501,
        "unknown_coding",
    )
    .await;
    refuses(
        &post("Transfer-Encoding: gzip, chunked", ""),
        400,
        "bad_coding",
    )
    .await;
    refuses(
        &post(
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
            "",
        ),
        400,
        "bad_coding",
    )
    .await;
    refuses(
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        "te_http10",
    )
    .await;
}

#[tokio::test]
async fn item_6_a_body_over_the_limit_is_refused_before_it_is_read() {
    let backend = Backend::start().await;
    let gateway = Gateway::streaming(backend.address);
    let mut client = Client::connect(gateway.address).await;
    client.send(post("Content-Length: 10485761", "")).await;
    let (head, body) = client.answer().await;
    assert_eq!(
        (status(&head), body.as_str()),
        (413, r#"{"message":"Request Too Long"}"#)
    );
    assert_eq!(
        header(&head, "x-amzn-errortype"),
        Some("RequestTooLargeException")
    );
    assert_eq!(header(&head, "connection"), Some("close"));
    assert!(backend.is_left_alone().await);
    client.is_closed().await;
}

#[tokio::test]
async fn a_chunked_body_over_the_limit_is_413_and_the_backend_is_aborted() {
    let backend = Backend::start().await;
    let limits = "responseTransferMode: STREAM\ntimeoutInMillis: 60000\nx-sluicegate-limits: {requestBodyBytes: 10}";
    let gateway = Gateway::with_integration(backend.address, limits);
    let mut client = Client::connect(gateway.address).await;
    client
        .send(post("Transfer-Encoding: chunked", "5\r\nhello\r\n"))
        .await;
    let (mut conn, _) = backend.request().await;
    conn.take(10).await;
    client.send("7\r\n, world\r\n0\r\n\r\n").await;
    let (head, _) = client.answer().await;
    assert_eq!(
        (status(&head), header(&head, "connection")),
        (413, Some("close"))
    );
    assert_eq!(conn.rest().await, b"");
}

#[tokio::test]
async fn items_10_to_17_syntax() {
    refuses(
        "GET / HTTP/1.1\r\nHost: test\r\nX : y\r\n\r\n",
        400,
        "bad_field",
    )
    .await;
    refuses(
        "GET / HTTP/1.1\r\nHost: test\r\nX: y\r\n z\r\n\r\n",
        400,
        "folded",
    )
    .await;
    refuses(
        "GET / HTTP/1.1\r\nHost: test\r\nX: a\0b\r\n\r\n",
        400,
        "control",
    )
    .await;
    refuses(
        "GET / HTTP/1.1\r\nHost: test\r\nX: a\rb\r\n\r\n",
        400,
        "control",
    )
    .await;
    refuses("GET / HTTP/1.1\nHost: test\n\n", 400, "control").await;
    refuses("GET / HTTP/1.1\r\n\r\n", 400, "bad_host").await;
    refuses(
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        400,
        "bad_host",
    )
    .await;
    for host in ["a/b", "a b", "u@a", "a,b", "a;b", "a:b", "a:80:80", "::1"] {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        refuses(&request, 400, "bad_host").await;
    }
    refuses("GET / HTTP/2.0\r\nHost: test\r\n\r\n", 505, "bad_version").await;
    refuses("GET /\r\n\r\n", 400, "bad_line").await;
}

#[tokio::test]
async fn item_15_an_old_client_needs_no_host() {
    let address = Backend::start()
        .await
        .always("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let gateway = Gateway::streaming(address);
    let (head, body) = Client::ask(gateway.address, "GET /x HTTP/1.0\r\n\r\n").await;
    assert_eq!((status(&head), body.as_str()), (200, "ok"));
    let domains = "apis: [{definition: api.yaml, domains: [api.example.com]}]";
    let settings = format!(
        "listeners: [{{address: 127.0.0.1:0}}]\naccessLog: {{path: access.log}}\n{domains}"
    );
    let api = document(&proxy("/{proxy+}", address, ""));
    let gateway = Gateway::from_files(&[("sluicegate.yaml", &settings), ("api.yaml", &api)]);
    let (head, body) = Client::ask(gateway.address, "GET /x HTTP/1.0\r\n\r\n").await;
    assert_eq!(
        (status(&head), body.as_str()),
        (403, r#"{"message":"Forbidden"}"#)
    );
}

#[tokio::test]
async fn items_18_to_20_sizes() {
    refuses(
        &format!("GET /{} HTTP/1.1\r\nHost: test\r\n\r\n", "a".repeat(8192)),
        414,
        "target_too_long",
    )
    .await;
    let large = format!(
        "GET / HTTP/1.1\r\nHost: test\r\nX: {}\r\n\r\n",
        "a".repeat(10_240)
    );
    refuses(&large, 431, "head_too_large").await;
    let many = format!(
        "GET / HTTP/1.1\r\nHost: test\r\n{}\r\n",
        "a: b\r\n".repeat(100)
    );
    refuses(&many, 431, "head_too_large").await;
}

#[tokio::test]
async fn items_21_to_27_methods_and_targets() {
    refuses("GET /a\x01 HTTP/1.1\r\nHost: test\r\n\r\n", 400, "control").await;
    refuses("GET  / HTTP/1.1\r\nHost: test\r\n\r\n", 400, "bad_line").await;
    refuses("GE(T / HTTP/1.1\r\nHost: test\r\n\r\n", 400, "bad_method").await;
    refuses(
        "CONNECT test:443 HTTP/1.1\r\nHost: test\r\n\r\n",
        400,
        "bad_method",
    )
    .await;
    refuses("GET test HTTP/1.1\r\nHost: test\r\n\r\n", 400, "bad_target").await;
    refuses(
        "GET http://user:pass@test/ HTTP/1.1\r\nHost: test\r\n\r\n",
        400,
        "bad_host",
    )
    .await;
    refuses("GET /a#b HTTP/1.1\r\nHost: test\r\n\r\n", 400, "bad_target").await;
}

#[tokio::test]
async fn item_23_methods_without_a_route_are_403() {
    let backend = Backend::start().await;
    let gateway = Gateway::streaming(backend.address);
    for method in ["TRACE", "PROPFIND", "PRI", "get"] {
        let (head, body) = Client::ask(
            gateway.address,
            &format!("{method} /x HTTP/1.1\r\nHost: test\r\n\r\n"),
        )
        .await;
        assert_eq!(
            (status(&head), body.as_str()),
            (403, r#"{"message":"Missing Authentication Token"}"#)
        );
    }
    assert!(backend.is_left_alone().await);
}

#[tokio::test]
async fn item_25_the_authority_of_an_absolute_target_routes_and_is_never_dialled() {
    let backend = Backend::start().await;
    let gateway = Gateway::streaming(backend.address);
    let mut client = Client::connect(gateway.address).await;
    client
        .send("GET http://192.0.2.1:81/a?b HTTP/1.1\r\nHost: other\r\n\r\n")
        .await;
    let (mut conn, head) = backend.request().await;
    assert!(head.starts_with("GET /a?b HTTP/1.1\r\n"), "{head}");
    assert_eq!(
        header(&head, "host"),
        Some(backend.address.to_string().as_str())
    );
    conn.write("HTTP/1.1 204 No Content\r\n\r\n").await;
    client.head().await;
    assert_eq!(gateway.record().await["domainName"], "192.0.2.1");
}

/// Items 28 to 32: a body whose framing breaks is 400 where nothing was sent yet, and the backend never sees its end.
#[tokio::test]
async fn items_28_to_32_broken_chunks_abort_the_backend() {
    let extensions = format!("1;{}\r\na\r\n", "x".repeat(16_384));
    let trailers = format!("0\r\nX: {}\r\n\r\n", "x".repeat(16_384));
    for broken in [
        "5x\r\nhello\r\n",
        "5 \r\nhello\r\n",
        "5\t\r\nhello\r\n",
        "5 x\r\nhello\r\n",
        "5\r\nhelloX\r\n",
        "1;a\nb\r\n",
        "fffffffffffffffff\r\n",
        &extensions,
        &trailers,
        "0\r\nbad line\r\n\r\n",
    ] {
        let backend = Backend::start().await;
        let gateway = Gateway::streaming(backend.address);
        let mut client = Client::connect(gateway.address).await;
        client
            .send(post("Transfer-Encoding: chunked", "2\r\nhi\r\n"))
            .await;
        let (mut conn, _) = backend.request().await;
        assert_eq!(conn.take(7).await, b"2\r\nhi\r\n");
        client.send(broken).await;
        let (head, _) = client.answer().await;
        assert_eq!(
            (status(&head), header(&head, "connection")),
            (400, Some("close")),
            "{broken:.40}"
        );
        let rest = conn.rest().await;
        assert!(
            !rest.ends_with(b"0\r\n\r\n"),
            "{broken:.40}: {:?}",
            String::from_utf8_lossy(&rest)
        );
        client.is_closed().await;
        assert_eq!(
            gateway.record().await["reason"],
            "bad_chunk",
            "{broken:.40}"
        );
    }
}

#[tokio::test]
async fn item_33_forbidden_trailers_are_dropped() {
    let backend = Backend::start().await;
    let gateway = Gateway::streaming(backend.address);
    let mut client = Client::connect(gateway.address).await;
    let trailers = "X-Sum: 1\r\nHost: evil\r\nContent-Length: 5\r\nAuthorization: a\r\n";
    client
        .send(post(
            "Transfer-Encoding: chunked",
            &format!("2\r\nhi\r\n0\r\n{trailers}\r\n"),
        ))
        .await;
    let (mut conn, _) = backend.request().await;
    assert_eq!(conn.take(22).await, b"2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n");
}

#[tokio::test]
async fn item_35_a_body_after_a_local_answer_is_drained_and_never_a_request() {
    let backend = Backend::start().await;
    let gateway = Gateway::start("", &document(&proxy("/known", backend.address, "")));
    let mut client = Client::connect(gateway.address).await;
    let smuggled = "GET /known HTTP/1.1\r\nHost: test\r\n\r\n";
    client
        .send(format!(
            "POST /nowhere HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n{smuggled}",
            smuggled.len()
        ))
        .await;
    assert_eq!(status(&client.answer().await.0), 403);
    // The connection goes on behind the body.
    client
        .send("GET /elsewhere HTTP/1.1\r\nHost: test\r\n\r\n")
        .await;
    assert_eq!(status(&client.answer().await.0), 403);
    assert!(backend.is_left_alone().await);
    assert_eq!(gateway.records(2).await.len(), 2);
    // More than 64 KiB isn't worth it.
    let mut client = Client::connect(gateway.address).await;
    client
        .send("POST /nowhere HTTP/1.1\r\nHost: test\r\nContent-Length: 70000\r\n\r\n")
        .await;
    let (head, _) = client.answer().await;
    assert_eq!(
        (status(&head), header(&head, "connection")),
        (403, Some("close"))
    );
    client.is_closed().await;
}

/// What follows a body that broke can't be told from the body, also where the answer had already begun.
#[tokio::test]
async fn a_broken_body_ends_its_connection_even_behind_an_early_answer() {
    for ending in ["ZZ\r\n", "ZZ\r\n0\r\n\r\n"] {
        let backend = Backend::start().await;
        let gateway = Gateway::streaming(backend.address);
        let mut client = Client::connect(gateway.address).await;
        client
            .send(post("Transfer-Encoding: chunked", "2\r\nhi\r\n"))
            .await;
        let (mut conn, _) = backend.request().await;
        conn.take(7).await;
        conn.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
            .await;
        assert_eq!(status(&client.head().await), 200);
        assert_eq!(client.chunk().await, b"a");
        client.send(ending).await;
        // The gateway has read it once it tells the backend that no more will come.
        conn.write("1\r\nb\r\n").await;
        assert_eq!(client.chunk().await, b"b");
        client
            .send("0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n")
            .await;
        conn.write("0\r\n\r\n").await;
        client.expect("0\r\n\r\n").await;
        client.is_closed().await;
        assert!(backend.is_left_alone().await, "{ending:?}");
        assert_eq!(gateway.records(1).await.len(), 1);
    }
}

/// Where peers disagree about what a request is, it is served as its framing says, and nothing may follow it: not on the
/// client's connection, and not on the backend's.
#[tokio::test]
async fn doubtful_requests_are_the_last_of_their_connections() {
    let backend = Backend::start().await;
    let gateway = Gateway::streaming(backend.address);
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    for fields in [
        "Transfer_Encoding: chunked",
        "Transfer---Encoding: chunked",
        "content_length: 5",
    ] {
        let mut client = Client::connect(gateway.address).await;
        let next = "GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n";
        client.send(post(fields, next)).await;
        let (mut conn, seen) = backend.request().await;
        let name = fields.split(':').next().unwrap();
        assert_eq!(header(&seen, name), None, "{seen}");
        conn.write(answer).await;
        let (head, _) = client.answer().await;
        assert_eq!(
            (status(&head), header(&head, "connection")),
            (200, Some("close"))
        );
        client.is_closed().await;
        conn.reset();
    }
    for method in ["GET", "HEAD"] {
        let mut client = Client::connect(gateway.address).await;
        client
            .send(format!(
                "{method} /x HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello"
            ))
            .await;
        let (mut conn, _) = backend.request().await;
        assert_eq!(conn.take(5).await, b"hello");
        conn.write(answer).await;
        let head = client.head().await;
        assert_eq!(header(&head, "connection"), Some("close"), "{method}");
        client.is_closed().await;
        conn.is_closed().await;
    }
}

#[tokio::test]
async fn item_36_pipelined_requests_are_answered_in_order() {
    let backend = Backend::start().await;
    let gateway = Gateway::streaming(backend.address);
    let mut client = Client::connect(gateway.address).await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
    client.send(["/1", "/2", "/3"].map(get).concat()).await;
    let (mut conn, head) = backend.request().await;
    assert!(head.starts_with("GET /1 "));
    for (answer, next) in [
        ("one", Some("GET /2 ")),
        ("two!!", Some("GET /3 ")),
        ("3", None),
    ] {
        conn.write(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{answer}",
            answer.len()
        ))
        .await;
        assert_eq!(client.answer().await.1, answer);
        if let Some(next) = next {
            assert!(conn.head().await.starts_with(next));
        }
    }
    assert_eq!(gateway.records(3).await.len(), 3);
}

#[tokio::test]
async fn item_37_nothing_is_served_after_connection_close() {
    let backend = Backend::start().await;
    let gateway = Gateway::streaming(backend.address);
    let mut client = Client::connect(gateway.address).await;
    let first = "GET /1 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    client
        .send(format!("{first}GET /2 HTTP/1.1\r\nHost: test\r\n\r\n"))
        .await;
    let (mut conn, _) = backend.request().await;
    conn.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await;
    let (head, body) = client.answer().await;
    assert_eq!(
        (header(&head, "connection"), body.as_str()),
        (Some("close"), "ok")
    );
    client.is_closed().await;
    assert_eq!(gateway.record().await["path"], "/1");
}

#[tokio::test]
async fn item_38_a_few_empty_lines_before_a_request_are_passed_over() {
    let address = Backend::start()
        .await
        .always("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let gateway = Gateway::streaming(address);
    let request = "GET /x HTTP/1.1\r\nHost: test\r\n\r\n";
    let (head, _) = Client::ask(gateway.address, &format!("{}{request}", "\r\n".repeat(8))).await;
    assert_eq!(status(&head), 200);
    let (head, _) = Client::ask(gateway.address, &format!("{}{request}", "\r\n".repeat(9))).await;
    assert_eq!(status(&head), 400);
}

#[tokio::test]
async fn item_39_underscores_are_dropped_unless_configured() {
    let backend = Backend::start().await;
    let api = document(&proxy("/{proxy+}", backend.address, ""));
    let request = "GET /x HTTP/1.1\r\nHost: test\r\nX_Forwarded_For: 1.2.3.4\r\nX-Y: z\r\n\r\n";
    for (settings, passes) in [("", false), ("http: {underscoreHeaders: pass}", true)] {
        let gateway = Gateway::start(settings, &api);
        let mut client = Client::connect(gateway.address).await;
        client.send(request).await;
        let (_conn, head) = backend.request().await;
        assert_eq!(header(&head, "x_forwarded_for").is_some(), passes);
        assert_eq!(header(&head, "x-y"), Some("z"));
    }
}

#[tokio::test]
async fn item_40_noise_is_refused_at_once() {
    refuses(
        "\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\x03\x03",
        400,
        "control",
    )
    .await;
    refuses("SSH-2.0-OpenSSH_9.2\r\n", 400, "bad_line").await;
    let backend = Backend::start().await;
    let gateway = Gateway::streaming(backend.address);
    let mut client = Client::connect(gateway.address).await;
    // Without waiting for the end of a line that can't become a request's.
    client.send([0xff; 64]).await;
    assert_eq!(status(&client.answer().await.0), 400);
    client.is_closed().await;
}
