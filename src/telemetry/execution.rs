//! The execution log: in a sentence, why a request failed, and what API Gateway would have said.

use std::fmt::{self, Write as _};

use crate::{
    config::model::ExecutionLog,
    types::{
        context::Context,
        fault::{Fault, FaultKind},
        outcome::{Outcome, Side},
    },
};

/// What API Gateway's own execution log says for a fault, where that is known or documented.
fn aws_says(fault: &Fault) -> Option<&'static str> {
    Some(match fault.kind {
        FaultKind::Deadline | FaultKind::Idle => "Execution failed due to a timeout error",
        FaultKind::Unreachable => {
            "Execution failed due to configuration error: There was an internal error while executing your request"
        }
        FaultKind::Unresolvable => {
            "Execution failed due to configuration error: Invalid endpoint address"
        }
        FaultKind::BadAnswer | FaultKind::AnswerTruncated => {
            "Execution failed due to configuration error: Malformed endpoint response"
        }
        FaultKind::AnswerTooLarge => {
            "Execution failed due to configuration error: Integration response of reported length exceeds limit"
        }
        FaultKind::FunctionFailed | FaultKind::BadPrelude => of_function(fault.reason),
        FaultKind::InvokeRefused => {
            "Execution failed due to configuration error: Lambda invocation failed"
        }
        FaultKind::Misconfigured if fault.reason == "bad_base64" => {
            "Execution failed due to configuration error: Unable to base64 decode the body."
        }
        FaultKind::Misconfigured => "Execution failed due to configuration error",
        FaultKind::NotEnforced => "Execution failed due to configuration error: Authorizer error",
        FaultKind::NoRoute => {
            "Missing Authentication Token (API Gateway's answer to an unknown path or method)"
        }
        FaultKind::BodyTooLarge => "Request Too Long",
        _ => return None,
    })
}

/// The function itself failed, or what it said can't be a response.
fn of_function(reason: &str) -> &'static str {
    match reason {
        "malformed_result" | "bad_prelude" => {
            "Execution failed due to configuration error: Malformed Lambda proxy response"
        }
        _ => "Lambda execution failed with status 200 due to customer function error",
    }
}

/// A text on one line, whatever its author has put into it: names in requests are part of it, and what functions say.
struct OneLine<T>(T);

impl<T: fmt::Display> fmt::Display for OneLine<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.to_string().chars() {
            if character.is_control() {
                write!(f, "{}", character.escape_default())?;
            } else {
                f.write_char(character)?;
            }
        }
        Ok(())
    }
}

/// Tells how a request ended, as far as its API wants to know.
pub fn tell(context: &Context, level: ExecutionLog) {
    let Some((outcome, _)) = context.end.filter(|_| level > ExecutionLog::Off) else {
        return;
    };
    let is_usual = matches!(outcome, Outcome::Complete | Outcome::ClientLeft);
    if is_usual && context.fault.is_none() && level < ExecutionLog::Info {
        return;
    }
    let id = context.request_id.as_str();
    let request = format_args!("{} {}", context.method, context.head.target.path());
    match &context.fault {
        Some(fault) => {
            let row = fault.kind.row();
            let status = context.status.unwrap_or(row.status);
            let aws = aws_says(fault)
                .filter(|_| context.site.is_some())
                .map(|text| format!("; API Gateway would say: {text}"))
                .unwrap_or_default();
            let (reason, fault) = (fault.reason, OneLine(fault));
            // What a client did wrong is its own business: a scanner shouldn't fill the log with warnings.
            if row.side == Side::Client {
                tracing::info!(target: "execution", "({id}) {request}: {status} because {fault} [{reason}]{aws}");
            } else {
                tracing::warn!(target: "execution", "({id}) {request}: {status} because {fault} [{reason}]{aws}");
            }
        }
        None => tell_end(context, outcome, level),
    }
}

fn tell_end(context: &Context, outcome: Outcome, level: ExecutionLog) {
    let id = context.request_id.as_str();
    let (method, path) = (&context.method, context.head.target.path());
    let status = context
        .status
        .map_or_else(|| "no answer".to_owned(), |status| status.to_string());
    let bytes = context.transfer.bytes;
    let why = OneLine(context.integration.error.as_deref().unwrap_or_default());
    match outcome {
        Outcome::Complete if level == ExecutionLog::Info => {
            tracing::info!(target: "execution", "({id}) {method} {path}: {status}, complete after {bytes} bytes");
        }
        Outcome::ClientLeft if level == ExecutionLog::Info => {
            tracing::info!(target: "execution", "({id}) {method} {path}: {status}, the client left after {bytes} bytes");
        }
        Outcome::Complete | Outcome::Refused | Outcome::ClientLeft => {}
        _ => tracing::warn!(
            target: "execution",
            "({id}) {method} {path}: {status}, cut after {bytes} bytes because {why} [{}]; \
             API Gateway would close the connection in the middle of the body, too",
            outcome.as_str()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_functions_failure_and_its_malformed_result_are_told_apart() {
        let said = |kind, reason| aws_says(&Fault::because(kind, reason, "why")).unwrap();
        let failed = "Lambda execution failed with status 200 due to customer function error";
        let malformed =
            "Execution failed due to configuration error: Malformed Lambda proxy response";
        for (kind, reason, expected) in [
            (FaultKind::FunctionFailed, "function_failed", failed),
            (FaultKind::FunctionFailed, "result_too_large", failed),
            (FaultKind::FunctionFailed, "malformed_result", malformed),
            (FaultKind::BadPrelude, "function_failed", failed),
            (FaultKind::BadPrelude, "bad_prelude", malformed),
        ] {
            assert_eq!(said(kind, reason), expected, "{kind:?} {reason}");
        }
    }

    #[test]
    fn whatever_a_fault_quotes_stays_on_its_line() {
        let fault = Fault::new(FaultKind::NoApi, "no `a\r\nWARN b\u{1b}[2J\u{fc}`");
        assert_eq!(
            OneLine(&fault).to_string(),
            "no `a\\r\\nWARN b\\u{1b}[2J\u{fc}`"
        );
    }
}
