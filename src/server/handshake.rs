//! What comes before HTTP: the load balancer's header and TLS. Connections that fail there have no request, and so no
//! line in the access log; they are counted by their reason, and the log tells of each reason now and then.

use std::{fmt, io, net::SocketAddr, sync::Arc};

use rustls::{CertificateError, Error, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    accept::{Door, Terms},
    client_stream::linger,
    proxy_protocol,
    registry::WELCOME,
    tls::has_long_chain,
};
use crate::{
    telemetry::{
        metrics::handshakes::{self, Reason},
        seldom::Seldom,
    },
    types::clock::Tick,
};

/// Failures as the log tells of them, by their reason.
static FAILED: [Seldom; Reason::ALL.len()] = [const { Seldom::new() }; Reason::ALL.len()];

const TOLD: &str = "connections failed before their first request";

/// Tells what hasn't been told because lines came too close together.
pub fn tell_rest(now: Tick) {
    for (reason, lines) in Reason::ALL.into_iter().zip(&FAILED) {
        if let Some(connections) = lines.rest(now) {
            tracing::info!(connections, reason = reason.as_str(), "{TOLD}");
        }
    }
}

/// Counts a connection that failed.
fn failed(reason: Reason, client: SocketAddr, error: impl fmt::Display) {
    handshakes::failed(reason);
    // Load balancers look whether a port is open, and leave.
    let lines = FAILED
        .get(reason as usize)
        .filter(|_| reason != Reason::ClientLeft);
    let due = lines.and_then(|lines| lines.count(Tick::now()));
    let reason = reason.as_str();
    match due {
        // What a client does wrong is its own business: a scanner shouldn't fill the log with warnings.
        Some(connections) => tracing::info!(connections, reason, %client, %error, "{TOLD}"),
        None => {
            tracing::debug!(reason, %client, %error, "a connection failed before its first request");
        }
    }
}

/// The addresses of client and gateway: those of the socket, or what the PROXY protocol says instead.
pub async fn addresses(
    tcp: &mut TcpStream,
    client: SocketAddr,
    terms: &Terms,
    door: &Door,
) -> Option<(SocketAddr, SocketAddr)> {
    let own = (client, tcp.local_addr().unwrap_or(client));
    if !terms.proxy_protocol {
        return Some(own);
    }
    let reading = proxy_protocol::read(tcp);
    match in_time(reading, terms, door).await {
        Ok(Ok(said)) => return Some(said.unwrap_or(own)),
        Ok(Err(error)) if has_left(&error) => failed(Reason::ClientLeft, client, error),
        Ok(Err(error)) => failed(Reason::ProxyHeader, client, error),
        Err(late) => failed(Reason::Timeout, client, late),
    }
    None
}

/// Speaks TLS with a client. One that is refused is told so by an alert, and its connection stays until it has heard it.
pub async fn tls(
    tcp: TcpStream,
    client: SocketAddr,
    config: Arc<ServerConfig>,
    terms: &Terms,
    door: &Door,
) -> Option<TlsStream<TcpStream>> {
    let handshake = TlsAcceptor::from(config).accept(tcp).into_fallible();
    match in_time(handshake, terms, door).await {
        Ok(Ok(stream)) if has_long_chain(stream.get_ref().1) => {
            let reason = Reason::CertificateInvalid;
            failed(reason, client, "its chain of certificates is too long");
            linger(stream).await;
            None
        }
        Ok(Ok(stream)) => Some(stream),
        Ok(Err((error, tcp))) => {
            failed(reason(&error), client, error);
            // By TLS 1.3 a client sends its request before it hears what is thought of its certificate.
            linger(tcp).await;
            None
        }
        Err(late) => {
            failed(Reason::Timeout, client, late);
            None
        }
    }
}

/// Waits for what a client has to say before its first request; not for long once its listener closes.
async fn in_time<T>(
    said: impl Future<Output = T>,
    terms: &Terms,
    door: &Door,
) -> Result<T, &'static str> {
    let dismissed = async {
        door.closing.cancelled().await;
        tokio::time::sleep(WELCOME).await;
    };
    tokio::select! {
        biased;
        said = tokio::time::timeout(terms.service.http.first_byte, said) => {
            said.map_err(|_| "it took longer than `http.firstByteTimeoutInMillis`")
        }
        () = dismissed => Err("its listener closes"),
    }
}

/// Whether an error only says that the client has gone.
fn has_left(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    )
}

fn reason(error: &io::Error) -> Reason {
    let Some(fault) = error.get_ref().and_then(|it| it.downcast_ref()) else {
        return if has_left(error) {
            Reason::ClientLeft
        } else {
            Reason::Other
        };
    };
    match fault {
        Error::NoCertificatesPresented => Reason::CertificateMissing,
        Error::InvalidCertificate(fault) => certificate_reason(fault),
        // What rustls says if there is no certificate to show to a client; there is no variant of its own for that.
        Error::General(text) if text.contains("no server certificate chain") => {
            Reason::UnknownServerName
        }
        Error::PeerIncompatible(_) | Error::NoApplicationProtocol => Reason::Incompatible,
        Error::AlertReceived(_) => Reason::ClientRefused,
        Error::InvalidMessage(_) | Error::PeerSentOversizedRecord => Reason::NotTls,
        _ => Reason::Other,
    }
}

fn certificate_reason(fault: &CertificateError) -> Reason {
    match fault {
        CertificateError::UnknownIssuer => Reason::CertificateUnknownIssuer,
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => Reason::CertificateExpired,
        CertificateError::Revoked => Reason::CertificateRevoked,
        _ => Reason::CertificateInvalid,
    }
}
