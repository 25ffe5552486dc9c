//! The operator's address: whether the gateway lives, and whether it takes requests.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

use crate::types::lifecycle::{Conductor, Phase};

/// Listens on the operator's address.
pub async fn start(address: SocketAddr, conductor: Arc<Conductor>) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    tracing::info!("admin on http://{}", listener.local_addr()?);
    tokio::spawn(accept(listener, conductor));
    Ok(())
}

async fn accept(listener: TcpListener, conductor: Arc<Conductor>) {
    // Kept for the moment when all other descriptors are in use: health must still be told then.
    let mut reserve = std::fs::File::open("/dev/null").ok();
    loop {
        match listener.accept().await {
            Ok((tcp, _)) => drop(tokio::spawn(serve(tcp, conductor.clone()))),
            Err(error) => {
                let is_exhausted = matches!(error.raw_os_error(), Some(23 | 24));
                if is_exhausted
                    && reserve.take().is_some()
                    && let Ok((tcp, _)) = listener.accept().await
                {
                    serve(tcp, conductor.clone()).await;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
                reserve = reserve.or_else(|| std::fs::File::open("/dev/null").ok());
            }
        }
    }
}

async fn serve(tcp: TcpStream, conductor: Arc<Conductor>) {
    let service = service_fn(move |request| {
        let response = answer(&request, &conductor);
        async move { Ok::<_, Infallible>(response) }
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
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    let plain = header::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}
