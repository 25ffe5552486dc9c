//! Limits and timeouts, from the built-in defaults to the integration's own words: the nearer one wins.

use std::time::Duration;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::settings::millis;
use crate::{
    config::{
        codes::Code,
        diagnostics::Diagnostics,
        document::{
            file::Cursor,
            settings::{self as said, Defaults, EndpointType, OnClientDisconnect},
            shape,
        },
        model::{Policy, TransferMode},
        schema::schema_of,
        suggest::nearest,
    },
    stream::{
        clocks::Limits,
        shaper::{self, Bandwidth},
    },
};

const PREFIX: &str = "x-sluicegate-";
const KEYS: [&str; 6] = [
    "x-sluicegate-stream",
    "x-sluicegate-timeouts",
    "x-sluicegate-limits",
    "x-sluicegate-on-client-disconnect",
    "x-sluicegate-lambda",
    "x-sluicegate-unprotected",
];
/// API Gateway's integration timeout.
const TIMEOUT: u64 = 29_000;
const MIB: u64 = 1024 * 1024;

/// Checks the names of the `x-sluicegate-…` keys of a mapping.
pub(super) fn check_keys(at: &Cursor<'_>, diagnostics: &mut Diagnostics) {
    for (key, member) in at
        .members()
        .filter(|(key, _)| key.starts_with(PREFIX) && !KEYS.contains(key))
    {
        let finding = member
            .report_key(Code::E010, format!("there is no key `{key}`"))
            .label("unknown key");
        let known = KEYS.map(|key| format!("`{key}`")).join(", ");
        let meant = nearest(key, KEYS).map_or_else(
            || format!("known are {known}"),
            |key| format!("did you mean `{key}`?"),
        );
        diagnostics.push(finding.hint(meant));
    }
}

/// What a mapping of the document says, laid over `base`.
pub(super) fn overlay(base: &Defaults, at: &Cursor<'_>, diagnostics: &mut Diagnostics) -> Defaults {
    let mut defaults = base.clone();
    if let Some(stream) = read::<said::Stream>(at, "x-sluicegate-stream", diagnostics) {
        defaults.stream = merge_stream(&stream, &defaults.stream);
    }
    if let Some(timeouts) = read::<said::Timeouts>(at, "x-sluicegate-timeouts", diagnostics) {
        defaults.timeouts = merge_timeouts(&timeouts, &defaults.timeouts);
    }
    if let Some(limits) = read::<said::Limits>(at, "x-sluicegate-limits", diagnostics) {
        defaults.limits = merge_limits(&limits, &defaults.limits);
    }
    if let Some(lambda) = read::<said::LambdaAnswers>(at, "x-sluicegate-lambda", diagnostics) {
        defaults.lambda = merge_lambda(&lambda, &defaults.lambda);
    }
    let disconnect =
        read::<OnClientDisconnect>(at, "x-sluicegate-on-client-disconnect", diagnostics);
    defaults.on_client_disconnect = disconnect.or(defaults.on_client_disconnect);
    defaults
}

fn read<T: DeserializeOwned + JsonSchema>(
    at: &Cursor<'_>,
    key: &str,
    diagnostics: &mut Diagnostics,
) -> Option<T> {
    let member = at.get(key)?;
    let wrong = shape::check(&member, &schema_of::<T>(), diagnostics);
    let mut value = shape::without(&member, &wrong)?;
    super::drop_empty(&mut value);
    serde_json::from_value(value).ok()
}

/// An API's defaults laid over the gateway's.
pub(super) fn merge(nearer: &Defaults, farther: &Defaults) -> Defaults {
    Defaults {
        timeout_in_millis: nearer.timeout_in_millis.or(farther.timeout_in_millis),
        stream: merge_stream(&nearer.stream, &farther.stream),
        timeouts: merge_timeouts(&nearer.timeouts, &farther.timeouts),
        limits: merge_limits(&nearer.limits, &farther.limits),
        on_client_disconnect: nearer.on_client_disconnect.or(farther.on_client_disconnect),
        lambda: merge_lambda(&nearer.lambda, &farther.lambda),
    }
}

fn merge_stream(nearer: &said::Stream, farther: &said::Stream) -> said::Stream {
    said::Stream {
        burst_bytes: nearer.burst_bytes.or(farther.burst_bytes),
        rate_bytes_per_second: nearer
            .rate_bytes_per_second
            .or(farther.rate_bytes_per_second),
        policy: nearer.policy.or(farther.policy),
    }
}

fn merge_timeouts(nearer: &said::Timeouts, farther: &said::Timeouts) -> said::Timeouts {
    said::Timeouts {
        connect_in_millis: nearer.connect_in_millis.or(farther.connect_in_millis),
        idle_in_millis: nearer.idle_in_millis.or(farther.idle_in_millis),
        client_stall_in_millis: nearer
            .client_stall_in_millis
            .or(farther.client_stall_in_millis),
        request_body_in_millis: nearer
            .request_body_in_millis
            .or(farther.request_body_in_millis),
    }
}

fn merge_lambda(
    nearer: &said::LambdaAnswers,
    farther: &said::LambdaAnswers,
) -> said::LambdaAnswers {
    said::LambdaAnswers {
        header_arrays: nearer.header_arrays.or(farther.header_arrays),
        function_error_status: nearer
            .function_error_status
            .or(farther.function_error_status),
        default_content_type: nearer
            .default_content_type
            .clone()
            .or_else(|| farther.default_content_type.clone()),
        lambda_limits: nearer.lambda_limits.or(farther.lambda_limits),
    }
}

fn merge_limits(nearer: &said::Limits, farther: &said::Limits) -> said::Limits {
    said::Limits {
        request_body_bytes: nearer.request_body_bytes.or(farther.request_body_bytes),
        response_body_bytes: nearer.response_body_bytes.or(farther.response_body_bytes),
    }
}

/// The policy of an integration; `own_timeout` is its `timeoutInMillis`.
pub(super) fn policy(
    said: &Defaults,
    mode: TransferMode,
    own_timeout: Option<u64>,
    endpoint_type: EndpointType,
) -> Policy {
    let idle = if endpoint_type == EndpointType::Edge {
        30_000
    } else {
        300_000
    };
    let deadline = own_timeout.or(said.timeout_in_millis).unwrap_or(TIMEOUT);
    Policy {
        mode,
        limits: Limits {
            deadline: Duration::from_millis(deadline),
            idle: millis(said.timeouts.idle_in_millis, idle),
            client_stall: millis(said.timeouts.client_stall_in_millis, 60_000),
            upload: millis(said.timeouts.request_body_in_millis, 30_000),
        },
        connect: millis(said.timeouts.connect_in_millis, 5000),
        bandwidth: bandwidth(&said.stream),
        request_body: said
            .limits
            .request_body_bytes
            .map_or(10 * MIB, |limit| limit.0),
        response_body: said.limits.response_body_bytes.unwrap_or(10 * MIB),
        finish_without_client: said.on_client_disconnect == Some(OnClientDisconnect::Finish),
    }
}

fn bandwidth(said: &said::Stream) -> Bandwidth {
    Bandwidth {
        policy: match said.policy {
            None | Some(said::Policy::Offset) => shaper::Policy::Offset,
            Some(said::Policy::Bucket) => shaper::Policy::Bucket,
            Some(said::Policy::Unlimited) => shaper::Policy::Unlimited,
        },
        burst: said.burst_bytes.unwrap_or(10 * MIB),
        rate: said.rate_bytes_per_second.unwrap_or(2 * MIB).max(1),
    }
}
