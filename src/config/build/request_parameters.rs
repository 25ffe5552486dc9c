//! `requestParameters` of an HTTP_PROXY integration: what of the request goes where.

use std::collections::BTreeMap;

use super::integration::Building;
use crate::{
    config::{
        codes::Code,
        diagnostics::Diagnostics,
        document::file::Cursor,
        mapping::{self, SOURCE_FORMS, Target, parse_target},
        model::{HeaderMapping, TransferMode},
        openapi::security::declared,
    },
    types::known::Known,
};

/// Mapped headers that AWS accepts at import and then answers every request with 500 for.
const POISON: [Known; 4] = [
    Known::ContentLength,
    Known::TransferEncoding,
    Known::XAmznTraceId,
    Known::XAmznApigateway,
];
/// For Lambda, these too.
const POISON_OF_LAMBDA: [Known; 5] = [
    Known::Authorization,
    Known::Connection,
    Known::Expect,
    Known::ProxyAuthenticate,
    Known::Te,
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
pub(super) struct Mappings {
    pub(super) paths: BTreeMap<Box<str>, mapping::Source>,
    pub(super) query: Vec<(Box<str>, mapping::Source)>,
    pub(super) headers: Vec<HeaderMapping>,
    pub(super) poison: Option<Box<str>>,
    pub(super) is_broken: bool,
}

/// Reads the mappings of an integration.
pub(super) fn read(building: &Building<'_>, diagnostics: &mut Diagnostics) -> Mappings {
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
        match source(building, target, &value, diagnostics) {
            Some(source) => place(building, &mut mappings, parsed, source, &value, diagnostics),
            None => mappings.is_broken = true,
        }
    }
    mappings
}

fn source(
    building: &Building<'_>,
    target: &str,
    value: &Cursor<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<mapping::Source> {
    let reader = building.reader();
    let text = reader
        .text(value, &format!("`{target}`"), diagnostics)
        .ok()?;
    let parsed = reader
        .mapping(value, &text, (Code::E038, SOURCE_FORMS), diagnostics)
        .ok()?;
    if parsed.is_body() && building.mode == TransferMode::Stream {
        let message =
            "a mapping from the request body needs the whole body, which a stream doesn't wait for";
        let hint = "use `responseTransferMode: BUFFERED`, or map from a header or the query";
        diagnostics.push(building.report(value, Code::E044, message).hint(hint));
        return None;
    }
    check_declared(building, &parsed, value, diagnostics);
    Some(parsed)
}

/// Tells what is wrong with the mappings of an integration that doesn't use them: AWS ignores them for Lambda, but for a
/// few headers that make every call fail. Then why is returned.
pub(super) fn check_unused(
    building: &Building<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Box<str>> {
    let said = building.integration.get("requestParameters")?;
    if said.members().next().is_some() {
        let message = "an `aws_proxy` integration ignores `requestParameters`: the event has all of the request";
        let finding = said.report_key(Code::W106, message);
        diagnostics.push(finding.of_method(Some(&building.name)));
    }
    let mut poison = None;
    for (target, value) in said.members() {
        let Some(Target::Header(name)) = parse_target(target) else {
            continue;
        };
        let known = Known::of(name.as_bytes());
        if POISON.contains(&known) || POISON_OF_LAMBDA.contains(&known) {
            poison = Some(tell_poison(building, &name, &value, diagnostics));
        }
    }
    poison
}

fn tell_poison(
    building: &Building<'_>,
    name: &str,
    value: &Cursor<'_>,
    diagnostics: &mut Diagnostics,
) -> Box<str> {
    let message = format!("mapping `{name}` makes every request a 500, as on AWS");
    let finding = value
        .report_key(Code::W107, message)
        .hint("remove the mapping");
    diagnostics.push(finding.of_method(Some(&building.name)));
    format!("`requestParameters` maps the header `{name}`, which can't be set").into()
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
    let parameters = &building.operation.resource.parameters;
    let hint = match (place, parameters.first()) {
        ("path", Some(own)) => format!("the path's own parameter is `{own}`"),
        ("path", None) => "the path has no parameters".to_owned(),
        _ => "API Gateway refuses to import this: list it under the operation's `parameters`"
            .to_owned(),
    };
    diagnostics.push(building.report(value, Code::W110, message).hint(hint));
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
        mappings.poison = Some(tell_poison(building, &name, value, diagnostics));
    } else if DROPPED.contains(&known) {
        let message = format!("a mapped `{name}` is never sent");
        let finding = value
            .report_key(Code::W119, message)
            .hint("remove the mapping");
        diagnostics.push(finding.of_method(Some(&building.name)));
    } else {
        mappings.headers.push(HeaderMapping {
            name,
            known,
            source,
        });
    }
}
