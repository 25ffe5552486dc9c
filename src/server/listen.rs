//! Listening sockets: bound anew, or inherited from whoever started this process.
//!
//! Each worker accepts on sockets of its own. Of an address that is bound here, every worker has one, with a queue of its
//! own in the kernel (`SO_REUSEPORT`). Inherited sockets are as many as they are: workers divide them up, or share them.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    os::{fd::OwnedFd, unix::net::UnixStream},
};

use listenfd::ListenFd;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::run::StartFault;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;
/// The name of the descriptor by which a process that was started as a successor says that it serves.
pub const READY_NAME: &str = "sluicegate-ready";

/// Binds an address. Workers share it; another process that listens there is an error, not a partner.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
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
fn probe(address: SocketAddr) -> io::Result<()> {
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

/// Binds an address once for each worker. `own_ports` are those this process listens on already, on some address.
pub fn bind_all(
    address: SocketAddr,
    workers: usize,
    own_ports: &[u16],
) -> Result<Vec<TcpListener>, StartFault> {
    let bind_each = || {
        if !own_ports.contains(&address.port()) {
            probe(address)?;
        }
        let first = bind(address)?;
        let bound = first.local_addr()?;
        let others = (1..workers).map(|_| bind(bound));
        std::iter::once(Ok(first))
            .chain(others)
            .collect::<io::Result<Vec<_>>>()
    };
    bind_each().map_err(|error: io::Error| {
        let fault = StartFault::new(format!("can't listen on {address}: {error}"));
        match error.kind() {
            io::ErrorKind::AddrInUse => fault.hint(
                "another program listens there, or a socket that was inherited for another address; stop it, or choose another address under `listeners:` or with --listen",
            ),
            io::ErrorKind::PermissionDenied => {
                fault.hint("ports below 1024 need a privilege (CAP_NET_BIND_SERVICE); a port like 8080 doesn't")
            }
            io::ErrorKind::AddrNotAvailable => fault.hint("this machine has no such address; `0.0.0.0` takes all it has"),
            _ => fault,
        }
    })
}

/// Gives each worker its sockets. Every socket is somebody's, since each may have a queue of its own; where there are too
/// few, workers share one.
pub fn distribute(sockets: Vec<TcpListener>, workers: usize) -> io::Result<Vec<Vec<TcpListener>>> {
    let mut shares: Vec<Vec<TcpListener>> = Vec::new();
    shares.resize_with(workers, Vec::new);
    let duplicates: Vec<TcpListener> = (sockets.len()..workers)
        .zip(sockets.iter().cycle())
        .map(|(_, socket)| socket.try_clone())
        .collect::<io::Result<_>>()?;
    for (at, socket) in sockets.into_iter().chain(duplicates).enumerate() {
        if let Some(share) = shares.get_mut(at % workers.max(1)) {
            share.push(socket);
        }
    }
    Ok(shares)
}

/// Sockets that this process was started with, until somebody claims them (`LISTEN_FDS`, as systemd passes them).
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: Vec<(SocketAddr, TcpListener)>,
    ready: Option<UnixStream>,
}

impl Inherited {
    /// Takes what the environment announces. To be called once, before any descriptor is opened.
    pub fn from_env() -> Inherited {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut passed = ListenFd::from_env();
        let mut inherited = Inherited::default();
        for at in 0..passed.len() {
            if names.split(':').nth(at) == Some(READY_NAME) {
                let taken = passed.take_unix_listener(at).ok().flatten();
                inherited.ready = taken.map(|it| UnixStream::from(OwnedFd::from(it)));
                continue;
            }
            match take(&mut passed, at) {
                Ok(socket) => inherited.sockets.push(socket),
                Err(error) => tracing::warn!(
                    descriptor = at + 3,
                    %error,
                    "an inherited descriptor isn't a listening TCP socket and is left alone"
                ),
            }
        }
        inherited
    }

    /// The sockets that listen on an address. An IPv6 socket for all addresses also serves for all of IPv4's, which is what
    /// systemd makes of a bare port.
    pub fn claim(&mut self, address: SocketAddr) -> Vec<TcpListener> {
        let exact = self.take_all(address);
        if exact.is_empty() && address.ip() == IpAddr::V4(Ipv4Addr::UNSPECIFIED) {
            return self.take_all((Ipv6Addr::UNSPECIFIED, address.port()).into());
        }
        exact
    }

    fn take_all(&mut self, address: SocketAddr) -> Vec<TcpListener> {
        let taken = self.sockets.extract_if(.., |(own, _)| *own == address);
        taken.map(|(_, socket)| socket).collect()
    }

    /// Closes what nobody has claimed. What is left says when this process serves, if somebody waits for that.
    pub fn close_unclaimed(&mut self) -> Option<UnixStream> {
        let mut told = Vec::new();
        for (address, _) in self.sockets.drain(..) {
            if !told.contains(&address) {
                tracing::warn!(
                    "closing an inherited socket: no listener has the address {address}"
                );
                told.push(address);
            }
        }
        self.ready.take()
    }
}

fn take(passed: &mut ListenFd, at: usize) -> io::Result<(SocketAddr, TcpListener)> {
    let gone = || io::Error::from(io::ErrorKind::NotFound);
    let socket = passed.take_tcp_listener(at)?.ok_or_else(gone)?;
    if !SockRef::from(&socket).is_listener()? {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    socket.set_nonblocking(true)?;
    Ok((socket.local_addr()?, socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sockets(count: usize) -> Vec<TcpListener> {
        bind_all(([127, 0, 0, 1], 0).into(), count, &[]).unwrap()
    }

    #[test]
    fn every_inherited_socket_has_a_worker_and_every_worker_a_socket() {
        for (have, workers) in [(1, 1), (1, 3), (2, 3), (3, 3), (5, 2)] {
            let all = sockets(have);
            let mut inodes: Vec<u64> = all.iter().map(inode).collect();
            let shares = distribute(all, workers).unwrap();
            assert_eq!(shares.len(), workers);
            assert!(
                shares.iter().all(|share| !share.is_empty()),
                "{have} {workers}"
            );
            let mut given: Vec<u64> = shares.iter().flatten().map(inode).collect();
            given.sort_unstable();
            given.dedup();
            inodes.sort_unstable();
            assert_eq!(given, inodes);
        }
    }

    /// What tells sockets apart, and duplicates of one not.
    fn inode(socket: &TcpListener) -> u64 {
        use std::os::{fd::AsFd as _, unix::fs::MetadataExt as _};
        let own = socket.as_fd().try_clone_to_owned().unwrap();
        std::fs::File::from(own).metadata().unwrap().ino()
    }

    #[test]
    fn sockets_are_claimed_by_address() {
        let all = sockets(2);
        let address = all[0].local_addr().unwrap();
        let other = sockets(1).remove(0);
        let elsewhere = other.local_addr().unwrap();
        let listed = all.into_iter().map(|it| (address, it));
        let mut inherited = Inherited {
            sockets: listed.chain([(elsewhere, other)]).collect(),
            ready: None,
        };
        assert_eq!(inherited.claim(address).len(), 2);
        assert_eq!(inherited.claim(address).len(), 0);
        assert_eq!(inherited.sockets.len(), 1);
        assert!(inherited.close_unclaimed().is_none());
        assert!(std::net::TcpStream::connect(elsewhere).is_err());
    }
}
