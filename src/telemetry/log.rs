//! The program's own log, through `tracing` to standard error by way of the writer thread.

use std::{
    io::{self, IsTerminal},
    sync::Arc,
};

use tracing_subscriber::{EnvFilter, fmt};

use super::writer::{Output, Sink, sink};

/// Starts the log. `RUST_LOG` chooses what is told; by default information, warnings and errors.
pub fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let Ok(sink) = sink(&Output::Stderr) else {
        return;
    };
    let started = fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .with_writer(move || Lines {
            sink: sink.clone(),
            line: Vec::new(),
        })
        .try_init();
    // A second start, as in tests, keeps the first.
    drop(started);
}

/// Gathers one event's line and hands it over whole.
struct Lines {
    sink: Arc<Sink>,
    line: Vec<u8>,
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.sink.push(&self.line);
    }
}
