//! Functions that run here, as processes of our own.
//!
//! A [`Local`] has a pool of execution environments. Each is a process group that speaks the Lambda Runtime API on a
//! loopback port of its own, so that runtimes made for AWS run unmodified. All that concerns processes happens on the
//! control thread; workers hand an invocation over and take its output from a channel, which holds so little that a
//! client that doesn't read stops the function's writing.

mod admission;
mod bootstraps;
mod call;
mod counters;
mod ending;
mod environment;
mod extension_api;
mod extensions;
mod failure;
mod fleet;
mod lines;
mod occupation;
mod pool;
mod process;
mod program;
mod replies;
mod report;
mod response;
mod runtime_api;
mod server;
mod tail;
#[cfg(test)]
mod testing;
mod variables;
mod watch;

use std::sync::Arc;

use tokio::runtime::Handle;

pub use self::counters::{Counters, Gauges};
use self::{bootstraps::Bootstraps, call::Call, pool::Pool, program::Program, watch::Watch};
use super::{
    invocation::{Invocation, InvokeFault, Refusal},
    output::{Invoked, Output},
};
use crate::{
    config::model::{Function, FunctionTarget},
    stream::unattended,
};

/// A function that runs here: its execution environments and whoever waits for one. When it is dropped, environments end
/// as soon as they have answered what they have.
#[derive(Debug)]
pub struct Local {
    /// `None` if the function isn't a local one, so that nothing can run.
    pool: Option<Arc<Pool>>,
    _watch: Option<Watch>,
    /// Keeps the bundled runtimes from being written anew for each environment.
    _bootstraps: Option<Arc<Bootstraps>>,
}

impl Local {
    /// A function without an environment yet; `control` is where its processes are looked after.
    pub fn new(model: &Function, control: &Handle) -> Local {
        Local::counting_in(Arc::default(), model, control)
    }

    /// The function that takes this one's place, with other settings: its counts go on.
    #[must_use]
    pub fn followed_by(&self, model: &Function, control: &Handle) -> Local {
        let own = self.pool.as_ref().map(|pool| pool.counters.clone());
        Local::counting_in(own.unwrap_or_default(), model, control)
    }

    fn counting_in(counters: Arc<Counters>, model: &Function, control: &Handle) -> Local {
        let FunctionTarget::Local(local) = &model.target else {
            return Local {
                pool: None,
                _watch: None,
                _bootstraps: None,
            };
        };
        let pool = Pool::new(model, local, counters, control);
        Local {
            _watch: local.watch.then(|| Watch::start(&pool, control)).flatten(),
            // If it can't be written, the first environment's failure says so.
            _bootstraps: Program::is_bundled(local)
                .then(|| Bootstraps::get().ok())
                .flatten(),
            pool: Some(pool),
        }
    }

    /// Invokes the function, in an environment that is free or new, and waits for the beginning of its answer.
    pub async fn invoke(&self, invocation: Invocation) -> Result<Invoked, InvokeFault> {
        let Some(pool) = &self.pool else {
            return Err(InvokeFault::Refused(lost()));
        };
        let (call, ends) = pool.submit(invocation).map_err(InvokeFault::Refused)?;
        if call.invocation.runs_on {
            let (over, watched) = (call.over.clone(), call.clone());
            let gone = async move { watched.forsaken().await };
            unattended::run(over.cancelled_owned(), gone);
        }
        let _queued = Queued { pool, call };
        let beginning = ends.beginning.await.unwrap_or_else(|_| Err(lost()));
        Ok(Invoked {
            content_type: beginning.map_err(InvokeFault::Refused)?,
            version: variables::VERSION.into(),
            output: Output::local(ends.frames),
        })
    }

    /// Ends all environments, whatever they do, and waits until their processes are gone.
    pub async fn stop(&self) {
        if let Some(pool) = &self.pool {
            pool.stop().await;
        }
    }

    /// What has been counted since the start.
    pub fn counters(&self) -> Option<&Counters> {
        self.pool.as_ref().map(|pool| &*pool.counters)
    }

    /// How many environments there are, and invocations that wait for one.
    pub fn gauges(&self) -> Gauges {
        self.pool
            .as_ref()
            .map(|pool| pool.gauges())
            .unwrap_or_default()
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        if let Some(pool) = &self.pool {
            pool.close();
        }
    }
}

/// Takes an invocation out of the queue when its caller leaves before an environment has it.
struct Queued<'a> {
    pool: &'a Arc<Pool>,
    call: Arc<Call>,
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        if !self.call.invocation.runs_on {
            self.pool.forget(&self.call);
        }
    }
}

fn lost() -> Refusal {
    Refusal::new(
        500,
        "ServiceException",
        "the function's environment is gone",
    )
}
