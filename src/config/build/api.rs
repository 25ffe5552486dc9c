//! One API: its facts, its methods, its gateway responses.

use std::{collections::BTreeMap, net::SocketAddr};

use super::{gateway_responses, integration, lint, overrides, protection};
use crate::{
    config::{
        codes::Code,
        diagnostics::Diagnostics,
        document::{
            file::{Cursor, File},
            settings::{self as said, Defaults, EndpointType},
        },
        intrinsics::{self, Bindings},
        model::{Api, Certificate, Domain, ExecutionLog, LambdaFront, Method, VpcLink},
        openapi::{
            base_path,
            operations::{Operation, operations, short_id},
            recognise, security,
        },
    },
    types::site::Site,
};

/// Bytes of a document that API Gateway imports.
const MOST_IMPORTED: usize = 6 * 1024 * 1024;

/// What an API is built from.
pub(super) struct Source<'a> {
    /// The document.
    pub(super) file: &'a File,
    /// What the settings say about the API.
    pub(super) said: &'a said::Api,
    /// What they say about all.
    pub(super) gateway: &'a Defaults,
    /// VPC links by id.
    pub(super) vpc_links: &'a BTreeMap<String, VpcLink>,
    /// The gateway's certificate towards the API's backends.
    pub(super) client_certificate: Option<Certificate>,
    /// Functions by name, and whether each runs here.
    pub(super) functions: &'a BTreeMap<Box<str>, bool>,
    /// Region and account of functions, for documents that don't say theirs.
    pub(super) lambda: &'a LambdaFront,
    /// Where the gateway itself listens.
    pub(super) listeners: &'a [SocketAddr],
}

impl Source<'_> {
    /// The value of a stage variable.
    pub(super) fn stage_variable(&self, name: &str) -> Option<String> {
        self.said.stage_variables.get(name).cloned()
    }

    /// Names of the document's CloudFormation values.
    pub(super) fn bindings(&self) -> &Bindings {
        &self.said.bindings
    }
}

/// Builds the API of a document. `None` if the document can't be read as one.
pub(super) fn build(source: &Source<'_>, diagnostics: &mut Diagnostics) -> Option<Api> {
    let root = Cursor::root(source.file);
    let version = recognise(&root, diagnostics)?;
    if source.file.text.len() > MOST_IMPORTED {
        let message = format!(
            "the document has {} bytes; API Gateway imports at most 6 MB",
            source.file.text.len()
        );
        diagnostics.push(root.report_key(Code::W120, message));
    }
    security::check_root(&root, diagnostics);
    protection::check_root(&root, diagnostics);
    overrides::check_keys(&root, diagnostics);
    let defaults = overrides::merge(&source.said.defaults, source.gateway);
    let defaults = overrides::overlay(&defaults, &root, diagnostics);
    let prefix = base_path::prefix(&root, version, source.said.import_base_path);
    let operations = operations(&root, &prefix, diagnostics);
    let mut methods = Vec::new();
    for operation in &operations {
        methods.push(method(source, &root, operation, &defaults, diagnostics));
    }
    lint::catch_alls(&operations, diagnostics);
    let certificate = source.client_certificate.as_ref();
    Some(Api {
        definition: (&*source.file.name).into(),
        site: site(source, &root),
        domains: source
            .said
            .domains
            .iter()
            .map(|name| domain(name))
            .collect(),
        methods,
        gateway_responses: gateway_responses::build(source, &root, diagnostics),
        access_log: None,
        execution_log: match source.said.execution_log {
            said::ExecutionLog::Off => ExecutionLog::Off,
            said::ExecutionLog::Error => ExecutionLog::Error,
            said::ExecutionLog::Info => ExecutionLog::Info,
        },
        client_certificate: certificate.map(|it| it.files.clone()),
        minimum_compression_size: compression(&root, diagnostics),
        binary_media_types: binary_media_types(&root),
    })
}

fn method(
    source: &Source<'_>,
    root: &Cursor<'_>,
    operation: &Operation<'_>,
    defaults: &Defaults,
    diagnostics: &mut Diagnostics,
) -> Method {
    let mut defaults = defaults.clone();
    for level in [&operation.item, &operation.operation] {
        overrides::check_keys(level, diagnostics);
        defaults = overrides::overlay(&defaults, level, diagnostics);
    }
    Method {
        verb: operation.verb.clone(),
        resource: operation.resource.clone(),
        unenforced: protection::unenforced(root, operation, diagnostics),
        integration: integration::build(source, root, operation, &defaults, diagnostics),
    }
}

fn site(source: &Source<'_>, root: &Cursor<'_>) -> Site {
    let said = source.said;
    let title = root.get("info").and_then(|info| info.get("title"));
    let title = title
        .and_then(|title| intrinsics::resolve(title.value, source.bindings()))
        .map(|title| title.text);
    let name = title.unwrap_or_else(|| "api".to_owned());
    let pseudo = |name: &str, default: &str| {
        intrinsics::lookup(source.bindings(), name).map_or_else(|| default.into(), Into::into)
    };
    let base_path = said
        .base_path
        .as_deref()
        .unwrap_or_default()
        .trim_matches('/');
    let mut stage_variables: Vec<(Box<str>, Box<str>)> = said
        .stage_variables
        .iter()
        .map(|(key, value)| (key.as_str().into(), value.as_str().into()))
        .collect();
    stage_variables.sort();
    Site {
        api_id: said
            .id
            .as_deref()
            .map_or_else(|| short_id(&name, 10), Into::into),
        deployment_id: short_id(&source.file.text, 6),
        api_name: name.into(),
        stage: said.stage.as_deref().unwrap_or("default").into(),
        account_id: pseudo("AWS::AccountId", &source.lambda.account_id),
        region: pseudo("AWS::Region", &source.lambda.region),
        endpoint_type: match said.endpoint_type {
            EndpointType::Regional => "REGIONAL",
            EndpointType::Edge => "EDGE",
            EndpointType::Private => "PRIVATE",
        },
        base_path: if base_path.is_empty() {
            "".into()
        } else {
            format!("/{base_path}").into()
        },
        has_own_domain: !said.domains.is_empty(),
        stage_variables,
    }
}

fn domain(name: &str) -> Domain {
    let name = name.to_ascii_lowercase();
    // The dot that ends a name in the DNS is no part of what clients are told apart by.
    let name = name.trim_end_matches('.');
    match name.strip_prefix("*.") {
        Some(rest) => Domain {
            name: rest.into(),
            is_wildcard: true,
        },
        None => Domain {
            name: name.into(),
            is_wildcard: false,
        },
    }
}

fn binary_media_types(root: &Cursor<'_>) -> Vec<Box<str>> {
    let said = root.get("x-amazon-apigateway-binary-media-types");
    let types = said.iter().flat_map(Cursor::items);
    types
        .filter_map(|item| Some(item.str()?.to_ascii_lowercase().into()))
        .collect()
}

fn compression(root: &Cursor<'_>, diagnostics: &mut Diagnostics) -> Option<u64> {
    let said = root.get("x-amazon-apigateway-minimum-compression-size")?;
    let size = said.value.as_u64().or_else(|| said.str()?.parse().ok());
    if size.is_none_or(|size| size > 10 * 1024 * 1024) {
        let finding = said.report(
            Code::E014,
            "the minimum compression size is outside its range",
        );
        diagnostics.push(finding.label("expected 0 to 10485760"));
        return None;
    }
    size
}
