//! Opening connections to backends: name, TCP, TLS, within one time limit.

use std::{io, pin::Pin, task::Context, task::Poll, time::Duration};

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    endpoint::Endpoint,
    failure::{Failure, Replay},
    tls::ClientTls,
};
use crate::types::fault::with_causes;

/// What a stalled client can make the kernel hold of a backend's answer.
const RECEIVE_BUFFER: usize = 256 * 1024;

/// A connection to a backend, with or without TLS.
#[derive(Debug)]
pub enum Stream {
    /// TCP.
    Plain(TcpStream),
    /// TLS over TCP.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Whether TLS chose HTTP/2.
    pub fn is_http2(&self) -> bool {
        matches!(self, Stream::Tls(tls) if tls.get_ref().1.alpn_protocol() == Some(b"h2"))
    }

    /// Whether an idle connection is still open and silent; anything it says unasked makes it useless, also what TLS has
    /// already taken from the socket.
    pub fn is_quiet(&mut self) -> bool {
        let tcp = match self {
            Stream::Plain(tcp) => tcp,
            Stream::Tls(tls) => {
                let (tcp, session) = tls.get_mut();
                let state = session.process_new_packets();
                if !state.is_ok_and(|state| state.plaintext_bytes_to_read() == 0) {
                    return false;
                }
                tcp
            }
        };
        matches!(tcp.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_read(cx, out),
            Stream::Tls(tls) => Pin::new(tls).poll_read(cx, out),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Stream::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, bytes),
            Stream::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}

/// Connects within `limit`, TLS included. Names are resolved anew for each connection.
pub async fn connect(endpoint: &Endpoint, limit: Duration) -> Result<Stream, Failure> {
    match timeout(limit, open(endpoint)).await {
        Ok(result) => result,
        Err(_) => {
            let detail = format!(
                "connecting to {endpoint} took longer than {} ms",
                limit.as_millis()
            );
            Err(Failure::unreachable(
                "connect_timeout",
                detail,
                Replay::Never,
            ))
        }
    }
}

async fn open(endpoint: &Endpoint) -> Result<Stream, Failure> {
    let tcp = open_tcp(endpoint).await?;
    match &endpoint.tls {
        None => Ok(Stream::Plain(tcp)),
        Some(tls) => handshake(endpoint, tls, tcp).await,
    }
}

thread_local! {
    static CONNECTOR: HttpConnector = {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_keepalive(Some(Duration::from_secs(60)));
        connector.set_happy_eyeballs_timeout(Some(Duration::from_millis(300)));
        connector.set_recv_buffer_size(Some(RECEIVE_BUFFER));
        connector
    };
}

async fn open_tcp(endpoint: &Endpoint) -> Result<TcpStream, Failure> {
    let uri: Uri = endpoint
        .to_string()
        .parse()
        .map_err(|error: http::uri::InvalidUri| {
            Failure::unresolvable(format!("`{endpoint}` is not a valid address: {error}"))
        })?;
    let mut connector = CONNECTOR.with(Clone::clone);
    let connecting = tower_service::Service::call(&mut connector, uri);
    match connecting.await {
        Ok(stream) => Ok(stream.into_inner()),
        Err(error) => Err(connect_failure(endpoint, &error, has_descriptors)),
    }
}

/// Why there is no connection. `has_descriptors` tells whether this process has any left.
fn connect_failure(
    endpoint: &Endpoint,
    error: &(dyn std::error::Error + 'static),
    has_descriptors: impl FnOnce() -> bool,
) -> Failure {
    let causes = || std::iter::successors(Some(error), |error| error.source());
    let io_errors = || causes().filter_map(|error| error.downcast_ref::<io::Error>());
    let detail = format!("can't connect to {endpoint}: {}", with_causes(error));
    if io_errors().any(is_own_shortage) {
        return Failure::exhausted(detail);
    }
    // hyper-util's connector marks name resolution only in words.
    if error.to_string().contains("dns") {
        // The resolver takes files and sockets that it can't open for names that don't exist.
        return if has_descriptors() {
            Failure::unresolvable(detail)
        } else {
            Failure::exhausted(format!("{detail} (no file descriptors are left)"))
        };
    }
    let is_refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    let reason = if io_errors().last().is_some_and(is_refused) {
        "connect_refused"
    } else {
        "connect_failed"
    };
    Failure::unreachable(reason, detail, Replay::Always)
}

/// ENFILE, EMFILE, ENOBUFS, EADDRNOTAVAIL: this host is at its limits, not the backend.
fn is_own_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(23 | 24 | 105 | 99))
}

fn has_descriptors() -> bool {
    let opened = std::fs::File::open("/dev/null");
    !opened.is_err_and(|error| is_own_shortage(&error))
}

async fn handshake(
    endpoint: &Endpoint,
    tls: &ClientTls,
    tcp: TcpStream,
) -> Result<Stream, Failure> {
    let name = tls
        .server_name(&endpoint.host)
        .map_err(Failure::unresolvable)?;
    match TlsConnector::from(tls.config()).connect(name, tcp).await {
        Ok(stream) => Ok(Stream::Tls(Box::new(stream))),
        Err(error) => {
            let detail = format!(
                "the TLS handshake with {endpoint} failed: {}",
                with_causes(&error)
            );
            Err(Failure::unreachable("tls_failed", detail, Replay::Never))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{error::Error, fmt};

    use super::*;
    use crate::types::fault::FaultKind;

    /// What a connector says, and why.
    #[derive(Debug)]
    struct Said(&'static str, io::Error);

    impl fmt::Display for Said {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Said {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.1)
        }
    }

    #[test]
    fn what_this_host_is_short_of_is_no_fault_of_the_backend() {
        let endpoint = Endpoint::new("backend", 80, None);
        let failure = |said: Said, has_descriptors: bool| {
            let fault = connect_failure(&endpoint, &said, || has_descriptors).fault;
            (fault.kind, fault.reason)
        };
        let system = io::Error::from_raw_os_error;
        let overloaded = (FaultKind::Overloaded, "no_descriptors");
        for errno in [23, 24, 105, 99] {
            for words in ["dns error", "tcp connect error", "tcp open error"] {
                assert_eq!(failure(Said(words, system(errno)), true), overloaded);
            }
        }
        let unknown = || Said("dns error", io::Error::other("Name or service not known"));
        let unresolvable = (FaultKind::Unresolvable, "unresolvable");
        assert_eq!(failure(unknown(), true), unresolvable);
        assert_eq!(failure(unknown(), false), overloaded);
        let refused = (FaultKind::Unreachable, "connect_refused");
        assert_eq!(
            failure(Said("tcp connect error", system(111)), true),
            refused
        );
        let failed = (FaultKind::Unreachable, "connect_failed");
        assert_eq!(
            failure(Said("tcp connect error", system(113)), false),
            failed
        );
        assert!(has_descriptors());
    }
}
