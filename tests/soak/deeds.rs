//! What clients do: each deed is one or several requests, checked to the last byte, and what the record must say of them.

use std::{ops::Range, time::Duration};

use sluicegate::types::ids::random;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::sleep,
};

use crate::{
    backend::{payload, seen},
    functions, http2,
    ledger::Ledger,
    stage::Stage,
    support::{Client, header, status},
};

/// Something that a client does.
#[derive(Clone, Copy, Debug)]
pub enum Deed {
    Whole,
    Encrypted,
    Buffered,
    Stream,
    Hints,
    Limited,
    Bodiless,
    Pipeline,
    Cut,
    Reset,
    Failed,
    Nobody,
    Late,
    Quiet,
    Leave,
    Stall,
    Upload,
    Abandon,
    Refusing,
    Malformed,
    Nowhere,
    Http2,
    Http2Resets,
    Function,
    FunctionFails,
    FunctionLeft,
    FunctionCrashes,
}

use Deed::*;

/// All of them. What stands first is done more often.
pub const ALL: [Deed; 27] = [
    Whole,
    Stream,
    Encrypted,
    Http2,
    Pipeline,
    Upload,
    Leave,
    Http2Resets,
    Cut,
    Reset,
    Failed,
    Buffered,
    Abandon,
    Malformed,
    Nowhere,
    Refusing,
    Bodiless,
    Hints,
    Nobody,
    Function,
    FunctionFails,
    FunctionLeft,
    Limited,
    Late,
    Quiet,
    Stall,
    FunctionCrashes,
];

/// A number in a range.
pub fn within(range: Range<usize>) -> usize {
    range.start + (random() % range.len() as u64) as usize
}

/// The next deed of a client.
pub fn any() -> Deed {
    let (one, other) = (within(0..ALL.len()), within(0..ALL.len()));
    let deed = ALL[one.min(other)];
    // Starting a process takes a hundred times what anything else does.
    match deed {
        FunctionCrashes | FunctionLeft if within(0..6) > 0 => Function,
        deed => deed,
    }
}

const COMPLETE: &str = "complete";

impl Deed {
    /// Does it, and notes it.
    pub async fn run(self, stage: &Stage, ledger: &Ledger) {
        match self {
            Whole => keep_asking(&mut stage.client().await, ledger).await,
            Encrypted => keep_asking(&mut stage.encrypted_client().await, ledger).await,
            Buffered => one(stage, "buffered", within(0..300_000), ledger).await,
            Stream => one(stage, "stream", within(0..200_000), ledger).await,
            Limited => one(stage, "limited", within(60_000..120_000), ledger).await,
            Hints => hints(stage, ledger).await,
            Bodiless => bodiless(stage, ledger).await,
            Pipeline => pipeline(stage, ledger).await,
            Cut => {
                let kind = ["cut-chunk", "cut-length", "bad-chunk"][within(0..3)];
                cut(stage, kind, ledger).await;
            }
            Reset => reset(stage, ledger).await,
            Failed => {
                let kinds = [("reset-early", 504), ("close-early", 504), ("garbage", 502)];
                let (kind, status) = kinds[within(0..kinds.len())];
                failed(stage, kind, status, ledger).await;
            }
            Nobody => failed(stage, "nobody", 504, ledger).await,
            Late => {
                let count = refused(stage, "late", 504).await;
                ledger.note("late", "deadline", count);
            }
            Quiet => {
                let mut client = begin(stage, "quiet/0").await;
                ends_early(&mut client, b"").await;
                ledger.note("quiet", "idle", 1);
            }
            Leave => leave(stage, ledger).await,
            Stall => stall(stage, ledger).await,
            Upload => upload(stage, ledger).await,
            Abandon => abandon(stage, ledger).await,
            Refusing => refusing(stage, ledger).await,
            Malformed => malformed(stage, ledger).await,
            Nowhere => {
                let count = refused(stage, "nowhere", 403).await;
                ledger.note("nowhere", "refused", count);
            }
            Http2 => http2::streams(stage, ledger).await,
            Http2Resets => http2::resets(stage, ledger).await,
            Function => functions::answers(stage, ledger).await,
            FunctionFails => functions::fails(stage, ledger).await,
            FunctionLeft => functions::is_left(stage, ledger).await,
            FunctionCrashes => functions::crashes(stage, ledger).await,
        }
    }
}

/// A GET of a path.
pub fn get(path: &str) -> String {
    format!("GET /{path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// The body is the payload of a length.
fn is_payload(body: &str, length: usize) {
    assert_eq!(body.len(), length);
    assert!(
        body.as_bytes() == payload(length),
        "the body is not what the backend sent"
    );
}

/// Several requests on one connection.
async fn keep_asking<S: AsyncRead + AsyncWrite + Unpin>(client: &mut Client<S>, ledger: &Ledger) {
    for _ in 0..within(1..20) {
        let length = within(0..20_000);
        client.send(get(&format!("whole/{length}"))).await;
        let (head, body) = client.answer().await;
        assert_eq!(status(&head), 200, "{head}");
        is_payload(&body, length);
        ledger.note("whole", COMPLETE, 1);
    }
}

/// One request whose answer has as many bytes.
async fn one(stage: &Stage, kind: &'static str, length: usize, ledger: &Ledger) {
    let mut client = stage.client().await;
    client.send(get(&format!("{kind}/{length}"))).await;
    let (head, body) = client.answer().await;
    assert_eq!(status(&head), 200, "{head}");
    is_payload(&body, length);
    ledger.note(kind, COMPLETE, 1);
}

async fn hints(stage: &Stage, ledger: &Ledger) {
    let mut client = stage.client().await;
    client.send(get("hints/100")).await;
    let mut head = client.head().await;
    if status(&head) == 103 {
        head = client.head().await;
    }
    assert_eq!(status(&head), 200, "{head}");
    let mut body = Vec::new();
    loop {
        let chunk = client.chunk().await;
        if chunk.is_empty() {
            break;
        }
        body.extend(chunk);
    }
    is_payload(&String::from_utf8(body).unwrap(), 100);
    ledger.note("hints", COMPLETE, 1);
}

async fn bodiless(stage: &Stage, ledger: &Ledger) {
    let mut client = stage.client().await;
    client.send(get("empty")).await;
    assert_eq!(status(&client.head().await), 204);
    client.send(get("head").replace("GET", "HEAD")).await;
    let head = client.head().await;
    assert_eq!(header(&head, "content-length"), Some("77"));
    // Nothing came behind either head.
    keep_asking(&mut client, ledger).await;
    ledger.note("empty", COMPLETE, 1);
    ledger.note("head", COMPLETE, 1);
}

async fn pipeline(stage: &Stage, ledger: &Ledger) {
    let mut client = stage.client().await;
    let lengths: Vec<usize> = (0..within(2..6)).map(|_| within(0..5000)).collect();
    let requests: String = lengths
        .iter()
        .map(|length| get(&format!("whole/{length}")))
        .collect();
    client.send(requests).await;
    for length in &lengths {
        is_payload(&client.answer().await.1, *length);
    }
    ledger.note("whole", COMPLETE, lengths.len() as u64);
}

/// A stream whose head has come.
async fn begin(stage: &Stage, path: &str) -> Client {
    let mut client = stage.client().await;
    client.send(get(path)).await;
    let head = client.head().await;
    assert_eq!(status(&head), 200, "{head}");
    client
}

/// What is left of the answer doesn't look complete.
async fn ends_early<S: AsyncRead + AsyncWrite + Unpin>(client: &mut Client<S>, besides: &[u8]) {
    let (rest, _) = client.rest().await;
    assert!(!rest.ends_with(b"0\r\n\r\n"), "an early end looks complete");
    assert!(
        rest.len() < 1000 + besides.len(),
        "{} bytes are more than it had",
        rest.len()
    );
}

async fn cut(stage: &Stage, kind: &'static str, ledger: &Ledger) {
    let mut client = begin(stage, kind).await;
    ends_early(&mut client, b"").await;
    ledger.note(kind, "integration_truncated", 1);
}

async fn reset(stage: &Stage, ledger: &Ledger) {
    let number = random() as usize >> 1;
    let mut client = begin(stage, &format!("reset/{number}")).await;
    assert_eq!(client.chunk().await, b"abcd");
    seen(number);
    ends_early(&mut client, b"").await;
    ledger.note("reset", "integration_truncated", 1);
}

/// The gateway answers itself, and the connection stays. How many requests it were.
async fn refused(stage: &Stage, path: &str, expected: u16) -> u64 {
    let mut client = stage.client().await;
    for _ in 0..2 {
        client.send(get(path)).await;
        let (head, body) = client.answer().await;
        assert_eq!(status(&head), expected, "{path}: {head}");
        assert!(body.starts_with('{'), "{body}");
    }
    2
}

async fn failed(stage: &Stage, kind: &'static str, expected: u16, ledger: &Ledger) {
    let count = refused(stage, kind, expected).await;
    ledger.note(kind, "integration_failed", count);
}

/// Goes away in the midst of a stream: in good order, or with a reset.
async fn leave(stage: &Stage, ledger: &Ledger) {
    let mut client = begin(stage, "endless").await;
    for _ in 0..within(1..5) {
        assert!(!client.chunk().await.is_empty());
    }
    if within(0..2) == 0 {
        client.vanish();
    }
    ledger.note("endless", "client_left", 1);
}

/// Reads nothing until the gateway has had enough.
async fn stall(stage: &Stage, ledger: &Ledger) {
    let mut client = Client::narrow(stage.address).await;
    client.send(get("unread")).await;
    client.head().await;
    sleep(Duration::from_secs(4)).await;
    let (rest, _) = client.rest().await;
    assert!(!rest.ends_with(b"0\r\n\r\n"), "an early end looks complete");
    ledger.note("unread", "client_stalled", 1);
}

/// Uploads, with a length or in chunks.
async fn upload(stage: &Stage, ledger: &Ledger) {
    let mut client = stage.client().await;
    for _ in 0..within(1..4) {
        let body = payload(within(0..300_000));
        if within(0..2) == 0 {
            client
                .send(post("upload", &format!("Content-Length: {}", body.len())))
                .await;
            client.send(&body).await;
        } else {
            client
                .send(post("upload", "Transfer-Encoding: chunked"))
                .await;
            for part in body.chunks(30_000) {
                client.send(format!("{:x}\r\n", part.len())).await;
                client.send(part).await;
                client.send("\r\n").await;
            }
            client.send("0\r\n\r\n").await;
        }
        let (head, text) = client.answer().await;
        assert_eq!((status(&head), text), (200, body.len().to_string()));
        ledger.note("upload", COMPLETE, 1);
    }
}

pub fn post(path: &str, field: &str) -> String {
    format!("POST /{path} HTTP/1.1\r\nHost: localhost\r\n{field}\r\n\r\n")
}

/// Goes away in the midst of an upload.
async fn abandon(stage: &Stage, ledger: &Ledger) {
    let mut client = stage.client().await;
    client.send(post("upload", "Content-Length: 100000")).await;
    client.send(payload(within(0..50_000))).await;
    let _ = client.stream.shutdown().await;
    client.rest().await;
    ledger.note("upload", "client_left", 1);
}

/// The backend answers before it has the upload, and doesn't want it.
async fn refusing(stage: &Stage, ledger: &Ledger) {
    let mut client = stage.client().await;
    client
        .send(post("refusing", "Content-Length: 400000"))
        .await;
    client.send(payload(1000)).await;
    let (head, body) = client.answer().await;
    assert_eq!((status(&head), body.as_str()), (413, "no"));
    ledger.note("refusing", COMPLETE, 1);
}

/// Heads that are none.
async fn malformed(stage: &Stage, ledger: &Ledger) {
    let heads = [
        "GET /malformed HTTP/1.1\r\n\r\n",
        "GET /malformed HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "POST /malformed HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "G E T /malformed HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /malformed HTTP/1.1\r\nHost: a\r\nName : b\r\n\r\n",
    ];
    let mut client = stage.client().await;
    client.send(heads[within(0..heads.len())]).await;
    let (head, _) = client.answer().await;
    assert_eq!(status(&head), 400, "{head}");
    client.rest().await;
    ledger.note("malformed", "refused", 1);
}
