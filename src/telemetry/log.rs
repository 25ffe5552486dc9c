//! The program's own log, through `tracing` to standard error by way of the writer thread.

use std::{
    io::{self, IsTerminal},
    sync::OnceLock,
};

use tracing_subscriber::{
    EnvFilter, Registry, filter::LevelFilter, fmt, layer::SubscriberExt as _, reload,
    util::SubscriberInitExt as _,
};

use super::writer::{Output, Sink, sink};

static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// What is told unless somebody says otherwise.
const DEFAULT: &str = "info";
/// What may stand alone; anything else would be taken for the name of a module, of which alone everything is told.
const LEVELS: &str = "off, error, warn, info, debug, trace";

/// Starts the log. `RUST_LOG` chooses what is told; by default information, warnings and errors.
pub fn start() {
    let said = std::env::var(EnvFilter::DEFAULT_ENV)
        .ok()
        .filter(|words| !words.trim().is_empty());
    let chosen = said.as_deref().map_or_else(|| filter(DEFAULT), filter);
    let wrong = chosen.as_ref().err().cloned();
    let filter = chosen.unwrap_or_else(|_| EnvFilter::new(DEFAULT));
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
    if let Some(why) = wrong {
        tracing::warn!("RUST_LOG isn't followed: {why}");
    }
}

/// The filter that these words ask for, or what is wrong with them.
fn filter(words: &str) -> Result<EnvFilter, String> {
    let is_level = |word: &str| !word.is_empty() && word.parse::<LevelFilter>().is_ok();
    let directives = words
        .split(',')
        .map(str::trim)
        .filter(|it| !it.is_empty() && !it.contains('['));
    for directive in directives {
        let level = directive
            .rsplit_once('=')
            .map_or(directive, |(_, level)| level.trim());
        if !is_level(level) {
            return Err(format!(
                "`{level}` is no level; there are {LEVELS}, alone or as in `info,sluicegate=debug`"
            ));
        }
    }
    EnvFilter::builder()
        .parse(words)
        .map_err(|error| error.to_string())
}

/// What is told, in the words of `RUST_LOG`.
pub fn level() -> Option<String> {
    FILTER.get()?.with_current(ToString::to_string).ok()
}

/// Changes what is told, until it is changed again. The words are those of `RUST_LOG`; says what is wrong with others.
pub fn set_level(words: &str) -> Result<(), String> {
    let filter = filter(words)?;
    let handle = FILTER
        .get()
        .ok_or_else(|| "the log hasn't been started".to_owned())?;
    handle.reload(filter).map_err(|error| error.to_string())
}

/// Gathers one event's line and hands it over whole.
struct Lines {
    sink: Sink,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_is_refused_and_not_taken_for_a_module() {
        for words in [
            "info",
            "WARN",
            "info,sluicegate=debug",
            "sluicegate::server=trace",
            "[request{id=1}]=debug",
            "info,h2=0",
        ] {
            assert!(filter(words).is_ok(), "{words}");
        }
        for words in [
            "infoo",
            "sluicegate",
            "sluicegate=dbug",
            "a=b=c",
            "info,sluicegate=",
        ] {
            let why = filter(words).unwrap_err();
            assert!(why.contains("is no level"), "{words}: {why}");
        }
    }
}
