//! A streaming HTTP function on `lambda_http`: chunk n + 1 is made only after somebody has said that chunk n was seen.
//! After the last come as many blocks as the query's `blocks` says, without waiting.

use std::{convert::Infallible, path::Path, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::StreamBody;
use lambda_http::{
    Error, Request, RequestExt, Response, run_with_streaming_response_concurrent, service_fn,
};

const CHUNKS: usize = 4;
const BLOCK: &[u8] = &[b'x'; 64 * 1024];

async fn seen(steps: &str, number: usize) {
    let path = Path::new(steps).join(number.to_string());
    while !path.exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn handle(
    request: Request,
) -> Result<Response<impl http_body::Body<Data = Bytes, Error = Infallible>>, Error> {
    let query = request.query_string_parameters();
    let steps = query.first("steps").unwrap_or_default().to_owned();
    let blocks: usize = query
        .first("blocks")
        .and_then(|it| it.parse().ok())
        .unwrap_or(0);
    let chunks = stream::unfold(0, move |number| {
        let steps = steps.clone();
        async move {
            if number == CHUNKS + blocks {
                return None;
            }
            if number >= CHUNKS {
                return Some((Ok(Frame::data(Bytes::from_static(BLOCK))), number + 1));
            }
            if number > 0 {
                seen(&steps, number - 1).await;
            }
            let chunk = Bytes::from(format!("chunk {number:04}\n"));
            Some((Ok(Frame::data(chunk)), number + 1))
        }
    });
    let response = Response::builder()
        .status(201)
        .header("Content-Type", "text/plain")
        .header("Set-Cookie", "a=1")
        .header("Set-Cookie", "b=2");
    Ok(response.body(StreamBody::new(Box::pin(chunks)))?)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run_with_streaming_response_concurrent(service_fn(handle)).await
}
