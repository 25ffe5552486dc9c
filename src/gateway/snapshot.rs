//! One immutable configuration, ready to serve: built once per worker, so that no two workers share a counter.

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use tokio::runtime::Handle;

use super::fronts::Fronts;
use crate::{
    config::{
        model::{self, ExecutionLog, GatewayResponses, LogSink, Model, Origin},
        uri::function_name,
    },
    integration::{
        aws_proxy::AwsProxy,
        http_proxy::{HttpProxy, Identity},
    },
    lambda::{
        function::{Function, Target},
        local::Local,
        remote::Remote,
    },
    route::Router,
    telemetry::{
        metrics::{self, Shard},
        record::{AccessLog, Record},
        tracer::Tracer,
        writer::{Output, sink},
    },
    types::{
        context::Context,
        memory::Memory,
        site::{Resource, Site},
    },
    upstream::{endpoint::Endpoint, group::Group, send::Destination, tls::ClientTls},
};

/// What all workers share.
#[derive(Debug, Default)]
pub struct Shared {
    /// Target groups by VPC link id.
    pub groups: BTreeMap<String, Arc<Group>>,
    /// Functions by name.
    pub functions: BTreeMap<Box<str>, Arc<Function>>,
    /// Who makes spans of requests, if anybody takes them.
    pub tracer: Option<Arc<Tracer>>,
    /// What is known of the process's memory.
    pub memory: Arc<Memory>,
}

/// How long the last spans have on their way to the collector.
const LAST_SPANS: Duration = Duration::from_secs(2);

impl Shared {
    /// The shared parts of a model. `control` is where functions are looked after.
    pub fn new(model: &Model, control: &Handle) -> Shared {
        Shared::default().followed_by(None, model, control)
    }

    /// The shared parts of the model that follows `before`, whose parts these are. What stays as it was stays: the state
    /// of targets, and functions with their environments. What goes ends with the last request that uses it.
    #[must_use]
    pub fn followed_by(&self, before: Option<&Model>, model: &Model, control: &Handle) -> Shared {
        let group = |(id, link): (&String, &model::VpcLink)| {
            let targets = link.targets.iter();
            let endpoints = targets
                .map(|origin| endpoint(origin, ClientTls::new(false, None, None)))
                .collect();
            let group = match self.groups.get(id) {
                Some(own) => own.followed_by(endpoints),
                None => Arc::new(Group::new(id, endpoints)),
            };
            (id.clone(), group)
        };
        let kept = |function: &model::Function| {
            let earlier = before?.functions.get(&function.name)?;
            let own = self.functions.get(&function.name)?;
            // What its URL says is the front's business.
            let is_same = earlier.target == function.target && earlier.arn == function.arn;
            is_same.then(|| own.clone())
        };
        let function = |function: &model::Function| {
            let earlier = self.functions.get(&function.name).map(Arc::as_ref);
            let make = || Arc::new(make_function(function, earlier, control));
            (function.name.clone(), kept(function).unwrap_or_else(make))
        };
        let is_traced_as_before = before.is_some_and(|before| before.tracing == model.tracing);
        let tracer = if is_traced_as_before {
            self.tracer.clone()
        } else {
            start_tracer(model, control)
        };
        Shared {
            tracer,
            memory: self.memory.clone(),
            groups: model.vpc_links.iter().map(group).collect(),
            functions: model.functions.values().map(function).collect(),
        }
    }

    /// Ends the processes of all functions, and sends what spans there are.
    pub async fn stop(&self) {
        let local = self.functions.values().filter_map(|it| match &it.target {
            Target::Local(local) => Some(local.stop()),
            Target::Remote(_) => None,
        });
        futures_util::future::join_all(local).await;
        if let Some(tracer) = &self.tracer {
            tracer.flush(LAST_SPANS).await;
        }
    }
}

#[cfg(feature = "otel")]
fn start_tracer(model: &Model, control: &Handle) -> Option<Arc<Tracer>> {
    let tracing = model.tracing.as_ref()?;
    Some(crate::otlp::start(tracing, control))
}

#[cfg(not(feature = "otel"))]
fn start_tracer(_: &Model, _: &Handle) -> Option<Arc<Tracer>> {
    None
}

/// A function; it goes on counting where the one of its name did.
fn make_function(
    function: &model::Function,
    earlier: Option<&Function>,
    control: &Handle,
) -> Function {
    let local = || match earlier.map(|earlier| &earlier.target) {
        Some(Target::Local(earlier)) => earlier.followed_by(function, control),
        _ => Local::new(function, control),
    };
    let target = match &function.target {
        model::FunctionTarget::Local(_) => Target::Local(local()),
        model::FunctionTarget::Remote(remote) => Target::Remote(Remote::new(remote, control)),
    };
    Function {
        name: function.name.clone(),
        target,
    }
}

/// A configuration as a worker serves it.
#[derive(Debug)]
pub struct Snapshot {
    /// The routes of all APIs.
    pub router: Router,
    /// The APIs.
    pub apis: Vec<Api>,
    /// The log of requests that reach no API.
    pub access_log: Arc<AccessLog>,
    /// What the gateway adds to requests.
    pub identity: Arc<Identity>,
    /// The functions that can be reached without an API.
    pub fronts: Fronts,
    /// Counts of requests that reach no API.
    pub stray: Arc<Shard>,
    /// Who makes spans of requests, if anybody takes them.
    pub tracer: Option<Arc<Tracer>>,
}

/// An API.
#[derive(Debug)]
pub struct Api {
    /// Its facts.
    pub site: Arc<Site>,
    /// Its routes, by the indices that the router gives.
    pub routes: Vec<Route>,
    /// What faults are answered with.
    pub gateway_responses: GatewayResponses,
    /// Its log.
    pub access_log: Arc<AccessLog>,
    /// What its execution log tells.
    pub execution_log: ExecutionLog,
    /// The smallest response that is compressed, if any is.
    pub minimum_compression_size: Option<u64>,
    /// Counts of requests that reach none of its routes.
    pub unmatched: Arc<Shard>,
}

/// A method of a resource.
#[derive(Debug)]
pub struct Route {
    /// The resource.
    pub resource: Arc<Resource>,
    /// Checks that aren't enforced.
    pub unenforced: Vec<String>,
    /// What it does.
    pub integration: Integration,
    /// Its API's log, with all filled in that its requests have in common.
    pub access_log: Arc<AccessLog>,
    /// Counts of its requests.
    pub counts: Arc<Shard>,
}

/// What a route does.
#[derive(Debug)]
pub enum Integration {
    /// Forwards to an HTTP backend.
    HttpProxy(Box<HttpProxy>),
    /// Invokes a Lambda function.
    AwsProxy(Box<AwsProxy>),
    /// Answers by itself.
    Mock(Box<model::Mock>),
    /// Answers 500; the text says why.
    Unusable(Box<str>),
}

impl Snapshot {
    /// Makes a model ready to serve. Fails if a log file can't be opened.
    pub fn build(model: &Model, shared: &Shared) -> io::Result<Snapshot> {
        let access_log = open_log(&model.access_log)?;
        let identity = Arc::new(Identity {
            instance_id: model.instance_id.clone(),
            pass_underscores: model.http.pass_underscores,
            trusted_hops: model.http.trusted_hops,
        });
        let mut apis = Vec::with_capacity(model.apis.len());
        for api in &model.apis {
            let own_log = api.access_log.as_ref().map(open_log).transpose()?;
            let access_log = own_log.unwrap_or_else(|| access_log.clone());
            apis.push(Api {
                site: Arc::new(api.site.clone()),
                routes: routes(api, shared, &identity, &access_log),
                gateway_responses: api.gateway_responses.clone(),
                access_log,
                execution_log: api.execution_log,
                minimum_compression_size: api.minimum_compression_size,
                unmatched: metrics::shard(metrics::Route::unmatched(&api.site)),
            });
        }
        Ok(Snapshot {
            router: Router::new(&model.apis),
            apis,
            access_log,
            identity,
            fronts: Fronts::new(model, shared),
            stray: metrics::shard(metrics::Route::stray()),
            tracer: shared.tracer.clone(),
        })
    }

    /// Opens the record of a request, of which nothing but its head is known.
    pub fn open(&self, context: Box<Context>) -> Record {
        let mut record = Record::open(context, self.access_log.clone(), self.stray.clone());
        if let Some(tracer) = &self.tracer {
            record.trace(tracer);
        }
        record
    }
}

fn open_log(log: &model::AccessLog) -> io::Result<Arc<AccessLog>> {
    let output = match &log.sink {
        LogSink::None => None,
        LogSink::Stdout => Some(Output::Stdout),
        LogSink::File(path) => Some(Output::File(path.clone())),
    };
    let with_path = |error: io::Error| match &output {
        Some(Output::File(path)) => io::Error::new(
            error.kind(),
            format!("can't open the access log `{}`: {error}", path.display()),
        ),
        _ => error,
    };
    let sink = output.as_ref().map(sink).transpose().map_err(with_path)?;
    Ok(Arc::new(AccessLog::new(sink, log.format.clone())))
}

fn routes(
    api: &model::Api,
    shared: &Shared,
    identity: &Arc<Identity>,
    log: &AccessLog,
) -> Vec<Route> {
    let binary: Arc<[Box<str>]> = api.binary_media_types.clone().into();
    api.methods
        .iter()
        .map(|method| Route {
            resource: Arc::new(method.resource.clone()),
            unenforced: method.unenforced.clone(),
            integration: integration(method, shared, identity, &binary),
            access_log: Arc::new(log.for_route(&api.site, &method.resource)),
            counts: metrics::shard(metrics::Route::new(
                &api.site,
                &method.resource,
                method.verb.as_str(),
            )),
        })
        .collect()
}

fn integration(
    method: &model::Method,
    shared: &Shared,
    identity: &Arc<Identity>,
    binary: &Arc<[Box<str>]>,
) -> Integration {
    match &method.integration {
        model::Integration::HttpProxy(proxy) => http_proxy(proxy, shared, identity),
        model::Integration::Mock(mock) => Integration::Mock(mock.clone()),
        model::Integration::Lambda(lambda) => aws_proxy(lambda, shared, binary),
        model::Integration::Missing => {
            Integration::Unusable("the method has no integration".into())
        }
        model::Integration::Unusable(why) => Integration::Unusable(why.clone()),
    }
}

fn aws_proxy(lambda: &model::Lambda, shared: &Shared, binary: &Arc<[Box<str>]>) -> Integration {
    let (name, _) = function_name(&lambda.function);
    match shared.functions.get(name) {
        Some(function) => Integration::AwsProxy(Box::new(AwsProxy::new(
            lambda.clone(),
            function.clone(),
            binary.clone(),
        ))),
        None => Integration::Unusable(
            format!("the function `{name}` isn't configured: add it to `functions:`").into(),
        ),
    }
}

fn http_proxy(proxy: &model::HttpProxy, shared: &Shared, identity: &Arc<Identity>) -> Integration {
    let destination = match &proxy.vpc_link {
        None => {
            let endpoint = endpoint(
                &proxy.uri.origin,
                ClientTls::new(
                    proxy.skip_issuer_check,
                    proxy.server_name.as_deref(),
                    proxy.client_certificate.clone(),
                ),
            );
            Destination::Endpoint(Arc::new(endpoint))
        }
        Some(link) => match shared.groups.get(&**link).filter(|group| !group.is_empty()) {
            Some(group) => Destination::Group(group.clone()),
            None => {
                return Integration::Unusable(
                    format!("the VPC link `{link}` has no targets").into(),
                );
            }
        },
    };
    Integration::HttpProxy(Box::new(HttpProxy::new(
        proxy.clone(),
        destination,
        identity.clone(),
    )))
}

fn endpoint(origin: &Origin, tls: ClientTls) -> Endpoint {
    let tls = origin.is_tls.then(|| Arc::new(tls));
    Endpoint::new(&origin.host, origin.port, tls)
}
