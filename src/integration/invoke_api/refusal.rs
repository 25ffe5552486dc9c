//! What the Invoke API answers in place of a function: errors in the shape that SDKs read.

use http::StatusCode;
use serde_json::json;

use crate::{
    integration::function::{MOST_EVENT, Refused, fault_of_refusal},
    lambda::invocation::{InvokeFault, Refusal},
    types::{
        fault::{Fault, FaultKind},
        fields::Fields,
        known::Known,
        outcome::Side,
    },
};

/// The operation isn't one of those served here.
pub fn unknown_operation(detail: &str) -> Refused {
    let refusal = Refusal::new(404, "UnknownOperationException", "Unknown operation");
    because(&refusal, FaultKind::NoApi, "no_operation", detail)
}

/// A call that isn't as it should be.
pub(super) fn bad_call(refusal: &Refusal) -> Refused {
    because(
        refusal,
        FaultKind::BadParameter,
        "bad_call",
        &refusal.message,
    )
}

/// A function that isn't there.
pub(super) fn no_function(refusal: &Refusal) -> Refused {
    because(refusal, FaultKind::NoApi, "no_function", &refusal.message)
}

fn because(refusal: &Refusal, kind: FaultKind, reason: &'static str, detail: &str) -> Refused {
    answer(refusal, Fault::because(kind, reason, detail))
}

/// The answer to a call that failed.
pub(super) fn of(fault: InvokeFault) -> Refused {
    match fault {
        InvokeFault::Refused(refusal) => answer(&refusal, fault_of_refusal(&refusal)),
        InvokeFault::Failed(fault) => of_fault(fault),
    }
}

/// The answer to a call that failed, or was refused, here.
pub fn of_fault(fault: Fault) -> Refused {
    answer(&refusal_of(&fault), fault)
}

/// Lambda's words for a fault of the gateway's.
fn refusal_of(fault: &Fault) -> Refusal {
    let row = fault.kind.row();
    match fault.kind {
        FaultKind::BodyTooLarge => too_large(None, "RequestResponse", MOST_EVENT),
        FaultKind::Overloaded | FaultKind::Drained => {
            Refusal::new(503, "ServiceException", row.message)
        }
        _ if row.side == Side::Client => {
            Refusal::new(row.status, "InvalidRequestContentException", row.message)
        }
        _ => Refusal::new(
            500,
            "ServiceException",
            "The function couldn't be called: the gateway's log tells why.",
        ),
    }
}

/// An event larger than it may be.
pub(super) fn too_large(length: Option<u64>, invocation_type: &str, limit: usize) -> Refusal {
    let length = length.map_or_else(|| format!("More than {limit}"), |it| it.to_string());
    Refusal::new(
        413,
        "RequestEntityTooLargeException",
        format!(
            "{length} byte payload is too large for the {invocation_type} invocation type (limit {limit} bytes)"
        ),
    )
}

/// The answer to an event that is too large.
pub(super) fn too_large_event(refusal: &Refusal, fault: Fault) -> Refused {
    answer(refusal, fault)
}

fn answer(refusal: &Refusal, fault: Fault) -> Refused {
    let mut fields = Fields::with_capacity(256);
    fields.push_known(Known::ContentType, b"Content-Type", b"application/json");
    fields.push_known(
        Known::XAmznErrorType,
        b"x-amzn-ErrorType",
        refusal.error_type.as_bytes(),
    );
    if matches!(refusal.status, 429 | 503) {
        fields.push(b"Retry-After", b"1");
    }
    let side = if refusal.status < 500 {
        "User"
    } else {
        "Server"
    };
    // Lambda writes one of its messages with a capital letter.
    let key = if refusal.status == 404 {
        "Message"
    } else {
        "message"
    };
    let body = match &refusal.reason {
        Some(reason) => json!({ "Reason": reason, "Type": side, key: refusal.message }),
        None => json!({ "Type": side, key: refusal.message }),
    };
    Refused {
        status: StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_GATEWAY),
        fields,
        body: body.to_string().into(),
        fault: Box::new(fault),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(refused: &Refused) -> (u16, String, String) {
        let fields = String::from_utf8_lossy(refused.fields.wire()).into_owned();
        let body = String::from_utf8_lossy(&refused.body).into_owned();
        (refused.status.as_u16(), fields, body)
    }

    #[test]
    fn a_throttle_says_why_and_when_to_come_again() {
        let refusal = Refusal::new(429, "TooManyRequestsException", "Rate Exceeded.")
            .because("ReservedFunctionConcurrentInvocationLimitExceeded");
        let (status, fields, body) = text(&of(InvokeFault::Refused(refusal)));
        assert_eq!(status, 429);
        assert!(
            fields.contains("x-amzn-ErrorType: TooManyRequestsException\r\nRetry-After: 1\r\n")
        );
        assert_eq!(
            body,
            r#"{"Reason":"ReservedFunctionConcurrentInvocationLimitExceeded","Type":"User","message":"Rate Exceeded."}"#
        );
    }

    #[test]
    fn faults_have_the_types_that_sdks_know() {
        for (kind, status, error_type) in [
            (
                FaultKind::BodyTooLarge,
                413,
                "RequestEntityTooLargeException",
            ),
            (
                FaultKind::BodyTimeout,
                408,
                "InvalidRequestContentException",
            ),
            (FaultKind::Unreachable, 500, "ServiceException"),
            (FaultKind::Drained, 503, "ServiceException"),
        ] {
            let (said, fields, _) = text(&of(InvokeFault::Failed(Fault::new(kind, "why"))));
            assert_eq!(said, status, "{kind:?}");
            assert!(fields.contains(error_type), "{kind:?}: {fields}");
            let comes_again = fields.contains("\r\nRetry-After: 1\r\n");
            assert_eq!(comes_again, status == 503, "{kind:?}: {fields}");
        }
    }
}
