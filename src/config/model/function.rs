//! Lambda functions: where they run, and who may call them without an API.

use std::{path::PathBuf, time::Duration};

use super::{Origin, TransferMode};
use crate::stream::shaper::Bandwidth;

/// A function.
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    /// Its name.
    pub name: Box<str>,
    /// Its ARN.
    pub arn: Box<str>,
    /// Where it runs.
    pub target: FunctionTarget,
    /// Its URL, if it has one.
    pub url: Option<FunctionUrl>,
}

impl Function {
    /// Whether it runs here.
    pub fn is_local(&self) -> bool {
        matches!(self.target, FunctionTarget::Local(_))
    }
}

/// Where a function runs.
#[derive(Clone, Debug, PartialEq)]
pub enum FunctionTarget {
    /// Here.
    Local(Box<LocalFunction>),
    /// Behind the Lambda Invoke API.
    Remote(RemoteFunction),
}

/// What starts a local function's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// Node.js, by the bundled bootstrap.
    Node,
    /// Python, by the bundled bootstrap.
    Python,
    /// A program that speaks the Runtime API itself.
    Provided,
}

/// A local function.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalFunction {
    /// What starts it.
    pub runtime: Runtime,
    /// The runtime's name as AWS has it, such as `nodejs20.x`.
    pub runtime_name: Box<str>,
    /// The program and its arguments, in place of the bundled bootstrap; empty for that.
    pub command: Vec<Box<str>>,
    /// Programs that use the Extensions API.
    pub extensions: Vec<Box<str>>,
    /// `LAMBDA_TASK_ROOT`, absolute.
    pub directory: PathBuf,
    /// `_HANDLER`.
    pub handler: Box<str>,
    /// Environment variables, those passed on from the gateway's own included.
    pub environment: Vec<(Box<str>, Box<str>)>,
    /// From an invocation's delivery to its end.
    pub timeout: Duration,
    /// From the process's start to its first call of `/next`.
    pub init_timeout: Duration,
    /// In MB; only told, not enforced.
    pub memory_size: u32,
    /// Execution environments at a time.
    pub most_environments: usize,
    /// Invocations at a time beyond which more are refused.
    pub most_invocations: Option<usize>,
    /// Invocations at a time in one environment.
    pub per_environment: usize,
    /// Until an idle environment is ended.
    pub idle: Duration,
    /// Whether environments are replaced when the code changes.
    pub watch: bool,
    /// `AWS_REGION`.
    pub region: Box<str>,
}

/// A function behind the Lambda Invoke API.
#[derive(Clone, Debug, PartialEq)]
pub struct RemoteFunction {
    /// The endpoint; `None` for AWS's of the region (or `AWS_ENDPOINT_URL_LAMBDA`'s).
    pub endpoint: Option<Origin>,
    /// The name or ARN to call; `None` for the name in the integration's URI.
    pub function_name: Option<Box<str>>,
    /// The region, if it is said of the function.
    pub region: Option<Box<str>>,
    /// The region of all functions, if it is said: for those whose ARN doesn't name one.
    pub usual_region: Option<Box<str>>,
    /// The profile to take credentials from, if one is said.
    pub profile: Option<Box<str>>,
}

/// A function URL.
#[derive(Clone, Debug, PartialEq)]
pub struct FunctionUrl {
    /// The first label of its host.
    pub id: Box<str>,
    /// Whether everybody may call it.
    pub is_open: bool,
    /// How responses are passed on.
    pub mode: TransferMode,
    /// Cross-origin resource sharing.
    pub cors: Option<Cors>,
    /// Bytes of a streamed response.
    pub streamed_response: u64,
    /// Lambda's own limiter.
    pub bandwidth: Bandwidth,
}

/// Cross-origin resource sharing of a function URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// `Access-Control-Allow-Credentials`.
    pub allow_credentials: bool,
    /// `Access-Control-Allow-Headers`, in lower case.
    pub allow_headers: Vec<Box<str>>,
    /// `Access-Control-Allow-Methods`.
    pub allow_methods: Vec<Box<str>>,
    /// Origins.
    pub allow_origins: Vec<Box<str>>,
    /// `Access-Control-Expose-Headers`.
    pub expose_headers: Vec<Box<str>>,
    /// `Access-Control-Max-Age`, in seconds.
    pub max_age: Option<u32>,
}

/// Where functions are said to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LambdaFront {
    /// The region in ARNs and hosts.
    pub region: Box<str>,
    /// The account in ARNs.
    pub account_id: Box<str>,
}
