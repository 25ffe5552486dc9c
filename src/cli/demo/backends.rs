//! The demo's backends: HTTP servers of their own, as the gateway would find them anywhere.

use std::{convert::Infallible, io, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::sleep,
};

type Body = BoxBody<Bytes, Infallible>;

/// Between two words of the chat.
const WORD: Duration = Duration::from_millis(120);
/// How long the slow ones think.
const THOUGHT: Duration = Duration::from_secs(3);
const MIB: usize = 1024 * 1024;

const ANSWER: &str = "A sluice gate lets water through as it comes , and holds it back when there is too much . \
    This one does the same with bytes : each word leaves the moment it arrives , the first ten megabytes flow freely , \
    and what comes after them is measured . Nothing is collected , nothing is guessed , and an early end looks like one .";

/// The document, with `BACKEND` and `BROKEN` for the backends' addresses.
const DOCUMENT: &str = include_str!("openapi.yaml");

/// Starts the backends on free ports of the loopback interface. The document that leads to them.
pub(super) async fn start() -> io::Result<String> {
    let backend = TcpListener::bind("127.0.0.1:0").await?;
    let broken = TcpListener::bind("127.0.0.1:0").await?;
    let document = DOCUMENT
        .replace("BACKEND", &backend.local_addr()?.to_string())
        .replace("BROKEN", &broken.local_addr()?.to_string());
    let served = Bytes::from(document.clone());
    tokio::spawn(async move {
        while let Ok((tcp, _)) = backend.accept().await {
            tokio::spawn(serve(tcp, served.clone()));
        }
    });
    tokio::spawn(async move {
        while let Ok((tcp, _)) = broken.accept().await {
            tokio::spawn(break_off(tcp));
        }
    });
    Ok(document)
}

async fn serve(tcp: TcpStream, document: Bytes) {
    let _ = tcp.set_nodelay(true);
    let service = service_fn(|request| {
        let document = document.clone();
        async move { Ok::<_, Infallible>(answer(&request, document).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new());
    // A client that goes away is the demo's business, not an error.
    let _ = builder.serve_connection(TokioIo::new(tcp), service).await;
}

async fn answer(request: &Request<Incoming>, document: Bytes) -> Response<Body> {
    match request.uri().path() {
        "/openapi.yaml" => respond("application/yaml", whole(document)),
        "/chat" => respond("text/event-stream", words()),
        "/download" => download(),
        "/slow" => {
            sleep(THOUGHT).await;
            respond("text/plain", whole("That took some thought.\n".into()))
        }
        "/head-first" => {
            let late = stream::once(async {
                sleep(THOUGHT).await;
                Ok(Frame::data(Bytes::from_static(
                    b"The head was there long before this.\n",
                )))
            });
            respond("text/plain", BodyExt::boxed(StreamBody::new(late)))
        }
        _ => {
            let mut response = respond(
                "text/plain",
                whole("The demo has no such backend route.\n".into()),
            );
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    }
}

fn respond(content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let value = header::HeaderValue::from_static(content_type);
    response.headers_mut().insert(header::CONTENT_TYPE, value);
    response
}

fn whole(text: Bytes) -> Body {
    Full::new(text).boxed()
}

/// Server-sent events, a word at a time.
fn words() -> Body {
    let events = stream::iter(ANSWER.split_whitespace()).then(|word| async move {
        sleep(WORD).await;
        Ok(Frame::data(Bytes::from(format!("data: {word}\n\n"))))
    });
    let done = stream::once(async { Ok(Frame::data(Bytes::from_static(b"data: [DONE]\n\n"))) });
    BodyExt::boxed(StreamBody::new(events.chain(done)))
}

fn download() -> Response<Body> {
    let chunk = Bytes::from(vec![b'~'; 64 * 1024]);
    let chunks =
        stream::iter(0..30 * MIB / chunk.len()).map(move |_| Ok(Frame::data(chunk.clone())));
    let mut response = respond(
        "application/octet-stream",
        BodyExt::boxed(StreamBody::new(chunks)),
    );
    let length = header::HeaderValue::from(30 * MIB as u64);
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, length);
    response
}

/// Half an answer, and a reset.
async fn break_off(mut tcp: TcpStream) {
    const HALF: &[u8] =
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n\
        1b\r\nThe rest of this is about \n\r\n";
    let _ = tcp.read(&mut [0; 4096]).await;
    let _ = tcp.write_all(HALF).await;
    sleep(Duration::from_millis(500)).await;
    let _ = tcp.set_zero_linger();
}
