//! Access logs: one of the presets, or a format of the user's own.

use std::path::Path;

use super::text::unknown_variable;
use crate::{
    config::{
        codes::Code,
        diagnostics::Diagnostics,
        document::{file::Cursor, settings as said},
        model::{AccessLog, LogSink},
        presets,
        suggest::nearest,
    },
    types::{template::Template, variable::Variable},
};

/// The names of the presets.
const PRESETS: [&str; 3] = ["json", "clf", "text"];

/// The access log of a gateway that says nothing about it.
pub(super) fn standard() -> AccessLog {
    AccessLog {
        is_default: true,
        ..preset(LogSink::Stdout, "json", presets::JSON)
    }
}

/// The access log that settings ask for. Files are relative to `base`; `at` is where the format stands.
pub(super) fn build(
    said: &said::AccessLog,
    base: &Path,
    at: Option<&Cursor<'_>>,
    diagnostics: &mut Diagnostics,
) -> AccessLog {
    let sink = match said.path.as_deref() {
        None | Some("stdout" | "-") => LogSink::Stdout,
        Some("none") => LogSink::None,
        Some(path) => LogSink::File(base.join(path)),
    };
    let text = match said.format.as_deref() {
        None => {
            return AccessLog {
                is_default: true,
                ..preset(sink, "json", presets::JSON)
            };
        }
        Some("json") => return preset(sink, "json", presets::JSON),
        Some("clf") => return preset(sink, "clf", presets::CLF),
        Some("text") => return preset(sink, "text", presets::TEXT),
        Some(text) => text,
    };
    let is_literal = !text.contains('$');
    if let Some(at) = at.filter(|_| is_literal) {
        let message = format!("`{text}` is no access log format: no variable stands in it");
        let meant = nearest(text, PRESETS).map_or_else(
            || "expected `json`, `clf`, `text`, or a line such as `$context.requestId $context.status`".to_owned(),
            |preset| format!("did you mean `{preset}`?"),
        );
        diagnostics.push(at.report(Code::E013, message).hint(meant));
    }
    let (format, unknown) = Template::compile(text.trim_end());
    for reference in unknown {
        if let Some(at) = at {
            diagnostics.push(unknown_variable(at, &reference.reference));
        }
    }
    let has_id = [Variable::RequestId, Variable::ExtendedRequestId]
        .iter()
        .any(|id| format.mentions(*id));
    if let Some(at) = at.filter(|_| !has_id && !is_literal) {
        let message = "API Gateway refuses an access log format without a request id";
        let hint = "add `$context.requestId` or `$context.extendedRequestId`";
        diagnostics.push(at.report(Code::W121, message).hint(hint));
    }
    AccessLog {
        sink,
        format,
        source: text.trim_end().into(),
        is_default: false,
    }
}

fn preset(sink: LogSink, name: &str, format: &str) -> AccessLog {
    AccessLog {
        sink,
        format: Template::compile(format).0,
        source: name.into(),
        is_default: false,
    }
}
