//! HTTP_PROXY integrations: where they go, and what of the request goes where.

use std::collections::BTreeMap;

use http::Method;

use super::integration::Building;
use crate::{
    config::{
        codes::Code,
        diagnostics::Diagnostics,
        document::file::Cursor,
        intrinsics::{fill_stage_variables, resolve},
        mapping::{self, SOURCE_FORMS, SourceFault, Target, parse_source, parse_target},
        model::{HeaderMapping, HttpProxy, Integration, TransferMode},
        openapi::security::declared,
        suggest::nearest,
        uri::{UriFault, UriTemplate},
    },
    types::{known::Known, variable::Variable},
};

/// Mapped headers that AWS accepts at import and then answers every request with 500 for.
const POISON: [Known; 4] = [
    Known::ContentLength,
    Known::TransferEncoding,
    Known::XAmznTraceId,
    Known::XAmznApigateway,
];
/// Mapped headers that AWS drops silently, and two that belong to the connection.
const DROPPED: [Known; 6] = [
    Known::Expect,
    Known::Te,
    Known::ProxyAuthenticate,
    Known::Via,
    Known::Connection,
    Known::KeepAlive,
];

/// The mappings of an integration, by where they go.
#[derive(Default)]
struct Mappings {
    paths: BTreeMap<Box<str>, mapping::Source>,
    query: Vec<(Box<str>, mapping::Source)>,
    headers: Vec<HeaderMapping>,
    poison: Option<Box<str>>,
    is_broken: bool,
}

pub(super) fn build(building: &Building<'_>, diagnostics: &mut Diagnostics) -> Integration {
    warn(building, diagnostics);
    let mappings = mappings(building, diagnostics);
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
    let (text, _) =
        fill_stage_variables(&resolved.text, |name| building.source.stage_variable(name));
    // A link that only CloudFormation knows is found by its logical name.
    let id = text
        .trim_start_matches("${")
        .trim_end_matches('}')
        .to_owned();
    if links.contains_key(&id) {
        return Ok(Some(id.into()));
    }
    let finding = building.report(
        &said,
        Code::E040,
        format!("the VPC link `{id}` isn't configured"),
    );
    diagnostics.push(match nearest(&id, links.keys().map(String::as_str)) {
        Some(meant) => finding.hint(format!("did you mean `{meant}`?")),
        None => finding.hint(format!("say in sluicegate.yaml where it leads: `vpcLinks: {{ {id}: {{ targets: [\"http://…\"] }} }}`")),
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
    for name in &missing {
        let message =
            format!("the stage variable `{name}` has no value: it is empty in `uri`, as on AWS");
        let finding = building.report(&said, Code::W116, message);
        diagnostics.push(finding.hint(format!(
            "give it one in sluicegate.yaml, under the API: `stageVariables: {{ {name}: … }}`"
        )));
    }
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

fn mappings(building: &Building<'_>, diagnostics: &mut Diagnostics) -> Mappings {
    let mut mappings = Mappings::default();
    for (target, value) in building
        .integration
        .get("requestParameters")
        .iter()
        .flat_map(Cursor::members)
    {
        let Some(parsed) = parse_target(target) else {
            let finding = value.report_key(
                Code::E038,
                format!("`{target}` isn't a place in the integration's request"),
            );
            let finding = finding.of_method(Some(&building.name));
            diagnostics.push(
                finding.label("expected `integration.request.{header|querystring|path}.NAME`"),
            );
            mappings.is_broken = true;
            continue;
        };
        match source(building, &value, diagnostics) {
            Some(source) => place(building, &mut mappings, parsed, source, &value, diagnostics),
            None => mappings.is_broken = true,
        }
    }
    mappings
}

fn source(
    building: &Building<'_>,
    value: &Cursor<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<mapping::Source> {
    let resolved = resolve(value.value, building.source.bindings())
        .filter(|resolved| resolved.unbound.is_empty());
    let Some(text) = resolved.map(|resolved| resolved.text) else {
        let finding = building.report(value, Code::E038, "this mapping can't be turned into text");
        diagnostics.push(finding.hint(SOURCE_FORMS));
        return None;
    };
    let parsed = match parse_source(&text, |name| building.source.stage_variable(name)) {
        Ok(parsed) => parsed,
        Err(SourceFault::Form) => {
            let finding = building.report(
                value,
                Code::E038,
                format!("`{text}` can't be read as the source of a mapping"),
            );
            diagnostics.push(finding.hint(SOURCE_FORMS));
            return None;
        }
        Err(SourceFault::Context(name)) => {
            let finding = building.report(
                value,
                Code::E038,
                format!("there is no context variable `{name}`"),
            );
            let meant = nearest(&name, Variable::names());
            diagnostics.push(meant.map_or(finding.clone(), |meant| {
                finding.hint(format!("did you mean `context.{meant}`?"))
            }));
            return None;
        }
    };
    if parsed.is_body() && building.mode == TransferMode::Stream {
        let message =
            "a mapping from the request body needs the whole body, which a stream doesn't wait for";
        let finding = building.report(value, Code::E044, message);
        diagnostics.push(
            finding.hint("use `responseTransferMode: BUFFERED`, or map from a header or the query"),
        );
        return None;
    }
    check_declared(building, &parsed, value, diagnostics);
    Some(parsed)
}

/// API Gateway wants a parameter declared on the method before it is mapped.
fn check_declared(
    building: &Building<'_>,
    source: &mapping::Source,
    value: &Cursor<'_>,
    diagnostics: &mut Diagnostics,
) {
    let (place, name) = match source {
        mapping::Source::Query(name) | mapping::Source::MultiQuery(name) => ("query", name),
        mapping::Source::Header(name) | mapping::Source::MultiHeader(name) => ("header", name),
        mapping::Source::Path(name) if !building.operation.resource.parameters.contains(name) => {
            ("path", name)
        }
        _ => return,
    };
    let text =
        |parameter: &Cursor<'_>, key: &str| parameter.get(key).and_then(|value| value.scalar());
    let is_declared = declared(building.root, building.operation).any(|parameter| {
        text(&parameter, "in").as_deref() == Some(place)
            && text(&parameter, "name").is_some_and(|declared| declared.eq_ignore_ascii_case(name))
    });
    if is_declared {
        return;
    }
    let message = format!(
        "`{}` doesn't declare the {place} parameter `{name}` that is mapped here",
        building.name
    );
    let finding = building.report(value, Code::W110, message);
    diagnostics
        .push(finding.hint(
            "API Gateway refuses to import this: list it under the operation's `parameters`",
        ));
}

fn place(
    building: &Building<'_>,
    mappings: &mut Mappings,
    target: Target,
    source: mapping::Source,
    value: &Cursor<'_>,
    diagnostics: &mut Diagnostics,
) {
    let name = match target {
        Target::Path(name) => return drop(mappings.paths.insert(name, source)),
        Target::Query(name) => return mappings.query.push((name, source)),
        Target::Header(name) => name,
    };
    let known = Known::of(name.as_bytes());
    if POISON.contains(&known) {
        let message = format!("mapping `{name}` makes every request a 500, as on AWS");
        diagnostics.push(
            value
                .report_key(Code::W107, message)
                .of_method(Some(&building.name)),
        );
        mappings.poison = Some(
            format!("`requestParameters` maps the header `{name}`, which can't be set").into(),
        );
    } else if DROPPED.contains(&known) {
        let message = format!("a mapped `{name}` is never sent");
        diagnostics.push(
            value
                .report_key(Code::W119, message)
                .of_method(Some(&building.name)),
        );
    } else {
        mappings.headers.push(HeaderMapping {
            name,
            known,
            source,
        });
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
