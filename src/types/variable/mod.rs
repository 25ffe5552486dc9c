//! `$context` variables: their names (AWS's, and our own under `$context.sluicegate`), and their values.

mod names;

use std::fmt::Write as _;

pub use names::Variable;

use super::{
    clock::Wall,
    context::{BILLED_UNIT, Context, Transfer},
    escape,
    fault::Row,
    known::Known,
};

impl Variable {
    /// Whether the value may hold anything, since a client, a backend or a document chose it. Others need no escapes.
    pub fn is_free_text(self) -> bool {
        matches!(
            self,
            Variable::AccountId
                | Variable::DomainName
                | Variable::DomainPrefix
                | Variable::ErrorMessage
                | Variable::IntegrationError
                | Variable::Path
                | Variable::ResourcePath
                | Variable::Stage
                | Variable::UserAgent
                | Variable::ApiId
                | Variable::ClientCertificatePem
                | Variable::ClientCertificateIssuer
                | Variable::ClientCertificateSubject
                | Variable::BasePathMatched
                | Variable::HttpMethod
                | Variable::XrayTraceId
        )
    }

    /// Appends the value as it is, unescaped. False, with nothing appended, if it has none.
    pub fn write(self, context: &Context, out: &mut Vec<u8>) -> bool {
        let before = out.len();
        self.write_request(context, out)
            .or_else(|| self.write_certificate(context, out))
            .or_else(|| self.write_answer(context, out))
            .or_else(|| self.write_own(context, out));
        out.len() > before
    }

    fn write_request(self, context: &Context, out: &mut Vec<u8>) -> Option<()> {
        let site = context.site.as_deref();
        match self {
            Variable::AccountId => text(out, &site?.account_id),
            Variable::ApiId => text(out, &site?.api_id),
            Variable::BasePathMatched => {
                text(out, site?.base_path.strip_prefix('/').unwrap_or("(none)"))
            }
            Variable::CipherSuite => text(out, &context.peer.tls.as_ref()?.cipher),
            Variable::DeploymentId => text(out, &site?.deployment_id),
            Variable::DomainName => text(out, context.domain_name()),
            Variable::DomainPrefix => text(out, context.domain_name().split('.').next()?),
            Variable::EndpointType => text(out, site?.endpoint_type),
            Variable::ExtendedRequestId => bytes(out, context.extended_id.as_bytes()),
            Variable::HttpMethod if context.head.target.as_str().is_empty() => None,
            Variable::HttpMethod => text(out, context.method.as_str()),
            Variable::Path => text(out, context.head.target.path()),
            Variable::Protocol => text(out, "HTTP/1.1"),
            Variable::RequestId => {
                out.extend_from_slice(context.request_id.as_bytes());
                context
                    .replaced_request_id
                    .then(|| out.extend_from_slice(b"_REPLACED_INVALID_REQUEST_ID"))
            }
            Variable::RequestTime => write_time(out, context.opened_wall, Wall::write_clf),
            Variable::RequestTimeEpoch => number(out, context.opened_wall.0),
            Variable::RequestTimeIso => write_time(out, context.opened_wall, Wall::write_rfc3339),
            Variable::ResourceId => text(out, &context.resource.as_ref()?.id),
            Variable::ResourcePath => text(out, &context.resource.as_ref()?.path),
            Variable::SourceIp => text(out, context.source_ip()),
            Variable::Stage => text(out, &site?.stage),
            Variable::TlsVersion => text(out, context.peer.tls.as_ref()?.version),
            Variable::UserAgent => bytes(out, context.head.fields.get(Known::UserAgent)?),
            Variable::XrayTraceId => bytes(out, context.trace_root()),
            _ => None,
        }
    }

    fn write_certificate(self, context: &Context, out: &mut Vec<u8>) -> Option<()> {
        let certificate = context.peer.tls.as_ref()?.client_certificate.as_deref()?;
        match self {
            Variable::ClientCertificatePem => text(out, &certificate.pem),
            Variable::ClientCertificateIssuer => text(out, &certificate.issuer),
            Variable::ClientCertificateNotAfter => text(out, &certificate.not_after),
            Variable::ClientCertificateNotBefore => text(out, &certificate.not_before),
            Variable::ClientCertificateSerial => text(out, &certificate.serial),
            Variable::ClientCertificateSubject => text(out, &certificate.subject),
            _ => None,
        }
    }

    fn write_answer(self, context: &Context, out: &mut Vec<u8>) -> Option<()> {
        let facts = &context.integration;
        let row: Option<Row> = context.fault.as_ref().map(|fault| fault.kind.row());
        match self {
            Variable::ErrorMessage => text(out, row?.message),
            Variable::ErrorMessageString => {
                match row?.message {
                    "" => out.extend_from_slice(b"null"),
                    message => write_quoted(out, message),
                }
                Some(())
            }
            Variable::ErrorResponseType => text(out, row?.response_type.as_str()),
            Variable::IntegrationError => text(out, facts.error.as_deref()?),
            Variable::IntegrationEndpointStatus => number(out, facts.endpoint_status?.into()),
            Variable::IntegrationRequestId => bytes(out, facts.request_id?.as_bytes()),
            Variable::IntegrationLatency => number(out, context.integration_millis(facts.ended)?),
            Variable::IntegrationStatus => number(out, facts.status?.into()),
            Variable::ResponseLatency => number(out, context.end?.1.millis_since(context.opened)),
            Variable::ResponseLength => number(out, context.transfer.bytes),
            Variable::ResponseTransferMode => text(out, facts.transfer_mode?),
            Variable::Status => number(out, context.status?.into()),
            Variable::TimeToAllHeaders => {
                number(out, context.integration_millis(facts.all_headers)?)
            }
            Variable::TimeToFirstContent => number(
                out,
                context.integration_millis(context.transfer.first_content)?,
            ),
            _ => None,
        }
    }

    fn write_own(self, context: &Context, out: &mut Vec<u8>) -> Option<()> {
        let Transfer {
            bytes,
            chunks,
            longest_gap,
            throttled,
            ..
        } = context.transfer;
        match self {
            Variable::BilledUnits => number(out, bytes.div_ceil(BILLED_UNIT).max(1)),
            Variable::Chunks => number(out, chunks),
            Variable::ClientBlockedTime => number(out, context.transfer.blocked_on_client / 1000),
            Variable::HttpVersion => {
                let mut version = String::new();
                write!(version, "{:?}", context.head.version).ok()?;
                text(out, &version)
            }
            Variable::IntegrationBlockedTime => {
                number(out, context.transfer.blocked_on_integration / 1000)
            }
            Variable::LongestGap => number(out, longest_gap / 1000),
            Variable::Outcome => text(out, context.end?.0.as_str()),
            Variable::Reason => text(out, context.fault.as_ref()?.reason),
            Variable::Side => text(out, context.side()?.as_str()),
            Variable::ThrottledTime => number(out, throttled / 1000),
            _ => None,
        }
    }
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "each arm of a variable's match is an option"
)]
fn text(out: &mut Vec<u8>, value: &str) -> Option<()> {
    out.extend_from_slice(value.as_bytes());
    Some(())
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "each arm of a variable's match is an option"
)]
fn bytes(out: &mut Vec<u8>, value: &[u8]) -> Option<()> {
    out.extend_from_slice(value);
    Some(())
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "each arm of a variable's match is an option"
)]
fn number(out: &mut Vec<u8>, value: u64) -> Option<()> {
    escape::number(out, value);
    Some(())
}

/// A JSON string with its quotes, as `$context.error.messageString`.
pub fn write_quoted(out: &mut Vec<u8>, value: &str) {
    out.push(b'"');
    escape::json(out, value.as_bytes());
    out.push(b'"');
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "each arm of a variable's match is an option"
)]
fn write_time(out: &mut Vec<u8>, wall: Wall, write: fn(Wall, &mut Vec<u8>)) -> Option<()> {
    write(wall, out);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_case_sensitive_and_strangers_unknown() {
        assert_eq!(Variable::from_name("requestId"), Some(Variable::RequestId));
        assert_eq!(Variable::from_name("requestid"), None);
        assert_eq!(
            Variable::from_name("authorizer.tenant"),
            Some(Variable::Absent)
        );
        assert_eq!(
            Variable::from_name("identity.caller"),
            Some(Variable::Absent)
        );
    }
}
