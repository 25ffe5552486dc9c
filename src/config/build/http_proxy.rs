//! HTTP_PROXY integrations: where they go, and what of the request goes where.

use std::net::SocketAddr;

use http::Method;

use super::{
    integration::Building,
    request_parameters::{self, Mappings},
    text::KNOWN_FUNCTIONS,
};
use crate::config::{
    codes::Code,
    diagnostics::{Diagnostic, Diagnostics},
    document::file::Cursor,
    intrinsics::resolve,
    model::{HttpProxy, Integration},
    suggest::nearest,
    uri::{UriFault, UriTemplate},
};

pub(super) fn build(building: &Building<'_>, diagnostics: &mut Diagnostics) -> Integration {
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
    let Ok(skip_issuer_check) = skip_issuer_check(building, diagnostics) else {
        return Integration::Unusable("its tlsConfig is invalid".into());
    };
    let server_name = building
        .integration
        .get("tlsConfig")
        .and_then(|tls| tls.get("serverNameToVerify")?.scalar());
    let certificate = building.source.client_certificate.as_ref();
    Integration::HttpProxy(Box::new(HttpProxy {
        method,
        uri,
        vpc_link: link,
        skip_issuer_check,
        server_name: server_name.map(Into::into),
        client_certificate: certificate.map(|it| it.key.clone()),
        headers: mappings.headers,
        query: mappings.query,
        poison: mappings.poison,
        policy: building.policy.clone(),
    }))
}

fn skip_issuer_check(building: &Building<'_>, diagnostics: &mut Diagnostics) -> Result<bool, ()> {
    const KEY: &str = "insecureSkipVerification";
    let Some(said) = building
        .integration
        .get("tlsConfig")
        .and_then(|tls| tls.get(KEY))
    else {
        return Ok(false);
    };
    match said.scalar().as_deref() {
        Some("true") => Ok(true),
        Some("false") => Ok(false),
        _ => {
            let finding =
                building.report(&said, Code::E045, format!("`{KEY}` is `true` or `false`"));
            diagnostics.push(finding.label("expected `true` or `false`"));
            Err(())
        }
    }
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
    let Some(kind) = integration.get("connectionType") else {
        return Ok(None);
    };
    match kind
        .scalar()
        .unwrap_or_default()
        .to_ascii_uppercase()
        .as_str()
    {
        "VPC_LINK" => {}
        "INTERNET" => return Ok(None),
        _ => {
            let message = format!("{} isn't a connection type", kind.value);
            let finding = building.report(&kind, Code::E045, message);
            diagnostics.push(finding.label("expected `INTERNET` or `VPC_LINK`"));
            return Err(());
        }
    }
    let links = building.source.vpc_links;
    let Some(said) = integration.get("connectionId") else {
        let message = "a VPC_LINK integration needs a `connectionId`";
        let hint = "name one of the links under `vpcLinks` in sluicegate.yaml";
        diagnostics.push(building.report_whole(Code::E040, message).hint(hint));
        return Err(());
    };
    let Some(resolved) = resolve(said.value, building.source.bindings()) else {
        let finding = building.report(
            &said,
            Code::E025,
            "`connectionId` can't be turned into text",
        );
        diagnostics.push(finding.hint(KNOWN_FUNCTIONS));
        return Err(());
    };
    let text = building
        .reader()
        .filled(&resolved.text, &said, "`connectionId`", diagnostics);
    // A link that only CloudFormation knows is found by its logical name.
    let id = text
        .trim_start_matches("${")
        .trim_end_matches('}')
        .to_owned();
    if links.contains_key(&id) {
        return Ok(Some(id.into()));
    }
    let message = match id.as_str() {
        // That its stage variable has no value is told already.
        "" => return Err(()),
        id => format!("the VPC link `{id}` isn't configured"),
    };
    let finding = building.report(&said, Code::E040, message);
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
        let finding = building.report_whole(Code::E035, "the integration has no `uri`");
        diagnostics
            .push(finding.hint("add the backend's URL, such as `http://127.0.0.1:9000/{proxy}`"));
        return None;
    };
    let text = building.text("uri", diagnostics).ok()??;
    let text = building.reader().filled(&text, &said, "`uri`", diagnostics);
    let path = &building.operation.resource.path;
    let is_greedy = |name: &str| path.ends_with(&format!("{{{name}+}}"));
    match UriTemplate::compile(&text, |name| mappings.paths.get(name).cloned(), is_greedy) {
        Ok(uri) => {
            warn_of_loop(building, &said, &uri, diagnostics);
            Some(uri)
        }
        // That the stage variable in place of the host has no value is told already.
        Err(UriFault::Authority(authority)) if authority.is_empty() && text.contains("://") => None,
        Err(fault) => {
            diagnostics.push(uri_finding(building, &said, &text, &fault));
            None
        }
    }
}

/// An integration that leads back to this gateway answers 508 once a request has gone round a few times.
fn warn_of_loop(
    building: &Building<'_>,
    said: &Cursor<'_>,
    uri: &UriTemplate,
    diagnostics: &mut Diagnostics,
) {
    let origin = &uri.origin;
    let is_local = &*origin.host == "localhost"
        || origin
            .host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    let is_own = |address: &SocketAddr| {
        address.port() == origin.port
            && (is_local
                || origin
                    .host
                    .parse()
                    .is_ok_and(|host: std::net::IpAddr| host == address.ip()))
    };
    if building.source.listeners.iter().any(is_own) {
        let message = format!("`{}` leads back to this gateway itself", origin.authority);
        let hint = "requests go round until they are answered 508; name the backend's own address";
        diagnostics.push(building.report(said, Code::W115, message).hint(hint));
    }
}

fn uri_finding(
    building: &Building<'_>,
    said: &Cursor<'_>,
    text: &str,
    fault: &UriFault,
) -> Diagnostic {
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
            .hint("write it like `http://127.0.0.1:9000/path` or `https://backend.example.com`"),
        UriFault::ClientHost(name) => building
            .report(
                said,
                Code::E037,
                format!("the host would depend on the request, through `{{{name}}}`"),
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
