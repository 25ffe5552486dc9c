//! What is told of functions. Of environment variables and of arguments, which may be secrets, no value.

use serde_json::{Value, json};

use super::origin;
use crate::config::model::{
    Cors, Function, FunctionTarget, FunctionUrl, LocalFunction, RemoteFunction, TransferMode,
};

pub(super) fn function(function: &Function) -> Value {
    json!({
        "arn": function.arn,
        "target": match &function.target {
            FunctionTarget::Local(it) => local(it),
            FunctionTarget::Remote(it) => remote(it),
        },
        "functionUrlConfig": function.url.as_ref().map(url),
    })
}

fn local(local: &LocalFunction) -> Value {
    let names = local.environment.iter().map(|(name, _)| name);
    json!({
        "runtime": local.runtime_name,
        "codeUri": local.directory.display().to_string(),
        "handler": local.handler,
        "command": local.command.first(),
        "extensions": local.extensions,
        "environment": names.collect::<Vec<_>>(),
        "timeout": local.timeout.as_secs(),
        "initTimeout": local.init_timeout.as_secs(),
        "memorySize": local.memory_size,
        "concurrency": local.most_environments,
        "reservedConcurrentExecutions": local.most_invocations,
        "perExecutionEnvironmentMaxConcurrency": local.per_environment,
        "idleTimeout": local.idle.as_secs(),
        "watch": local.watch,
        "region": local.region,
    })
}

fn remote(remote: &RemoteFunction) -> Value {
    json!({
        "endpoint": remote.endpoint.as_ref().map_or_else(|| "AWS".to_owned(), origin),
        "functionName": remote.function_name,
        "region": remote.region,
        "profile": remote.profile,
    })
}

fn url(url: &FunctionUrl) -> Value {
    json!({
        "id": url.id,
        "authType": if url.is_open { "NONE" } else { "AWS_IAM" },
        "invokeMode": match url.mode {
            TransferMode::Buffered => "BUFFERED",
            TransferMode::Stream => "RESPONSE_STREAM",
        },
        "cors": url.cors.as_ref().map(cors),
        "streamedResponseBytes": url.streamed_response,
    })
}

fn cors(cors: &Cors) -> Value {
    json!({
        "allowCredentials": cors.allow_credentials,
        "allowHeaders": cors.allow_headers,
        "allowMethods": cors.allow_methods,
        "allowOrigins": cors.allow_origins,
        "exposeHeaders": cors.expose_headers,
        "maxAge": cors.max_age,
    })
}
