//! Loading the configuration anew: on SIGHUP, when a file changes, and whenever somebody asks.
//!
//! All or nothing: the files are read and judged, everything is built, and only then does anything change. A finding
//! leaves the gateway as it is, and is told.

use std::{collections::BTreeSet, future::Future, io, path::PathBuf, sync::Arc};

use sd_notify::NotifyState;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    task::spawn_blocking,
};

use super::{
    run::Server,
    watch::{Watcher, fingerprint},
};
use crate::{
    config::{
        build::{Loaded, Overrides},
        diagnostics::Diagnostics,
        load,
        render::{outline, render},
    },
    telemetry::metrics,
    types::{
        lifecycle::Phase,
        reload::{Ask, Reloads, Report},
    },
};

/// Where the configuration comes from.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file; `-` is standard input, which can be read only once.
    pub path: PathBuf,
    /// What the command line says over it.
    pub overrides: Overrides,
    /// Whether methods that can't be served are errors of the whole.
    pub is_strict: bool,
    /// Whether access logs are read at a terminal.
    pub is_for_people: bool,
}

impl Source {
    /// Reads the configuration as it is now. Under `--strict` there is no model if any method can't be served.
    pub fn load(&self) -> Loaded {
        let mut loaded = load(&self.path, &self.overrides);
        let is_refused = self.is_strict && loaded.diagnostics.errors() > 0;
        loaded.model = loaded.model.filter(|_| !is_refused);
        if let Some(model) = loaded.model.as_mut().filter(|_| self.is_for_people) {
            model.read_by_people();
        }
        loaded
    }

    fn is_standard_input(&self) -> bool {
        self.path.as_os_str() == "-"
    }
}

/// Loads a server's configuration anew.
#[derive(Debug)]
pub struct Reloader {
    source: Source,
    server: Arc<Server>,
    reloads: Arc<Reloads>,
    /// What was found in the configuration that is served.
    known: Diagnostics,
    /// The files that it is made of, and those of the last attempt.
    files: BTreeSet<PathBuf>,
    /// Their contents when they were last read.
    read: u64,
    is_watching: bool,
    /// Who is told of what is adopted.
    adopted: Adopted,
}

/// Why a configuration is loaded anew.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    Operator,
    Hangup,
    Files,
}

impl Cause {
    const fn as_str(self) -> &'static str {
        match self {
            Cause::Operator => "POST /reload",
            Cause::Hangup => "SIGHUP",
            Cause::Files => "its files have changed",
        }
    }
}

/// Who is told that a configuration was adopted.
struct Adopted(Box<dyn Fn(&Server) + Send + Sync>);

impl std::fmt::Debug for Adopted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Adopted")
    }
}

impl Reloader {
    /// To keep `server` at what `source` says; `known` is what was found in what it serves.
    pub fn new(
        source: Source,
        server: Arc<Server>,
        reloads: Arc<Reloads>,
        known: Diagnostics,
        is_watching: bool,
    ) -> Reloader {
        let files = known.files().clone();
        Reloader {
            source,
            server,
            reloads,
            read: fingerprint(&files),
            files,
            known,
            is_watching,
            adopted: Adopted(Box::new(|_| ())),
        }
    }

    /// Tells `adopted` of each configuration that is adopted.
    #[must_use]
    pub fn telling(mut self, adopted: impl Fn(&Server) + Send + Sync + 'static) -> Reloader {
        self.adopted = Adopted(Box::new(adopted));
        self
    }

    /// Reloads whenever it is asked to. Fails at once if SIGHUP can't be listened to.
    pub fn run(
        self,
        asked: mpsc::UnboundedReceiver<Ask>,
    ) -> io::Result<impl Future<Output = ()> + Send> {
        let hangups = signal(SignalKind::hangup())?;
        Ok(self.keep(asked, hangups))
    }

    async fn keep(mut self, mut asked: mpsc::UnboundedReceiver<Ask>, mut hangups: Signal) {
        let mut watcher = Watcher::default();
        loop {
            watcher.follow(if self.is_watching {
                &self.files
            } else {
                const { &BTreeSet::new() }
            });
            let (ask, cause) = tokio::select! {
                Some(ask) = asked.recv() => (Some(ask), Cause::Operator),
                _ = hangups.recv() => (None, Cause::Hangup),
                () = watcher.stirred() => (None, Cause::Files),
            };
            let work = spawn_blocking(move || {
                let report = self.reload(cause);
                (self, report)
            });
            // A panic in there is a defect, and the end of reloading; serving goes on.
            let Ok((reloader, report)) = work.await else {
                return;
            };
            self = reloader;
            if let (Some(ask), Some(report)) = (ask, report) {
                let _ = ask.send(report);
            }
        }
    }

    /// Reloads. Files that are as they were are no cause.
    fn reload(&mut self, cause: Cause) -> Option<Report> {
        let now = fingerprint(&self.files);
        let is_ending = self.server.conductor().phase() > Phase::Running;
        if cause == Cause::Files && (now == self.read || is_ending) {
            return None;
        }
        tracing::info!("{}: loading the configuration anew", cause.as_str());
        self.read = now;
        let clock = NotifyState::monotonic_usec_now();
        let begun = clock.map(|clock| sd_notify::notify(&[NotifyState::Reloading, clock]));
        let report = self.attempt();
        if begun.is_ok() {
            let _ = sd_notify::notify(&[NotifyState::Ready]);
        }
        Some(report)
    }

    fn attempt(&mut self) -> Report {
        if self.source.is_standard_input() {
            let why = "the configuration came from standard input, which can't be read again\n";
            return self.reject(why, why);
        }
        if self.server.conductor().phase() > Phase::Running {
            let why = "the gateway is shutting down\n";
            return self.reject(why, why);
        }
        let Loaded { model, diagnostics } = self.source.load();
        let found = render(&diagnostics, false);
        self.files.extend(diagnostics.files().iter().cloned());
        let worse = diagnostics.new_method_errors(&self.known);
        let Some(model) = model else {
            return self.reject(&found, &outline(&diagnostics));
        };
        if worse > 0 {
            let noun = if worse == 1 { "method" } else { "methods" };
            let why =
                format!("{worse} {noun} that the running configuration serves would answer 500\n");
            let outline = outline(&diagnostics);
            return self.reject(&format!("{found}{why}"), &format!("{outline}{why}"));
        }
        let is_watching = model.watch;
        match self.server.reload(model) {
            Err(fault) => self.reject(&format!("{found}{}", fault.told()), &fault.told()),
            Ok(left) => {
                self.is_watching = is_watching;
                self.files = diagnostics.files().clone();
                self.known = diagnostics;
                self.adopt(&found, &left)
            }
        }
    }

    fn adopt(&self, found: &str, left: &[String]) -> Report {
        for what in left {
            tracing::warn!("needs a restart: {what}");
        }
        let told = left.iter().map(|what| format!("needs a restart: {what}\n"));
        let text: String = std::iter::once(found.to_owned()).chain(told).collect();
        let report = self.reloads.note(true, text);
        metrics::reload(Ok(()));
        self.adopted.0(&self.server);
        let generation = report.generation;
        if found.is_empty() {
            tracing::info!(generation, "the configuration was loaded anew");
        } else {
            let found = found.trim_end();
            tracing::warn!(
                "the configuration was loaded anew (generation={generation}), with findings:\n{found}"
            );
        }
        report
    }

    /// `text` quotes the files, for those who may reload and for the log; `outline` doesn't, for whoever asks.
    fn reject(&self, text: &str, outline: &str) -> Report {
        let report = self.reloads.note(false, text.to_owned());
        metrics::reload(Err(outline.to_owned()));
        let text = text.trim_end();
        tracing::error!(
            "the configuration was not loaded anew, the one from before is still served (generation={}):\n{text}",
            report.generation
        );
        report
    }
}
