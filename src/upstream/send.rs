//! One call to a backend: a connection from the pool or a new one, and at most one more attempt.

use std::{sync::Arc, time::Duration};

use http::Method;

use super::{
    answer::Answer,
    connect::connect,
    endpoint::Endpoint,
    failure::{Failure, Replay},
    group::Group,
    h1::{self, Connection},
    h2::Sender,
    pool,
    request::Outgoing,
};
use crate::stream::clocks::Clocks;

/// Where a request goes.
#[derive(Clone, Debug)]
pub enum Destination {
    /// One place.
    Endpoint(Arc<Endpoint>),
    /// Whichever target of a group has least to do.
    Group(Arc<Group>),
}

/// Sends `request` and waits for the answer's head.
///
/// A second attempt is made only when provably nothing was sent, or when a reused connection died without a byte of an
/// answer and the method may be repeated.
pub async fn send(
    destination: &Destination,
    request: &mut Outgoing,
    clocks: &Clocks,
    connect_limit: Duration,
) -> Result<Answer, Failure> {
    match attempt(destination, request, clocks, connect_limit, true).await {
        Err(failure) if may_repeat(&failure, destination, &request.method) => {
            tracing::debug!(
                reason = failure.fault.reason,
                "trying once more: {}",
                failure.fault.detail
            );
            Box::pin(attempt(destination, request, clocks, connect_limit, false)).await
        }
        result => result,
    }
}

fn may_repeat(failure: &Failure, destination: &Destination, method: &Method) -> bool {
    match failure.replay {
        Replay::Never => false,
        Replay::IfIdempotent => method.is_idempotent(),
        // Connecting to the same single place again would only double the wait.
        Replay::Always => {
            failure.fault.reason == "closed_without_answer"
                || matches!(destination, Destination::Group(group) if group.len() > 1)
        }
    }
}

async fn attempt(
    destination: &Destination,
    request: &mut Outgoing,
    clocks: &Clocks,
    connect_limit: Duration,
    may_reuse: bool,
) -> Result<Answer, Failure> {
    match destination {
        Destination::Endpoint(endpoint) => {
            call(endpoint, request, clocks, connect_limit, may_reuse).await
        }
        Destination::Group(group) => {
            let lease = group.lease(clocks.now());
            let endpoint = lease.endpoint().clone();
            let result = call(&endpoint, request, clocks, connect_limit, may_reuse).await;
            lease.report(
                result.as_ref().err().map(|failure| failure.fault.kind),
                clocks.now(),
            );
            result.map(|mut answer| {
                answer.body.hold(lease);
                answer
            })
        }
    }
}

async fn call(
    endpoint: &Arc<Endpoint>,
    request: &mut Outgoing,
    clocks: &Clocks,
    connect_limit: Duration,
    may_reuse: bool,
) -> Result<Answer, Failure> {
    if may_reuse {
        if let Some(connection) = pool::take(endpoint, clocks.now()) {
            return h1::exchange(connection, request, clocks).await;
        }
        if let Some(sender) = endpoint.tls.as_ref().and_then(|_| pool::http2(endpoint)) {
            return Box::pin(sender.exchange(request)).await;
        }
    }
    let stream = Box::pin(connect(endpoint, connect_limit)).await?;
    pool::count_opened();
    if stream.is_http2() {
        let sender = Box::pin(Sender::open(stream, endpoint.clone())).await?;
        pool::share(endpoint, sender.clone());
        return Box::pin(sender.exchange(request)).await;
    }
    h1::exchange(Connection::new(stream, endpoint.clone()), request, clocks).await
}
