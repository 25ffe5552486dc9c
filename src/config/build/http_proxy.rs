//! HTTP_PROXY integrations: where they go, and what of the request goes where.

use http::Method;

use super::{
    integration::Building,
    request_parameters::{self, Mappings},
};
use crate::config::{
    codes::Code,
    diagnostics::Diagnostics,
    document::file::Cursor,
    intrinsics::{fill_stage_variables, resolve},
    model::{HttpProxy, Integration, TransferMode},
    suggest::nearest,
    uri::{UriFault, UriTemplate},
};

pub(super) fn build(building: &Building<'_>, diagnostics: &mut Diagnostics) -> Integration {
    warn(building, diagnostics);
    let mappings = request_parameters::read(building, diagnostics);
    let link = vpc_link(building, diagnostics);
    let method = method(building, diagnostics);
    let uri = uri(building, &mappings, diagnostics);
    let (Ok(link), Some(method), Some(uri)) = (link, method, uri) else {
        return Integration::Unusable("its integration is invalid".into());
    };
    if mappings.is_broken {
        return Integration::Unusable("its requestParameters are invalid".into());
    }
    let tls = building.integration.get("tlsConfig");
    let skip = tls
        .as_ref()
        .and_then(|tls| tls.get("insecureSkipVerification"))
        .and_then(|it| it.value.as_bool());
    let server_name = tls
        .as_ref()
        .and_then(|tls| tls.get("serverNameToVerify"))
        .and_then(|name| name.scalar());
    Integration::HttpProxy(Box::new(HttpProxy {
        method,
        uri,
        vpc_link: link,
        skip_issuer_check: skip.unwrap_or(false),
        server_name: server_name.map(Into::into),
        headers: mappings.headers,
        query: mappings.query,
        poison: mappings.poison,
        policy: building.policy.clone(),
    }))
}

/// `None` in the inner option passes the client's method on.
#[expect(
    clippy::option_option,
    reason = "the outer one says whether the integration can be used"
)]
fn method(building: &Building<'_>, diagnostics: &mut Diagnostics) -> Option<Option<Method>> {
    let Some(said) = building.integration.get("httpMethod") else {
        return Some(None);
    };
    let text = said.scalar().unwrap_or_default().to_ascii_uppercase();
    match text.as_str() {
        "ANY" | "" => Some(None),
        "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS" => {
            Method::from_bytes(text.as_bytes()).ok().map(Some)
        }
        _ => {
            let finding = building.report(
                &said,
                Code::E045,
                format!("`{text}` isn't an integration method"),
            );
            diagnostics
                .push(finding.label("expected an HTTP method, or `ANY` for the client's own"));
            None
        }
    }
}

fn vpc_link(
    building: &Building<'_>,
    diagnostics: &mut Diagnostics,
) -> Result<Option<Box<str>>, ()> {
    let integration = &building.integration;
    let kind = integration
        .get("connectionType")
        .and_then(|kind| kind.scalar())
        .unwrap_or_default();
    if !kind.eq_ignore_ascii_case("VPC_LINK") {
        return Ok(None);
    }
    let links = building.source.vpc_links;
    let Some(said) = integration.get("connectionId") else {
        let finding = building.report(
            integration,
            Code::E040,
            "a VPC_LINK integration needs a `connectionId`",
        );
        diagnostics.push(finding);
        return Err(());
    };
    let resolved = resolve(said.value, building.source.bindings()).unwrap_or_default();
    let (text, missing) =
        fill_stage_variables(&resolved.text, |name| building.source.stage_variable(name));
    tell_missing(building, &said, "connectionId", &missing, diagnostics);
    // A link that only CloudFormation knows is found by its logical name.
    let id = text
        .trim_start_matches("${")
        .trim_end_matches('}')
        .to_owned();
    if links.contains_key(&id) {
        return Ok(Some(id.into()));
    }
    let message = match id.as_str() {
        "" => "the integration names no VPC link".to_owned(),
        id => format!("the VPC link `{id}` isn't configured"),
    };
    let finding = building.report(&said, Code::E040, message);
    let shown = if id.is_empty() { "ID" } else { &id };
    diagnostics.push(match nearest(&id, links.keys().map(String::as_str)) {
        Some(meant) => finding.hint(format!("did you mean `{meant}`?")),
        None => finding.hint(format!("say in sluicegate.yaml where it leads: `vpcLinks: {{ {shown}: {{ targets: [\"http://…\"] }} }}`")),
    });
    Err(())
}

fn uri(
    building: &Building<'_>,
    mappings: &Mappings,
    diagnostics: &mut Diagnostics,
) -> Option<UriTemplate> {
    let Some(said) = building.integration.get("uri") else {
        let finding = building.report(
            &building.integration,
            Code::E035,
            "the integration has no `uri`",
        );
        diagnostics
            .push(finding.hint("add the backend's URL, such as `http://127.0.0.1:9000/{proxy}`"));
        return None;
    };
    let text = building.text("uri", diagnostics).ok()??;
    let (text, missing) = fill_stage_variables(&text, |name| building.source.stage_variable(name));
    tell_missing(building, &said, "uri", &missing, diagnostics);
    let path = &building.operation.resource.path;
    let is_greedy = |name: &str| path.ends_with(&format!("{{{name}+}}"));
    match UriTemplate::compile(&text, |name| mappings.paths.get(name).cloned(), is_greedy) {
        Ok(uri) => Some(uri),
        Err(fault) => {
            diagnostics.push(uri_finding(building, &said, &text, &fault));
            None
        }
    }
}

/// Stage variables without a value become empty, as on AWS; a request shows it too late.
fn tell_missing(
    building: &Building<'_>,
    at: &Cursor<'_>,
    key: &str,
    missing: &[String],
    diagnostics: &mut Diagnostics,
) {
    for name in missing {
        let message =
            format!("the stage variable `{name}` has no value: it is empty in `{key}`, as on AWS");
        diagnostics.push(building.report(at, Code::W116, message).hint(format!(
            "give it one in sluicegate.yaml, under the API: `stageVariables: {{ {name}: … }}`"
        )));
    }
}

fn uri_finding(
    building: &Building<'_>,
    said: &Cursor<'_>,
    text: &str,
    fault: &UriFault,
) -> crate::config::diagnostics::Diagnostic {
    match fault {
        UriFault::Scheme => building
            .report(
                said,
                Code::E035,
                format!("`{text}` isn't the URL of an HTTP backend"),
            )
            .label("expected `http://` or `https://`"),
        UriFault::Authority(authority) => building
            .report(
                said,
                Code::E035,
                format!("`{authority}` isn't a host with an optional port"),
            )
            .hint("requests would be answered 500, as on AWS"),
        UriFault::ClientHost(name) => building
            .report(
                said,
                Code::E037,
                format!("the client would choose the host through `{{{name}}}`"),
            )
            .hint("map it from a static value or a stage variable, or write the host out"),
        UriFault::Character(character) => building
            .report(
                said,
                Code::E035,
                format!("`{character}` can't stand in a URI"),
            )
            .hint("percent-encode it, and close every `{`"),
        UriFault::Unmapped(name) => {
            let is_parameter = building
                .operation
                .resource
                .parameters
                .iter()
                .any(|parameter| **parameter == **name);
            let hint = if is_parameter {
                format!(
                    "map it, as AWS wants it: `requestParameters: {{ integration.request.path.{name}: method.request.path.{name} }}`"
                )
            } else {
                format!("map it: `requestParameters: {{ integration.request.path.{name}: … }}`")
            };
            building
                .report(
                    said,
                    Code::E036,
                    format!("nothing is mapped to `{{{name}}}` in the URI"),
                )
                .hint(hint)
        }
    }
}

/// What a proxy integration ignores.
fn warn(building: &Building<'_>, diagnostics: &mut Diagnostics) {
    let integration = &building.integration;
    let is_stream = building.mode == TransferMode::Stream;
    let mut tell = |at: &Cursor<'_>, code: Code, message: String| {
        diagnostics.push(at.report_key(code, message).of_method(Some(&building.name)));
    };
    for key in ["cacheNamespace", "cacheKeyParameters"] {
        let Some(cache) = integration
            .get(key)
            .filter(|it| it.value.as_array().is_none_or(|items| !items.is_empty()))
        else {
            continue;
        };
        if is_stream || key == "cacheKeyParameters" {
            let why = if is_stream {
                "streamed responses are never cached"
            } else {
                "responses aren't cached here"
            };
            tell(&cache, Code::W104, format!("`{key}` has no effect: {why}"));
        }
    }
    let templates = integration
        .get("requestTemplates")
        .filter(|it| it.members().next().is_some());
    if let Some(templates) = templates {
        tell(
            &templates,
            Code::W105,
            "a proxy integration ignores `requestTemplates`".to_owned(),
        );
    }
    let has_mapping = |response: &Cursor<'_>| {
        ["responseTemplates", "responseParameters"]
            .iter()
            .any(|key| response.get(key).is_some())
    };
    let responses = integration
        .get("responses")
        .filter(|all| all.members().any(|(_, it)| has_mapping(&it)));
    if let Some(responses) = responses {
        tell(
            &responses,
            Code::W108,
            "a proxy integration ignores `responses`: the backend's response passes as it is"
                .to_owned(),
        );
    }
    let compression = building
        .root
        .get("x-amazon-apigateway-minimum-compression-size")
        .filter(|_| is_stream);
    if compression.is_some() {
        let at = integration
            .get("responseTransferMode")
            .unwrap_or_else(|| integration.clone());
        let message =
            "`minimumCompressionSize` doesn't apply to streamed responses: compress in the backend";
        tell(&at, Code::W103, message.to_owned());
    }
}
