//! Where a response's payload comes from.

use std::task::{Context, Poll};

use bytes::Bytes;

use crate::types::{fields::Fields, outcome::Outcome};

/// Why a response ended early.
#[derive(Clone, Debug)]
pub struct Cut {
    /// The outcome for the record.
    pub outcome: Outcome,
    /// What happened, in words.
    pub detail: Box<str>,
}

impl Cut {
    /// A cut with its reason.
    pub fn new(outcome: Outcome, detail: impl Into<Box<str>>) -> Cut {
        Cut {
            outcome,
            detail: detail.into(),
        }
    }
}

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Cut {}

/// A response body as an integration delivers it.
pub trait Source {
    /// The payload that has arrived, at most `most` bytes; `None` at the proper end. Never waits for more than there is.
    fn poll_payload(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
    ) -> Poll<Option<Result<Bytes, Cut>>>;

    /// How many bytes are still to come, if the integration said so.
    fn remaining(&self) -> Option<u64>;

    /// Whether nothing more is to come, so that no poll is needed to find out.
    fn is_over(&self) -> bool;

    /// Trailer fields, after the end.
    fn take_trailers(&mut self) -> Option<Fields>;
}
