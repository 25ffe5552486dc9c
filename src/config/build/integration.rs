//! An operation's integration: which type it is, and what all types have in common.

use super::{api::Source, http_proxy, ignored, lambda, mock, overrides, text::Reader};
use crate::config::{
    codes::Code,
    diagnostics::{Diagnostic, Diagnostics},
    document::{
        file::Cursor,
        settings::{Defaults, EndpointType},
    },
    model::{Integration, Policy, TransferMode},
    openapi::operations::{Operation, follow},
    suggest::nearest,
};

const KEY: &str = "x-amazon-apigateway-integration";

/// The keys of an integration, for the ones that are misspelt.
const KEYS: [&str; 20] = [
    "$ref",
    "cacheKeyParameters",
    "cacheNamespace",
    "connectionId",
    "connectionType",
    "contentHandling",
    "credentials",
    "httpMethod",
    "integrationTarget",
    "passthroughBehavior",
    "payloadFormatVersion",
    "requestParameters",
    "requestTemplates",
    "responseTransferMode",
    "responses",
    "timeoutInMillis",
    "tlsConfig",
    "type",
    "uri",
    "integrationSubtype",
];

/// An integration while it is being built.
pub(super) struct Building<'a> {
    pub(super) source: &'a Source<'a>,
    pub(super) root: &'a Cursor<'a>,
    pub(super) operation: &'a Operation<'a>,
    pub(super) integration: Cursor<'a>,
    /// The operation's name in findings.
    pub(super) name: String,
    pub(super) mode: TransferMode,
    /// Whether the document or the settings say how long a call may take.
    pub(super) has_timeout: bool,
    pub(super) policy: Policy,
    /// What the policy is made from.
    pub(super) said: Defaults,
}

impl Building<'_> {
    /// A finding about a part of the integration.
    pub(super) fn report(
        &self,
        at: &Cursor<'_>,
        code: Code,
        message: impl Into<String>,
    ) -> Diagnostic {
        at.report(code, message).of_method(Some(&self.name))
    }

    /// A finding about the integration as a whole.
    pub(super) fn report_whole(&self, code: Code, message: impl Into<String>) -> Diagnostic {
        self.integration
            .report_key(code, message)
            .of_method(Some(&self.name))
    }

    /// Reads texts on the integration's behalf.
    pub(super) fn reader(&self) -> Reader<'_> {
        Reader {
            source: self.source,
            method: Some(&self.name),
        }
    }

    /// The text of a key. `Err` if it can't be turned into text: the finding is made.
    pub(super) fn text(
        &self,
        key: &str,
        diagnostics: &mut Diagnostics,
    ) -> Result<Option<String>, ()> {
        let value = self.integration.get(key);
        value
            .map(|value| self.reader().text(&value, &format!("`{key}`"), diagnostics))
            .transpose()
    }
}

/// Builds an operation's integration.
pub(super) fn build(
    source: &Source<'_>,
    root: &Cursor<'_>,
    operation: &Operation<'_>,
    defaults: &Defaults,
    diagnostics: &mut Diagnostics,
) -> Integration {
    let name = operation.name();
    let Some(said) = operation.operation.get(KEY) else {
        let finding = operation.operation.report_key(
            Code::W109,
            format!("`{name}` has no integration: it is answered 500"),
        );
        diagnostics.push(finding.hint(format!("add `{KEY}`")).of_method(Some(&name)));
        return Integration::Missing;
    };
    let integration = match said.get("$ref") {
        None => said,
        Some(reference) => match follow(&reference, Some(&name), diagnostics) {
            Some(named) => named,
            None => {
                return Integration::Unusable(
                    "its integration is a reference that can't be followed".into(),
                );
            }
        },
    };
    check_keys(&integration, diagnostics);
    overrides::check_keys(&integration, diagnostics);
    let defaults = overrides::overlay(defaults, &integration, diagnostics);
    let Some(mode) = transfer_mode(&integration, &name, diagnostics) else {
        // Whatever the mode is, a timeout may be too long for it.
        let _ = timeout(
            source,
            &integration,
            TransferMode::Stream,
            &name,
            diagnostics,
        );
        return Integration::Unusable("its `responseTransferMode` is invalid".into());
    };
    let Ok(timeout) = timeout(source, &integration, mode, &name, diagnostics) else {
        return Integration::Unusable("its `timeoutInMillis` is invalid".into());
    };
    let has_timeout = timeout.or(defaults.timeout_in_millis).is_some();
    let policy = overrides::policy(&defaults, mode, timeout, source.said.endpoint_type);
    let building = Building {
        source,
        root,
        operation,
        integration,
        name,
        mode,
        has_timeout,
        policy,
        said: defaults,
    };
    dispatch(&building, diagnostics)
}

fn dispatch(building: &Building<'_>, diagnostics: &mut Diagnostics) -> Integration {
    let Some(said) = building.integration.get("type") else {
        let finding = building.report_whole(Code::E030, "the integration has no `type`");
        diagnostics.push(finding.hint("expected `http_proxy`, `aws_proxy` or `mock`"));
        return Integration::Unusable("its integration has no type".into());
    };
    let Ok(kind) = building.reader().text(&said, "`type`", diagnostics) else {
        return Integration::Unusable("its integration's type is unknown".into());
    };
    let kind = kind.to_ascii_lowercase();
    match kind.as_str() {
        "http_proxy" | "aws_proxy" => {
            ignored::warn(building, diagnostics);
            ignored::warn_of_default_deadline(building, diagnostics);
            if kind == "http_proxy" {
                http_proxy::build(building, diagnostics)
            } else {
                lambda::build(building, diagnostics)
            }
        }
        "mock" | "http" | "aws" if building.mode == TransferMode::Stream => {
            let message = format!(
                "`responseTransferMode: STREAM` doesn't work with the integration type `{kind}`"
            );
            let finding = building.report(&said, Code::E032, message);
            diagnostics
                .push(finding.hint("only `http_proxy` and `aws_proxy` integrations can stream"));
            Integration::Unusable("it asks for STREAM, which only proxy integrations can".into())
        }
        "mock" => mock::build(building, diagnostics),
        "http" | "aws" => unsupported(building, &said, &kind, diagnostics),
        _ => {
            let finding = building.report(
                &said,
                Code::E030,
                format!("there is no integration type `{kind}`"),
            );
            let meant = nearest(&kind, ["http_proxy", "aws_proxy", "mock"]);
            diagnostics.push(match meant {
                Some(meant) => finding.hint(format!("did you mean `{meant}`?")),
                None => finding.hint("expected `http_proxy`, `aws_proxy` or `mock`"),
            });
            Integration::Unusable("its integration type is unknown".into())
        }
    }
}

fn unsupported(
    building: &Building<'_>,
    said: &Cursor<'_>,
    kind: &str,
    diagnostics: &mut Diagnostics,
) -> Integration {
    let message =
        format!("the integration type `{kind}` isn't supported: requests are answered 500");
    let finding = building
        .report(said, Code::E031, message)
        .label("needs VTL mapping");
    let uri = building
        .integration
        .get("uri")
        .map(|uri| uri.value.to_string())
        .unwrap_or_default();
    let is_other_service = kind == "aws" && !uri.contains(":lambda:");
    diagnostics.push(finding.hint(if is_other_service {
        "other AWS services can't be called directly: put a small HTTP backend or a function in between".to_owned()
    } else {
        format!("use `{kind}_proxy`, which passes requests and responses through")
    }));
    Integration::Unusable(format!("its integration type `{kind}` isn't supported").into())
}

fn check_keys(integration: &Cursor<'_>, diagnostics: &mut Diagnostics) {
    for (key, member) in integration.members() {
        if KEYS.contains(&key) || key.starts_with("x-") {
            continue;
        }
        let finding = member.report_key(
            Code::W114,
            format!("an integration has no key `{key}`: API Gateway ignores it"),
        );
        diagnostics.push(match nearest(key, KEYS) {
            Some(meant) => finding
                .label("unknown key")
                .hint(format!("did you mean `{meant}`?")),
            None => finding.label("unknown key"),
        });
    }
}

fn transfer_mode(
    integration: &Cursor<'_>,
    name: &str,
    diagnostics: &mut Diagnostics,
) -> Option<TransferMode> {
    let Some(said) = integration.get("responseTransferMode") else {
        return Some(TransferMode::Buffered);
    };
    let text = said.scalar().unwrap_or_default();
    match text.to_ascii_uppercase().as_str() {
        "BUFFERED" => Some(TransferMode::Buffered),
        "STREAM" => Some(TransferMode::Stream),
        _ => {
            let finding = said
                .report(
                    Code::E045,
                    format!("`{text}` isn't a response transfer mode"),
                )
                .of_method(Some(name));
            let hint = match text.to_ascii_uppercase().as_str() {
                "STREAMED" | "STREAMING" | "RESPONSE_STREAM" => "did you mean `STREAM`?",
                _ => "expected `BUFFERED` or `STREAM`",
            };
            diagnostics.push(finding.hint(hint));
            None
        }
    }
}

/// The integration's own timeout, if it has one. `Err` if it can't be used: the finding is made.
fn timeout(
    source: &Source<'_>,
    integration: &Cursor<'_>,
    mode: TransferMode,
    name: &str,
    diagnostics: &mut Diagnostics,
) -> Result<Option<u64>, ()> {
    let is_edge = source.said.endpoint_type == EndpointType::Edge;
    let (most, reason) = match mode {
        TransferMode::Stream => (900_000, "the mode is `STREAM`"),
        TransferMode::Buffered if is_edge => (29_000, "the endpoint type is `EDGE`"),
        TransferMode::Buffered => (300_000, "the mode is `BUFFERED`"),
    };
    let Some(said) = integration.get("timeoutInMillis") else {
        return Ok(None);
    };
    let value = said.value.as_u64().or_else(|| said.str()?.parse().ok());
    let mut tell = |finding: Diagnostic| diagnostics.push(finding.of_method(Some(name)));
    let Some(value) = value else {
        tell(
            said.report(
                Code::E033,
                "`timeoutInMillis` isn't a whole number of milliseconds",
            )
            .label("expected a number"),
        );
        return Err(());
    };
    if !(50..=most).contains(&value) {
        let finding = said.report(Code::E033, "`timeoutInMillis` is outside its range");
        let finding = finding.label(format!("expected 50 to {most} when {reason}"));
        let could_stream = mode == TransferMode::Buffered && (most..=900_000).contains(&value);
        tell(if could_stream {
            finding.hint(format!(
                "set `responseTransferMode: STREAM` to allow up to 900000, or lower it to {most}"
            ))
        } else {
            finding
        });
        return Err(());
    }
    if mode == TransferMode::Buffered && value > 29_000 {
        let message = format!(
            "`timeoutInMillis: {value}` needs a raised quota on AWS for a buffered response"
        );
        let hint = "29000 is the default maximum; `responseTransferMode: STREAM` allows 900000 without a quota";
        tell(said.report(Code::W113, message).hint(hint));
    }
    Ok(Some(value))
}
