//! `$context` variables: their names (AWS's, and our own under `$context.sluicegate`), and their values.

mod names;

use http::Version;

pub use names::Variable;

use super::{
    clock::Wall,
    context::{BILLED_UNIT, Context},
    escape,
    ids::RequestId,
    known::Known,
    outcome::Outcome,
    site::{Resource, Site},
};

impl Variable {
    /// Whether the value may hold anything, since a client, a backend or a document chose it. Others need no escapes: they
    /// are the gateway's own, or were checked when the head was read, as hosts, methods and trace ids are.
    pub fn is_free_text(self) -> bool {
        matches!(
            self,
            Variable::AccountId
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
        )
    }

    /// The value, if all requests that reach this API have the same.
    pub fn of_site(self, site: &Site) -> Option<&str> {
        Some(match self {
            Variable::AccountId => &site.account_id,
            Variable::ApiId => &site.api_id,
            Variable::BasePathMatched => site.base_path.strip_prefix('/').unwrap_or("(none)"),
            Variable::DeploymentId => &site.deployment_id,
            Variable::EndpointType => site.endpoint_type,
            Variable::Stage => &site.stage,
            _ => return None,
        })
    }

    /// The value, if all requests that reach this resource have the same.
    pub fn of_resource(self, resource: &Resource) -> Option<&str> {
        match self {
            Variable::ResourceId => Some(&resource.id),
            Variable::ResourcePath => Some(&resource.path),
            _ => None,
        }
    }

    /// The value, if all requests with which nothing went wrong ([`Context::is_flawless`]) have the same.
    pub fn of_flawless(self) -> Option<&'static str> {
        match self {
            Variable::Outcome => Some(Outcome::Complete.as_str()),
            Variable::ErrorMessage
            | Variable::ErrorMessageString
            | Variable::ErrorResponseType
            | Variable::IntegrationError
            | Variable::Reason
            | Variable::Side => Some(""),
            _ => None,
        }
    }

    /// Appends the value as it is, unescaped. False, with nothing appended, if it has none.
    pub fn write(self, context: &Context, out: &mut Vec<u8>) -> bool {
        let before = out.len();
        match self.value(context) {
            None => {}
            Some(Value::Text(text)) => out.extend_from_slice(text),
            Some(Value::Number(number)) => escape::number(out, number),
            Some(Value::Opened(write)) => write(context.opened_wall, out),
            Some(Value::Quoted(text)) => write_quoted(out, text),
            Some(Value::Replaced(id)) => {
                out.extend_from_slice(id.as_bytes());
                out.extend_from_slice(b"_REPLACED_INVALID_REQUEST_ID");
            }
        }
        out.len() > before
    }

    #[expect(
        clippy::too_many_lines,
        reason = "a table with a row for each variable"
    )]
    fn value(self, context: &Context) -> Option<Value<'_>> {
        let facts = &context.integration;
        let transfer = &context.transfer;
        let row = || Some(context.fault.as_ref()?.kind.row());
        let tls = || context.peer.tls.as_ref();
        let certificate = || tls()?.client_certificate.as_deref();
        let millis_to = |at| context.integration_millis(at).map(Value::Number);
        Some(match self {
            Variable::AccountId
            | Variable::ApiId
            | Variable::BasePathMatched
            | Variable::DeploymentId
            | Variable::EndpointType
            | Variable::Stage => text(self.of_site(context.site.as_deref()?)?),
            Variable::ResourceId | Variable::ResourcePath => {
                text(self.of_resource(context.resource.as_deref()?)?)
            }
            Variable::CipherSuite => text(&tls()?.cipher),
            Variable::ClientCertificatePem => text(&certificate()?.pem),
            Variable::ClientCertificateIssuer => text(&certificate()?.issuer),
            Variable::ClientCertificateNotAfter => text(&certificate()?.not_after),
            Variable::ClientCertificateNotBefore => text(&certificate()?.not_before),
            Variable::ClientCertificateSerial => text(&certificate()?.serial),
            Variable::ClientCertificateSubject => text(&certificate()?.subject),
            Variable::DomainName => text(context.domain_name()),
            Variable::DomainPrefix => text(context.domain_name().split('.').next()?),
            Variable::ErrorMessage => text(row()?.message),
            Variable::ErrorMessageString => match row()?.message {
                "" => text("null"),
                message => Value::Quoted(message),
            },
            Variable::ErrorResponseType => text(row()?.response_type.as_str()),
            Variable::ExtendedRequestId => Value::Text(context.extended_id.as_bytes()),
            Variable::HttpMethod if context.head.target.as_str().is_empty() => return None,
            Variable::HttpMethod => text(context.method.as_str()),
            Variable::IntegrationEndpointStatus => Value::Number(facts.endpoint_status?.into()),
            Variable::IntegrationError => text(facts.error.as_deref()?),
            Variable::IntegrationLatency => millis_to(facts.ended)?,
            Variable::IntegrationRequestId => Value::Text(facts.request_id.as_ref()?.as_bytes()),
            Variable::IntegrationStatus => Value::Number(facts.status?.into()),
            Variable::Path => text(context.head.target.path()),
            Variable::Protocol => text("HTTP/1.1"),
            Variable::RequestId if context.replaced_request_id => {
                Value::Replaced(&context.request_id)
            }
            Variable::RequestId => Value::Text(context.request_id.as_bytes()),
            Variable::RequestTime => Value::Opened(Wall::write_clf),
            Variable::RequestTimeEpoch => Value::Number(context.opened_wall.0),
            Variable::RequestTimeIso => Value::Opened(Wall::write_rfc3339),
            Variable::ResponseLatency => Value::Number(context.end?.1.millis_since(context.opened)),
            Variable::ResponseLength => Value::Number(transfer.bytes),
            Variable::ResponseTransferMode => text(facts.transfer_mode?),
            Variable::SourceIp => text(context.source_ip()),
            Variable::Status => Value::Number(context.status?.into()),
            Variable::TimeToAllHeaders => millis_to(facts.all_headers)?,
            Variable::TimeToFirstContent => millis_to(transfer.first_content)?,
            Variable::TlsVersion => text(tls()?.version),
            Variable::UserAgent => Value::Text(context.head.fields.get(Known::UserAgent)?),
            Variable::XrayTraceId => Value::Text(context.trace_root()),
            Variable::BilledUnits => Value::Number(transfer.bytes.div_ceil(BILLED_UNIT).max(1)),
            Variable::Chunks => Value::Number(transfer.chunks),
            Variable::ClientBlockedTime => Value::Number(transfer.blocked_on_client / 1000),
            Variable::HttpVersion => text(version(context.head.version)),
            Variable::IntegrationBlockedTime => {
                Value::Number(transfer.blocked_on_integration / 1000)
            }
            Variable::LongestGap => Value::Number(transfer.longest_gap / 1000),
            Variable::Outcome => text(context.end?.0.as_str()),
            Variable::Reason => text(context.fault.as_ref()?.reason),
            Variable::Side => text(context.side()?.as_str()),
            Variable::ThrottledTime => Value::Number(transfer.throttled / 1000),
            Variable::Absent => return None,
        })
    }
}

/// A variable's value before it is written.
enum Value<'a> {
    Text(&'a [u8]),
    Number(u64),
    /// The time at which the request was opened, in this form.
    Opened(fn(Wall, &mut Vec<u8>)),
    /// With the quotes and escapes of JSON.
    Quoted(&'a str),
    /// An id in place of the client's, which was no UUID.
    Replaced(&'a RequestId),
}

fn text(value: &str) -> Value<'_> {
    Value::Text(value.as_bytes())
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

/// A JSON string with its quotes, as `$context.error.messageString`.
pub fn write_quoted(out: &mut Vec<u8>, value: &str) {
    out.push(b'"');
    escape::json(out, value.as_bytes());
    out.push(b'"');
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
