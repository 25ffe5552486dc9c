//! Functions behind the Lambda Invoke API.

use std::task::{Context, Poll};

use super::{
    invocation::{Invocation, InvokeFault, Refusal},
    output::{Frame, Invoked},
};
use crate::{
    config::model::RemoteFunction,
    stream::{clocks::Clocks, source::Cut},
};

/// A function on AWS, or at a compatible endpoint.
#[derive(Debug)]
pub struct Remote {
    model: RemoteFunction,
}

impl Remote {
    /// A function to be called; `control` is where credentials are kept fresh.
    pub fn new(model: &RemoteFunction, _control: &tokio::runtime::Handle) -> Remote {
        Remote {
            model: model.clone(),
        }
    }

    /// Calls `Invoke` or `InvokeWithResponseStream`, as the invocation's mode says.
    pub async fn invoke(
        &self,
        _invocation: Invocation,
        _clocks: &Clocks,
    ) -> Result<Invoked, InvokeFault> {
        let name = self.model.function_name.as_deref().unwrap_or_default();
        Err(InvokeFault::Refused(Refusal::new(
            500,
            "ServiceException",
            format!("`{name}` can't be called"),
        )))
    }
}

/// The events of an `InvokeWithResponseStream` answer.
#[derive(Debug)]
pub struct EventStream;

impl EventStream {
    /// The next payload or the end.
    pub fn poll_frame(&mut self, _cx: &mut Context<'_>, _most: usize) -> Poll<Result<Frame, Cut>> {
        Poll::Pending
    }
}
