//! The calls of the Extensions API.

use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde_json::json;

use super::{
    environment::Environment,
    failure::Failure,
    replies::{Closed, Reply, accepted, error, json_reply},
    runtime_api::{MOST_PAYLOAD, reported},
    variables::VERSION,
};
use crate::types::ids::RequestId;

const EXTENSION_ID: &str = "lambda-extension-identifier";

/// An extension registers.
pub(super) async fn register(
    environment: &Environment,
    request: Request<Incoming>,
) -> Result<Reply, Closed> {
    let body = Limited::new(request.into_body(), MOST_PAYLOAD)
        .collect()
        .await;
    let body = body.map_err(|_| Closed)?.to_bytes();
    let Some(id) = environment.extensions.register(&body) else {
        let message = "the body isn't JSON";
        return Ok(error(
            StatusCode::BAD_REQUEST,
            "InvalidRequestFormat",
            message,
        ));
    };
    let pool = &environment.pool;
    let about = json!({
        "functionName": pool.function.name,
        "functionVersion": VERSION,
        "handler": pool.local.handler,
    });
    Ok(identified(EXTENSION_ID, id.as_bytes(), about.to_string()))
}

/// An extension asks for its next event.
pub(super) async fn next(
    environment: &Environment,
    request: &Request<Incoming>,
) -> Result<Reply, Closed> {
    let Some(id) = extension(environment, request.headers()) else {
        return Ok(unknown_extension());
    };
    let event = environment.extensions.next(&id).await;
    let event_id = RequestId::random();
    let name = "lambda-extension-event-identifier";
    Ok(identified(name, event_id.as_bytes(), event.to_string()))
}

/// An extension can't start, or go on.
pub(super) async fn failed(
    environment: &Environment,
    request: Request<Incoming>,
) -> Result<Reply, Closed> {
    let (head, body) = request.into_parts();
    if extension(environment, &head.headers).is_none() {
        return Ok(unknown_extension());
    }
    let (_, error) = reported(&head.headers, body, "Extension.Error").await?;
    tracing::warn!(target: "function", "{}: an extension failed: {error}", environment.pool.function.name);
    environment.init_failed(Failure::Init(error));
    Ok(accepted())
}

fn extension(environment: &Environment, headers: &HeaderMap) -> Option<String> {
    let id = headers.get(EXTENSION_ID)?.to_str().ok()?;
    environment.extensions.is_known(id).then(|| id.to_owned())
}

fn unknown_extension() -> Reply {
    error(
        StatusCode::FORBIDDEN,
        "Extension.UnknownExtensionIdentifier",
        "Unknown extension identifier",
    )
}

fn identified(name: &'static str, id: &[u8], body: String) -> Reply {
    let mut reply = json_reply(StatusCode::OK, body);
    if let Ok(id) = HeaderValue::from_bytes(id) {
        reply
            .headers_mut()
            .insert(HeaderName::from_static(name), id);
    }
    reply
}
