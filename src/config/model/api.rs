//! An API: its methods, what they do, and what faults are answered with.

use std::{sync::Arc, time::Duration};

use http::{Method as HttpMethod, StatusCode};
use rustls::sign::CertifiedKey;

use super::{AccessLog, CertificateFiles};
use crate::{
    config::{mapping::Source, uri::UriTemplate},
    stream::{clocks::Limits, shaper::Bandwidth},
    types::{
        context::STREAMED,
        fault::ResponseType,
        known::Known,
        site::{Resource, Site},
        template::Template,
    },
};

/// An API at a stage.
#[derive(Clone, Debug)]
pub struct Api {
    /// The document's file.
    pub definition: Box<str>,
    /// Its facts.
    pub site: Site,
    /// Host names that reach it; empty for any.
    pub domains: Vec<Domain>,
    /// Its resources' methods.
    pub methods: Vec<Method>,
    /// What faults are answered with.
    pub gateway_responses: GatewayResponses,
    /// Its record, if it has its own.
    pub access_log: Option<AccessLog>,
    /// What its execution log tells.
    pub execution_log: ExecutionLog,
    /// The files of the certificate that its backends are shown.
    pub client_certificate: Option<CertificateFiles>,
    /// The smallest response that is compressed, if any is.
    pub minimum_compression_size: Option<u64>,
    /// Media types whose bodies are binary for Lambda functions, in lower case (`x-amazon-apigateway-binary-media-types`).
    pub binary_media_types: Vec<Box<str>>,
}

/// A host name, or all names one label below it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Domain {
    /// The name in lower case, without `*.`.
    pub name: Box<str>,
    /// Whether one more label stands before it.
    pub is_wildcard: bool,
}

/// How much the execution log tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExecutionLog {
    /// Nothing.
    Off,
    /// Why requests fail.
    Error,
    /// Every step.
    Info,
}

/// Which requests a method of a resource takes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// DELETE, GET, HEAD, OPTIONS, PATCH, POST and PUT.
    Any,
    /// One method.
    Only(HttpMethod),
}

impl Verb {
    /// `ANY`, or the method.
    pub fn as_str(&self) -> &str {
        match self {
            Verb::Any => "ANY",
            Verb::Only(method) => method.as_str(),
        }
    }
}

/// A method of a resource.
#[derive(Clone, Debug)]
pub struct Method {
    /// Which requests it takes.
    pub verb: Verb,
    /// The resource.
    pub resource: Resource,
    /// Checks the document asks for that aren't enforced. Unless empty, the method fails closed.
    pub unenforced: Vec<String>,
    /// What it does.
    pub integration: Integration,
}

/// What a method does.
#[derive(Clone, Debug)]
pub enum Integration {
    /// Forwards to an HTTP backend.
    HttpProxy(Box<HttpProxy>),
    /// Answers by itself.
    Mock(Box<Mock>),
    /// Calls a Lambda function.
    Lambda(Box<Lambda>),
    /// Has no integration.
    Missing,
    /// Can't work; the text says why.
    Unusable(Box<str>),
}

/// How a response is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferMode {
    /// Whole.
    Buffered,
    /// As it arrives.
    Stream,
}

impl TransferMode {
    /// The word in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            TransferMode::Buffered => "BUFFERED",
            TransferMode::Stream => "STREAM",
        }
    }

    /// The word in access logs.
    pub fn logged(self) -> &'static str {
        match self {
            TransferMode::Buffered => "BUFFERED",
            TransferMode::Stream => STREAMED,
        }
    }
}

/// Limits and timeouts of an integration.
#[derive(Clone, Debug)]
pub struct Policy {
    /// How its response is passed on.
    pub mode: TransferMode,
    /// Its clocks.
    pub limits: Limits,
    /// Opening a connection.
    pub connect: Duration,
    /// The bandwidth of its streams.
    pub bandwidth: Bandwidth,
    /// Bytes of a request body.
    pub request_body: u64,
    /// Bytes of a buffered response body.
    pub response_body: u64,
    /// Whether the call goes on without the client.
    pub finish_without_client: bool,
}

/// An HTTP_PROXY integration.
#[derive(Clone, Debug)]
pub struct HttpProxy {
    /// The backend's method; `None` passes the client's on.
    pub method: Option<HttpMethod>,
    /// Where it goes, and the path and query there.
    pub uri: UriTemplate,
    /// The VPC link whose targets take it.
    pub vpc_link: Option<Box<str>>,
    /// `tlsConfig.insecureSkipVerification`.
    pub skip_issuer_check: bool,
    /// `tlsConfig.serverNameToVerify`.
    pub server_name: Option<Box<str>>,
    /// The gateway's own certificate towards the backend.
    pub client_certificate: Option<Arc<CertifiedKey>>,
    /// Mapped headers.
    pub headers: Vec<HeaderMapping>,
    /// Mapped query parameters.
    pub query: Vec<(Box<str>, Source)>,
    /// A mapping that AWS accepts and then fails every request with.
    pub poison: Option<Box<str>>,
    /// Limits and timeouts.
    pub policy: Policy,
}

impl HttpProxy {
    /// Whether a mapping needs the whole request body.
    pub fn needs_body(&self) -> bool {
        let headers = self.headers.iter().map(|mapping| &mapping.source);
        headers
            .chain(self.query.iter().map(|(_, source)| source))
            .any(Source::is_body)
            || self.uri.needs_body()
    }
}

/// A mapped header.
#[derive(Clone, Debug)]
pub struct HeaderMapping {
    /// The name as written.
    pub name: Box<str>,
    /// The name, if the gateway has a rule for it.
    pub known: Known,
    /// Where the value comes from.
    pub source: Source,
}

/// A Lambda integration.
#[derive(Clone, Debug)]
pub struct Lambda {
    /// The function as the URI names it: an ARN, a partial ARN or a name, with a qualifier or without.
    pub function: Box<str>,
    /// How its answers are read.
    pub answers: LambdaAnswers,
    /// Limits and timeouts.
    pub policy: Policy,
}

/// How a function's answers are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LambdaAnswers {
    /// Whether a streamed response's `headers` may have arrays as values.
    pub header_arrays: bool,
    /// The status for a function's error before its streamed response has begun.
    pub function_error_status: StatusCode,
    /// `Content-Type` of a streamed response whose metadata has none.
    pub default_content_type: Box<str>,
    /// Whether a streamed response also passes Lambda's own limiter.
    pub lambda_limits: bool,
}

/// A MOCK integration.
#[derive(Clone, Debug)]
pub struct Mock {
    /// Templates that choose the status, by content type.
    pub request_templates: Vec<(Box<str>, Template)>,
    /// What becomes of a request that no template fits.
    pub passthrough: Passthrough,
    /// Responses by the status they are chosen for; `None` is the default.
    pub responses: Vec<MockResponse>,
}

/// What becomes of a request whose content type has no template (`passthroughBehavior`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passthrough {
    /// Its body passes.
    WhenNoMatch,
    /// Its body passes if there are no templates at all; else it is refused.
    WhenNoTemplates,
    /// It is refused.
    Never,
}

/// One response of a MOCK integration.
#[derive(Clone, Debug)]
pub struct MockResponse {
    /// The pattern the chosen status must match; `None` for `default`.
    pub pattern: Option<regex_lite::Regex>,
    /// The status that is sent.
    pub status: StatusCode,
    /// Headers and their values.
    pub headers: Vec<(Box<str>, Source)>,
    /// Bodies by content type.
    pub templates: Vec<(Box<str>, Template)>,
}

/// Customised gateway responses.
#[derive(Clone, Debug, Default)]
pub struct GatewayResponses {
    /// By type.
    pub by_type: Vec<(ResponseType, GatewayResponse)>,
}

/// A customised gateway response.
#[derive(Clone, Debug, Default)]
pub struct GatewayResponse {
    /// The status, if it is changed.
    pub status: Option<StatusCode>,
    /// Headers and their values.
    pub headers: Vec<(Box<str>, Source)>,
    /// Bodies by content type.
    pub templates: Vec<(Box<str>, Template)>,
}

impl GatewayResponses {
    /// The customisation of a type, if there is one.
    pub fn get(&self, response_type: ResponseType) -> Option<&GatewayResponse> {
        self.by_type
            .iter()
            .find(|(kind, _)| *kind == response_type)
            .map(|(_, response)| response)
    }
}
