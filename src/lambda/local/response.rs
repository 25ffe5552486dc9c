//! A runtime's response on its way to the client.

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::{call::Call, runtime_api::trailing_error};
use crate::lambda::output::FunctionError;

/// How a response came through.
#[derive(Debug)]
pub(super) enum Passed {
    /// To its end, with the error that its trailers may tell.
    Whole(Option<FunctionError>),
    /// It is larger than it may be; the rest is still in the body.
    TooLarge(Incoming),
    /// It broke off.
    Truncated,
    /// The invocation ended otherwise.
    Over,
}

/// Passes a response on, each piece as it comes and none before the one ahead of it was taken.
pub(super) async fn pass_on(call: &Call, mut body: Incoming, most: usize) -> Passed {
    let mut error = None;
    let mut room = most;
    loop {
        let frame = tokio::select! {
            biased;
            () = call.over.cancelled() => return Passed::Over,
            frame = body.frame() => frame,
        };
        let data: Bytes = match frame {
            None => return Passed::Whole(error),
            Some(Err(_)) => return Passed::Truncated,
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => data,
                Err(frame) => {
                    error = frame.trailers_ref().and_then(trailing_error);
                    continue;
                }
            },
        };
        let Some(rest) = room.checked_sub(data.len()) else {
            return Passed::TooLarge(body);
        };
        room = rest;
        tokio::select! {
            biased;
            () = call.over.cancelled() => return Passed::Over,
            () = call.give(data) => {}
        }
    }
}
