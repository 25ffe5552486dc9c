//! The invocations that occupy an environment: delivered to its runtime, watched over, and let go when it comes back.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::{sleep_until, timeout};

use super::{
    call::{Call, Ended, Stage},
    ending::Ending,
    environment::Environment,
    failure::Failure,
    report::Status,
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
/// How long a runtime that asks for another event too early waits for the end of its last one.
const SECOND_CHANCE: Duration = Duration::from_secs(1);
/// Invocations that are remembered after they were given up, to tell a late answer from a wrong one.
const REMEMBERED: usize = 16;

/// What occupies an environment.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// Invocations whose runtime hasn't come back yet.
    pub current: Vec<Arc<Call>>,
    /// Its processes have ended.
    pub is_closed: bool,
    has_begun: bool,
    given_up: VecDeque<RequestId>,
}

impl Environment {
    /// The runtime asks for its next event: it has started, or come back from an invocation. `None` if it can't have
    /// one now.
    pub(super) async fn next(self: &Arc<Self>) -> Option<(Arc<Call>, Wall)> {
        self.come_back();
        if let Some(call) = self.pool.take(self.number).await {
            return Some(self.deliver(call));
        }
        // Its last answer may have broken off a moment ago, which another task is about to find out.
        let unanswered = self.unanswered()?;
        timeout(SECOND_CHANCE, unanswered.over.cancelled())
            .await
            .ok()?;
        self.come_back();
        let call = self.pool.take(self.number).await?;
        Some(self.deliver(call))
    }

    fn unanswered(&self) -> Option<Arc<Call>> {
        let calls = self.calls();
        let mut current = calls.current.iter();
        current.find(|call| !call.over.is_cancelled()).cloned()
    }

    fn come_back(&self) {
        if !self.ready.is_cancelled() {
            self.ready.cancel();
            return self.pool.ready(self.number);
        }
        let returned = {
            let calls = self.calls();
            let mut current = calls.current.iter();
            current.find(|call| call.over.is_cancelled()).cloned()
        };
        if let Some(call) = returned {
            self.let_go(&call);
        }
    }

    /// An invocation no longer occupies the environment.
    fn let_go(&self, call: &Arc<Call>) {
        {
            let mut calls = self.calls();
            let count = calls.current.len();
            calls.current.retain(|other| !Arc::ptr_eq(other, call));
            if calls.current.len() == count {
                return;
            }
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
            () = call.forsaken(), if !runs_on => {
                self.pool.cancelled(self.number);
                self.conclude(&call, call.cancel());
            }
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

    /// The invocation of this id that occupies the environment. Callers may choose the same id; then the nonce decides.
    pub(super) fn find(&self, id: &str, nonce: Option<&[u8]>) -> Option<Arc<Call>> {
        let calls = self.calls();
        let mut known = calls.current.iter().filter(|call| call.id.as_str() == id);
        let is_meant = |call: &&Arc<Call>| nonce == Some(call.nonce.as_bytes());
        known.clone().find(is_meant).or(known.next()).cloned()
    }

    /// Whether an invocation of this id was given up.
    pub(super) fn has_given_up(&self, id: &str) -> bool {
        self.calls()
            .given_up
            .iter()
            .any(|other| other.as_str() == id)
    }
}
