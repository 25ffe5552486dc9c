//! Answers of function URLs to outputs that a test makes up.

use std::{future::poll_fn, sync::Arc};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{testing::*, *};
use crate::{
    lambda::output::{Frame, FunctionError, Output},
    stream::source::Source as _,
};

/// An output with this content type, all of which is there.
fn invoked(content_type: Option<&str>, pieces: &[&str], error: Option<&str>) -> Invoked {
    let (give, take) = mpsc::channel(16);
    for piece in pieces {
        let data = Bytes::copy_from_slice(piece.as_bytes());
        give.try_send(Frame::Data(data)).unwrap();
    }
    let error = error.map(|code| FunctionError {
        code: code.into(),
        details: "why".into(),
    });
    give.try_send(Frame::End(Completion { error, log: None }))
        .unwrap();
    Invoked {
        content_type: content_type.map(Into::into),
        version: "$LATEST".into(),
        output: Output::local(take),
    }
}

/// Status, header lines and body; or the sentence for the log.
async fn read(answered: Result<Answered, Fault>) -> Result<(u16, String, String), String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match answered.map_err(|fault| fault.to_string())? {
        Answered::Whole(status, fields, body) => {
            Ok((status.as_u16(), text(fields.wire()), text(&body)))
        }
        Answered::Stream(status, fields, mut payload, _) => {
            let mut body = Vec::new();
            while let Some(piece) = poll_fn(|cx| payload.poll_payload(cx, 1024)).await {
                body.extend_from_slice(&piece.map_err(|cut| cut.to_string())?);
            }
            Ok((status.as_u16(), text(fields.wire()), text(&body)))
        }
    }
}

async fn streamed(
    content_type: Option<&str>,
    pieces: &[&str],
    error: Option<&str>,
) -> Result<(u16, String, String), String> {
    let mut context = context("GET", "/lambda-url/echo", "");
    let url = url(TransferMode::Stream, None);
    let reached = reached("echo", 0, url.clone());
    let clocks = Arc::new(Clocks::default());
    let invoked = invoked(content_type, pieces, error);
    read(reached.streamed(&url, &mut context, invoked, &clocks).await).await
}

async fn whole_of(pieces: &[&str], content_type: Option<&str>) -> (u16, String, String) {
    let mut context = context("GET", "/lambda-url/echo", "");
    let clocks = Clocks::default();
    let invoked = invoked(content_type, pieces, None);
    read(buffered(&mut context, invoked, &clocks).await)
        .await
        .unwrap()
}

fn expected(status: u16, content_type: &str, body: &str) -> (u16, String, String) {
    let fields = format!("Content-Type: {content_type}\r\n");
    (status, fields, body.to_owned())
}

const NULS: &str = "\0\0\0\0\0\0\0\0";

#[tokio::test]
async fn the_runtimes_content_type_says_whether_there_is_a_prelude() {
    let metadata = r#"{"statusCode":201,"headers":{"Content-Type":"text/plain"},"unknown":1}"#;
    let pieces = [metadata, &NULS[..3], &NULS[3..], "a", "b"];
    let with_prelude = streamed(Some(stream::WITH_PRELUDE), &pieces, None).await;
    assert_eq!(with_prelude, Ok(expected(201, "text/plain", "ab")));
    let raw = streamed(Some("text/event-stream"), &pieces, None).await;
    let all = format!("{metadata}{NULS}ab");
    assert_eq!(raw, Ok(expected(200, "text/event-stream", &all)));
}

#[tokio::test]
async fn without_a_content_type_a_prelude_is_recognised_and_anything_else_passes() {
    let prelude = streamed(None, &["{\"statusCode\":202}\0\0\0", "\0\0\0\0\0a"], None).await;
    assert_eq!(prelude, Ok(expected(202, "application/octet-stream", "a")));
    let events = streamed(None, &["data: a\n\n", "data: b\n\n"], None).await;
    assert_eq!(
        events,
        Ok(expected(
            200,
            "application/octet-stream",
            "data: a\n\ndata: b\n\n"
        ))
    );
    let lines = streamed(None, &["{\"a\":1}\n", "{\"a\":2}\n"], None).await;
    assert_eq!(lines.unwrap().2, "{\"a\":1}\n{\"a\":2}\n");
    let result = streamed(None, &[r#"{"statusCode":404,"body":"x"}"#], None).await;
    assert_eq!(
        result,
        Ok(expected(
            200,
            "application/json",
            r#"{"statusCode":404,"body":"x"}"#
        ))
    );
}

#[tokio::test]
async fn a_failure_before_the_head_is_a_fault_and_after_it_a_cut() {
    let before = streamed(
        Some(stream::WITH_PRELUDE),
        &["{\"status"],
        Some("Unhandled"),
    )
    .await;
    assert!(before.unwrap_err().contains("before its response began"));
    let elsewhere = streamed(None, &["{\"errorMessage\":\"x\"}"], Some("Unhandled")).await;
    assert!(elsewhere.unwrap_err().contains("before its response began"));
    let prelude = format!("{{}}{NULS}a");
    let after = streamed(Some(stream::WITH_PRELUDE), &[&prelude], Some("Unhandled")).await;
    assert!(after.unwrap_err().contains("in the middle of its response"));
    let malformed = streamed(Some(stream::WITH_PRELUDE), &["data: x"], None).await;
    assert!(malformed.unwrap_err().contains("malformed"));
}

#[tokio::test]
async fn a_buffered_url_reads_results_and_preludes() {
    let result = whole_of(&["{\"statusCode\":", "201,\"body\":\"x\"}"], None).await;
    assert_eq!(result, expected(201, "application/json", "x"));
    let prelude = format!("{{\"headers\":{{\"Content-Type\":\"text/plain\"}}}}{NULS}ab");
    let said = whole_of(&[&prelude], Some(stream::WITH_PRELUDE)).await;
    assert_eq!(said, expected(200, "text/plain", "ab"));
    assert_eq!(whole_of(&[&prelude], None).await, said);
}

#[test]
fn hosts_and_paths_lead_to_functions() {
    for (host, id) in [
        ("echo.lambda-url.localhost:8080", Some("echo")),
        ("ECHO.Lambda-URL.us-east-1.on.aws", Some("ECHO")),
        ("echo.lambda-url", None),
        ("lambda-url.localhost", None),
        ("echo.example.com", None),
        ("127.0.0.1:8080", None),
    ] {
        assert_eq!(id_in_host(host), id, "{host}");
    }
    for (path, name) in [
        ("/lambda-url/echo", Some(("echo", 16))),
        ("/lambda-url/echo/", Some(("echo", 16))),
        ("/lambda-url/echo/a/b", Some(("echo", 16))),
        ("/lambda-url/", None),
        ("/lambda-url", None),
        ("/a/lambda-url/echo", None),
    ] {
        assert_eq!(name_in_path(path), name, "{path}");
    }
}
