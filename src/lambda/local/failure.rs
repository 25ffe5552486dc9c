//! What goes wrong with an execution environment, in Lambda's words.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::report::Status;
use crate::{lambda::output::FunctionError, types::ids::RequestId};

/// A failure of a function that its runtime didn't report for the invocation itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Told by Lambda: the error's type, and its message after `RequestId: {id} Error: `.
    Platform {
        /// Such as `Runtime.ExitError`.
        code: &'static str,
        /// Such as `Runtime exited with error: exit status 1`.
        message: Box<str>,
    },
    /// Told by the runtime while it started.
    Init(FunctionError),
}

impl Failure {
    fn platform(code: &'static str, message: impl Into<Box<str>>) -> Failure {
        Failure::Platform {
            code,
            message: message.into(),
        }
    }

    /// The runtime's process ended; `how` as `exit status 1`, or empty if it ended well, which it mustn't either.
    pub(super) fn crashed(how: &str) -> Failure {
        let message = if how.is_empty() {
            "Runtime exited without providing a reason".to_owned()
        } else {
            format!("Runtime exited with error: {how}")
        };
        Failure::platform("Runtime.ExitError", message)
    }

    /// An extension's process ended.
    pub(super) fn extension_crashed(name: &str, how: &str) -> Failure {
        let how = if how.is_empty() { "exit status 0" } else { how };
        let message = format!("extension `{name}` exited: {how}");
        Failure::platform("Extension.Crash", message)
    }

    /// A program couldn't be started.
    pub(super) fn not_started(why: impl Into<Box<str>>) -> Failure {
        Failure::platform("Runtime.InvalidEntrypoint", why)
    }

    /// The function's directory isn't there.
    pub(super) fn no_directory(directory: &std::path::Path) -> Failure {
        let message = format!("the directory `{}` doesn't exist", directory.display());
        Failure::platform("Runtime.InvalidWorkingDir", message)
    }

    /// The gateway lacks what it needs to run anything.
    pub(super) fn sandbox(why: impl Into<Box<str>>) -> Failure {
        Failure::platform("Sandbox.Failure", why)
    }

    /// Nothing came of it within the function's timeout, or the environment didn't start in time.
    pub(super) fn timed_out(after: Duration) -> Failure {
        let message = format!("Task timed out after {:.2} seconds", after.as_secs_f64());
        Failure::platform("Sandbox.Timedout", message)
    }

    /// The response broke off while the process lives.
    pub(super) fn truncated() -> Failure {
        Failure::platform(
            "Runtime.TruncatedResponse",
            "the runtime's response broke off before its end",
        )
    }

    /// For the report's line.
    pub(super) fn status(&self) -> Status {
        match self {
            Failure::Platform {
                code: "Sandbox.Timedout",
                ..
            } => Status::Timeout,
            _ => Status::Error,
        }
    }

    /// As the function's error.
    pub(super) fn error(&self, id: &RequestId) -> FunctionError {
        match self {
            Failure::Platform { code, message } => FunctionError {
                code: (*code).into(),
                details: format!("RequestId: {} Error: {message}", id.as_str()).into(),
            },
            Failure::Init(error) => error.clone(),
        }
    }

    /// As the payload of an invocation that has no other.
    pub(super) fn payload(&self, id: &RequestId) -> Bytes {
        let error = self.error(id);
        match self {
            Failure::Platform { .. } => error_json(&error.code, &error.details),
            Failure::Init(_) => Bytes::from(error.details.into_string()),
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Platform { code, message } => write!(f, "{code}: {message}"),
            Failure::Init(error) => error.fmt(f),
        }
    }
}

/// `{"errorType":…,"errorMessage":…}`, as Lambda writes its own errors.
pub(super) fn error_json(code: &str, message: &str) -> Bytes {
    Bytes::from(json!({"errorType": code, "errorMessage": message}).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_told_with_lambdas_text() {
        let id = RequestId::from_client(b"9f3b6a4e-6a1c-4c62-8b8e-0d1f5b2c7a10").unwrap();
        let failure = Failure::timed_out(Duration::from_secs(3));
        assert_eq!(
            failure.payload(&id),
            r#"{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: 9f3b6a4e-6a1c-4c62-8b8e-0d1f5b2c7a10 Error: Task timed out after 3.00 seconds"}"#
        );
        assert_eq!(failure.status(), Status::Timeout);
    }

    #[test]
    fn an_error_of_the_runtimes_start_is_passed_on_as_it_was_told() {
        let error = FunctionError {
            code: "Runtime.ImportModuleError".into(),
            details: r#"{"errorType":"Runtime.ImportModuleError"}"#.into(),
        };
        let failure = Failure::Init(error.clone());
        let id = RequestId::random();
        assert_eq!(failure.error(&id), error);
        assert_eq!(failure.payload(&id), &*error.details);
    }
}
