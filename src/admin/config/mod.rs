//! `/config`: the configuration as it is meant, every default filled in.
//!
//! Each value that is told is named here, so that one that is added to the model stays untold. Secrets can stand in values
//! of environment variables and stage variables, in mapped constants, in queries of URIs, in headers for a collector and in
//! keys of certificates: of all these only names are told.

mod functions;
mod listeners;

use std::time::Duration;

use http::StatusCode;
use serde_json::{Map, Value, json};

use self::{
    functions::function,
    listeners::{files, listener},
};
use super::{
    answer::Answer,
    routes::{masked, told},
};
use crate::{
    config::model::{
        AccessLog, Api, ExecutionLog, Integration, LambdaAnswers, LogSink, Model, Origin, Policy,
        Tracing, TransferMode, VpcLink,
    },
    route::describe::{self, Described},
    stream::shaper::{self, Bandwidth},
    types::memory::Memory,
};

pub(super) fn effective(model: &Model, memory: &Memory) -> Answer {
    Answer::json(StatusCode::OK, &all(model, memory))
}

fn all(model: &Model, memory: &Memory) -> Value {
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
    json!({
        "listeners": model.listeners.iter().map(listener).collect::<Vec<_>>(),
        "admin": model.admin.map(|address| json!({ "address": address.to_string() })),
        "workers": model.workers,
        "watch": model.watch,
        "memoryLimitBytes": memory.amount().map(|amount| amount.limit),
        "apis": model.apis.iter().map(|api| of_api(model, api)).collect::<Vec<_>>(),
        "functions": functions,
        "lambda": { "region": model.lambda.region, "accountId": model.lambda.account_id },
        "vpcLinks": vpc_links,
        "accessLog": access_log(&model.access_log),
        "tracing": model.tracing.as_ref().map(tracing),
        "http": {
            "requestLineBytes": http.request_line,
            "headerBytes": http.header,
            "firstByteTimeoutInMillis": millis(http.first_byte),
            "headTimeoutInMillis": millis(http.head),
            "keepAliveTimeoutInMillis": millis(http.keep_alive),
            "maxConnections": http.max_connections,
            "trustedHops": http.trusted_hops,
            "underscoreHeaders": if http.pass_underscores { "pass" } else { "drop" },
        },
        "shutdown": {
            "preStopDelayInMillis": millis(model.shutdown.pre_stop_delay),
            "drainTimeoutInMillis": millis(model.shutdown.drain_timeout),
        },
        "instanceId": model.instance_id,
    })
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

fn access_log(log: &AccessLog) -> Value {
    let path = match &log.sink {
        LogSink::None => "none".to_owned(),
        LogSink::Stdout => "stdout".to_owned(),
        LogSink::File(path) => path.display().to_string(),
    };
    json!({ "path": path, "format": log.source })
}

fn tracing(tracing: &Tracing) -> Value {
    let headers = tracing.headers.iter().map(|(name, _)| name);
    json!({
        "otlpEndpoint": origin(&tracing.origin),
        "sampleRate": tracing.rate,
        "serviceName": tracing.service,
        "headers": headers.collect::<Vec<_>>(),
    })
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
        "definition": api.definition,
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
        "clientCertificate": api.client_certificate.as_ref().map(files),
        "minimumCompressionSize": api.minimum_compression_size,
        "binaryMediaTypes": api.binary_media_types,
        "gatewayResponses": api.gateway_responses.by_type.iter().map(|(kind, _)| kind.as_str()).collect::<Vec<_>>(),
        "routes": own.map(|described| route(&described)).collect::<Vec<_>>(),
    })
}

fn route(described: &Described<'_>) -> Value {
    let mut value = told(described);
    let Value::Object(members) = &mut value else {
        return value;
    };
    members.extend(described.policy.map(defaults).into_iter().flatten());
    if let Integration::Lambda(lambda) = &described.route.integration {
        members.insert("lambda".to_owned(), answers(&lambda.answers));
    }
    value
}

fn answers(answers: &LambdaAnswers) -> Value {
    json!({
        "headerArrays": answers.header_arrays,
        "functionErrorStatus": answers.function_error_status.as_u16(),
        "defaultContentType": answers.default_content_type,
        "lambdaLimits": answers.lambda_limits,
    })
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

#[cfg(test)]
mod tests;
