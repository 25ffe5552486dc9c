//! The shape of `functions:` and `lambda:` in `sluicegate.yaml`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

/// A Lambda function. With `runtime` it runs here, with `endpoint` it is called there, without either on AWS.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Function {
    /// The runtime of a local function: `nodejs…`, `python…` or `provided…`, such as `nodejs20.x`. The program is the
    /// `node` or `python3` found on the PATH, whatever the version says.
    pub runtime: Option<String>,
    /// The local function's directory. Default: that of the configuration.
    pub code_uri: Option<String>,
    /// The local function's handler, such as `index.handler`.
    pub handler: Option<String>,
    /// The program that speaks the Lambda Runtime API, with its arguments, in place of the runtime's own. Default for
    /// `provided`: `./bootstrap`.
    pub command: Vec<String>,
    /// Programs that are started beside it and use the Lambda Extensions API, such as `lambda-adapter`.
    pub extensions: Vec<String>,
    /// Environment variables. The gateway's own environment isn't passed on, but for `PATH`, `HOME`, `LANG`, `TZ` and
    /// those named in `passEnvironment`.
    pub environment: BTreeMap<String, String>,
    /// Names of variables of the gateway's own environment that the function gets, too.
    pub pass_environment: Vec<String>,
    /// Seconds until an invocation times out. Default: 60 (AWS's is 3).
    #[schemars(range(min = 1, max = 900))]
    pub timeout: Option<u32>,
    /// Seconds that a new execution environment may take until it asks for its first event. Default: 10, as on AWS.
    #[schemars(range(min = 1, max = 900))]
    pub init_timeout: Option<u32>,
    /// `AWS_LAMBDA_FUNCTION_MEMORY_SIZE`, in MB. Nothing is limited by it. Default: 128.
    #[schemars(range(min = 128, max = 32_768))]
    pub memory_size: Option<u32>,
    /// Execution environments at a time. Invocations beyond them wait. Default: 10.
    #[schemars(range(min = 1, max = 1000))]
    pub concurrency: Option<u32>,
    /// Invocations at a time beyond which Lambda refuses more (429), as on AWS. Default: none are refused.
    #[schemars(range(min = 0))]
    pub reserved_concurrent_executions: Option<u32>,
    /// Invocations that one execution environment takes at a time, as on Lambda Managed Instances; its runtime must ask
    /// for several events at once. Default: 1.
    #[schemars(range(min = 1, max = 1600))]
    pub per_execution_environment_max_concurrency: Option<u32>,
    /// Seconds after which an idle execution environment is ended. Default: 300.
    #[schemars(range(min = 1))]
    pub idle_timeout: Option<u32>,
    /// Start new execution environments when a file below `codeUri` changes. Default: false.
    pub watch: bool,
    /// The URL of a Lambda-compatible endpoint, such as `http://127.0.0.1:3001`.
    pub endpoint: Option<String>,
    /// The name or ARN to call there or on AWS. Default: the function's own name; on AWS the integration's ARN.
    pub function_name: Option<String>,
    /// The region to call, and `AWS_REGION` of a local function. Default: that of the ARN to call, else that of `lambda`.
    pub region: Option<String>,
    /// The function's URL. A local function has one with all defaults in any case.
    pub function_url_config: Option<FunctionUrl>,
}

/// A function URL.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FunctionUrl {
    /// Who may call it. `AWS_IAM` isn't enforced yet, and refuses everybody. Default: `NONE`.
    pub auth_type: UrlAuthType,
    /// How responses are passed on. Default: `BUFFERED`.
    pub invoke_mode: InvokeMode,
    /// Cross-origin resource sharing, answered by the URL in place of the function.
    pub cors: Option<Cors>,
    /// Bytes of a streamed response. Default: 209715200 (200 MB), as on AWS; it was 20971520 before.
    #[schemars(range(min = 1))]
    pub streamed_response_bytes: Option<u64>,
}

/// Who may call a function URL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum UrlAuthType {
    /// Everybody.
    #[default]
    #[serde(rename = "NONE")]
    None,
    /// Signed requests.
    #[serde(rename = "AWS_IAM")]
    AwsIam,
}

/// How a function URL passes responses on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum InvokeMode {
    /// Whole.
    #[default]
    #[serde(rename = "BUFFERED")]
    Buffered,
    /// As they arrive.
    #[serde(rename = "RESPONSE_STREAM")]
    ResponseStream,
}

/// Cross-origin resource sharing of a function URL.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Cors {
    /// Whether credentials may be sent. Default: false.
    pub allow_credentials: bool,
    /// Headers that requests may have; `*` for any.
    pub allow_headers: Vec<String>,
    /// Methods that requests may have; `*` for any.
    pub allow_methods: Vec<String>,
    /// Origins that requests may come from; `*` for any.
    pub allow_origins: Vec<String>,
    /// Headers of responses that scripts may see.
    pub expose_headers: Vec<String>,
    /// Seconds for which a browser may keep the answer to its preflight request. Default: 0.
    #[schemars(range(max = 86_400))]
    pub max_age: Option<u32>,
}

/// How functions are called, and where the gateway itself takes calls of functions.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Lambda {
    /// The region of functions, here and on AWS. Default: `AWS_REGION`, `AWS_DEFAULT_REGION` or the AWS profile's, else
    /// `us-east-1`.
    pub region: Option<String>,
    /// The account id in ARNs of local functions. Default: `123456789012`.
    pub account_id: Option<String>,
    /// The profile of the AWS configuration to take credentials from. Default: `AWS_PROFILE`, or none.
    pub profile: Option<String>,
    /// An address of its own for the Invoke API and function URLs, for SDKs and tools. Default: none.
    pub address: Option<String>,
    /// Whether the Invoke API and function URLs are served on the gateway's listeners, too. Whoever reaches a listener can
    /// then invoke every function. Default: only on listeners with a loopback address, and not where `proxyProtocol` or
    /// `trustedHops` tell of a proxy before it.
    pub on_listeners: Option<bool>,
}
