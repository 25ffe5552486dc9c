//! Accepting connections: limits, back-off, TLS, and the right protocol.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use rustls::ServerConfig;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use super::{
    Origin, Service,
    client_stream::ClientStream,
    h1, h2, proxy_protocol,
    registry::{Entry, close_oldest_idle},
    tls::{facts, has_long_chain},
};
use crate::{
    stream::clocks::Clocks,
    telemetry::metrics::connections,
    types::{
        ids,
        lifecycle::{Phase, reached},
        peer::{Peer, Serves},
    },
};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// A listening address of one worker.
#[derive(Debug)]
pub struct Acceptor {
    /// The socket.
    pub listener: TcpListener,
    /// TLS, if any.
    pub tls: Option<Arc<ServerConfig>>,
    /// HTTP/2 with prior knowledge.
    pub h2c: bool,
    /// Whether connections begin with a PROXY protocol header.
    pub proxy_protocol: bool,
    /// Whether it serves APIs, functions, or both.
    pub serves: Serves,
}

/// Client connections, counted over all workers.
#[derive(Debug)]
pub struct Permits {
    open: AtomicUsize,
    most: usize,
}

impl Permits {
    /// At most `most` connections.
    pub fn new(most: usize) -> Permits {
        Permits {
            open: AtomicUsize::new(0),
            most,
        }
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.open.load(Relaxed)
    }

    fn take(self: &Arc<Self>) -> (Permit, bool) {
        let before = self.open.fetch_add(1, Relaxed);
        (Permit(self.clone()), before >= self.most)
    }
}

struct Permit(Arc<Permits>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

/// Binds an address. Workers share it; another process that listens there is an error, not a partner.
pub fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Whether nobody else listens on an address: sharing a port would hide that two gateways run.
pub fn probe(address: SocketAddr) -> io::Result<()> {
    if address.port() == 0 {
        return Ok(());
    }
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(1)
}

impl Acceptor {
    /// Accepts until the server drains, then whatever still waits, and closes.
    pub async fn run(
        self,
        service: Arc<Service>,
        permits: Arc<Permits>,
        tasks: TaskTracker,
        mut phases: watch::Receiver<Phase>,
    ) {
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = reached(&mut phases, Phase::Draining) => break,
            };
            match accepted {
                Ok((tcp, address)) => self.admit(tcp, address, &service, &permits, &tasks),
                Err(error) => back_off(&error).await,
            }
        }
        while let Some(Ok((tcp, address))) =
            futures_util::FutureExt::now_or_never(self.listener.accept())
        {
            self.admit(tcp, address, &service, &permits, &tasks);
        }
    }

    fn admit(
        &self,
        tcp: TcpStream,
        address: SocketAddr,
        service: &Arc<Service>,
        permits: &Arc<Permits>,
        tasks: &TaskTracker,
    ) {
        let (permit, is_full) = permits.take();
        if is_full && !close_oldest_idle() {
            connections::refused();
            let is_plain = self.tls.is_none();
            tasks.spawn(async move {
                turn_away(tcp, is_plain).await;
                drop(permit);
            });
            return;
        }
        let arrival = Arrival {
            tls: self.tls.clone(),
            may_be_http2: self.h2c,
            proxy_protocol: self.proxy_protocol,
            serves: self.serves,
            address,
        };
        let service = service.clone();
        tasks.spawn(async move {
            let _held = (permit, connections::accepted());
            arrival.serve(tcp, service).await;
        });
    }
}

/// A connection that has been accepted.
struct Arrival {
    tls: Option<Arc<ServerConfig>>,
    may_be_http2: bool,
    proxy_protocol: bool,
    serves: Serves,
    address: SocketAddr,
}

impl Arrival {
    async fn serve(self, mut tcp: TcpStream, service: Arc<Service>) {
        let _ = tcp.set_nodelay(true);
        let mut address = self.address;
        let mut local = tcp.local_addr().unwrap_or(address);
        if self.proxy_protocol {
            let reading = proxy_protocol::read(&mut tcp);
            match tokio::time::timeout(service.http.first_byte, reading).await {
                Ok(Ok(Some((source, destination)))) => (address, local) = (source, destination),
                Ok(Ok(None)) => {}
                Ok(Err(error)) => {
                    tracing::debug!(client = %address, %error, "a connection without a valid PROXY protocol header");
                    return;
                }
                Err(_) => return,
            }
        }
        match self.tls {
            None => {
                let peer = Peer::new(address, local, None, self.serves);
                serve(tcp, service, peer, self.may_be_http2, false).await;
            }
            Some(config) => {
                Box::pin(serve_tls(
                    tcp,
                    config,
                    service,
                    (address, local),
                    self.serves,
                ))
                .await;
            }
        }
    }
}

async fn serve_tls(
    tcp: TcpStream,
    config: Arc<ServerConfig>,
    service: Arc<Service>,
    (address, local): (SocketAddr, SocketAddr),
    serves: Serves,
) {
    let handshake = TlsAcceptor::from(config).accept(tcp);
    match tokio::time::timeout(service.http.first_byte, handshake).await {
        Ok(Ok(stream)) => {
            let connection = stream.get_ref().1;
            if has_long_chain(connection) {
                tracing::debug!(client = %address, "a client's chain of certificates is too long");
                return;
            }
            let is_http2 = connection.alpn_protocol() == Some(b"h2");
            let peer = Peer::new(address, local, Some(facts(connection)), serves);
            serve(stream, service, peer, false, is_http2).await;
        }
        Ok(Err(error)) => tracing::debug!(client = %address, %error, "a TLS handshake failed"),
        Err(_) => tracing::debug!(client = %address, "a TLS handshake took too long"),
    }
}

async fn serve<S: ClientStream>(
    stream: S,
    service: Arc<Service>,
    peer: Peer,
    may_be_http2: bool,
    is_http2: bool,
) {
    let entry = Entry::new(Arc::new(Clocks::default()));
    let origin = Origin {
        service,
        peer: Arc::new(peer),
        handle: entry.handle().clone(),
        may_be_http2,
    };
    if is_http2 {
        return Box::pin(h2::serve(stream, origin)).await;
    }
    if let Some(stream) = h1::serve(stream, origin.clone()).await {
        Box::pin(h2::serve(stream, origin)).await;
    }
}

/// Tells a client that there is no room, where that can be told.
async fn turn_away(mut tcp: TcpStream, is_plain: bool) {
    const BODY: &str = r#"{"message":"Service Unavailable"}"#;
    if !is_plain {
        return tcp.reset_on_close();
    }
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: {}\r\nRetry-After: 1\r\n\
         x-amzn-ErrorType: ServiceUnavailableException\r\nConnection: close\r\n\r\n{BODY}",
        BODY.len()
    );
    let write = async {
        let _ = tcp.write_all(answer.as_bytes()).await;
        let _ = tcp.shutdown().await;
        // What the client sends meanwhile is taken, or the answer might be lost to a reset.
        let _ = tokio::io::AsyncReadExt::read(&mut tcp, &mut [0; 4096]).await;
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), write).await;
}

/// Out of descriptors or memory, accepting again at once would only spin.
async fn back_off(error: &io::Error) {
    // ECONNABORTED, EINTR and their like concern one connection only.
    let is_exhausted = matches!(error.raw_os_error(), Some(12 | 23 | 24 | 105));
    if is_exhausted {
        tracing::warn!(%error, "can't accept connections for the moment");
        tokio::time::sleep(Duration::from_millis(50 + ids::random() % 150)).await;
    }
}
