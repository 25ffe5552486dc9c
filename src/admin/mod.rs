//! The operator's address: whether the gateway lives, whether it takes requests, and how it is told to reload.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};

use crate::types::{
    lifecycle::{Conductor, Phase},
    reload::Reloads,
};

/// What the operator's address tells and moves.
#[derive(Clone, Debug)]
pub struct Controls {
    /// The phases of the gateway's end.
    pub conductor: Arc<Conductor>,
    /// Reloads of its configuration.
    pub reloads: Arc<Reloads>,
}

/// Takes the operator's connections, on a socket that doesn't block, until it is aborted.
pub fn start(listener: std::net::TcpListener, controls: Controls) -> io::Result<AbortHandle> {
    let listener = TcpListener::from_std(listener)?;
    tracing::info!("admin on http://{}", listener.local_addr()?);
    Ok(tokio::spawn(accept(listener, controls)).abort_handle())
}

async fn accept(listener: TcpListener, controls: Controls) {
    // Kept for the moment when all other descriptors are in use: health must still be told then.
    let mut reserve = std::fs::File::open("/dev/null").ok();
    loop {
        match listener.accept().await {
            Ok((tcp, _)) => drop(tokio::spawn(serve(tcp, controls.clone()))),
            Err(error) => {
                let is_exhausted = matches!(error.raw_os_error(), Some(23 | 24));
                if is_exhausted
                    && reserve.take().is_some()
                    && let Ok((tcp, _)) = listener.accept().await
                {
                    serve(tcp, controls.clone()).await;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
                reserve = reserve.or_else(|| std::fs::File::open("/dev/null").ok());
            }
        }
    }
}

async fn serve(tcp: TcpStream, controls: Controls) {
    let service = service_fn(move |request: Request<Incoming>| {
        let controls = controls.clone();
        async move {
            let is_reload = request.method() == Method::POST && request.uri().path() == "/reload";
            let response = if is_reload {
                reload(&controls.reloads).await
            } else {
                answer(&request, &controls.conductor)
            };
            Ok::<_, Infallible>(response)
        }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(10))
        .max_buf_size(16 * 1024);
    if let Err(error) = builder.serve_connection(TokioIo::new(tcp), service).await {
        tracing::debug!(%error, "an admin connection ended");
    }
}

/// Reloads, and answers once the new configuration is served or refused.
async fn reload(reloads: &Reloads) -> Response<Full<Bytes>> {
    let Some(report) = reloads.ask().await else {
        return plain(
            StatusCode::CONFLICT,
            "this gateway can't be reloaded\n".into(),
        );
    };
    let number = report.generation;
    let (status, said) = if report.is_adopted {
        (
            StatusCode::OK,
            format!("configuration {number} is served\n"),
        )
    } else {
        let said = format!("not reloaded: configuration {number} is still served\n");
        (StatusCode::UNPROCESSABLE_ENTITY, said)
    };
    plain(status, format!("{said}{}", report.text).into())
}

fn answer(request: &Request<Incoming>, conductor: &Conductor) -> Response<Full<Bytes>> {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let (status, text) = match request.uri().path() {
        _ if !is_read => (StatusCode::METHOD_NOT_ALLOWED, "only GET\n"),
        "/healthz" => (StatusCode::OK, "ok\n"),
        "/readyz" => match conductor.phase() {
            Phase::Running => (StatusCode::OK, "ready\n"),
            Phase::Unready | Phase::Draining | Phase::Cut => {
                (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n")
            }
        },
        _ => (StatusCode::NOT_FOUND, "try /healthz or /readyz\n"),
    };
    plain(status, Bytes::from_static(text.as_bytes()))
}

fn plain(status: StatusCode, text: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text));
    *response.status_mut() = status;
    let plain = header::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}
