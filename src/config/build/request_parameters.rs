//! `requestParameters` of an HTTP_PROXY integration: what of the request goes where.

use std::collections::BTreeMap;

use super::integration::Building;
use crate::{
    config::{
        codes::Code,
        diagnostics::Diagnostics,
        document::file::Cursor,
        mapping::{self, SOURCE_FORMS, SourceFault, Target, parse_source, parse_target},
        model::{HeaderMapping, TransferMode},
        openapi::security::declared,
        suggest::nearest,
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
    let text = building.text_of(value, "the mapping", diagnostics).ok()?;
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
