//! Handing over to a new process: the program is started anew, as it is on disk now, with the listening sockets of this
//! one. Nothing is refused in between, for the sockets are never closed.

use std::{
    io,
    net::TcpListener,
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::{Child, Command},
    time::Duration,
};

use command_fds::{CommandFdExt as _, FdMapping};
use tokio::io::AsyncReadExt as _;

use crate::server::{listen::READY_NAME, run::Server};

/// How long the new process may take until it serves.
const PATIENCE: Duration = Duration::from_secs(60);
/// The first descriptor that is passed on (`SD_LISTEN_FDS_START`).
const FIRST: i32 = 3;

/// A new process that may still fail. It is killed if nobody waits for it any longer.
struct Successor(Option<Child>);

impl Drop for Successor {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Starts the new process and waits until it serves. Its id.
pub(super) async fn hand_over(server: &Server, admin: Option<&TcpListener>) -> io::Result<u32> {
    let mut passed = server.lend_sockets().await;
    if let Some(admin) = admin {
        passed.push(admin.try_clone()?.into());
    }
    let (own, theirs) = UnixStream::pair()?;
    passed.push(theirs.into());
    let mut successor = Successor(Some(start(passed)?));
    own.set_nonblocking(true)?;
    let mut ready = tokio::net::UnixStream::from_std(own)?;
    let said = tokio::time::timeout(PATIENCE, ready.read(&mut [0; 1])).await;
    match said {
        Ok(Ok(1)) => {
            let child = successor.0.take();
            Ok(child.map_or(0, |child| child.id()))
        }
        Ok(_) => Err(io::Error::other("the new process ended before it served")),
        Err(_) => Err(io::Error::other(format!(
            "the new process didn't serve within {} s",
            PATIENCE.as_secs()
        ))),
    }
}

/// Starts the program that this process was started as, with the same arguments.
fn start(passed: Vec<OwnedFd>) -> io::Result<Child> {
    let mut arguments = std::env::args_os();
    let program = arguments
        .next()
        .ok_or_else(|| io::Error::other("this process doesn't know its own name"))?;
    let names = format!(
        "{}{READY_NAME}",
        "listener:".repeat(passed.len().saturating_sub(1))
    );
    let mappings = (FIRST..)
        .zip(passed)
        .map(|(child_fd, parent_fd)| FdMapping {
            parent_fd,
            child_fd,
        })
        .collect::<Vec<_>>();
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("LISTEN_FDS", mappings.len().to_string())
        .env("LISTEN_FDNAMES", names)
        .env_remove("LISTEN_PID");
    command.fd_mappings(mappings).map_err(io::Error::other)?;
    // With the command go this process's copies, so that the new one's end can be noticed.
    command.spawn()
}
