//! HTTP_PROXY: the request goes to a backend, its answer comes back.

pub mod request;
pub mod response;

use std::{
    future::{poll_fn, ready},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{gather, under_clocks};
use crate::{
    config::model,
    stream::{arena::READ, clocks::Clocks, request_body::RequestBody, source::Source, unattended},
    types::{
        context::Context,
        fault::{Fault, FaultKind},
        head::ResponseHead,
    },
    upstream::{
        answer::{Answer, Body},
        request::Outgoing,
        send::{Destination, send},
    },
};

/// What the gateway adds to every request, and how.
#[derive(Debug)]
pub struct Identity {
    /// The gateway's name in `Via`.
    pub instance_id: Box<str>,
    /// Whether header names with `_` are passed on.
    pub pass_underscores: bool,
    /// Proxies before the gateway whose word about clients' addresses is taken.
    pub trusted_hops: usize,
}

/// An HTTP_PROXY integration.
#[derive(Debug)]
pub struct HttpProxy {
    model: model::HttpProxy,
    destination: Destination,
    identity: Arc<Identity>,
}

impl HttpProxy {
    /// An integration whose requests go to `destination`.
    pub fn new(
        model: model::HttpProxy,
        destination: Destination,
        identity: Arc<Identity>,
    ) -> HttpProxy {
        HttpProxy {
            model,
            destination,
            identity,
        }
    }

    /// Limits and timeouts.
    pub fn policy(&self) -> &model::Policy {
        &self.model.policy
    }

    /// Sends the request and waits for the head of the answer.
    pub async fn call(
        &self,
        context: &mut Context,
        mut body: RequestBody,
        clocks: &Arc<Clocks>,
    ) -> Result<(ResponseHead, Body), Fault> {
        if let Some(poison) = &self.model.poison {
            return Err(Fault::new(FaultKind::Misconfigured, poison.clone()));
        }
        let policy = &self.model.policy;
        body.limit(policy.request_body)?;
        clocks.call(&policy.limits);
        context.integration.started = Some(clocks.now());
        let whole = if self.model.needs_body() {
            Some(Box::pin(under_clocks(clocks, gather(&mut body, clocks))).await?)
        } else {
            None
        };
        if let Some(whole) = &whole {
            body = RequestBody::whole(whole.clone());
        }
        let mut outgoing =
            request::build(&self.model, &self.identity, context, body, whole.as_ref())?;
        let answer = if policy.finish_without_client {
            Box::pin(self.call_to_the_end(outgoing, clocks)).await
        } else {
            let call = pin!(async {
                send(&self.destination, &mut outgoing, clocks, policy.connect)
                    .await
                    .map_err(|it| it.fault)
            });
            under_clocks(clocks, call).await
        };
        let answer = answer.inspect_err(|fault| {
            context.integration.error = Some(fault.detail.clone());
            context.integration.ended = Some(clocks.now());
        })?;
        context.integration.all_headers = Some(clocks.now());
        context.integration.status = Some(answer.head.status.as_u16());
        Ok((answer.head, answer.body))
    }

    /// A call that goes on when its client goes away: it runs in a task of its own, which drops the answer if nobody
    /// waits for it any more.
    async fn call_to_the_end(
        &self,
        mut outgoing: Outgoing,
        clocks: &Arc<Clocks>,
    ) -> Result<Answer, Fault> {
        let (give, take) = oneshot::channel();
        let (destination, connect) = (self.destination.clone(), self.model.policy.connect);
        let (limit, own) = (self.model.policy.limits.deadline, clocks.clone());
        let call = async move {
            let call = async {
                let result = send(&destination, &mut outgoing, &own, connect).await;
                if let Err(Ok(answer)) = give.send(result.map_err(|failure| failure.fault)) {
                    read_to_the_end(answer.body).await;
                }
            };
            // Without its client nobody stamps the clocks: the deadline is kept here.
            let _ = tokio::time::timeout(limit, call).await;
        };
        let gone = CancellationToken::new();
        unattended::run(call, gone.clone().cancelled_owned());
        let _attended = gone.drop_guard();
        let lost = || Fault::new(FaultKind::Deadline, "the integration's call was given up");
        under_clocks(clocks, async { take.await.unwrap_or_else(|_| Err(lost())) }).await
    }
}

/// Reads what a backend still has to say to a client that is gone.
pub fn finish_without_client(body: impl Source + Send + 'static, limit: Duration) {
    let call = async move {
        let _ = tokio::time::timeout(limit, read_to_the_end(body)).await;
    };
    unattended::run(call, ready(()));
}

async fn read_to_the_end(mut body: impl Source) {
    while let Some(Ok(_)) = poll_fn(|cx| body.poll_payload(cx, READ)).await {}
}
