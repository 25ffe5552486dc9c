//! What a function URL answers in place of its function: Lambda's own bodies, as recorded.

use bytes::Bytes;
use http::StatusCode;
use serde_json::json;

use crate::{
    integration::function::{Refused, fault_of_refusal},
    lambda::invocation::InvokeFault,
    types::{
        fault::{Fault, FaultKind},
        fields::Fields,
        known::Known,
        outcome::Side,
    },
};

/// There is no such URL.
pub fn unknown(detail: &str) -> Refused {
    let fault = Fault::because(FaultKind::NoApi, "no_function", detail);
    let body = r#"{"Message":null}"#;
    refused(403, "AccessDeniedException", body, fault)
}

/// The URL is for signed requests, and nobody checks signatures here.
pub(super) fn forbidden() -> Refused {
    let fault = Fault::because(
        FaultKind::NotEnforced,
        "not_enforced",
        "the function URL's `authType` is `AWS_IAM`, which isn't enforced: everybody is refused",
    );
    let body = r#"{"Message":"Forbidden"}"#;
    refused(403, "AccessDeniedException", body, fault)
}

/// The answer to a call that failed.
pub(super) fn of(fault: InvokeFault) -> Refused {
    match fault {
        InvokeFault::Refused(refusal) if refusal.status == 429 => {
            let default = "ConcurrentInvocationLimitExceeded";
            let body = json!({
                "Reason": refusal.reason.as_deref().unwrap_or(default),
                "Type": "User",
                "message": "Rate Exceeded.",
            });
            let fault = fault_of_refusal(&refusal);
            let mut refused = refused(429, &refusal.error_type, body.to_string(), fault);
            refused.fields.push(b"Retry-After", b"1");
            refused
        }
        InvokeFault::Refused(refusal) if refusal.status == 413 => {
            too_large(fault_of_refusal(&refusal))
        }
        InvokeFault::Refused(refusal) => failed(fault_of_refusal(&refusal)),
        InvokeFault::Failed(fault) => of_fault(fault),
    }
}

/// The answer to a call that failed, or was refused, here.
pub fn of_fault(fault: Fault) -> Refused {
    let row = fault.kind.row();
    match fault.kind {
        FaultKind::BodyTooLarge => too_large(fault),
        FaultKind::Overloaded | FaultKind::Drained => told(fault),
        _ if row.side == Side::Client => told(fault),
        _ => failed(fault),
    }
}

/// A fault that has the same words everywhere.
fn told(fault: Fault) -> Refused {
    let row = fault.kind.row();
    let body = json!({ "Message": row.message }).to_string();
    let mut refused = refused(row.status, row.error_type, body, fault);
    if row.status == 503 {
        refused.fields.push(b"Retry-After", b"1");
    }
    refused
}

fn too_large(fault: Fault) -> Refused {
    let body = r#"{"Message":"Request Entity Too Large"}"#;
    refused(413, "RequestEntityTooLargeException", body, fault)
}

/// A function that failed, ran out of time or gave a bad response.
fn failed(fault: Fault) -> Refused {
    let mut fields = Fields::with_capacity(64);
    fields.push_known(Known::ContentType, b"Content-Type", b"text/plain");
    Refused {
        status: StatusCode::BAD_GATEWAY,
        fields,
        body: Bytes::from_static(b"Internal Server Error"),
        fault: Box::new(fault),
    }
}

fn refused(status: u16, error_type: &str, body: impl Into<Bytes>, fault: Fault) -> Refused {
    let mut fields = Fields::with_capacity(128);
    fields.push_known(Known::ContentType, b"Content-Type", b"application/json");
    fields.push_known(
        Known::XAmznErrorType,
        b"x-amzn-ErrorType",
        error_type.as_bytes(),
    );
    Refused {
        status: StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY),
        fields,
        body: body.into(),
        fault: Box::new(fault),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lambda::invocation::Refusal;

    fn answer(fault: InvokeFault) -> (u16, String) {
        let refused = of(fault);
        let body = String::from_utf8_lossy(&refused.body).into_owned();
        (refused.status.as_u16(), body)
    }

    #[test]
    fn failures_have_lambdas_own_words() {
        let failed = |kind| answer(InvokeFault::Failed(Fault::new(kind, "why")));
        let internal = (502, "Internal Server Error".to_owned());
        for kind in [
            FaultKind::FunctionFailed,
            FaultKind::BadPrelude,
            FaultKind::Deadline,
            FaultKind::Unreachable,
        ] {
            assert_eq!(failed(kind), internal, "{kind:?}");
        }
        assert_eq!(failed(FaultKind::BodyTooLarge).0, 413);
        assert_eq!(
            failed(FaultKind::BodyTimeout),
            (408, r#"{"Message":"Request Timeout"}"#.to_owned())
        );
        let overloaded = of_fault(Fault::new(FaultKind::Overloaded, "why"));
        let fields = String::from_utf8_lossy(overloaded.fields.wire());
        assert_eq!(overloaded.status, 503);
        assert!(fields.contains("\r\nRetry-After: 1\r\n"), "{fields}");
        let throttle = Refusal::new(429, "TooManyRequestsException", "Rate Exceeded.")
            .because("ReservedFunctionConcurrentInvocationLimitExceeded");
        assert_eq!(
            answer(InvokeFault::Refused(throttle)),
            (
                429,
                r#"{"Reason":"ReservedFunctionConcurrentInvocationLimitExceeded","Type":"User","message":"Rate Exceeded."}"#
                    .to_owned()
            )
        );
        let other = Refusal::new(404, "ResourceNotFoundException", "no");
        assert_eq!(answer(InvokeFault::Refused(other)), internal);
    }
}
