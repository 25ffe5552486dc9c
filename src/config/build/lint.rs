//! Traps that only show when a document's operations are seen together.

use std::collections::BTreeMap;

use crate::config::{
    codes::Code, diagnostics::Diagnostics, model::Verb, openapi::operations::Operation,
};

/// A greedy resource also answers for methods that a more precise resource doesn't have: recorded on AWS, and seldom
/// meant (`OPTIONS /test` goes to `/{proxy+}` when `/test` has only POST).
pub(super) fn catch_alls(operations: &[Operation<'_>], diagnostics: &mut Diagnostics) {
    let mut by_path: BTreeMap<&str, Vec<&Verb>> = BTreeMap::new();
    for operation in operations {
        by_path
            .entry(&operation.resource.path)
            .or_default()
            .push(&operation.verb);
    }
    let greedy = operations
        .iter()
        .filter(|operation| operation.resource.path.ends_with("+}"));
    for catch_all in greedy {
        let path = &catch_all.resource.path;
        let parent = path
            .rfind('/')
            .and_then(|at| path.get(..=at))
            .unwrap_or_default();
        let caught: Vec<&str> = by_path
            .iter()
            .filter(|(other, verbs)| {
                let is_below =
                    other.starts_with(parent) && **other != &**path && other.len() > parent.len();
                let has_it = verbs
                    .iter()
                    .any(|verb| **verb == Verb::Any || **verb == catch_all.verb);
                is_below && !has_it
            })
            .map(|(other, _)| *other)
            .collect();
        if caught.is_empty() {
            continue;
        }
        let shown = caught
            .iter()
            .take(3)
            .map(|path| format!("`{path}`"))
            .collect::<Vec<_>>()
            .join(", ");
        let more = if caught.len() > 3 {
            format!(" and {} more", caught.len() - 3)
        } else {
            String::new()
        };
        let what = match &catch_all.verb {
            Verb::Any => "requests for methods that aren't there".to_owned(),
            Verb::Only(method) => format!("{method} requests"),
        };
        let message = format!("`{path}` also answers {what} on {shown}{more}");
        let finding = catch_all.operation.report_key(Code::W102, message);
        diagnostics.push(finding.hint(
            "a resource matches only if it has the method, as on AWS; add the method there if the catch-all shouldn't answer it",
        ));
    }
}
