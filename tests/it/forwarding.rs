//! Acceptance items 41 to 57: what passes to the backend and back, what doesn't, and what the gateway says itself.

use crate::support::{Backend, Client, Gateway, document, header, headers, proxy, status};

/// The head a backend gets of `request`.
async fn seen(request: &str) -> String {
    let backend = Backend::start().await;
    let gateway = Gateway::streaming(backend.address);
    let mut client = Client::connect(gateway.address).await;
    client.send(request).await;
    backend.request().await.1
}

/// The head a client gets of `answer`.
async fn passed(answer: &str) -> String {
    let backend = Backend::start().await;
    let gateway = Gateway::streaming(backend.address);
    let mut client = Client::connect(gateway.address).await;
    client.send("GET /x HTTP/1.1\r\nHost: test\r\n\r\n").await;
    let (mut conn, _) = backend.request().await;
    conn.write(answer).await;
    client.head().await
}

#[tokio::test]
async fn items_41_to_44_hop_by_hop_fields_stay_behind() {
    let head = seen(
        "GET /x HTTP/1.1\r\nHost: test\r\nConnection: keep-alive, X-Hop, Host, Authorization, X-Api-Key, Upgrade\r\n\
         X-Hop: 1\r\nAuthorization: token\r\nX-Api-Key: key\r\nKeep-Alive: 5\r\nProxy-Connection: keep-alive\r\n\
         Proxy-Authorization: x\r\nTE: gzip\r\nUpgrade: websocket\r\nHTTP2-Settings: x\r\nX-Stays: 2\r\n\r\n",
    )
    .await;
    for gone in [
        "x-hop",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "te",
        "upgrade",
        "http2-settings",
        "connection",
    ] {
        assert_eq!(header(&head, gone), None, "{gone}");
    }
    assert_eq!(
        (header(&head, "authorization"), header(&head, "x-api-key")),
        (Some("token"), Some("key"))
    );
    assert_eq!(
        (header(&head, "x-stays"), headers(&head, "host").count()),
        (Some("2"), 1)
    );
}

#[tokio::test]
async fn item_45_bytes_behind_an_upgrade_are_the_next_request() {
    let backend = Backend::start().await;
    let gateway = Gateway::streaming(backend.address);
    let mut client = Client::connect(gateway.address).await;
    let upgrade = "GET /1 HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    client
        .send(format!("{upgrade}GET /2 HTTP/1.1\r\nHost: test\r\n\r\n"))
        .await;
    let (mut conn, _) = backend.request().await;
    conn.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        .await;
    assert_eq!(status(&client.head().await), 200);
    assert!(conn.head().await.starts_with("GET /2 "));
}

#[tokio::test]
async fn item_134_trailers_reach_a_client_that_asks_for_them_as_it_should() {
    let backend = Backend::start().await;
    let gateway = Gateway::streaming(backend.address);
    let mut client = Client::connect(gateway.address).await;
    client
        .send("GET /x HTTP/1.1\r\nHost: test\r\nTE: trailers\r\nConnection: TE\r\n\r\n")
        .await;
    let (mut conn, _) = backend.request().await;
    conn.write(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 7\r\n\r\n",
    )
    .await;
    client.head().await;
    client.expect("2\r\nhi\r\n0\r\nX-Sum: 7\r\n\r\n").await;
}

#[tokio::test]
async fn item_47_the_gateway_speaks_for_itself() {
    let id = "0a1b2c3d-0000-4000-8000-0123456789ab";
    let head = seen(&format!(
        "GET /x HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: 1.2.3.4, 5.6.7.8\r\nX-Forwarded-For: 9.9.9.9\r\n\
         X-Forwarded-Proto: https\r\nX-Forwarded-Port: 443\r\nx-amzn-apigateway-api-id: spoofed\r\n\
         X-Amzn-ApiGateway-Other: spoofed\r\nx-amzn-RequestId: {id}\r\n\r\n"
    ))
    .await;
    assert_eq!(
        header(&head, "x-forwarded-for"),
        Some("1.2.3.4, 5.6.7.8, 9.9.9.9, 127.0.0.1")
    );
    assert_eq!(
        (
            header(&head, "x-forwarded-proto"),
            headers(&head, "x-forwarded-proto").count()
        ),
        (Some("http"), 1)
    );
    assert_ne!(header(&head, "x-forwarded-port"), Some("443"));
    assert_eq!(headers(&head, "x-amzn-apigateway-api-id").count(), 1);
    assert!(!head.contains("spoofed"));
    assert!(
        header(&head, "x-amzn-trace-id")
            .unwrap()
            .starts_with("Root=1-")
    );
}

#[tokio::test]
async fn a_request_id_is_taken_over_if_it_is_a_uuid() {
    let backend = Backend::start().await;
    let gateway = Gateway::streaming(backend.address);
    let id = "0a1b2c3d-0000-4000-8000-0123456789ab";
    for (said, taken) in [(id, true), ("not-a-uuid", false)] {
        let request = format!(
            "GET /x HTTP/1.1\r\nHost: test\r\nX-Amzn-RequestId: {said}\r\nConnection: close\r\n\r\n"
        );
        let mut client = Client::connect(gateway.address).await;
        client.send(request).await;
        let (mut conn, _) = backend.request().await;
        conn.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .await;
        let head = client.head().await;
        assert_eq!(header(&head, "x-amzn-requestid") == Some(id), taken);
    }
    let records = gateway.records(2).await;
    assert_eq!(records[0]["requestId"], id);
    assert!(
        records[1]["requestId"]
            .as_str()
            .unwrap()
            .ends_with("_REPLACED_INVALID_REQUEST_ID")
    );
}

#[tokio::test]
async fn items_49_and_50_loops_are_found_by_via() {
    let head = seen("GET /x HTTP/1.1\r\nHost: test\r\nVia: 1.0 front\r\n\r\n").await;
    let via = header(&head, "via").unwrap();
    assert!(via.starts_with("1.0 front, 1.1 sluicegate-"), "{via}");
    // A gateway whose integration is itself: the fourth pass over the limit ends it.
    let port = {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap().port()
    };
    let api = document(&proxy("/{proxy+}", ([127, 0, 0, 1], port).into(), ""));
    let settings = format!(
        "listeners: [{{address: '127.0.0.1:{port}'}}]\naccessLog: {{path: access.log}}\napis: [{{definition: api.yaml}}]\n"
    );
    let gateway = Gateway::from_files(&[("sluicegate.yaml", &settings), ("api.yaml", &api)]);
    let (head, _) = Client::get(gateway.address, "/x").await;
    assert_eq!(status(&head), 508);
    assert_eq!(gateway.records(5).await.len(), 5);
}

#[tokio::test]
async fn item_51_a_client_may_send_its_body_once_it_is_wanted() {
    let backend = Backend::start().await;
    let gateway = Gateway::streaming(backend.address);
    let mut client = Client::connect(gateway.address).await;
    let expect =
        "POST /x HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    client.send(expect).await;
    client.expect("HTTP/1.1 100 Continue\r\n\r\n").await;
    client.send("hello").await;
    let (mut conn, head) = backend.request().await;
    assert_eq!(header(&head, "expect"), None);
    assert_eq!(conn.take(5).await, b"hello");
    conn.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        .await;
    assert_eq!(status(&client.head().await), 200);
    // A request that is refused never gets leave to send.
    let mut client = Client::connect(gateway.address).await;
    client
        .send(expect.replace("Content-Length: 5", "Content-Length: 99999999"))
        .await;
    let (head, _) = client.answer().await;
    assert_eq!(status(&head), 413);
    client.is_closed().await;
    let (head, _) = Client::ask(gateway.address, &expect.replace("100-continue", "more")).await;
    assert_eq!(status(&head), 417);
}

#[tokio::test]
async fn item_52_an_early_answer_is_delivered_while_the_body_still_flows() {
    let backend = Backend::start().await;
    let gateway = Gateway::streaming(backend.address);
    let mut client = Client::connect(gateway.address).await;
    client
        .send("POST /x HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\nbegin")
        .await;
    let (mut conn, _) = backend.request().await;
    conn.write("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
        .await;
    let (head, body) = client.answer().await;
    assert_eq!((status(&head), body.as_str()), (413, "no"));
    client.is_closed().await;
}

#[tokio::test]
async fn an_upload_and_its_answer_flow_at_the_same_time() {
    let backend = Backend::start().await;
    let gateway = Gateway::streaming(backend.address);
    let mut client = Client::connect(gateway.address).await;
    client
        .send("POST /x HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    let (mut conn, _) = backend.request().await;
    conn.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    client.head().await;
    for word in ["one", "two", "three"] {
        let chunk = format!("{:x}\r\n{word}\r\n", word.len());
        client.send(&chunk).await;
        assert_eq!(conn.take(chunk.len()).await, chunk.as_bytes());
        conn.write(&chunk).await;
        assert_eq!(client.chunk().await, word.as_bytes());
    }
    client.send("0\r\n\r\n").await;
    assert_eq!(conn.take(5).await, b"0\r\n\r\n");
    conn.write("0\r\n\r\n").await;
    client.expect("0\r\n\r\n").await;
    // Both sides ended in good order, so both connections go on.
    client.send("GET /y HTTP/1.1\r\nHost: test\r\n\r\n").await;
    assert!(conn.head().await.starts_with("GET /y "));
}

#[tokio::test]
async fn item_54_204_and_304_have_no_body_and_no_framing() {
    for code in [204, 304] {
        let head = passed(&format!("HTTP/1.1 {code} X\r\nETag: \"a\"\r\n\r\n")).await;
        assert_eq!(
            (
                header(&head, "content-length"),
                header(&head, "transfer-encoding")
            ),
            (None, None)
        );
        assert_eq!(header(&head, "content-type"), None);
        assert_eq!(header(&head, "etag"), Some("\"a\""));
    }
}

#[tokio::test]
async fn items_56_and_57_bytes_and_order_are_kept() {
    let head = seen(
        "GET /a%2Fb%2fc/;x=1?q=%7E+%20&&a&b=1;c HTTP/1.1\r\nHost: test\r\nX-tEsT: 1\r\nB: 2\r\nX-Test: 3\r\n\r\n",
    )
    .await;
    assert!(
        head.starts_with("GET /a%2Fb%2fc/;x=1?q=%7E+%20&&a&b=1;c HTTP/1.1\r\n"),
        "{head}"
    );
    assert_eq!(headers(&head, "x-test").collect::<Vec<_>>(), ["1", "3"]);
    assert!(head.contains("\r\nX-tEsT: 1\r\n"), "names keep their case");
}

/// AWS's table for HTTP_PROXY, as recorded: these are dropped, those pass.
#[tokio::test]
async fn request_fields_follow_awss_table() {
    let head = seen(
        "GET /x HTTP/1.1\r\nHost: test\r\nContent-Encoding: deflate\r\nContent-MD5: x\r\nMax-Forwards: 5\r\n\
         Proxy-Authenticate: x\r\nServer: x\r\nTrailer: x\r\nWWW-Authenticate: x\r\nAuthorization: a\r\nDate: d\r\nAge: 1\r\n\
         Range: bytes=0-1\r\nPragma: p\r\nReferer: r\r\nWarn: w\r\nUser-Agent: u\r\nAccept: text/x\r\nAccept-Charset: c\r\n\
         Accept-Encoding: e\r\nContent-Type: text/y\r\nX-HTTP-Method-Override: GET\r\n\r\n",
    )
    .await;
    for gone in [
        "content-encoding",
        "content-md5",
        "max-forwards",
        "proxy-authenticate",
        "server",
        "trailer",
        "www-authenticate",
        "x-http-method-override",
    ] {
        assert_eq!(header(&head, gone), None, "{gone}");
    }
    for (name, value) in [
        ("authorization", "a"),
        ("date", "d"),
        ("age", "1"),
        ("range", "bytes=0-1"),
        ("pragma", "p"),
        ("referer", "r"),
        ("warn", "w"),
        ("user-agent", "u"),
        ("accept", "text/x"),
        ("accept-charset", "c"),
        ("accept-encoding", "e"),
        ("content-type", "text/y"),
        ("content-length", "0"),
    ] {
        assert_eq!(header(&head, name), Some(value), "{name}");
    }
    let head = seen(
        "GET /x HTTP/1.1\r\nHost: test\r\nAuthorization: AWS4-HMAC-SHA256 Credential=a\r\n\r\n",
    )
    .await;
    assert_eq!(
        (header(&head, "authorization"), header(&head, "accept")),
        (None, Some("application/json"))
    );
    assert!(
        header(&head, "user-agent")
            .unwrap()
            .starts_with("AmazonAPIGateway_")
    );
}

#[tokio::test]
async fn response_fields_follow_awss_table() {
    let head = passed(
        "HTTP/1.1 201 Made\r\nDate: d\r\nServer: s\r\nAuthorization: a\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n\
         WWW-Authenticate: w\r\nx-amzn-RequestId: theirs\r\nVia: v\r\nKeep-Alive: k\r\nX-Amzn-Trace-Id: t\r\n\
         x-amz-apigw-id: theirs\r\nContent-Length: 0\r\nLocation: /elsewhere\r\n\r\n",
    )
    .await;
    for (name, value) in [
        ("x-amzn-remapped-date", "d"),
        ("x-amzn-remapped-server", "s"),
        ("x-amzn-remapped-authorization", "a"),
        ("x-amzn-remapped-www-authenticate", "w"),
        ("x-amzn-remapped-connection", "close, X-Hop"),
        ("x-amzn-remapped-content-length", "0"),
        ("x-amzn-remapped-x-amzn-requestid", "theirs"),
        ("x-amzn-trace-id", "t"),
        ("location", "/elsewhere"),
        ("content-type", "application/json"),
    ] {
        assert_eq!(header(&head, name), Some(value), "{name}");
    }
    for gone in [
        "x-hop",
        "via",
        "keep-alive",
        "server",
        "www-authenticate",
        "authorization",
    ] {
        assert_eq!(header(&head, gone), None, "{gone}");
    }
    assert_eq!(status(&head), 201);
    assert!(header(&head, "date").unwrap().ends_with(" GMT"));
    assert_ne!(header(&head, "x-amzn-requestid"), Some("theirs"));
    assert!(headers(&head, "x-amz-apigw-id").all(|id| id != "theirs"));
}

#[tokio::test]
async fn a_method_override_routes_and_is_sent() {
    let head = seen("POST /x HTTP/1.1\r\nHost: test\r\nX-HTTP-Method-Override: PATCH\r\nContent-Length: 0\r\n\r\n").await;
    assert!(head.starts_with("PATCH /x "), "{head}");
}

/// A client knows only its own method: after GET it reads as many bytes as `Content-Length` says.
#[tokio::test]
async fn an_override_to_head_and_back_keeps_the_framing_of_the_clients_own_method() {
    for more in ["", "responseTransferMode: STREAM"] {
        let backend = Backend::start().await;
        let gateway = Gateway::with_integration(backend.address, more);
        let mut client = Client::connect(gateway.address).await;
        for (own, overriding, body) in [("GET", "HEAD", ""), ("HEAD", "GET", "hello")] {
            client
                .send(format!(
                    "{own} /x HTTP/1.1\r\nHost: test\r\nX-HTTP-Method-Override: {overriding}\r\n\r\n"
                ))
                .await;
            let (mut conn, seen) = backend.request().await;
            assert!(seen.starts_with(overriding), "{seen}");
            conn.write(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n{body}"
            ))
            .await;
            let head = client.head().await;
            let length = if own == "GET" { "0" } else { "5" };
            assert_eq!(header(&head, "content-length"), Some(length), "{own}");
        }
        assert!(client.is_kept().await);
    }
}

#[tokio::test]
async fn item_179_a_trace_id_is_carried_on_if_it_is_one() {
    let root = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
    for (said, kept) in [(root, true), ("Root=1-x", false), ("garbage", false)] {
        let head = seen(&format!(
            "GET /x HTTP/1.1\r\nHost: test\r\nX-Amzn-Trace-Id: {said}\r\n\r\n"
        ))
        .await;
        let sent: Vec<_> = headers(&head, "x-amzn-trace-id").collect();
        assert_eq!((sent.len(), sent[0] == said), (1, kept), "{said}");
    }
}

#[tokio::test]
async fn item_179_a_trace_goes_on_and_a_malformed_one_does_not() {
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let request = |parent: &str, more: &str| {
        format!(
            "GET /x HTTP/1.1\r\nHost: test\r\ntraceparent: {parent}\r\ntracestate: a=1\r\n{more}\r\n"
        )
    };
    let head = seen(&request(parent, "")).await;
    assert_eq!(
        (header(&head, "traceparent"), header(&head, "tracestate")),
        (Some(parent), Some("a=1"))
    );
    // Both fields name the same trace, unless the client names another one.
    let own = Some("Root=1-4bf92f35-77b34da6a3ce929d0e0e4736");
    assert_eq!(header(&head, "x-amzn-trace-id"), own);
    let theirs = "Root=1-5759e988-bd862e3fe1be46a994272793";
    let head = seen(&request(parent, &format!("X-Amzn-Trace-Id: {theirs}\r\n"))).await;
    assert_eq!(header(&head, "x-amzn-trace-id"), Some(theirs));
    for bad in ["", &parent[..54], &parent.to_uppercase(), &"0".repeat(5000)] {
        let head = seen(&request(bad, "")).await;
        assert_eq!(
            (header(&head, "traceparent"), header(&head, "tracestate")),
            (None, None),
            "{bad}"
        );
        assert!(
            header(&head, "x-amzn-trace-id").is_some_and(|new| new.starts_with("Root=1-6")),
            "{head}"
        );
    }
}
