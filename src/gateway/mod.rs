//! The pipeline: a request comes in, is routed, guarded and answered; its record goes with the reply.

mod compress;
pub mod fronts;
mod refuse;
pub mod reply;
pub mod snapshot;
mod transfer;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use arc_swap::ArcSwap;
use bytes::BytesMut;
use http::Method;

use crate::{
    guard,
    integration::mock,
    route::Found,
    stream::{clocks::Clocks, request_body::RequestBody},
    telemetry::record::Record,
    types::{
        context::Context,
        fault::{Fault, FaultKind},
        head::RequestHead,
        known::Known,
        peer::Peer,
        trace,
    },
};
use reply::{Answer, Reply};
use snapshot::{Api, Integration, Route, Snapshot};

/// A request whose head is complete.
#[derive(Debug)]
pub struct Request {
    /// What was said.
    pub head: RequestHead,
    /// What follows it.
    pub body: RequestBody,
    /// Who said it.
    pub peer: Arc<Peer>,
    /// The clocks of the exchange, opened.
    pub clocks: Arc<Clocks>,
}

/// The gateway of one worker.
#[derive(Debug)]
pub struct Gateway {
    snapshot: ArcSwap<Snapshot>,
    turns_away: AtomicBool,
}

/// How often a request may have come through this gateway before.
const MOST_PASSES: usize = 3;

impl Gateway {
    /// A gateway that serves `snapshot`.
    pub fn new(snapshot: Snapshot) -> Gateway {
        Gateway {
            snapshot: ArcSwap::from_pointee(snapshot),
            turns_away: AtomicBool::new(false),
        }
    }

    /// From now on, requests are served by `snapshot`. Those that have begun keep the one they began with.
    pub fn adopt(&self, snapshot: Snapshot) {
        self.snapshot.store(Arc::new(snapshot));
    }

    /// From now on, new requests are refused for want of memory, or taken again.
    pub fn turn_away(&self, turns_away: bool) {
        self.turns_away.store(turns_away, Relaxed);
    }

    /// Answers a request. One snapshot serves it from beginning to end.
    pub async fn serve(&self, request: Request) -> Reply {
        let snapshot = self.snapshot.load_full();
        let Request {
            mut head,
            body,
            peer,
            clocks,
        } = request;
        // What the client marked as its own connection's business concerns nobody behind it.
        head.fields.drop_nominated();
        trace::drop_malformed(&mut head.fields);
        let mut context = Context::open(peer, head);
        context.trust(snapshot.identity.trusted_hops);
        let mut record = snapshot.open(context);
        if self.turns_away.load(Relaxed) {
            return turned_away(&snapshot, record, clocks);
        }
        if let Some(front) = snapshot.fronts.find(record.context()) {
            // Boxed: its size would be that of every request.
            return Box::pin(snapshot.fronts.serve(front, record, body, clocks)).await;
        }
        let outcome = dispatch(&snapshot, &mut record, body, &clocks).await;
        match outcome {
            Ok(answer) => Reply::answer(record, answer, clocks),
            Err(fault) => refuse::reply(&snapshot, record, fault, clocks),
        }
    }

    /// Answers a request that was refused before it could be served. `head` is what could be read of it.
    pub fn refuse(
        &self,
        head: RequestHead,
        peer: Arc<Peer>,
        clocks: Arc<Clocks>,
        fault: Fault,
    ) -> Reply {
        let snapshot = self.snapshot.load_full();
        let record = snapshot.open(Context::open(peer, head));
        refuse::reply(&snapshot, record, fault, clocks)
    }
}

/// Refuses a request that there is no memory for, in the words and in the log of whom it is for.
fn turned_away(snapshot: &Snapshot, mut record: Record, clocks: Arc<Clocks>) -> Reply {
    let detail = "the gateway is near its memory limit and takes no new requests";
    let fault = Fault::because(FaultKind::Overloaded, "memory", detail);
    if let Some(front) = snapshot.fronts.find(record.context()) {
        return snapshot.fronts.turn_away(&front, record, fault, clocks);
    }
    override_method(record.context_mut());
    // Wherever it would have gone, the answer is the same.
    let _ = find(snapshot, &mut record);
    refuse::reply(snapshot, record, fault, clocks)
}

/// Futures that not every request needs are boxed: this one is moved with each request, and moving takes time.
async fn dispatch(
    snapshot: &Snapshot,
    record: &mut Record,
    body: RequestBody,
    clocks: &Arc<Clocks>,
) -> Result<Answer, Fault> {
    override_method(record.context_mut());
    refuse_loops(snapshot, record.context())?;
    let (api, route) = find(snapshot, record)?;
    guard::admit(&route.unenforced)?;
    match &route.integration {
        Integration::HttpProxy(proxy) => {
            record.context_mut().integration.transfer_mode = Some(proxy.policy().mode.logged());
            record.go_live(clocks);
            let (head, body) = proxy.call(record.context_mut(), body, clocks).await?;
            transfer::pass_on(api, proxy.policy(), record, head, body, clocks).await
        }
        Integration::AwsProxy(proxy) => {
            let policy = proxy.policy();
            record.context_mut().integration.transfer_mode = Some(policy.mode.logged());
            record.go_live(clocks);
            let called = Box::pin(proxy.call(record.context_mut(), body, clocks)).await?;
            Box::pin(transfer::of_function(api, proxy, record, called, clocks)).await
        }
        Integration::Mock(mock) => Box::pin(answer_mock(mock, record.context(), body)).await,
        Integration::Unusable(why) => Err(Fault::new(FaultKind::Misconfigured, why.clone())),
    }
}

/// A client may name another method than the request line's; API Gateway routes by it.
fn override_method(context: &mut Context) {
    let said = context.head.fields.get(Known::XHttpMethodOverride);
    if let Some(method) = said.and_then(|said| Method::from_bytes(said).ok()) {
        context.method = method;
    }
}

fn refuse_loops(snapshot: &Snapshot, context: &Context) -> Result<(), Fault> {
    let own = snapshot.identity.instance_id.as_bytes();
    let via = context
        .head
        .fields
        .all(Known::Via)
        .flat_map(crate::types::fields::list_members);
    let passes = via.filter(|member| member.ends_with(own)).count();
    if passes <= MOST_PASSES {
        return Ok(());
    }
    let detail = format!(
        "the request came through this gateway {passes} times: an integration leads back to it"
    );
    Err(Fault::new(FaultKind::Loop, detail))
}

/// Finds the route, and notes in the record whose it is.
fn find<'a>(snapshot: &'a Snapshot, record: &mut Record) -> Result<(&'a Api, &'a Route), Fault> {
    let context = record.context();
    let path = context.head.target.path();
    let found = snapshot
        .router
        .find(&context.head.authority, &context.method, path);
    let (api, method) = match &found {
        Found::NoApi => {
            let detail = format!(
                "no API is mounted on the host `{}` at `{path}`",
                context.head.authority
            );
            return Err(Fault::new(FaultKind::NoApi, detail));
        }
        Found::Method { api, method, .. } => (*api, Some(*method)),
        Found::NoRoute { api } | Found::Climbs { api } => (*api, None),
    };
    let Some(api) = snapshot.apis.get(api) else {
        return Err(no_route(context));
    };
    let route = method.and_then(|method| api.routes.get(method));
    let (log, counts) = route.map_or((&api.access_log, &api.unmatched), |route| {
        (&route.access_log, &route.counts)
    });
    record.belongs_to(log, api.execution_log);
    record.count_in(counts);
    record.context_mut().site = Some(api.site.clone());
    if matches!(found, Found::Climbs { .. }) {
        return Err(Fault::because(
            FaultKind::BadHead,
            "climbs",
            "the path's dot segments climb above the API's base path",
        ));
    }
    let Some(route) = route else {
        return Err(no_route(record.context()));
    };
    record.context_mut().resource = Some(route.resource.clone());
    if let Found::Method { parameters, .. } = found {
        record.context_mut().parameters = parameters;
    }
    Ok((api, route))
}

fn no_route(context: &Context) -> Fault {
    let path = context.head.target.path();
    let detail = format!("no resource matches `{} {path}`", context.method);
    Fault::new(FaultKind::NoRoute, detail)
}

async fn answer_mock(
    mock: &crate::config::model::Mock,
    context: &Context,
    mut body: RequestBody,
) -> Result<Answer, Fault> {
    const MOST: u64 = 10 * 1024 * 1024;
    let mut whole = BytesMut::new();
    if mock::needs_body(mock, context) {
        body.limit(MOST)?;
        while let Some(data) = std::future::poll_fn(|cx| body.poll_data(cx)).await {
            whole.extend_from_slice(&data?);
        }
    }
    let answer = mock::answer(mock, context, &whole.freeze())?;
    Ok(Answer::whole(answer.status, answer.fields, answer.body))
}
