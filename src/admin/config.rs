//! `/config`: the configuration as it is meant, every default filled in.
//!
//! Each value that is told is named here, so that one that is added to the model stays untold. Secrets can stand in values
//! of environment variables and stage variables, in mapped constants, in queries of URIs and in keys of certificates: of
//! all these only names are told.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{
    answer::Answer,
    routes::{masked, told},
};
use crate::{
    config::model::{
        AccessLog, Api, ExecutionLog, Function, FunctionTarget, Listener, LogSink, Model, Origin,
        Policy, TransferMode, VpcLink,
    },
    route::describe::{self, Described},
    stream::shaper::{self, Bandwidth},
    types::{memory::Memory, peer::Serves},
};

pub(super) fn effective(model: &Model, memory: &Memory) -> Answer {
    let functions: Map<String, Value> = model
        .functions
        .values()
        .map(|it| (it.name.to_string(), function(it)))
        .collect();
    let vpc_links: Map<String, Value> = model
        .vpc_links
        .iter()
        .map(|(id, link)| (id.clone(), vpc_link(link)))
        .collect();
    let http = &model.http;
    let value = json!({
        "listeners": model.listeners.iter().map(listener).collect::<Vec<_>>(),
        "admin": model.admin.map(|address| address.to_string()),
        "workers": model.workers,
        "memoryLimitBytes": memory.amount().map(|amount| amount.limit),
        "apis": model.apis.iter().map(|api| of_api(model, api)).collect::<Vec<_>>(),
        "functions": functions,
        "vpcLinks": vpc_links,
        "accessLog": access_log(&model.access_log),
        "http": {
            "requestLineBytes": http.request_line,
            "headerBytes": http.header,
            "firstByteTimeoutInMillis": millis(http.first_byte),
            "headTimeoutInMillis": millis(http.head),
            "keepAliveTimeoutInMillis": millis(http.keep_alive),
            "maxConnections": http.max_connections,
            "underscoreHeaders": if http.pass_underscores { "pass" } else { "drop" },
        },
        "shutdown": {
            "preStopDelayInMillis": millis(model.shutdown.pre_stop_delay),
            "drainTimeoutInMillis": millis(model.shutdown.drain_timeout),
        },
        "instanceId": model.instance_id,
    });
    Answer::json(StatusCode::OK, &value)
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

fn listener(listener: &Listener) -> Value {
    let names = |tls: &crate::config::model::Tls| {
        let names = tls
            .certificates
            .iter()
            .map(|certificate| &certificate.names);
        names.cloned().collect::<Vec<_>>()
    };
    json!({
        "address": listener.address.to_string(),
        "certificates": listener.tls.as_ref().map(names),
        "h2c": listener.h2c,
        "serves": match listener.serves {
            Serves::Apis => "apis",
            Serves::Both => "apis and functions",
            Serves::Functions => "functions",
        },
    })
}

fn access_log(log: &AccessLog) -> Value {
    match &log.sink {
        LogSink::None => Value::Null,
        LogSink::Stdout => "stdout".into(),
        LogSink::File(path) => path.display().to_string().into(),
    }
}

fn of_api(model: &Model, api: &Api) -> Value {
    let site = &api.site;
    let names = site.stage_variables.iter().map(|(name, _)| name);
    let own = describe::routes(model).filter(|described| std::ptr::eq(described.api, api));
    let domains = api.domains.iter().map(|domain| {
        let wildcard = if domain.is_wildcard { "*." } else { "" };
        format!("{wildcard}{}", domain.name)
    });
    json!({
        "name": site.api_name,
        "id": site.api_id,
        "stage": site.stage,
        "domains": domains.collect::<Vec<_>>(),
        "basePath": site.base_path,
        "endpointType": site.endpoint_type,
        "stageVariables": names.collect::<Vec<_>>(),
        "accessLog": api.access_log.as_ref().map(access_log),
        "executionLog": match api.execution_log {
            ExecutionLog::Off => "OFF",
            ExecutionLog::Error => "ERROR",
            ExecutionLog::Info => "INFO",
        },
        "minimumCompressionSize": api.minimum_compression_size,
        "binaryMediaTypes": api.binary_media_types,
        "gatewayResponses": api.gateway_responses.by_type.iter().map(|(kind, _)| kind.as_str()).collect::<Vec<_>>(),
        "routes": own.map(|described| route(&described)).collect::<Vec<_>>(),
    })
}

fn route(described: &Described<'_>) -> Value {
    let mut value = told(described);
    if let (Value::Object(members), Some(policy)) = (&mut value, described.policy) {
        members.extend(defaults(policy));
    }
    value
}

/// What a policy says, by the names that `defaults` has in the file.
fn defaults(policy: &Policy) -> Map<String, Value> {
    let limits = &policy.limits;
    let is_stream = policy.mode == TransferMode::Stream;
    let on_disconnect = if policy.finish_without_client {
        "finish"
    } else {
        "cancel"
    };
    let said = [
        (
            "timeouts",
            json!({
                "connectInMillis": millis(policy.connect),
                "idleInMillis": millis(limits.idle),
                "clientStallInMillis": millis(limits.client_stall),
                "requestBodyInMillis": millis(limits.upload),
            }),
        ),
        (
            "limits",
            json!({
                "requestBodyBytes": policy.request_body,
                "responseBodyBytes": policy.response_body,
            }),
        ),
        (
            "stream",
            json!(is_stream.then(|| bandwidth(policy.bandwidth))),
        ),
        ("onClientDisconnect", on_disconnect.into()),
    ];
    said.into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn bandwidth(bandwidth: Bandwidth) -> Value {
    let policy = match bandwidth.policy {
        shaper::Policy::Offset => "offset",
        shaper::Policy::Bucket => "bucket",
        shaper::Policy::Unlimited => return json!({ "policy": "unlimited" }),
    };
    json!({
        "policy": policy,
        "burstBytes": bandwidth.burst,
        "rateBytesPerSecond": bandwidth.rate,
    })
}

fn function(function: &Function) -> Value {
    let target = match &function.target {
        FunctionTarget::Local(local) => json!({
            "runtime": local.runtime_name,
            "codeUri": local.directory.display().to_string(),
            "handler": local.handler,
            "environment": local.environment.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            "timeout": local.timeout.as_secs(),
            "concurrency": local.most_environments,
        }),
        FunctionTarget::Remote(remote) => json!({
            "endpoint": remote.endpoint.as_ref().map_or_else(|| "AWS".to_owned(), origin),
            "functionName": remote.function_name,
            "region": remote.region,
        }),
    };
    json!({
        "arn": function.arn,
        "target": target,
        "url": function.url.as_ref().map(|url| &url.id),
    })
}

fn origin(origin: &Origin) -> String {
    let scheme = if origin.is_tls { "https" } else { "http" };
    masked(&format!("{scheme}://{}", origin.authority))
}

fn vpc_link(link: &VpcLink) -> Value {
    let check = link.health_check.as_ref().map(|check| {
        json!({
            "path": check.path.split('?').next(),
            "intervalInMillis": millis(check.interval),
            "timeoutInMillis": millis(check.timeout),
        })
    });
    json!({
        "targets": link.targets.iter().map(origin).collect::<Vec<_>>(),
        "healthCheck": check,
    })
}
