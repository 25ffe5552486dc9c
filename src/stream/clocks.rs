//! The clocks of one exchange, shared by what moves its bytes and by what watches over them.
//!
//! A body is not polled while its client isn't reading, so a limit inside the body would never fire. The limits
//! therefore live here: the body and the sockets store what happened, and whoever drives the exchange (the HTTP/1
//! connection, or the watchdog around an HTTP/2 stream) asks when the next limit is due. All of it runs on one thread, but
//! for verdicts and whoever looks on; the atomics only let the parts share it safely, and relaxed loads and stores cost
//! what plain ones do.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    task::Waker,
    time::Duration,
};

use crate::types::{clock::Tick, context::Transfer, outcome::Outcome};

/// How long a body gets to end in good order after a verdict before the exchange is dropped.
pub const GRACE: Duration = Duration::from_millis(100);

/// Whom an exchange waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Waiting {
    /// Nobody: the exchange hasn't begun or is over.
    Nobody = 0,
    /// The integration, for its head or more of its body.
    Integration = 1,
    /// The client, to accept bytes.
    Client = 2,
    /// The shaper, for its next grant.
    Shaper = 3,
    /// The client, for more of the request body.
    Upload = 4,
}

impl Waiting {
    const ALL: [Waiting; 5] = [
        Waiting::Nobody,
        Waiting::Integration,
        Waiting::Client,
        Waiting::Shaper,
        Waiting::Upload,
    ];
}

/// Time limits of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the integration's call to the end of the response.
    pub deadline: Duration,
    /// The integration's silence.
    pub idle: Duration,
    /// Without a byte accepted by the client.
    pub client_stall: Duration,
    /// Without a byte of the request body.
    pub upload: Duration,
}

/// What is due next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// A limit: the exchange ends with this outcome.
    Verdict(Outcome),
    /// The shaper's next grant: the body wants to be polled.
    Resume,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Clocks {
    now: AtomicU64,
    deadline: AtomicU64,
    idle: AtomicU64,
    client_stall: AtomicU64,
    upload: AtomicU64,
    waiting: AtomicU8,
    /// When the present wait began, for accounting.
    entered: AtomicU64,
    /// When whoever is waited for last did something.
    progress: AtomicU64,
    resume: AtomicU64,
    verdict: AtomicU8,
    spent: [AtomicU64; 5],
    /// Whoever drives the exchange, for a verdict that comes from elsewhere.
    waker: Mutex<Option<Waker>>,
}

const NEVER: u64 = u64::MAX;

impl Default for Clocks {
    fn default() -> Self {
        Clocks {
            now: AtomicU64::new(Tick::now().micros()),
            deadline: AtomicU64::new(NEVER),
            idle: AtomicU64::new(NEVER),
            client_stall: AtomicU64::new(NEVER),
            upload: AtomicU64::new(NEVER),
            waiting: AtomicU8::new(Waiting::Nobody as u8),
            entered: AtomicU64::new(0),
            progress: AtomicU64::new(0),
            resume: AtomicU64::new(NEVER),
            verdict: AtomicU8::new(0),
            spent: Default::default(),
            waker: Mutex::default(),
        }
    }
}

impl Clocks {
    /// Notes the present; once per poll of the exchange, so that nothing else reads the clock.
    pub fn stamp(&self, now: Tick) {
        self.now.store(now.micros(), Relaxed);
    }

    /// The present as last noted.
    pub fn now(&self) -> Tick {
        Tick::from_micros(self.now.load(Relaxed))
    }

    /// Begins an exchange: no limit but those on the client, nothing spent, no verdict.
    pub fn open(&self, client_stall: Duration, upload: Duration) {
        let now = self.now();
        self.deadline.store(NEVER, Relaxed);
        self.idle.store(NEVER, Relaxed);
        self.client_stall
            .store(client_stall.as_micros() as u64, Relaxed);
        self.upload.store(upload.as_micros() as u64, Relaxed);
        self.waiting.store(Waiting::Nobody as u8, Relaxed);
        self.entered.store(now.micros(), Relaxed);
        self.progress.store(now.micros(), Relaxed);
        self.resume.store(NEVER, Relaxed);
        self.verdict.store(0, Relaxed);
        self.spent.iter().for_each(|spent| spent.store(0, Relaxed));
    }

    /// The integration's call begins: its deadline and the limits of its route apply.
    pub fn call(&self, limits: &Limits) {
        self.deadline
            .store(self.now().after(limits.deadline).micros(), Relaxed);
        self.idle.store(limits.idle.as_micros() as u64, Relaxed);
        self.client_stall
            .store(limits.client_stall.as_micros() as u64, Relaxed);
        self.upload.store(limits.upload.as_micros() as u64, Relaxed);
        self.wait(Waiting::Integration);
    }

    /// The integration has nothing more to do with this exchange: only the client is watched.
    pub fn detach(&self) {
        self.deadline.store(NEVER, Relaxed);
        self.wait(Waiting::Nobody);
    }

    /// From now on the exchange waits for `whom`. Says nothing new if it already did.
    pub fn wait(&self, whom: Waiting) {
        let before = self.waiting.load(Relaxed);
        if before == whom as u8 {
            return;
        }
        self.waiting.store(whom as u8, Relaxed);
        let now = self.now.load(Relaxed);
        let entered = self.entered.load(Relaxed);
        self.entered.store(now, Relaxed);
        if let Some(spent) = self.spent.get(usize::from(before)) {
            let total = spent.load(Relaxed) + now.saturating_sub(entered);
            spent.store(total, Relaxed);
        }
        self.progress.store(now, Relaxed);
    }

    /// Whoever is waited for did something.
    pub fn progress(&self) {
        self.progress.store(self.now.load(Relaxed), Relaxed);
    }

    /// Whom the exchange waits for.
    pub fn waiting(&self) -> Waiting {
        let waiting = self.waiting.load(Relaxed);
        Waiting::ALL
            .get(usize::from(waiting))
            .copied()
            .unwrap_or(Waiting::Nobody)
    }

    /// Waits for the shaper until `at`.
    pub fn pace_until(&self, at: Tick) {
        self.resume.store(at.micros(), Relaxed);
        self.wait(Waiting::Shaper);
    }

    /// The earliest limit that runs now, and what it means.
    pub fn due(&self) -> (Tick, Alarm) {
        let progress = self.progress.load(Relaxed);
        let after = |limit: &AtomicU64| progress.saturating_add(limit.load(Relaxed));
        let (at, alarm) = match self.waiting() {
            Waiting::Nobody => (NEVER, Alarm::Resume),
            Waiting::Integration => (after(&self.idle), Alarm::Verdict(Outcome::Idle)),
            Waiting::Client => (
                after(&self.client_stall),
                Alarm::Verdict(Outcome::ClientStalled),
            ),
            Waiting::Upload => (after(&self.upload), Alarm::Verdict(Outcome::ClientStalled)),
            Waiting::Shaper => (self.resume.load(Relaxed), Alarm::Resume),
        };
        let deadline = self.deadline.load(Relaxed);
        // A deadline beats a grant that is due at the same time: a busy stream must not outlive it.
        if deadline <= at {
            (
                Tick::from_micros(deadline),
                Alarm::Verdict(Outcome::Deadline),
            )
        } else {
            (Tick::from_micros(at), alarm)
        }
    }

    /// Lets due limits take effect. Returns when the next one is.
    pub fn check(&self) -> Tick {
        let (at, alarm) = self.due();
        if at > self.now() {
            return at;
        }
        match alarm {
            Alarm::Verdict(outcome) => self.judge(outcome),
            Alarm::Resume => self.resume.store(NEVER, Relaxed),
        }
        Tick::NEVER
    }

    /// Gives a verdict, unless there is one already.
    pub fn judge(&self, outcome: Outcome) {
        let _ = self
            .verdict
            .compare_exchange(0, outcome as u8 + 1, Relaxed, Relaxed);
    }

    /// The verdict, if a limit ran out.
    pub fn verdict(&self) -> Option<Outcome> {
        let given = usize::from(self.verdict.load(Relaxed));
        given
            .checked_sub(1)
            .and_then(|at| Outcome::ALL.get(at).copied())
    }

    /// Notes how the task that drives the exchange is woken.
    pub fn register(&self, waker: &Waker) {
        let mut own = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if own.as_ref().is_none_or(|own| !own.will_wake(waker)) {
            *own = Some(waker.clone());
        }
    }

    /// Wakes it.
    pub fn wake(&self) {
        self.waker
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .for_each(Waker::wake_by_ref);
    }

    /// Microseconds spent waiting for `whom`, the present wait included.
    pub fn waited_for(&self, whom: Waiting, now: Tick) -> u64 {
        let spent = self.spent.get(whom as usize);
        let before = spent.map_or(0, |spent| spent.load(Relaxed));
        let present = if self.waiting() == whom {
            now.micros().saturating_sub(self.entered.load(Relaxed))
        } else {
            0
        };
        before + present
    }

    /// Ends the accounting and adds what was spent waiting to `transfer`.
    pub fn settle(&self, transfer: &mut Transfer) {
        self.wait(Waiting::Nobody);
        let spent = |whom: Waiting| {
            self.spent
                .get(whom as usize)
                .map_or(0, |spent| spent.load(Relaxed))
        };
        transfer.throttled = spent(Waiting::Shaper);
        transfer.blocked_on_client = spent(Waiting::Client) + spent(Waiting::Upload);
        transfer.blocked_on_integration = spent(Waiting::Integration);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        deadline: Duration::from_secs(29),
        idle: Duration::from_secs(10),
        client_stall: Duration::from_secs(5),
        upload: Duration::from_secs(3),
    };

    fn at(clocks: &Clocks, seconds: u64) -> (Tick, Alarm) {
        clocks.stamp(Tick::from_micros(seconds * 1_000_000));
        clocks.check();
        clocks.due()
    }

    fn begun() -> Clocks {
        let clocks = Clocks::default();
        clocks.stamp(Tick::from_micros(0));
        clocks.open(LIMITS.client_stall, LIMITS.upload);
        clocks.call(&LIMITS);
        clocks
    }

    #[test]
    fn silence_is_charged_to_the_one_who_is_waited_for() {
        let clocks = begun();
        assert_eq!(
            at(&clocks, 4),
            (Tick::from_micros(10_000_000), Alarm::Verdict(Outcome::Idle))
        );
        clocks.wait(Waiting::Client);
        assert_eq!(
            at(&clocks, 5),
            (
                Tick::from_micros(9_000_000),
                Alarm::Verdict(Outcome::ClientStalled)
            )
        );
        clocks.progress();
        assert_eq!(at(&clocks, 6).0, Tick::from_micros(10_000_000));
        clocks.wait(Waiting::Integration);
        // The integration's own silence begins anew once it may speak again.
        assert_eq!(at(&clocks, 7).0, Tick::from_micros(16_000_000));
        assert_eq!(clocks.verdict(), None);
    }

    #[test]
    fn a_stream_that_never_pauses_still_meets_its_deadline() {
        let clocks = begun();
        for second in 0..29 {
            at(&clocks, second);
            clocks.progress();
        }
        assert_eq!(clocks.verdict(), None);
        at(&clocks, 29);
        assert_eq!(clocks.verdict(), Some(Outcome::Deadline));
    }

    #[test]
    fn the_first_verdict_stays() {
        let clocks = begun();
        at(&clocks, 10);
        clocks.judge(Outcome::Drained);
        assert_eq!(clocks.verdict(), Some(Outcome::Idle));
    }

    #[test]
    fn waiting_for_the_shaper_is_nobodys_silence() {
        let clocks = begun();
        clocks.pace_until(Tick::from_micros(20_000_000));
        assert_eq!(
            at(&clocks, 12),
            (Tick::from_micros(20_000_000), Alarm::Resume)
        );
        at(&clocks, 20);
        assert_eq!(clocks.verdict(), None);
    }

    #[test]
    fn time_is_accounted_by_cause() {
        let clocks = begun();
        at(&clocks, 2);
        clocks.wait(Waiting::Client);
        at(&clocks, 3);
        clocks.pace_until(Tick::from_micros(4_000_000));
        at(&clocks, 7);
        let mut transfer = Transfer::default();
        clocks.settle(&mut transfer);
        let seconds = [
            transfer.blocked_on_integration,
            transfer.blocked_on_client,
            transfer.throttled,
        ];
        assert_eq!(seconds.map(|micros| micros / 1_000_000), [2, 1, 4]);
    }
}
