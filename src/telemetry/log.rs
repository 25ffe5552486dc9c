//! The program's own log, through `tracing` to standard error by way of the writer thread.

use std::{
    io::{self, IsTerminal},
    sync::{Arc, OnceLock},
};

use tracing_subscriber::{
    EnvFilter, Registry, fmt, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _,
};

use super::writer::{Output, Sink, sink};

static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Starts the log. `RUST_LOG` chooses what is told; by default information, warnings and errors.
pub fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let Ok(sink) = sink(&Output::Stderr) else {
        return;
    };
    let lines = fmt::layer()
        .with_target(false)
        .with_ansi(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .with_writer(move || Lines {
            sink: sink.clone(),
            line: Vec::new(),
        });
    let (filter, handle) = reload::Layer::new(filter);
    let started = tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init();
    // A second start, as in tests, keeps the first.
    if started.is_ok() {
        let _ = FILTER.set(handle);
    }
}

/// What is told, in the words of `RUST_LOG`.
pub fn level() -> Option<String> {
    FILTER.get()?.with_current(ToString::to_string).ok()
}

/// Changes what is told, until it is changed again. The words are those of `RUST_LOG`; says what is wrong with others.
pub fn set_level(words: &str) -> Result<(), String> {
    let filter = EnvFilter::builder()
        .parse(words)
        .map_err(|error| error.to_string())?;
    let handle = FILTER
        .get()
        .ok_or_else(|| "the log hasn't been started".to_owned())?;
    handle.reload(filter).map_err(|error| error.to_string())
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
