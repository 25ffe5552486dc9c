//! A function: where it runs, and how it is named.

use super::{
    invocation::{Invocation, InvokeFault},
    local::Local,
    output::Invoked,
    remote::Remote,
};
use crate::stream::clocks::Clocks;

/// A function that can be invoked. Shared by all workers.
#[derive(Debug)]
pub struct Function {
    /// Its name in the configuration.
    pub name: Box<str>,
    /// Where it runs.
    pub target: Target,
}

/// Where a function runs.
#[derive(Debug)]
pub enum Target {
    /// In processes of our own.
    Local(Local),
    /// Behind the Lambda Invoke API.
    Remote(Remote),
}

impl Function {
    /// Invokes the function, and waits for the beginning of its output. Never tried twice, as on AWS.
    pub async fn invoke(
        &self,
        invocation: Invocation,
        clocks: &Clocks,
    ) -> Result<Invoked, InvokeFault> {
        match &self.target {
            Target::Local(local) => local.invoke(invocation).await,
            Target::Remote(remote) => remote.invoke(invocation, clocks).await,
        }
    }

    /// Whether it runs here.
    pub fn is_local(&self) -> bool {
        matches!(self.target, Target::Local(_))
    }
}
