//! The shape of `sluicegate.yaml`. These types are its reference: `sluicegate schema` and `docs/configuration.md` are
//! made from their comments.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

pub use super::{
    functions::{Cors, Function, FunctionUrl, InvokeMode, Lambda, UrlAuthType},
    listeners::{Certificate, Listener, MutualTls, SecurityPolicy, Tls, UnknownServerName},
};

/// The configuration of a gateway, `sluicegate.yaml`. Paths in it are relative to the file itself.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Settings {
    /// Addresses that take requests. Default: `127.0.0.1:8080`. `SLUICEGATE_LISTEN` overrides the first one's address.
    pub listeners: Vec<Listener>,
    /// The operator's address: health, metrics, live streams and more (`docs/admin.md`). Default: none.
    pub admin: Option<Admin>,
    /// The APIs to serve.
    pub apis: Vec<Api>,
    /// Lambda functions by name. An integration finds its function by the name in its ARN.
    pub functions: BTreeMap<String, Function>,
    /// How functions are called, and where the gateway itself takes calls of functions.
    pub lambda: Lambda,
    /// Targets of private integrations by VPC link id.
    pub vpc_links: BTreeMap<String, VpcLink>,
    /// Limits and timeouts of all integrations, unless an API or the integration itself says otherwise.
    pub defaults: Defaults,
    /// The record of every request. Default: JSON on standard output.
    pub access_log: Option<AccessLog>,
    /// Spans of requests for OpenTelemetry (`docs/tracing.md`). Default: none, unless the environment has
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub tracing: Option<Tracing>,
    /// Limits on what clients may send, and on how long they may take.
    pub http: Http,
    /// How the gateway stops.
    pub shutdown: Shutdown,
    /// Worker threads. Default: one for each CPU this process may use. `SLUICEGATE_WORKERS` overrides it.
    #[schemars(range(min = 1, max = 1024))]
    pub workers: Option<u32>,
    /// Bytes of memory that the gateway's process should stay below, or `unlimited`. At 85 % of them idle connections are
    /// closed, at 95 % new requests are refused (`docs/operations.md`). Default: the limit of the process's control group,
    /// for what counts against that; none without one.
    pub memory_limit_bytes: Option<ByteLimit>,
    /// Load the configuration anew when one of its files changes: the configuration itself, documents, certificates.
    /// SIGHUP always does. Default: false; `serve --watch` overrides it.
    pub watch: bool,
    /// The name in `Via` by which the gateway recognises requests that come back to it. Default: random at each start.
    pub instance_id: Option<String>,
}

/// The operator's address.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Admin {
    /// Address and port; keep it on loopback or a private network.
    pub address: String,
}

/// An API: an OpenAPI document at a stage.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Api {
    /// The OpenAPI document, YAML or JSON.
    pub definition: String,
    /// The API's id in logs and ARNs. Default: made from the document's title.
    #[serde(default)]
    pub id: Option<String>,
    /// Host names that reach the API; `*.example.com` takes any first label. Empty: any host.
    #[serde(default)]
    pub domains: Vec<String>,
    /// The stage's name. Default: `default`.
    #[serde(default)]
    pub stage: Option<String>,
    /// Where the API is mounted, such as `/prod`. Default: `/`.
    #[serde(default)]
    pub base_path: Option<String>,
    /// What becomes of the document's own base path (`basePath`, or the path of `servers`), as API Gateway's `basepath`
    /// import parameter. Default: `ignore`.
    #[serde(default)]
    pub import_base_path: ImportBasePath,
    /// The endpoint type, which sets the idle timeout: `EDGE` 30 s, else 300 s. Default: `REGIONAL`.
    #[serde(default)]
    pub endpoint_type: EndpointType,
    /// Values of `${stageVariables.NAME}` and `$stageVariables.NAME`.
    #[serde(default)]
    pub stage_variables: BTreeMap<String, String>,
    /// Values of CloudFormation names in the document, such as `AWS::Region` or `ChatFunction.Arn`.
    #[serde(default)]
    pub bindings: BTreeMap<String, String>,
    /// Limits and timeouts of this API.
    #[serde(default)]
    pub defaults: Defaults,
    /// What the execution log tells about this API's requests. Default: `ERROR`.
    #[serde(default)]
    pub execution_log: ExecutionLog,
    /// The certificate with which the gateway identifies itself to the API's HTTP backends over TLS, as a stage's client
    /// certificate on AWS. Default: none.
    #[serde(default)]
    pub client_certificate: Option<Certificate>,
    /// The record of this API's requests, in place of the gateway's.
    #[serde(default)]
    pub access_log: Option<AccessLog>,
}

/// What becomes of a document's own base path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ImportBasePath {
    /// It is ignored.
    #[default]
    Ignore,
    /// It stands before every path.
    Prepend,
    /// Its first segment is dropped, the rest stands before every path.
    Split,
}

/// Endpoint types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum EndpointType {
    /// Regional: streams may be silent for 300 s.
    #[default]
    Regional,
    /// Edge-optimised: streams may be silent for 30 s, and `timeoutInMillis` is at most 29,000 when buffered.
    Edge,
    /// Private: as regional.
    Private,
}

/// How much the execution log tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum ExecutionLog {
    /// Nothing.
    Off,
    /// Why requests fail.
    #[default]
    Error,
    /// That, and the steps of every request.
    Info,
}

/// Limits and timeouts of integrations. In a document, `x-sluicegate-stream`, `x-sluicegate-timeouts`,
/// `x-sluicegate-limits` and `x-sluicegate-on-client-disconnect` say the same at the root, on a path, an operation or in
/// an integration.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Defaults {
    /// Milliseconds from the call of an integration to the end of its response, for integrations without their own
    /// `timeoutInMillis`. Default: 29000, as on AWS.
    #[schemars(range(min = 50, max = 900_000))]
    pub timeout_in_millis: Option<u64>,
    /// The bandwidth of streamed responses.
    pub stream: Stream,
    /// Timeouts beside the deadline.
    pub timeouts: Timeouts,
    /// Sizes of bodies.
    pub limits: Limits,
    /// What happens to the integration's call when the client goes away. Default: `cancel`; `finish` for functions on AWS
    /// and at other endpoints.
    pub on_client_disconnect: Option<OnClientDisconnect>,
    /// How the answers of Lambda functions are read.
    pub lambda: LambdaAnswers,
}

/// How the answers of Lambda functions are read. The defaults are API Gateway's ways.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LambdaAnswers {
    /// Whether a streamed response's metadata may have arrays as values of `headers`, as Lambda's Rust runtime writes them
    /// for repeated headers. API Gateway answers such a response with 500. Default: false.
    pub header_arrays: Option<bool>,
    /// The status for a function's error before its streamed response has begun: 500 or 502. Default: 500.
    #[schemars(extend("enum" = [500, 502]))]
    pub function_error_status: Option<u16>,
    /// The `Content-Type` of a streamed response whose metadata has none. Default: `application/json`.
    pub default_content_type: Option<String>,
    /// Whether a streamed response also passes Lambda's own limiter, as on AWS: 6 MiB at once, then 2 MiB/s. Default: false.
    pub lambda_limits: Option<bool>,
}

/// The bandwidth of a streamed response.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Stream {
    /// Bytes of payload that pass untouched. Default: 10485760 (10 MiB).
    pub burst_bytes: Option<u64>,
    /// Bytes per second beyond them. Default: 2097152 (2 MiB).
    #[schemars(range(min = 1))]
    pub rate_bytes_per_second: Option<u64>,
    /// How the burst is counted. Default: `offset`.
    pub policy: Option<Policy>,
}

/// Which bytes of a stream are free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// The first `burstBytes` of the response, as API Gateway documents it.
    Offset,
    /// What a bucket of `burstBytes` holds that refills at the rate, as Lambda's own limiter.
    Bucket,
    /// All: no limit.
    Unlimited,
}

/// Timeouts of an integration's call, beside `timeoutInMillis`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Timeouts {
    /// Opening a connection to the backend, TLS included. Default: 5000.
    #[schemars(range(min = 1))]
    pub connect_in_millis: Option<u64>,
    /// The backend's silence, before and after its head. Default: 300000; 30000 for `EDGE`.
    #[schemars(range(min = 1))]
    pub idle_in_millis: Option<u64>,
    /// The client's silence: not a byte accepted. Default: 60000.
    #[schemars(range(min = 1))]
    pub client_stall_in_millis: Option<u64>,
    /// The silence of the client's upload; less than 256 bytes per second is silence, too. Default: 30000.
    #[schemars(range(min = 1))]
    pub request_body_in_millis: Option<u64>,
}

/// Sizes of bodies.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of a request body, or `unlimited`. Default: 10485760, as on AWS.
    pub request_body_bytes: Option<ByteLimit>,
    /// Bytes of a buffered response body. Default: 10485760, as on AWS.
    #[schemars(range(min = 1))]
    pub response_body_bytes: Option<u64>,
}

/// A number of bytes, or `unlimited`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteLimit(pub u64);

impl JsonSchema for ByteLimit {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ByteLimit".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number of bytes, or `unlimited`.",
            "anyOf": [{ "type": "integer", "minimum": 0 }, { "const": "unlimited" }],
        })
    }
}

impl<'de> Deserialize<'de> for ByteLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(word) if word == "unlimited" => Ok(ByteLimit(u64::MAX)),
            value => value
                .as_u64()
                .map(ByteLimit)
                .ok_or_else(|| de::Error::custom("expected bytes or `unlimited`")),
        }
    }
}

/// What happens to an integration's call when its client goes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnClientDisconnect {
    /// The connection to the backend is closed at once.
    Cancel,
    /// The call goes on to its end and the response is read and dropped.
    Finish,
}

/// What a VPC link stands for.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VpcLink {
    /// URLs of the targets, such as `http://10.0.0.7:8080`. A request goes to the one with the fewest under way.
    pub targets: Vec<String>,
    /// Ask each target whether it is well. Default: targets are judged by the requests they serve.
    #[serde(default)]
    pub health_check: Option<HealthCheck>,
}

/// An active health check.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HealthCheck {
    /// The path to GET; a status below 400 is well.
    pub path: String,
    /// Milliseconds between two checks. Default: 10000.
    #[serde(default)]
    #[schemars(range(min = 100))]
    pub interval_in_millis: Option<u64>,
    /// Milliseconds until a check has failed. Default: 2000.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub timeout_in_millis: Option<u64>,
}

/// The record of every request.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AccessLog {
    /// `stdout`, `none`, or a file to append to. Default: `stdout`.
    pub path: Option<String>,
    /// `json`, `clf`, `text`, or a format of your own with `$context` variables. Default: `json`, or `text` if standard
    /// output is a terminal.
    pub format: Option<String>,
}

/// Spans of requests for OpenTelemetry.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Tracing {
    /// The collector's address for OTLP over HTTP, such as `http://127.0.0.1:4318`; spans go to `/v1/traces` below it.
    /// Default: `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub otlp_endpoint: Option<String>,
    /// The share of requests that are traced, from 0 to 1, among those whose caller leaves it open. Default:
    /// `OTEL_TRACES_SAMPLER_ARG`, else 1.
    #[schemars(range(min = 0, max = 1))]
    pub sample_rate: Option<f64>,
    /// The name under which the gateway is found among other services. Default: `OTEL_SERVICE_NAME`, else `sluicegate`.
    pub service_name: Option<String>,
}

/// Limits on request heads and connections.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Http {
    /// Bytes of a request line. Default: 8192.
    #[schemars(range(min = 256, max = 65_536))]
    pub request_line_bytes: Option<u32>,
    /// Bytes of all header lines. Default: 10240, as on AWS.
    #[schemars(range(min = 256, max = 65_536))]
    pub header_bytes: Option<u32>,
    /// Milliseconds until the first byte of a new connection, and from there to the end of the TLS handshake.
    /// Default: 10000.
    #[schemars(range(min = 1))]
    pub first_byte_timeout_in_millis: Option<u64>,
    /// Milliseconds from the first byte of a request to the end of its head. Default: 10000.
    #[schemars(range(min = 1))]
    pub head_timeout_in_millis: Option<u64>,
    /// Milliseconds that a connection may be idle between two requests. Default: 310000, as on AWS.
    #[schemars(range(min = 1))]
    pub keep_alive_timeout_in_millis: Option<u64>,
    /// Client connections at a time. Default: what the descriptor limit allows.
    #[schemars(range(min = 1))]
    pub max_connections: Option<u32>,
    /// Proxies before the gateway that are trusted to append to `X-Forwarded-For`: the source IP is taken from so many
    /// places before its end. Default: 0, the connection's own address.
    #[schemars(range(max = 16))]
    pub trusted_hops: Option<u32>,
    /// Whether header names with an underscore are passed on to HTTP backends, some of which take `_` for `-`.
    /// Default: `drop`.
    pub underscore_headers: Option<UnderscoreHeaders>,
}

/// What happens to header names with an underscore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UnderscoreHeaders {
    /// HTTP backends don't get them.
    Drop,
    /// They are passed on.
    Pass,
}

/// How the gateway stops on SIGTERM.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Shutdown {
    /// Milliseconds in which new connections are still taken while `/readyz` already fails, so that load balancers can
    /// notice. Default: 5000.
    pub pre_stop_delay_in_millis: Option<u64>,
    /// Milliseconds after that until open requests are cut. Default: 930000 (15.5 minutes).
    pub drain_timeout_in_millis: Option<u64>,
}
