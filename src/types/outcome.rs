//! How a response ended: one closed list, in every record.

/// The end of a response, as the access log's `outcome`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Outcome {
    /// The client was given everything.
    Complete,
    /// The gateway answered itself: no route, not allowed, too large, misconfigured.
    Refused,
    /// `timeoutInMillis` ran out.
    Deadline,
    /// The integration was silent for the idle limit.
    Idle,
    /// The client accepted no byte for the stall limit.
    ClientStalled,
    /// The client went away before the end.
    ClientLeft,
    /// The integration failed before its head was complete.
    IntegrationFailed,
    /// The integration broke off after its head.
    IntegrationTruncated,
    /// A size limit was reached after the head.
    Limit,
    /// A shutdown's time was up.
    Drained,
    /// An operator ended it.
    Terminated,
}

impl Outcome {
    /// The word in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Complete => "complete",
            Outcome::Refused => "refused",
            Outcome::Deadline => "deadline",
            Outcome::Idle => "idle",
            Outcome::ClientStalled => "client_stalled",
            Outcome::ClientLeft => "client_left",
            Outcome::IntegrationFailed => "integration_failed",
            Outcome::IntegrationTruncated => "integration_truncated",
            Outcome::Limit => "limit",
            Outcome::Drained => "drained",
            Outcome::Terminated => "terminated",
        }
    }

    /// Who caused it, where that is somebody's fault.
    pub const fn side(self) -> Option<Side> {
        match self {
            Outcome::Complete => None,
            Outcome::ClientStalled | Outcome::ClientLeft => Some(Side::Client),
            Outcome::Refused | Outcome::Limit | Outcome::Drained | Outcome::Terminated => {
                Some(Side::Gateway)
            }
            Outcome::Deadline
            | Outcome::Idle
            | Outcome::IntegrationFailed
            | Outcome::IntegrationTruncated => Some(Side::Integration),
        }
    }

    /// All outcomes, in the order of their numbers.
    pub const ALL: [Outcome; 11] = [
        Outcome::Complete,
        Outcome::Refused,
        Outcome::Deadline,
        Outcome::Idle,
        Outcome::ClientStalled,
        Outcome::ClientLeft,
        Outcome::IntegrationFailed,
        Outcome::IntegrationTruncated,
        Outcome::Limit,
        Outcome::Drained,
        Outcome::Terminated,
    ];
}

/// Who is responsible for a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The caller.
    Client,
    /// The gateway or its configuration.
    Gateway,
    /// The backend.
    Integration,
}

impl Side {
    /// The word in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Side::Client => "client",
            Side::Gateway => "gateway",
            Side::Integration => "integration",
        }
    }
}
