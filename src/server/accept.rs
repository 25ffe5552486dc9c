//! Accepting connections: limits, back-off, TLS, and the right protocol.

use std::{
    io::{self, Read as _, Write as _},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use socket2::SockRef;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Origin, Service,
    client_stream::{ClientStream, linger},
    h1, h2, handshake,
    permits::{Permits, Place},
    registry::{Entry, Rank, close_oldest_idle},
    tls::facts,
};
use crate::{
    stream::clocks::Clocks,
    telemetry::{metrics::connections, seldom::Seldom},
    types::{
        clock::Tick,
        ids,
        peer::{Peer, Serves},
    },
};

/// A listening socket of one worker.
#[derive(Debug)]
pub struct Acceptor {
    /// The socket.
    pub listener: Arc<TcpListener>,
    /// What holds for connections accepted now.
    pub terms: Arc<ArcSwap<Terms>>,
    /// The listener it belongs to.
    pub door: Door,
    /// How many connections there may be.
    pub permits: Arc<Permits>,
    /// Where connections are served.
    pub tasks: TaskTracker,
}

/// How a listener treats connections. A reload changes it for those that are accepted from then on.
#[derive(Debug)]
pub struct Terms {
    /// What the worker's connections have at hand.
    pub service: Arc<Service>,
    /// TLS, if any.
    pub tls: Option<Arc<ServerConfig>>,
    /// HTTP/2 with prior knowledge.
    pub h2c: bool,
    /// Whether connections begin with a PROXY protocol header.
    pub proxy_protocol: bool,
    /// Whether it serves APIs, functions, or both.
    pub serves: Serves,
}

/// Where a connection came in.
#[derive(Clone, Debug)]
pub struct Door {
    /// The listener.
    pub id: u64,
    /// Cancelled when the listener closes: its connections end once they are idle.
    pub closing: CancellationToken,
}

impl Acceptor {
    /// Accepts until the listener closes, then whatever still waits.
    pub async fn run(self) {
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = self.door.closing.cancelled() => break,
            };
            match accepted {
                Ok((tcp, address)) => {
                    if self.admit(tcp, address) {
                        // Whoever was asked to make room may do so before the next one comes.
                        tokio::task::yield_now().await;
                    }
                }
                Err(error) => back_off(&error).await,
            }
        }
        // The kernel is asked itself: what the runtime knows of it may be older than the last connection.
        while let Some((tcp, address)) = accept_now(&self.listener) {
            self.admit(tcp, address);
        }
    }

    /// Serves a connection if there is a place for it, now or soon. Whether another one was asked to make room.
    fn admit(&self, tcp: TcpStream, address: SocketAddr) -> bool {
        let terms = self.terms.load_full();
        if let Some(place) = self.permits.take() {
            serve_in(place, &self.tasks, (tcp, address), terms, self.door.clone());
            return false;
        }
        let Some(seat) = self.permits.seat() else {
            refused(&self.permits);
            turn_away_at_once(tcp, terms.tls.is_none());
            return false;
        };
        let is_awaited = close_oldest_idle(Tick::now(), Rank::Kept);
        let (permits, tasks, door) = (self.permits.clone(), self.tasks.clone(), self.door.clone());
        self.tasks.spawn(async move {
            let _seat = seat;
            let room = permits.room();
            // Those that can be spared easily are looked for everywhere before any other.
            let place = if is_awaited || room.ask(Rank::Kept).await || room.ask(Rank::InHead).await
            {
                permits.wait().await
            } else {
                None
            };
            match place {
                Some(place) => serve_in(place, &tasks, (tcp, address), terms, door),
                None => {
                    refused(&permits);
                    turn_away(tcp, terms.tls.is_none()).await;
                }
            }
        });
        is_awaited
    }
}

fn serve_in(
    place: Place,
    tasks: &TaskTracker,
    (tcp, address): (TcpStream, SocketAddr),
    terms: Arc<Terms>,
    door: Door,
) {
    tasks.spawn(async move {
        let _held = (place, connections::accepted());
        arrive(tcp, address, terms, door).await;
    });
}

/// The next connection that waits, if one does.
fn accept_now(listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
    let (socket, address) = loop {
        match SockRef::from(listener).accept() {
            Ok(accepted) => break accepted,
            Err(error) if is_of_one_connection(&error) => {}
            Err(_) => return None,
        }
    };
    socket.set_nonblocking(true).ok()?;
    let tcp = TcpStream::from_std(socket.into()).ok()?;
    Some((tcp, address.as_socket()?))
}

/// Serves a connection that has been accepted.
async fn arrive(mut tcp: TcpStream, address: SocketAddr, terms: Arc<Terms>, door: Door) {
    let _ = tcp.set_nodelay(true);
    let Some((address, local)) = handshake::addresses(&mut tcp, address, &terms, &door).await
    else {
        return;
    };
    match terms.tls.clone() {
        None => {
            let peer = Peer::new(address, local, None, terms.serves);
            serve(tcp, &terms, door, peer, false).await;
        }
        Some(config) => {
            Box::pin(serve_tls(tcp, config, terms, door, (address, local))).await;
        }
    }
}

async fn serve_tls(
    tcp: TcpStream,
    config: Arc<ServerConfig>,
    terms: Arc<Terms>,
    door: Door,
    (address, local): (SocketAddr, SocketAddr),
) {
    if let Some(stream) = handshake::tls(tcp, address, config, &terms, &door).await {
        let connection = stream.get_ref().1;
        let is_http2 = connection.alpn_protocol() == Some(b"h2");
        let peer = Peer::new(address, local, Some(facts(connection)), terms.serves);
        serve(stream, &terms, door, peer, is_http2).await;
    }
}

async fn serve<S: ClientStream>(stream: S, terms: &Terms, door: Door, peer: Peer, is_http2: bool) {
    let entry = Entry::new(Arc::new(Clocks::default()), door.id);
    if door.closing.is_cancelled() {
        // Whoever closes the door asks those that are registered; this one came later.
        entry.handle().close();
    }
    let origin = Origin {
        service: terms.service.clone(),
        peer: Arc::new(peer),
        handle: entry.handle().clone(),
        may_be_http2: terms.tls.is_none() && terms.h2c,
    };
    if is_http2 {
        return Box::pin(h2::serve(stream, origin)).await;
    }
    if let Some(stream) = h1::serve(stream, origin.clone()).await {
        Box::pin(h2::serve(stream, origin)).await;
    }
}

/// Connections that there was no room for, as the log tells of them.
static REFUSED: Seldom = Seldom::new();
/// Connections that couldn't be accepted.
static FAILED: Seldom = Seldom::new();

/// Counts a connection that is turned away.
fn refused(permits: &Permits) {
    connections::refused();
    if let Some(connections) = REFUSED.count(Tick::now()) {
        let most = permits.most();
        tracing::warn!(connections, most, "{TURNED_AWAY}");
    }
}

const TURNED_AWAY: &str = "connections were turned away: as many are open as `http.maxConnections` or the descriptor limit allows";
const NOT_ACCEPTED: &str = "connections can't be accepted for the moment";

/// Tells what hasn't been told because lines came too close together.
pub fn tell_rest(now: Tick) {
    if let Some(connections) = REFUSED.rest(now) {
        tracing::warn!(connections, "{TURNED_AWAY}");
    }
    if let Some(attempts) = FAILED.rest(now) {
        tracing::warn!(attempts, "{NOT_ACCEPTED}");
    }
}

/// What a client is told that there is no room for.
fn no_room() -> String {
    const BODY: &str = r#"{"message":"Service Unavailable"}"#;
    format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: {}\r\nRetry-After: 1\r\n\
         x-amzn-ErrorType: ServiceUnavailableException\r\nConnection: close\r\n\r\n{BODY}",
        BODY.len()
    )
}

/// Tells a client that there is no room, where that can be told.
async fn turn_away(mut tcp: TcpStream, is_plain: bool) {
    if !is_plain {
        return tcp.reset_on_close();
    }
    let write = async {
        let _ = tcp.write_all(no_room().as_bytes()).await;
        // What the client sends meanwhile is taken, or the answer might be lost to a reset.
        linger(tcp).await;
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), write).await;
}

/// The same as far as it can be done without waiting: what the client has sent is taken, but not what it sends later.
fn turn_away_at_once(tcp: TcpStream, is_plain: bool) {
    if !is_plain {
        return tcp.reset_on_close();
    }
    if let Ok(mut tcp) = tcp.into_std() {
        let _ = tcp.write(no_room().as_bytes());
        let _ = tcp.read(&mut [0; 4096]);
    }
}

/// Whether an error of accepting concerns one connection only (accept(2)): the next one may be fine.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(
        error.kind(),
        K::ConnectionAborted
            | K::Interrupted
            | K::NetworkDown
            | K::NetworkUnreachable
            | K::HostUnreachable
    )
}

/// Out of descriptors or memory, accepting again at once would only spin.
async fn back_off(error: &io::Error) {
    if !is_of_one_connection(error) {
        if let Some(attempts) = FAILED.count(Tick::now()) {
            tracing::warn!(attempts, %error, "{NOT_ACCEPTED}");
        }
        tokio::time::sleep(Duration::from_millis(50 + ids::random() % 150)).await;
    }
}
