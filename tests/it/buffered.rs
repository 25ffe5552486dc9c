//! BUFFERED transfer: whole answers, their limits, compression.

use crate::support::{Backend, Client, Gateway, document, header, proxy, status};

const GET: &str = "GET /x HTTP/1.1\r\nHost: test\r\n\r\n";

#[tokio::test]
async fn nothing_is_sent_before_the_answer_is_whole() {
    let backend = Backend::start().await;
    let gateway = Gateway::buffered(backend.address);
    let mut client = Client::connect(gateway.address).await;
    client.send(GET).await;
    let (mut conn, _) = backend.request().await;
    conn.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        .await;
    assert!(client.is_kept().await);
    conn.write("1\r\n!\r\n0\r\n\r\n").await;
    let head = client.head().await;
    assert_eq!(
        (
            header(&head, "content-length"),
            header(&head, "transfer-encoding")
        ),
        (Some("6"), None)
    );
    client.expect("hello!").await;
    let record = gateway.record().await;
    assert_eq!(
        (&record["responseTransferMode"], &record["responseLength"]),
        (&"BUFFERED".into(), &"6".into())
    );
}

#[tokio::test]
async fn a_truncated_answer_is_502_and_a_slow_one_504() {
    let backend = Backend::start().await;
    let gateway = Gateway::with_integration(backend.address, "timeoutInMillis: 400");
    for (closes, code, outcome) in [
        (true, 502, "integration_truncated"),
        (false, 504, "deadline"),
    ] {
        let mut client = Client::connect(gateway.address).await;
        client.send(GET).await;
        let (mut conn, _) = backend.request().await;
        conn.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
            .await;
        let kept = Some(conn).filter(|_| !closes);
        assert_eq!(status(&client.answer().await.0), code);
        drop(kept);
        let records = gateway.records(1).await;
        assert_eq!(records.last().unwrap()["outcome"], outcome);
    }
}

#[tokio::test]
async fn an_answer_over_the_limit_is_500_announced_or_not() {
    let backend = Backend::start().await;
    let gateway = Gateway::with_integration(
        backend.address,
        "x-sluicegate-limits: {responseBodyBytes: 5}",
    );
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n",
        "HTTP/1.0 200 OK\r\n\r\nhello!",
    ] {
        let mut client = Client::connect(gateway.address).await;
        client.send(GET).await;
        let (mut conn, _) = backend.request().await;
        conn.write(answer).await;
        let (head, body) = client.answer().await;
        assert_eq!(
            (status(&head), body.as_str()),
            (500, r#"{"message": "Internal server error"}"#)
        );
        conn.is_closed().await;
    }
    for record in gateway.records(3).await {
        assert_eq!(
            (&record["reason"], &record["outcome"]),
            (&"answer_too_large".into(), &"limit".into())
        );
    }
}

#[tokio::test]
async fn ten_mebibytes_pass_and_one_byte_more_doesnt() {
    for (length, code) in [(10 * 1024 * 1024, 200), (10 * 1024 * 1024 + 1, 500)] {
        let mut answer =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes();
        answer.resize(answer.len() + length, b'x');
        let gateway = Gateway::buffered(Backend::start().await.always(answer));
        let (head, body) = Client::get(gateway.address, "/x").await;
        assert_eq!(status(&head), code);
        assert!(code != 200 || body.len() == length);
    }
}

#[tokio::test]
async fn answers_are_compressed_as_the_api_asks() {
    let text = "a line of text that repeats itself\n".repeat(5000);
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{text}",
        text.len()
    );
    let backend = Backend::start().await.always(answer);
    let api = document(&proxy("/{proxy+}", backend, ""))
        + "x-amazon-apigateway-minimum-compression-size: 1000\n";
    let gateway = Gateway::start("", &api);
    for (accept, coding) in [
        ("gzip, deflate", Some("gzip")),
        ("deflate;q=0.9, gzip;q=0.5", Some("deflate")),
        ("br", None),
        ("*", None),
    ] {
        let mut client = Client::connect(gateway.address).await;
        client
            .send(format!(
                "GET /x HTTP/1.1\r\nHost: test\r\nAccept-Encoding: {accept}\r\n\r\n"
            ))
            .await;
        let head = client.head().await;
        assert_eq!(header(&head, "content-encoding"), coding, "{accept}");
        let length: usize = header(&head, "content-length").unwrap().parse().unwrap();
        let body = client.take(length).await;
        let plain = match coding {
            Some("gzip") => read(flate2::read::GzDecoder::new(&body[..])),
            Some(_) => read(flate2::read::ZlibDecoder::new(&body[..])),
            None => body,
        };
        assert!(plain == text.as_bytes());
        assert!(coding.is_none() || length < text.len() / 10);
    }
}

fn read(mut decoder: impl std::io::Read) -> Vec<u8> {
    let mut plain = Vec::new();
    decoder.read_to_end(&mut plain).unwrap();
    plain
}

#[tokio::test]
async fn head_keeps_the_length_that_get_would_have() {
    let backend = Backend::start().await;
    let gateway = Gateway::buffered(backend.address);
    let mut client = Client::connect(gateway.address).await;
    client.send("HEAD /x HTTP/1.1\r\nHost: test\r\n\r\n").await;
    let (mut conn, _) = backend.request().await;
    conn.write("HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n")
        .await;
    assert_eq!(header(&client.head().await, "content-length"), Some("77"));
    assert!(client.is_kept().await);
}
