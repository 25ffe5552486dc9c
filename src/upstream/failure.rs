//! Why a call to a backend failed, and whether it may be tried once more.

use crate::types::fault::{Fault, FaultKind};

/// Whether the same request may go out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// The backend may have seen it.
    Never,
    /// A reused connection died without a byte of an answer: the backend closed it while the head was on its way, which
    /// only a method that may be repeated can risk (RFC 9110, section 9.2.2).
    IfIdempotent,
    /// Not a byte of it left.
    Always,
}

/// A failed call.
#[derive(Debug)]
pub struct Failure {
    /// What the client is told and the log says.
    pub fault: Fault,
    /// Whether it may be tried again.
    pub replay: Replay,
}

impl Failure {
    /// The backend can't be reached, or the connection broke before its answer.
    pub fn unreachable(
        reason: &'static str,
        detail: impl Into<Box<str>>,
        replay: Replay,
    ) -> Failure {
        Failure {
            fault: Fault::because(FaultKind::Unreachable, reason, detail),
            replay,
        }
    }

    /// The backend's name doesn't resolve.
    pub fn unresolvable(detail: impl Into<Box<str>>) -> Failure {
        Failure {
            fault: Fault::new(FaultKind::Unresolvable, detail),
            replay: Replay::Always,
        }
    }

    /// The answer's head can't be accepted.
    pub fn bad_answer(detail: impl Into<Box<str>>) -> Failure {
        Failure {
            fault: Fault::new(FaultKind::BadAnswer, detail),
            replay: Replay::Never,
        }
    }

    /// This host has no descriptors or ports left.
    pub fn exhausted(detail: impl Into<Box<str>>) -> Failure {
        Failure {
            fault: Fault::because(FaultKind::Overloaded, "no_descriptors", detail),
            replay: Replay::Never,
        }
    }

    /// The client's own fault, such as an upload that broke off.
    pub fn of_client(fault: Fault) -> Failure {
        Failure {
            fault,
            replay: Replay::Never,
        }
    }
}
