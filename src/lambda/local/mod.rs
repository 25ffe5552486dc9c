//! Functions that run here, as processes of our own.

use super::{
    invocation::{Invocation, InvokeFault, Refusal},
    output::Invoked,
};
use crate::config::model::Function;

/// A function that runs here: its execution environments and whoever waits for one.
#[derive(Debug)]
pub struct Local {
    model: Function,
}

impl Local {
    /// A function without an environment yet; `control` is where its processes are looked after.
    pub fn new(model: &Function, _control: &tokio::runtime::Handle) -> Local {
        Local {
            model: model.clone(),
        }
    }

    /// Invokes the function, in an environment that is free or new.
    pub async fn invoke(&self, _invocation: Invocation) -> Result<Invoked, InvokeFault> {
        let name = &self.model.name;
        Err(InvokeFault::Refused(Refusal::new(
            500,
            "ServiceException",
            format!("`{name}` can't be run"),
        )))
    }

    /// Ends all environments.
    pub async fn stop(&self) {}
}
