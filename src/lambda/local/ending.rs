//! Why an execution environment ends.

use std::time::Duration;

/// Why an environment ends although its process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It had nothing to do for long.
    Idle,
    /// The function's code has changed.
    CodeChanged,
    /// The configuration has changed.
    Replaced,
    /// The gateway stops.
    Stopped,
    /// It didn't start properly.
    NotStarted,
    /// One of its processes ended.
    Crashed,
    /// An invocation ran out of time.
    TimedOut,
    /// An invocation was cancelled, and its runtime didn't come back.
    Cancelled,
    /// An invocation was answered, but its runtime didn't come back.
    NeverReturned,
}

impl Ending {
    /// For the log.
    pub(super) fn why(self) -> &'static str {
        match self {
            Ending::Idle => "it was idle",
            Ending::CodeChanged => "its code has changed",
            Ending::Replaced => "it is no longer configured like this",
            Ending::Stopped => "the gateway stops",
            Ending::NotStarted => "it didn't start properly",
            Ending::Crashed => "one of its processes ended",
            Ending::TimedOut => "an invocation ran out of time",
            Ending::Cancelled => "an invocation was cancelled and didn't end",
            Ending::NeverReturned => "it didn't ask for another event after its answer",
        }
    }

    /// Between SIGTERM and SIGKILL.
    pub(super) fn grace(self) -> Duration {
        match self {
            Ending::Idle | Ending::CodeChanged | Ending::Replaced | Ending::Stopped => {
                Duration::from_secs(2)
            }
            _ => Duration::from_secs(1),
        }
    }

    /// `shutdownReason` for extensions.
    pub(super) fn shutdown_reason(self) -> &'static str {
        match self {
            Ending::Idle | Ending::CodeChanged | Ending::Replaced | Ending::Stopped => "spindown",
            Ending::TimedOut => "timeout",
            Ending::NotStarted | Ending::Crashed | Ending::Cancelled | Ending::NeverReturned => {
                "failure"
            }
        }
    }

    /// Whether others may be started in its place before it has ended: what runs on old code mustn't hold up the new.
    pub(super) fn frees_its_place(self) -> bool {
        matches!(
            self,
            Ending::CodeChanged | Ending::Replaced | Ending::Crashed
        )
    }
}
