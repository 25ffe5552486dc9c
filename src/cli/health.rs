//! `sluicegate health`: asks a running gateway's admin address, for the probes of containers and service managers.
//!
//! It goes without a runtime and without the configuration: a probe runs every few seconds, also while somebody edits
//! the file.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream, ToSocketAddrs as _},
    process::ExitCode,
    time::Duration,
};

use super::{args::Health, complain, print};

/// How long connecting and each read may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// Bytes that are read of an answer, which is a head and a word or two.
const MOST: u64 = 16 * 1024;

pub(super) fn run(health: &Health) -> ExitCode {
    let path = if health.live { "/healthz" } else { "/readyz" };
    let authority = health
        .admin
        .strip_prefix("http://")
        .unwrap_or(&health.admin)
        .trim_end_matches('/');
    let answer = match get(authority, path) {
        Ok(answer) => answer,
        Err(error) => {
            complain(&format!(
                "no gateway answers on {authority}: {error}\n\
                 hint: it needs `admin: {{ address: 127.0.0.1:9901 }}` in sluicegate.yaml; --admin or SLUICEGATE_ADMIN name another address\n"
            ));
            return ExitCode::FAILURE;
        }
    };
    match read(&answer) {
        Some((200, word)) => print(&format!("{word}\n")),
        Some((503, word)) => {
            complain(&format!("{word}\n"));
            ExitCode::FAILURE
        }
        _ => {
            complain(&format!(
                "what answers on {authority} isn't a gateway's admin address\n"
            ));
            ExitCode::FAILURE
        }
    }
}

/// The whole answer to a GET.
fn get(authority: &str, path: &str) -> io::Result<String> {
    let mut tcp = connect(authority)?;
    tcp.set_read_timeout(Some(PATIENCE))?;
    tcp.set_write_timeout(Some(PATIENCE))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    tcp.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    tcp.take(MOST)
        .read_to_end(&mut answer)
        .map_err(|error| match error.kind() {
            // What a read says that waited too long.
            io::ErrorKind::WouldBlock => io::Error::from(io::ErrorKind::TimedOut),
            _ => error,
        })?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Connects to the first address that takes it: `localhost` has two.
fn connect(authority: &str) -> io::Result<TcpStream> {
    let mut failure = io::Error::new(io::ErrorKind::InvalidInput, "no address");
    for address in authority.to_socket_addrs()? {
        match TcpStream::connect_timeout(&reachable(address), PATIENCE) {
            Ok(tcp) => return Ok(tcp),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Where a gateway answers that listens on every address.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// The status of an answer, and the first line of what it says.
fn read(answer: &str) -> Option<(u16, &str)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some((status, body.lines().next().unwrap_or_default()))
}
