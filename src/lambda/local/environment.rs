//! One execution environment: from its start, through its invocations, to the end of its last process.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    net::TcpListener,
    time::{sleep, sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    bootstraps::Bootstraps,
    call::{Call, Ended, Stage},
    ending::Ending,
    extensions::Extensions,
    failure::Failure,
    pool::Pool,
    process::{Processes, Tell},
    program::Program,
    report::Status,
    server,
    variables::variables,
};
use crate::{
    lambda::output::FunctionError,
    types::{
        clock::{Tick, Wall},
        ids::RequestId,
    },
};

/// How long a cancelled invocation's runtime has to come back.
const GRACE: Duration = Duration::from_secs(2);
/// How long a runtime that can't start has to exit of its own.
const LAST_STEPS: Duration = Duration::from_millis(500);
/// Invocations that are remembered after they were given up, to tell a late answer from a wrong one.
const REMEMBERED: usize = 16;

/// An execution environment.
#[derive(Debug)]
pub(super) struct Environment {
    /// Its number in the pool.
    pub number: u64,
    /// The function it runs.
    pub pool: Arc<Pool>,
    /// Its extensions.
    pub extensions: Extensions,
    started: Tick,
    /// The runtime has asked for its first event.
    ready: CancellationToken,
    /// The runtime has said that it can't start.
    broken: CancellationToken,
    init_failure: OnceLock<Failure>,
    /// Somebody wants it to end.
    ended: CancellationToken,
    ending: OnceLock<Ending>,
    /// One of its processes has ended.
    exited: CancellationToken,
    exit: OnceLock<Failure>,
    calls: Mutex<Calls>,
}

#[derive(Debug, Default)]
struct Calls {
    /// What occupies it.
    current: Vec<Arc<Call>>,
    given_up: VecDeque<RequestId>,
    has_begun: bool,
    /// Its processes have ended.
    is_closed: bool,
}

impl Environment {
    /// An environment that isn't running yet.
    pub(super) fn new(number: u64, pool: Arc<Pool>) -> Arc<Environment> {
        Arc::new(Environment {
            number,
            pool,
            extensions: Extensions::default(),
            started: Tick::now(),
            ready: CancellationToken::new(),
            broken: CancellationToken::new(),
            init_failure: OnceLock::new(),
            ended: CancellationToken::new(),
            ending: OnceLock::new(),
            exited: CancellationToken::new(),
            exit: OnceLock::new(),
            calls: Mutex::default(),
        })
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks it to end.
    pub(super) fn end(&self, ending: Ending) {
        let _ = self.ending.set(ending);
        self.ended.cancel();
    }

    /// Ends it, whatever it does.
    pub(super) fn stop(&self) {
        self.end(Ending::Stopped);
        self.fail(&Failure::sandbox("the gateway stops"), |_| true);
    }

    /// Fails the invocations that occupy it, as far as they have come to a stage where that is due.
    fn fail(&self, failure: &Failure, is_due: impl Fn(Stage) -> bool) {
        let calls = self.calls().current.clone();
        for call in calls.iter().filter(|call| is_due(call.stage())) {
            self.conclude(call, call.fail(failure));
        }
    }

    // --- its life

    /// Lives from the start of its processes to their end.
    pub(super) async fn run(self: Arc<Self>) {
        match self.open() {
            Ok((processes, server)) => self.live(processes, server).await,
            Err(failure) => self.not_started(&failure),
        }
        self.pool.gone(self.number);
    }

    fn open(self: &Arc<Self>) -> Result<(Processes, AbortOnDropHandle<()>), Failure> {
        let lacking = |what: &str, error| Failure::sandbox(format!("{what}: {error}"));
        let listener =
            server::listen().map_err(|error| lacking("no port for the Runtime API", error))?;
        let port = listener
            .local_addr()
            .map_err(|error| lacking("no port for the Runtime API", error))?
            .port();
        let processes = self.start(port)?;
        let server = self.serve(listener);
        Ok((processes, server))
    }

    fn start(self: &Arc<Self>, port: u16) -> Result<Processes, Failure> {
        let local = &self.pool.local;
        let unwritten =
            |error| Failure::sandbox(format!("the bundled runtime can't be written: {error}"));
        let bootstraps = Program::is_bundled(local)
            .then(|| Bootstraps::get().map_err(unwritten))
            .transpose()?;
        let directory = bootstraps.as_ref().map(|bootstraps| bootstraps.directory());
        Processes::start(
            &Program::of_runtime(local, directory),
            &Program::of_extensions(local),
            &local.directory,
            &variables(&self.pool.function, local, port, directory),
            &self.teller(),
        )
    }

    fn serve(self: &Arc<Self>, listener: TcpListener) -> AbortOnDropHandle<()> {
        AbortOnDropHandle::new(tokio::spawn(server::serve(listener, self.clone())))
    }

    async fn live(&self, mut processes: Processes, server: AbortOnDropHandle<()>) {
        match self.init(&mut processes).await {
            Ok(()) => self.work(&mut processes).await,
            Err(Some(failure)) => {
                self.not_started(&failure);
                if self.broken.is_cancelled() {
                    // A runtime that says so is about to exit.
                    let _ = timeout(LAST_STEPS, processes.exited()).await;
                }
            }
            Err(None) => {}
        }
        self.wind_down(processes).await;
        drop(server);
    }

    /// Waits until the runtime has asked for an event. Without a failure it was asked to end before.
    async fn init(&self, processes: &mut Processes) -> Result<(), Option<Failure>> {
        let most = self.pool.local.init_timeout;
        let failure = tokio::select! {
            biased;
            () = self.ended.cancelled() => return Err(None),
            () = self.broken.cancelled() => self.init_failure.get().cloned(),
            () = self.ready.cancelled() => return Ok(()),
            failure = processes.exited() => self.init_failure.get().cloned().or(Some(failure)),
            () = sleep(most) => Some(Failure::timed_out(most)),
        };
        Err(failure)
    }

    /// Works until it is asked to end, or one of its processes ends.
    async fn work(&self, processes: &mut Processes) {
        loop {
            let idle = self.pool.idle_until(self.number);
            tokio::select! {
                biased;
                () = self.ended.cancelled() => return,
                failure = processes.exited() => return self.crashed(failure),
                () = sleep_until(idle.instant()) => {
                    if self.pool.idle_until(self.number) <= Tick::now() {
                        self.pool.retire(self.number, Ending::Idle);
                    }
                }
            }
        }
    }

    fn not_started(&self, failure: &Failure) {
        let name = &self.pool.function.name;
        tracing::warn!(target: "function", "{name}: no execution environment: {failure}");
        self.pool.not_started(self.number, failure);
    }

    /// A process has ended. What was being answered ends with what is still in its socket.
    fn crashed(&self, failure: Failure) {
        let name = &self.pool.function.name;
        tracing::warn!(target: "function", "{name}: {failure}");
        self.pool.crashed(self.number);
        self.fail(&failure, |stage| stage == Stage::Delivered);
        let _ = self.exit.set(failure);
        self.exited.cancel();
    }

    /// Waits until one of the processes has ended.
    pub(super) async fn exit(&self) -> Option<Failure> {
        self.exited.cancelled().await;
        self.exit.get().cloned()
    }

    async fn wind_down(&self, processes: Processes) {
        let ending = self.ending.get().copied();
        if let Some(ending) = ending.filter(|_| self.exit.get().is_none()) {
            let (name, why) = (&self.pool.function.name, ending.why());
            tracing::debug!(target: "function", "{name}: an execution environment ends because {why}");
        }
        let grace = ending.map_or(Duration::from_secs(1), Ending::grace);
        let is_told = self.extensions.shut_down(ending, Wall::now().after(grace));
        processes.end(grace, is_told).await;
        self.calls().is_closed = true;
        let failure = self.exit.get().cloned();
        let failure =
            failure.unwrap_or_else(|| Failure::sandbox("the execution environment ended"));
        self.fail(&failure, |stage| stage == Stage::Delivered);
        let calls = std::mem::take(&mut self.calls().current);
        for call in calls {
            // What is still being answered is read to the end of its socket, within its own time.
            call.over.cancelled().await;
            call.returned.cancel();
        }
    }

    // --- what its runtime does

    /// The runtime asks for its next event: it has started, or come back from an invocation. `None` if it can't have
    /// one now.
    pub(super) async fn next(self: &Arc<Self>) -> Option<(Arc<Call>, Wall)> {
        self.come_back();
        let call = self.pool.take(self.number).await?;
        Some(self.deliver(call))
    }

    fn come_back(&self) {
        if !self.ready.is_cancelled() {
            self.ready.cancel();
            return self.pool.ready(self.number);
        }
        let returned = {
            let mut calls = self.calls();
            let over = |call: &Arc<Call>| call.over.is_cancelled();
            let oldest = calls.current.iter().position(over);
            oldest.map(|oldest| calls.current.remove(oldest))
        };
        if let Some(call) = returned {
            self.let_go(&call);
        }
    }

    /// An invocation no longer occupies the environment.
    fn let_go(&self, call: &Arc<Call>) {
        {
            let mut calls = self.calls();
            calls.current.retain(|other| !Arc::ptr_eq(other, call));
            if call.stage() == Stage::Abandoned {
                calls.given_up.push_back(call.id);
                if calls.given_up.len() > REMEMBERED {
                    calls.given_up.pop_front();
                }
            }
        }
        call.returned.cancel();
        self.pool.release(self.number);
    }

    fn deliver(self: &Arc<Self>, call: Arc<Call>) -> (Arc<Call>, Wall) {
        let now = Tick::now();
        let (is_first, is_closed) = {
            let mut calls = self.calls();
            calls.current.push(call.clone());
            (
                !std::mem::replace(&mut calls.has_begun, true),
                calls.is_closed,
            )
        };
        let deadline = Wall::now().after(self.pool.local.timeout);
        call.deliver(now, is_first.then(|| now.since(self.started)));
        let start = call.start_line();
        tracing::info!(target: "function", "{}: {start}", self.pool.function.name);
        call.note(&start);
        self.extensions
            .invoke(&call, &self.pool.function.arn, deadline);
        if is_closed {
            call.fail(&Failure::sandbox("the execution environment ended"));
        }
        tokio::spawn(self.clone().guard(call.clone(), now));
        (call, deadline)
    }

    /// Watches over an invocation: its clock, its client, and whether the runtime comes back from it.
    async fn guard(self: Arc<Self>, call: Arc<Call>, delivered: Tick) {
        let timeout = self.pool.local.timeout;
        let deadline = delivered.after(timeout).instant();
        let runs_on = call.invocation.runs_on;
        tokio::select! {
            biased;
            () = call.over.cancelled() => {}
            () = sleep_until(deadline) => {
                self.conclude(&call, call.fail(&Failure::timed_out(timeout)));
                return self.give_up(&call, Ending::TimedOut);
            }
            () = call.forsaken(), if !runs_on => self.conclude(&call, call.cancel()),
        }
        let (late, ending) = match call.stage() {
            Stage::Answered => (
                deadline.max(Tick::now().after(GRACE).instant()),
                Ending::NeverReturned,
            ),
            _ => (Tick::now().after(GRACE).instant(), Ending::Cancelled),
        };
        tokio::select! {
            biased;
            () = call.returned.cancelled() => {}
            () = self.exited.cancelled() => {}
            () = sleep_until(late) => self.give_up(&call, ending),
        }
    }

    /// The runtime is lost to an invocation: it gets no other, and ends when those beside it have.
    fn give_up(&self, call: &Arc<Call>, ending: Ending) {
        let (name, id, why) = (&self.pool.function.name, call.id.as_str(), ending.why());
        tracing::warn!(target: "function", "({id}) {name}: its execution environment is ended because {why}");
        self.pool.retire(self.number, ending);
        self.let_go(call);
    }

    /// The runtime has said all it has to say to an invocation, and will come back; `payload` is its error if that is
    /// all there is. False if the invocation was over before.
    pub(super) fn answered(
        &self,
        call: &Call,
        error: Option<FunctionError>,
        payload: Option<Bytes>,
    ) -> bool {
        // Whoever sees the end may invoke the function at once, and shall find that it comes back.
        self.pool.answered(self.number);
        let ended = call.answered(error, payload);
        let is_first = ended.is_some();
        self.conclude(call, ended);
        is_first
    }

    /// Counts and logs an invocation's end, if this was it.
    pub(super) fn conclude(&self, call: &Call, ended: Option<Ended>) {
        let Some(ended) = ended else { return };
        let counters = &self.pool.counters;
        match ended.status {
            Status::Success => {}
            Status::Error => drop(counters.errors.fetch_add(1, Relaxed)),
            Status::Timeout => {
                counters.errors.fetch_add(1, Relaxed);
                counters.timeouts.fetch_add(1, Relaxed);
            }
            Status::Cancelled => drop(counters.cancelled.fetch_add(1, Relaxed)),
        }
        let name = &self.pool.function.name;
        tracing::info!(target: "function", "{name}: {}", call.end_line());
        tracing::info!(target: "function", "{name}: {}", ended.line(&call.id));
    }

    /// The runtime can't start, and says why. False if it had started.
    pub(super) fn init_failed(&self, failure: Failure) -> bool {
        if self.ready.is_cancelled() {
            return false;
        }
        let _ = self.init_failure.set(failure);
        self.broken.cancel();
        true
    }

    /// The invocation of this id that occupies the environment.
    pub(super) fn find(&self, id: &str) -> Option<Arc<Call>> {
        let calls = self.calls();
        let mut current = calls.current.iter();
        current.find(|call| call.id.as_str() == id).cloned()
    }

    /// Whether an invocation of this id was given up.
    pub(super) fn has_given_up(&self, id: &str) -> bool {
        self.calls()
            .given_up
            .iter()
            .any(|other| other.as_str() == id)
    }

    // --- its log

    /// Logs lines, under the id of the invocation if there is exactly one.
    fn teller(self: &Arc<Self>) -> Tell {
        let own = Arc::downgrade(self);
        Arc::new(move |line| {
            let Some(environment) = own.upgrade() else {
                return;
            };
            let name = &environment.pool.function.name;
            let only = match &*environment.calls().current {
                [only] => Some(only.clone()),
                _ => None,
            };
            match only {
                Some(call) => {
                    call.note(line);
                    tracing::info!(target: "function", "({}) {name}: {line}", call.id.as_str());
                }
                None => tracing::info!(target: "function", "{name}: {line}"),
            }
        })
    }
}
