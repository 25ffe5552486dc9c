//! Acceptance items 122, 140, 141 and 148: functions behind the Lambda Invoke API, at an endpoint that says exactly what
//! the test tells it to.
//!
//! What AWS's tools read from their environment is part of the world here, so each test runs in a process of its own.

use std::{
    future::{Future, poll_fn},
    process::Command,
};

use bytes::Bytes;
use sluicegate::{
    config::model::{Origin, RemoteFunction, TransferMode},
    lambda::{
        event_stream::{invoke_complete, payload_chunk},
        invocation::{Invocation, InvokeFault, Refusal},
        output::{Completion, FunctionError, Invoked},
        remote::Remote,
    },
    stream::{clocks::Clocks, source::Cut},
    types::ids::RequestId,
};
use tokio::runtime::Handle;

use crate::support::{Backend, Conn, header, within};

const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.amazon.eventstream\r\n\
                      Transfer-Encoding: chunked\r\n\r\n";

/// Runs `test` in a process of its own, without anything of AWS's in its environment but `variables`. Gives what it
/// wrote, save in that process itself.
fn alone(name: &str, variables: &[(&str, &str)], test: impl Future<Output = ()>) -> Option<String> {
    const INSIDE: &str = "SLUICEGATE_TEST_ALONE";
    if std::env::var(INSIDE).is_ok() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(test);
        return None;
    }
    let aws = std::env::vars().filter(|(name, _)| name.starts_with("AWS_"));
    let mut child = Command::new(std::env::current_exe().unwrap());
    for (name, _) in aws {
        child.env_remove(name);
    }
    let output = child
        .args(["--exact", &format!("lambda_remote::{name}"), "--nocapture"])
        .envs([
            (INSIDE, "1"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("AWS_CONFIG_FILE", "/dev/null"),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
        ])
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let written = [output.stdout, output.stderr].concat();
    let written = String::from_utf8_lossy(&written).into_owned();
    assert!(output.status.success(), "{written}");
    assert!(
        written.contains("1 passed"),
        "no test has this name: {written}"
    );
    Some(written)
}

fn remote(backend: Option<&Backend>) -> Remote {
    let endpoint = backend.map(|backend| Origin {
        is_tls: false,
        host: "127.0.0.1".into(),
        port: backend.address.port(),
        authority: backend.address.to_string().into(),
    });
    let model = RemoteFunction {
        endpoint,
        function_name: Some("report".into()),
        region: None,
        usual_region: None,
        profile: None,
    };
    Remote::new(&model, &Handle::current())
}

fn invocation(mode: TransferMode) -> Invocation {
    Invocation {
        event: Bytes::from_static(b"{\"Authorization\":\"canary-event\"}"),
        mode,
        request_id: RequestId::random(),
        trace: Box::default(),
        client_context: None,
        function: None,
        qualifier: None,
        wants_log: false,
        runs_on: true,
        source: None,
    }
}

async fn call(remote: &Remote, mode: TransferMode) -> Result<Invoked, InvokeFault> {
    within(remote.invoke(invocation(mode), &Clocks::default())).await
}

/// Calls a function whose endpoint answers with `answer` and closes the connection.
async fn answered(mode: TransferMode, answer: &[u8]) -> Result<Invoked, InvokeFault> {
    let backend = Backend::start().await;
    let remote = remote(Some(&backend));
    let endpoint = async {
        let (mut conn, _) = backend.request().await;
        conn.write(answer).await;
        let _ = tokio::io::AsyncWriteExt::shutdown(&mut conn.stream).await;
        conn.rest().await;
    };
    let (result, ()) = tokio::join!(call(&remote, mode), async {
        tokio::select! { () = endpoint => {}, () = tokio::time::sleep(std::time::Duration::from_millis(50)) => {} }
    });
    result
}

async fn refused(answer: &str) -> Refusal {
    match answered(TransferMode::Buffered, answer.as_bytes()).await {
        Err(InvokeFault::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

async fn failed(mode: TransferMode, answer: &str) -> String {
    match answered(mode, answer.as_bytes()).await {
        Err(InvokeFault::Failed(fault)) => fault.to_string(),
        other => panic!("not failed: {other:?}"),
    }
}

async fn next(invoked: &mut Invoked) -> Option<Result<Bytes, Cut>> {
    within(poll_fn(|cx| invoked.output.poll_payload(cx, 1 << 20))).await
}

async fn payload(invoked: &mut Invoked) -> Result<Vec<u8>, String> {
    let mut whole = Vec::new();
    while let Some(part) = next(invoked).await {
        whole.extend(part.map_err(|cut| cut.to_string())?);
    }
    Ok(whole)
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
    chunk.extend_from_slice(bytes);
    chunk.extend_from_slice(b"\r\n");
    chunk
}

/// What becomes of a streamed answer of one chunk with these bytes.
async fn streamed(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let answer = [STREAM.as_bytes(), &chunk(bytes), b"0\r\n\r\n"].concat();
    let mut invoked = answered(TransferMode::Stream, &answer).await.unwrap();
    let payload = payload(&mut invoked).await;
    assert_eq!(invoked.output.completion().is_some(), payload.is_ok());
    payload
}

/// A streamed call that has begun to answer.
async fn begun(backend: &Backend) -> (Invoked, Conn, String) {
    let remote = remote(Some(backend));
    let (invoked, (conn, head)) = tokio::join!(call(&remote, TransferMode::Stream), async {
        let (mut conn, head) = backend.request().await;
        conn.write(STREAM).await;
        (conn, head)
    });
    (invoked.unwrap(), conn, head)
}

#[test]
fn invoke_gives_the_payload_and_what_the_head_says_of_its_end() {
    alone(
        "invoke_gives_the_payload_and_what_the_head_says_of_its_end",
        &[],
        async {
            let answer =
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Amz-Executed-Version: 7\r\n\r\n{}";
            let mut invoked = answered(TransferMode::Buffered, answer.as_bytes())
                .await
                .unwrap();
            assert_eq!(&*invoked.version, "7");
            assert_eq!(payload(&mut invoked).await, Ok(b"{}".to_vec()));
            assert_eq!(invoked.output.completion(), Some(&Completion::default()));
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Amz-Function-Error: Unhandled\r\n\
                      X-Amz-Log-Result: U1RBUlQK\r\n\r\n{}";
            let mut invoked = answered(TransferMode::Buffered, answer.as_bytes())
                .await
                .unwrap();
            assert_eq!(payload(&mut invoked).await, Ok(b"{}".to_vec()));
            let completion = invoked.output.completion().unwrap();
            let error = FunctionError {
                code: "Unhandled".into(),
                details: "".into(),
            };
            assert_eq!(completion.error, Some(error));
            assert_eq!(completion.log.as_deref(), Some("START\n"));
        },
    );
}

#[test]
fn an_endpoint_of_ones_own_is_called_unsigned_without_credentials() {
    alone(
        "an_endpoint_of_ones_own_is_called_unsigned_without_credentials",
        &[],
        async {
            let backend = Backend::start().await;
            let (_invoked, mut conn, head) = begun(&backend).await;
            assert!(
                head.starts_with(
                    "POST /2021-11-15/functions/report/response-streaming-invocations HTTP/1.1\r\n"
                ),
                "{head}"
            );
            assert_eq!(header(&head, "Authorization"), None);
            assert_eq!(conn.take(32).await, b"{\"Authorization\":\"canary-event\"}");
        },
    );
}

#[test]
fn aws_itself_is_not_called_without_credentials_or_region() {
    alone(
        "aws_itself_is_not_called_without_credentials_or_region",
        &[],
        async {
            let Err(InvokeFault::Failed(fault)) = call(&remote(None), TransferMode::Stream).await
            else {
                panic!("a call without a region");
            };
            assert_eq!(fault.reason, "no_region");
            let model = RemoteFunction {
                endpoint: None,
                function_name: None,
                region: None,
                usual_region: None,
                profile: None,
            };
            let mut invocation = invocation(TransferMode::Stream);
            invocation.function = Some("arn:aws:lambda:eu-west-1:123456789012:function:f".into());
            let remote = Remote::new(&model, &Handle::current());
            let result = within(remote.invoke(invocation, &Clocks::default())).await;
            let Err(InvokeFault::Failed(fault)) = result else {
                panic!("an unsigned call of AWS");
            };
            assert_eq!(fault.reason, "no_credentials");
            assert!(fault.detail.contains("AWS_ACCESS_KEY_ID"), "{fault}");
        },
    );
}

#[test]
fn item_148_calls_are_signed_and_no_secret_is_told() {
    let variables = [
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "canary-secret"),
        ("AWS_SESSION_TOKEN", "canary-token"),
        ("AWS_REGION", "eu-west-3"),
        ("LOG_SIGNABLE_BODY", "true"),
        ("RUST_LOG", "trace"),
    ];
    let log = alone(
        "item_148_calls_are_signed_and_no_secret_is_told",
        &variables,
        async {
            let subscriber = tracing_subscriber::fmt()
                .with_max_level(tracing::Level::TRACE)
                .with_writer(std::io::stderr)
                .finish();
            tracing::subscriber::set_global_default(subscriber).unwrap();
            tracing::trace!("the log is on");
            let backend = Backend::start().await;
            let remote = remote(Some(&backend));
            let (result, head) = tokio::join!(call(&remote, TransferMode::Buffered), async {
                let (mut conn, head) = backend.request().await;
                conn.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                    .await;
                head
            });
            let authorization = header(&head, "authorization").unwrap();
            assert!(
                authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
                    && authorization.contains("/eu-west-3/lambda/aws4_request"),
                "it isn't signed as expected"
            );
            assert!(header(&head, "x-amz-security-token") == Some("canary-token"));
            eprintln!("{remote:?} {result:?}");
        },
    );
    if let Some(log) = log {
        // `canary`, as a list of bytes is shown.
        const BYTES: &str = "99, 97, 110, 97, 114, 121";
        assert!(log.contains("the log is on"));
        let line = log
            .lines()
            .find(|line| line.contains("canary") || line.contains(BYTES));
        assert_eq!(line, None, "a secret was told");
    }
}

#[test]
fn refusals_are_told_in_lambdas_words() {
    alone("refusals_are_told_in_lambdas_words", &[], async {
        let throttled = "{\"Reason\":\"CallerRateLimitExceeded\",\"message\":\"Rate Exceeded.\"}";
        let head = "HTTP/1.1 429 Too Many Requests\r\nx-amzn-ErrorType: TooManyRequestsException:http://internal\r\n";
        let answer = format!(
            "{head}Content-Length: {}\r\n\r\n{throttled}",
            throttled.len()
        );
        let expected = Refusal::new(429, "TooManyRequestsException", "Rate Exceeded.");
        assert_eq!(
            refused(&answer).await,
            expected.because("CallerRateLimitExceeded")
        );
        for (answer, status, error_type, message) in [
            (
                "HTTP/1.1 403 F\r\nContent-Length: 16\r\n\r\n{\"Message\":\"No\"}",
                403,
                "AccessDeniedException",
                "No",
            ),
            (
                "HTTP/1.1 404 F\r\nContent-Length: 23\r\n\r\n{\"__type\":\"a.b#Missing\"}",
                404,
                "Missing",
                "{\"__type\":\"a.b#Missing\"}",
            ),
            (
                "HTTP/1.1 404 F\r\nContent-Length: 23\r\n\r\n{\"__type\":\"a\\r\\n\\r\\nb\"}",
                404,
                "ResourceNotFoundException",
                "{\"__type\":\"a\\r\\n\\r\\nb\"}",
            ),
            (
                "HTTP/1.1 413 F\r\nContent-Length: 0\r\n\r\n",
                413,
                "RequestTooLargeException",
                "",
            ),
            (
                "HTTP/1.1 500 F\r\n\r\n<html>",
                500,
                "ServiceException",
                "<html>",
            ),
        ] {
            let length = answer.split("\r\n\r\n").nth(1).unwrap().len();
            let answer = answer.replace("Content-Length: 23", &format!("Content-Length: {length}"));
            assert_eq!(
                refused(&answer).await,
                Refusal::new(status, error_type, message)
            );
        }
        let endless = format!("HTTP/1.1 502 F\r\n\r\n{}", "x".repeat(300_000));
        assert_eq!(refused(&endless).await.message.len(), 200);
    });
}

#[test]
fn answers_that_are_not_lambdas_are_faults_that_say_so() {
    alone(
        "answers_that_are_not_lambdas_are_faults_that_say_so",
        &[],
        async {
            let json =
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
            let said = failed(TransferMode::Stream, json).await;
            assert!(
                said.contains("`application/json`") && said.contains("vnd.amazon.eventstream"),
                "{said}"
            );
            for status in ["202 Accepted", "302 Found"] {
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                let said = failed(TransferMode::Buffered, &answer).await;
                assert!(said.contains(&status[..3]), "{said}");
            }
        },
    );
}

#[test]
fn payload_arrives_as_its_frames_do() {
    alone("payload_arrives_as_its_frames_do", &[], async {
        let backend = Backend::start().await;
        let (mut invoked, mut conn, _) = begun(&backend).await;
        for text in ["one", "two"] {
            // The second frame is written only after the first has been read; each is split in the middle.
            let frame = payload_chunk(text.as_bytes());
            conn.write(chunk(&frame[..50])).await;
            conn.write(chunk(&frame[50..])).await;
            assert_eq!(next(&mut invoked).await.unwrap().unwrap(), text);
        }
        conn.write(chunk(&invoke_complete(
            Some("Unhandled"),
            Some("broke"),
            None,
        )))
        .await;
        assert!(next(&mut invoked).await.is_none());
        let error = invoked.output.completion().unwrap().error.as_ref().unwrap();
        assert_eq!(error.to_string(), "Unhandled: broke");
    });
}

#[test]
fn a_connection_is_used_again_when_its_answer_has_ended() {
    alone(
        "a_connection_is_used_again_when_its_answer_has_ended",
        &[],
        async {
            let backend = Backend::start().await;
            let remote = remote(Some(&backend));
            let mut conn = None;
            for _ in 0..3 {
                let (invoked, taken) = tokio::join!(call(&remote, TransferMode::Stream), async {
                    let mut conn = match conn.take() {
                        Some(conn) => conn,
                        None => backend.accept().await,
                    };
                    conn.head().await;
                    conn.take(32).await;
                    conn.write(STREAM).await;
                    conn.write(chunk(&invoke_complete(None, None, None))).await;
                    conn
                });
                conn = Some(taken);
                assert!(next(&mut invoked.unwrap()).await.is_none());
                // The last chunk comes later than the last event, as it does from real servers.
                conn.as_mut().unwrap().write("0\r\n\r\n").await;
                tokio::time::sleep(std::time::Duration::from_millis(30)).await;
            }
        },
    );
}

#[test]
fn dropping_the_output_closes_the_connection() {
    alone("dropping_the_output_closes_the_connection", &[], async {
        let backend = Backend::start().await;
        let (invoked, mut conn, _) = begun(&backend).await;
        conn.take(32).await;
        assert!(conn.is_kept().await);
        drop(invoked);
        conn.is_closed().await;
    });
}

#[test]
fn items_140_and_141_hostile_and_truncated_streams_never_end_well() {
    alone(
        "items_140_and_141_hostile_and_truncated_streams_never_end_well",
        &[],
        async {
            let hello = payload_chunk(b"hello").to_vec();
            let end = invoke_complete(None, None, None).to_vec();
            assert_eq!(
                streamed(&[&hello[..], &end].concat()).await,
                Ok(b"hello".to_vec())
            );
            let flipped = |at: usize| {
                let mut frame = hello.clone();
                frame[at] ^= 1;
                [&frame[..], &end].concat()
            };
            for (stream, why) in [
                (hello.clone(), "without `InvokeComplete`"),
                (Vec::new(), "without `InvokeComplete`"),
                (hello[..60].to_vec(), "in the middle of a frame"),
                (flipped(0), "lengths don't match their checksum"),
                (flipped(8), "lengths don't match their checksum"),
                (flipped(104), "malformed frame"),
                (flipped(110), "malformed frame"),
            ] {
                if stream.is_empty() {
                    let answer = [STREAM.as_bytes(), b"0\r\n\r\n"].concat();
                    let mut invoked = answered(TransferMode::Stream, &answer).await.unwrap();
                    assert!(payload(&mut invoked).await.unwrap_err().contains(why));
                    continue;
                }
                let said = streamed(&stream).await.unwrap_err();
                assert!(said.contains(why), "{said}");
            }
            let cut = [STREAM.as_bytes(), &chunk(&hello)].concat();
            let mut invoked = answered(TransferMode::Stream, &cut).await.unwrap();
            assert!(
                payload(&mut invoked)
                    .await
                    .unwrap_err()
                    .contains("before its last chunk")
            );
        },
    );
}
