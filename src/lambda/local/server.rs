//! The port on which one execution environment reaches its Runtime API.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use socket2::{Domain, Socket, Type};
use tokio::{net::TcpListener, task::JoinSet};

use super::{environment::Environment, runtime_api};

/// Connections at a time; a runtime uses a few.
const MOST_CONNECTIONS: usize = 256;
/// The largest head: runtimes put the causes of errors into header fields.
const LARGEST_HEAD: usize = 128 * 1024;
/// What the kernel receives ahead of a client that doesn't read, and so the largest piece of payload, in about.
const RECEIVE_BUFFER: usize = 64 * 1024;

/// A port of the loopback address, which nobody else can reach from outside the machine.
pub(super) fn listen() -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    // Connections inherit it.
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.listen(128)?;
    TcpListener::from_std(socket.into())
}

/// Serves an environment until this future is dropped, and its connections with it.
pub(super) async fn serve(listener: TcpListener, environment: Arc<Environment>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < MOST_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    // Without it an answer may wait for an acknowledgement; that is no reason not to serve.
                    let _ = stream.set_nodelay(true);
                    let environment = environment.clone();
                    let service = service_fn(move |request| {
                        runtime_api::answer(environment.clone(), request)
                    });
                    let mut builder = http1::Builder::new();
                    builder.max_buf_size(LARGEST_HEAD);
                    // As on AWS: simple runtimes look for names in this case.
                    builder.title_case_headers(true);
                    connections.spawn(async move {
                        let connection = builder.serve_connection(TokioIo::new(stream), service);
                        if let Err(error) = connection.await {
                            tracing::debug!("a connection of a Runtime API ended: {error}");
                        }
                    });
                }
                // Out of descriptors: some will be free again.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
        }
    }
}
