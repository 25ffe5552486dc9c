//! Time: a monotonic tick for every clock of the gateway, and wall time for what people read.
//!
//! The only place that asks the system for the time, so that tests can run on tokio's paused clock and a step of the
//! wall clock never moves a timeout.

use std::{
    cell::{Cell, RefCell},
    sync::OnceLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use jiff::{Timestamp, tz::TimeZone};
use tokio::time::Instant;

/// Microseconds on a monotonic clock whose zero lies an hour before the process's first reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(u64);

static ZERO: OnceLock<Instant> = OnceLock::new();

thread_local! {
    static RECENT: Cell<Tick> = const { Cell::new(Tick(0)) };
}

/// Lets a tick lie before the process's start, as a test's paused clock may.
const LEAD: Duration = Duration::from_secs(3600);

fn zero() -> Instant {
    *ZERO.get_or_init(|| {
        let now = Instant::now();
        now.checked_sub(LEAD).unwrap_or(now)
    })
}

impl Tick {
    /// A time that never comes.
    pub const NEVER: Tick = Tick(u64::MAX);

    /// The present.
    pub fn now() -> Tick {
        let since = Instant::now().saturating_duration_since(zero());
        let now = Tick(since.as_micros() as u64);
        RECENT.set(now);
        now
    }

    /// This thread's last reading of the clock: a worker reads it at every turn, so it is young enough for accounting.
    pub fn recent() -> Tick {
        match RECENT.get() {
            Tick(0) => Tick::now(),
            recent => recent,
        }
    }

    /// A tick from its microseconds, as [`Tick::micros`] gave them.
    pub const fn from_micros(micros: u64) -> Tick {
        Tick(micros)
    }

    /// Microseconds since the clock's zero.
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it isn't.
    pub fn since(self, earlier: Tick) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// Whole milliseconds after `earlier`, as AWS's log variables count.
    pub fn millis_since(self, earlier: Tick) -> u64 {
        self.0.saturating_sub(earlier.0) / 1000
    }

    /// This time and `duration`, or [`Tick::NEVER`].
    #[must_use]
    pub fn after(self, duration: Duration) -> Tick {
        Tick(
            self.0
                .saturating_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)),
        )
    }

    /// The same moment for tokio's timers; a century away for [`Tick::NEVER`].
    pub fn instant(self) -> Instant {
        const CENTURY: u64 = 100 * 365 * 86_400 * 1_000_000;
        zero() + Duration::from_micros(self.0.min(CENTURY))
    }
}

/// The day of a time in seconds since the Unix epoch, such as `2026-11-22`.
pub fn day(seconds: i64) -> String {
    let at = Timestamp::from_second(seconds).unwrap_or_default();
    at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d").to_string()
}

/// Milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wall(pub u64);

impl Wall {
    /// The present by the system's clock.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the wall clock"
    )]
    pub fn now() -> Wall {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Wall(since.as_millis() as u64)
    }

    /// This time and `duration`.
    #[must_use]
    pub fn after(self, duration: Duration) -> Wall {
        Wall(self.0 + duration.as_millis() as u64)
    }

    /// Whole seconds since the epoch.
    pub const fn seconds(self) -> u64 {
        self.0 / 1000
    }

    fn formatted(self, format: &str) -> String {
        let second = i64::try_from(self.seconds()).unwrap_or(0);
        let at = Timestamp::from_second(second).unwrap_or_default();
        at.to_zoned(TimeZone::UTC).strftime(format).to_string()
    }

    /// Appends `22/Nov/2026:10:15:07 +0000`, as `$context.requestTime` (the common log format's date).
    pub fn write_clf(self, out: &mut Vec<u8>) {
        thread_local!(static LAST: Cached = const { Cached::new(("%d/%b/%Y:%H:%M:%S +0000", 0, String::new())) });
        LAST.with(|cached| self.write_cached(cached, out));
    }

    /// Appends `Sun, 22 Nov 2026 10:15:07 GMT`, as the `Date` field (RFC 9110, section 5.6.7).
    pub fn write_imf_fixdate(self, out: &mut Vec<u8>) {
        thread_local!(static LAST: Cached = const { Cached::new(("%a, %d %b %Y %H:%M:%S GMT", 0, String::new())) });
        LAST.with(|cached| self.write_cached(cached, out));
    }

    /// Appends `2026-11-22T10:15:07.123Z`, for log lines that programs sort.
    pub fn write_rfc3339(self, out: &mut Vec<u8>) {
        thread_local!(static LAST: Cached = const { Cached::new(("%Y-%m-%dT%H:%M:%S.", 0, String::new())) });
        LAST.with(|cached| self.write_cached(cached, out));
        let millis = (self.0 % 1000) as u16;
        let digits = [millis / 100, millis / 10 % 10, millis % 10].map(|digit| b'0' + digit as u8);
        out.extend_from_slice(&digits);
        out.push(b'Z');
    }

    /// Formats once a second per thread.
    fn write_cached(self, cached: &Cached, out: &mut Vec<u8>) {
        let (format, second, text) = &mut *cached.borrow_mut();
        if *second != self.seconds() {
            (*second, *text) = (self.seconds(), self.formatted(format));
        }
        out.extend_from_slice(text.as_bytes());
    }
}

/// A format, the second it was last applied to, and what came of it.
type Cached = RefCell<(&'static str, u64, String)>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_time_is_written_as_logs_and_the_date_field_want_it() {
        let wall = Wall(1_795_342_507_123);
        let written = |write: fn(Wall, &mut Vec<u8>)| {
            let mut out = Vec::new();
            write(wall, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(Wall::write_clf), "22/Nov/2026:10:15:07 +0000");
        assert_eq!(
            written(Wall::write_imf_fixdate),
            "Sun, 22 Nov 2026 10:15:07 GMT"
        );
        assert_eq!(written(Wall::write_rfc3339), "2026-11-22T10:15:07.123Z");
    }

    #[test]
    fn never_is_later_than_everything_and_still_a_valid_instant() {
        let now = Tick::now();
        assert!(now < Tick::NEVER);
        assert_eq!(now.after(Duration::MAX), Tick::NEVER);
        assert!(Tick::NEVER.instant() > Instant::now());
    }

    #[tokio::test(start_paused = true)]
    async fn ticks_follow_the_paused_clock() {
        let before = Tick::now();
        tokio::time::advance(Duration::from_millis(1500)).await;
        assert_eq!(Tick::now().millis_since(before), 1500);
    }
}
