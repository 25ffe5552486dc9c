//! Checks that a document asks for and that aren't enforced: the methods fail closed, unless the document says otherwise.

use serde_json::Value;

use crate::config::{
    codes::Code,
    diagnostics::Diagnostics,
    document::file::Cursor,
    openapi::{
        operations::Operation,
        security::{Check, checks, policy},
    },
};

const KEY: &str = "x-sluicegate-unprotected";

/// Tells of a resource policy, which concerns all methods.
pub(super) fn check_root(root: &Cursor<'_>, diagnostics: &mut Diagnostics) {
    let is_open = unprotected(&[Some(root)], diagnostics).is_some();
    let Some(policy) = policy(root) else { return };
    if is_open {
        let message =
            format!("the API is served without its resource policy, because `{KEY}` says so");
        diagnostics.push(policy.at.report_key(Code::W112, message));
        return;
    }
    let message =
        "the API has a resource policy, which isn't enforced yet: every request is answered 500";
    let finding = policy.at.report_key(Code::E041, message);
    diagnostics.push(finding.hint(format!(
        "to serve it without the policy, say `{KEY}: true` at the root"
    )));
}

/// The checks that make a method fail closed.
pub(super) fn unenforced(
    root: &Cursor<'_>,
    operation: &Operation<'_>,
    diagnostics: &mut Diagnostics,
) -> Vec<String> {
    let own = checks(root, operation);
    let policy = policy(root).map(|policy| policy.text);
    let Some(first) = own.first().map(|check| check.at.clone()) else {
        let open = policy
            .as_ref()
            .and_then(|_| level(root, operation, diagnostics));
        return if open.is_some() {
            Vec::new()
        } else {
            policy.into_iter().collect()
        };
    };
    let name = operation.name();
    let texts: Vec<String> = own.into_iter().map(|check: Check<'_>| check.text).collect();
    let list = texts.join(" and ");
    if let Some(at) = level(root, operation, diagnostics) {
        let message = format!("`{name}` is served without {list}, because `{KEY}` says so");
        diagnostics.push(at.report_key(Code::W112, message).of_method(Some(&name)));
        return Vec::new();
    }
    let message = format!(
        "`{name}` asks for {list}, which isn't enforced yet: every request is answered 500"
    );
    let finding = first.report_key(Code::E041, message).of_method(Some(&name));
    diagnostics.push(finding.hint(format!(
        "to serve it without the check, say `{KEY}: true` in the operation or at the root"
    )));
    texts.into_iter().chain(policy).collect()
}

/// The level of the document that opens the method.
fn level<'a>(
    root: &Cursor<'a>,
    operation: &Operation<'a>,
    diagnostics: &mut Diagnostics,
) -> Option<Cursor<'a>> {
    let integration = operation.operation.get("x-amazon-apigateway-integration");
    let levels = [
        integration.as_ref(),
        Some(&operation.operation),
        Some(&operation.item),
        Some(root),
    ];
    unprotected(&levels, diagnostics)
}

/// The key, if the nearest level that has it says `true`.
fn unprotected<'a>(
    levels: &[Option<&Cursor<'a>>],
    diagnostics: &mut Diagnostics,
) -> Option<Cursor<'a>> {
    let said = levels.iter().flatten().find_map(|level| level.get(KEY))?;
    if !said.value.is_boolean() {
        let finding = said.report(
            Code::E011,
            format!("`{KEY}` is `true` or `false`, without quotes"),
        );
        diagnostics.push(finding.label("expected `true` or `false`"));
    }
    (*said.value == Value::Bool(true)).then_some(said)
}
