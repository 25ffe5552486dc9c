//! An operation's integration: which type it is, and what all types have in common.

use super::{api::Source, http_proxy, lambda, mock, overrides};
use crate::config::{
    codes::Code,
    diagnostics::Diagnostics,
    document::{
        file::Cursor,
        settings::{Defaults, EndpointType},
    },
    intrinsics::resolve,
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

/// For values that can't be resolved.
pub(super) const KNOWN_FUNCTIONS: &str =
    "known are `Ref`, `Fn::GetAtt`, `Fn::Sub`, `Fn::Join` and `Fn::ImportValue`";

/// An integration while it is being built.
pub(super) struct Building<'a> {
    pub(super) source: &'a Source<'a>,
    pub(super) root: &'a Cursor<'a>,
    pub(super) operation: &'a Operation<'a>,
    pub(super) integration: Cursor<'a>,
    /// The operation's name in findings.
    pub(super) name: String,
    pub(super) mode: TransferMode,
    pub(super) policy: Policy,
}

impl Building<'_> {
    /// A finding about a part of the integration.
    pub(super) fn report(
        &self,
        at: &Cursor<'_>,
        code: Code,
        message: impl Into<String>,
    ) -> crate::config::diagnostics::Diagnostic {
        at.report(code, message).of_method(Some(&self.name))
    }

    /// The text of a key, CloudFormation values resolved. `Err` if it can't be: the finding is made.
    pub(super) fn text(
        &self,
        key: &str,
        diagnostics: &mut Diagnostics,
    ) -> Result<Option<String>, ()> {
        let value = self.integration.get(key);
        let name = format!("`{key}`");
        value
            .map(|value| self.text_of(&value, &name, diagnostics))
            .transpose()
    }

    /// The text of a value, which findings call `name`.
    pub(super) fn text_of(
        &self,
        value: &Cursor<'_>,
        name: &str,
        diagnostics: &mut Diagnostics,
    ) -> Result<String, ()> {
        let Some(resolved) = resolve(value.value, self.source.bindings()) else {
            let finding = self.report(
                value,
                Code::E025,
                format!("{name} can't be turned into text"),
            );
            diagnostics.push(finding.hint(KNOWN_FUNCTIONS));
            return Err(());
        };
        let Some(first) = resolved.unbound.first() else {
            return Ok(resolved.text);
        };
        let names = resolved
            .unbound
            .iter()
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>();
        let message = format!(
            "{name} refers to {}, which has no binding",
            names.join(", ")
        );
        diagnostics.push(self.report(value, Code::E025, message).hint(format!(
            "give it a value in sluicegate.yaml, under the API: `bindings: {{ \"{first}\": … }}`"
        )));
        Err(())
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
        Some(reference) => match follow(&reference, diagnostics) {
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
        return Integration::Unusable("its `responseTransferMode` is invalid".into());
    };
    let Some(timeout) = timeout(source, &integration, mode, &defaults, &name, diagnostics) else {
        return Integration::Unusable("its `timeoutInMillis` is invalid".into());
    };
    let policy = overrides::policy(&defaults, mode, timeout, source.said.endpoint_type);
    let building = Building {
        source,
        root,
        operation,
        integration,
        name,
        mode,
        policy,
    };
    dispatch(&building, diagnostics)
}

fn dispatch(building: &Building<'_>, diagnostics: &mut Diagnostics) -> Integration {
    let said = building.integration.get("type");
    let kind = said
        .as_ref()
        .and_then(Cursor::scalar)
        .unwrap_or_default()
        .to_ascii_lowercase();
    let at = said.unwrap_or_else(|| building.integration.clone());
    if building.mode == TransferMode::Stream && !matches!(kind.as_str(), "http_proxy" | "aws_proxy")
    {
        let message = format!(
            "`responseTransferMode: STREAM` doesn't work with the integration type `{kind}`"
        );
        let finding = building.report(&at, Code::E032, message);
        diagnostics.push(finding.hint("only `http_proxy` and `aws_proxy` integrations can stream"));
        return Integration::Unusable(
            "it asks for STREAM, which only proxy integrations can".into(),
        );
    }
    match kind.as_str() {
        "http_proxy" => http_proxy::build(building, diagnostics),
        "aws_proxy" => lambda::build(building, diagnostics),
        "mock" => mock::build(
            building.source,
            &building.integration,
            &building.name,
            diagnostics,
        ),
        "http" | "aws" => {
            let message =
                format!("the integration type `{kind}` isn't supported: requests are answered 500");
            let finding = building
                .report(&at, Code::E031, message)
                .label("needs VTL mapping");
            diagnostics.push(finding.hint(format!(
                "use `{kind}_proxy`, which passes requests and responses through"
            )));
            Integration::Unusable(format!("its integration type `{kind}` isn't supported").into())
        }
        _ => {
            let message = if kind.is_empty() {
                "the integration has no `type`".to_owned()
            } else {
                format!("there is no integration type `{kind}`")
            };
            let finding = building.report(&at, Code::E030, message);
            let meant = nearest(&kind, ["http_proxy", "aws_proxy", "mock"]);
            diagnostics.push(match meant {
                Some(meant) => finding.hint(format!("did you mean `{meant}`?")),
                None => finding.hint("expected `http_proxy`, `aws_proxy` or `mock`"),
            });
            Integration::Unusable("its integration type is unknown".into())
        }
    }
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

/// The integration's own timeout; `Some(None)` if it has none.
#[expect(
    clippy::option_option,
    reason = "the outer one says whether the integration can be used"
)]
fn timeout(
    source: &Source<'_>,
    integration: &Cursor<'_>,
    mode: TransferMode,
    defaults: &Defaults,
    name: &str,
    diagnostics: &mut Diagnostics,
) -> Option<Option<u64>> {
    let is_edge = source.said.endpoint_type == EndpointType::Edge;
    let most = match mode {
        TransferMode::Stream => 900_000,
        TransferMode::Buffered if is_edge => 29_000,
        TransferMode::Buffered => 300_000,
    };
    let Some(said) = integration.get("timeoutInMillis") else {
        if mode == TransferMode::Stream && defaults.timeout_in_millis.is_none() {
            let at = integration
                .get("responseTransferMode")
                .unwrap_or_else(|| integration.clone());
            let message = format!(
                "`{name}` streams, but without `timeoutInMillis` every stream is cut after 29 seconds, as on AWS"
            );
            let finding = at.report(Code::W101, message).of_method(Some(name));
            diagnostics
                .push(finding.hint("set `timeoutInMillis`, up to 900000 (15 minutes) for STREAM"));
        }
        return Some(None);
    };
    let value = said.value.as_u64().or_else(|| said.str()?.parse().ok());
    match value {
        Some(value) if (50..=most).contains(&value) => {
            if mode == TransferMode::Buffered && value > 29_000 {
                let message = format!(
                    "`timeoutInMillis: {value}` needs a raised quota on AWS for a buffered response"
                );
                let hint = "29000 is the default maximum; `responseTransferMode: STREAM` allows 900000 without a quota";
                diagnostics.push(
                    said.report(Code::W113, message)
                        .hint(hint)
                        .of_method(Some(name)),
                );
            }
            Some(Some(value))
        }
        _ => {
            let finding = said
                .report(Code::E033, "`timeoutInMillis` is outside its range")
                .of_method(Some(name));
            let finding = finding.label(format!(
                "expected 50 to {most} when the mode is `{}`",
                mode.as_str()
            ));
            let is_for_streams =
                mode == TransferMode::Buffered && value.is_some_and(|value| value <= 900_000);
            diagnostics.push(if is_for_streams {
                finding.hint(format!("set `responseTransferMode: STREAM` to allow up to 900000, or lower it to {most}"))
            } else {
                finding
            });
            None
        }
    }
}
