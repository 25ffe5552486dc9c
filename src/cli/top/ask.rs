//! Asks a gateway's admin address.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// And how large it may be.
const MOST: usize = 64 * 1024 * 1024;
/// Streams that are asked for.
const STREAMS: &str = "/streams?limit=1000";

/// What `/streams` tells, or in words why it can't be had.
pub(super) fn streams(admin: &str) -> Result<Value, String> {
    let authority = admin.strip_prefix("http://").unwrap_or(admin);
    let authority = authority.trim_end_matches('/');
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let answer = runtime.block_on(async { timeout(PATIENCE, get(authority)).await });
    let (status, body) = match answer {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err(no_answer(authority, &error.to_string())),
        Err(_) => return Err(no_answer(authority, "it takes too long")),
    };
    if status != StatusCode::OK {
        let said = String::from_utf8_lossy(&body);
        return Err(format!(
            "{authority} answers {status}: {}\nhint: it must be the gateway's admin address, by its number or `localhost`",
            said.trim()
        ));
    }
    serde_json::from_slice(&body)
        .ok()
        .filter(|told: &Value| told.get("streams").is_some())
        .ok_or_else(|| format!("what answers on {authority} isn't a gateway's admin address"))
}

fn no_answer(authority: &str, why: &str) -> String {
    format!(
        "no gateway answers on {authority}: {why}\n\
         hint: give the gateway an admin address (`admin: {{ address: 127.0.0.1:9901 }}` in sluicegate.yaml), \
         and name it here with --admin or SLUICEGATE_ADMIN"
    )
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn get(authority: &str) -> Result<(StatusCode, Bytes), Failure> {
    let tcp = TcpStream::connect(authority).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await?;
    tokio::spawn(connection);
    let request = Request::get(STREAMS)
        .header(header::HOST, authority)
        .header(header::ACCEPT, "application/json")
        .body(Empty::<Bytes>::new())?;
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = Limited::new(body, MOST).collect().await?;
    Ok((head.status, body.to_bytes()))
}
