//! Functions behind the Lambda Invoke API: on AWS, or at any endpoint that speaks it.
//!
//! A call is one HTTP request over the worker's pooled connections, signed where there is something to sign with
//! (`request`). Where it goes is found out at the first call (`place`), and so are credentials, which are looked up and
//! refreshed on the control thread (`credentials`). The answer is judged by its head (`answer`); a streamed one is
//! decoded as its frames arrive (`events`). Deadlines and idle limits are the caller's, and nothing is tried twice.

mod answer;
mod credentials;
mod events;
mod place;
mod request;

use std::{sync::Arc, time::Duration};

pub use events::EventStream;

use self::{credentials::Keeper, place::Places};
use super::{
    invocation::{Invocation, InvokeFault},
    output::Invoked,
};
use crate::{
    config::model::RemoteFunction,
    stream::clocks::Clocks,
    types::{
        clock::Wall,
        fault::{Fault, FaultKind},
    },
    upstream::send::send,
};

/// Until a connection is there, TLS included.
const CONNECT: Duration = Duration::from_secs(5);

/// A function on AWS, or at a compatible endpoint.
#[derive(Debug)]
pub struct Remote {
    function_name: Option<Box<str>>,
    places: Places,
    keeper: Arc<Keeper>,
}

impl Remote {
    /// A function to be called; `control` is where credentials are kept fresh. Nothing is looked up yet.
    pub fn new(model: &RemoteFunction, control: &tokio::runtime::Handle) -> Remote {
        Remote {
            function_name: model.function_name.clone(),
            places: Places::new(model, control),
            keeper: Keeper::new(model.profile.clone(), control),
        }
    }

    /// Calls `Invoke` or `InvokeWithResponseStream`, as the invocation's mode says.
    pub async fn invoke(
        &self,
        invocation: Invocation,
        clocks: &Clocks,
    ) -> Result<Invoked, InvokeFault> {
        let mode = invocation.mode;
        let answer = async {
            let name = self.name(&invocation)?;
            let place = self.places.find(name).await?;
            let credentials = self.keeper.credentials(&place).await?;
            let credentials = credentials.as_ref();
            let mut outgoing = request::build(name, &invocation, &place, credentials, Wall::now())?;
            let answer = send(&place.destination, &mut outgoing, clocks, CONNECT).await;
            answer.map_err(|failure| failure.fault)
        };
        answer::read(answer.await.map_err(InvokeFault::Failed)?, mode).await
    }

    fn name<'a>(&'a self, invocation: &'a Invocation) -> Result<&'a str, Fault> {
        let name = self.function_name.as_deref();
        name.or(invocation.function.as_deref()).ok_or_else(|| {
            Fault::new(
                FaultKind::Misconfigured,
                "which function to call isn't said: set its `functionName`",
            )
        })
    }
}
