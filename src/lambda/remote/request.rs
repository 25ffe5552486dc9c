//! A call as it goes over the wire, and its signature (Signature Version 4, service `lambda`).

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{
        PayloadChecksumKind, SignableBody, SignableRequest, SigningError, SigningSettings, sign,
    },
    sign::v4,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tracing::{Dispatch, dispatcher};

use super::place::Place;
use crate::{
    config::model::TransferMode,
    lambda::invocation::Invocation,
    stream::request_body::RequestBody,
    types::{
        clock::Wall,
        fault::{Fault, FaultKind},
        fields::{Fields, is_field_value},
    },
    upstream::request::Outgoing,
};

/// All but the unreserved characters (RFC 3986, section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// The call of `function` at `place`, signed if there are credentials.
pub(super) fn build(
    function: &str,
    invocation: &Invocation,
    place: &Place,
    credentials: Option<&Credentials>,
    now: Wall,
) -> Result<Outgoing, Fault> {
    let target = target(function, invocation);
    let mut headers = headers(invocation, place);
    if let Some(value) = headers
        .iter()
        .find(|(_, value)| !is_field_value(value.as_bytes()))
    {
        let detail = format!(
            "the value of `{}` for the function's call can't be a header's",
            value.0
        );
        return Err(Fault::new(FaultKind::BadParameter, detail));
    }
    if let Some(credentials) = credentials {
        let signature = signature(
            &target,
            &headers,
            &invocation.event,
            place,
            credentials,
            now,
        )
        .map_err(|error| unsignable(&error))?;
        headers.extend(signature);
    }
    let mut fields = Fields::with_capacity(1024);
    for (name, value) in &headers {
        fields.push(name.as_bytes(), value.as_bytes());
    }
    // Proxies may change it on the way, so it is never signed.
    if !invocation.trace.is_empty() && is_field_value(&invocation.trace) {
        fields.push(b"X-Amzn-Trace-Id", &invocation.trace);
    }
    Ok(Outgoing {
        method: http::Method::POST,
        target,
        fields,
        body: RequestBody::whole(invocation.event.clone()),
    })
}

fn unsignable(error: &SigningError) -> Fault {
    let detail = format!("the function's call can't be signed: {error}");
    Fault::new(FaultKind::Misconfigured, detail)
}

fn target(function: &str, invocation: &Invocation) -> String {
    let function = utf8_percent_encode(function, RESERVED);
    let mut target = match invocation.mode {
        TransferMode::Buffered => format!("/2015-03-31/functions/{function}/invocations"),
        TransferMode::Stream => {
            format!("/2021-11-15/functions/{function}/response-streaming-invocations")
        }
    };
    if let Some(qualifier) = &invocation.qualifier {
        target.push_str("?Qualifier=");
        target.extend(utf8_percent_encode(qualifier, RESERVED));
    }
    target
}

/// All that is signed, `Host` first.
fn headers(invocation: &Invocation, place: &Place) -> Vec<(&'static str, String)> {
    let log = if invocation.wants_log { "Tail" } else { "None" };
    let mut headers = vec![
        ("Host", place.authority.to_string()),
        ("Content-Type", "application/json".to_owned()),
        ("X-Amz-Invocation-Type", "RequestResponse".to_owned()),
        ("X-Amz-Log-Type", log.to_owned()),
    ];
    if let Some(context) = &invocation.client_context {
        headers.push(("X-Amz-Client-Context", STANDARD.encode(&**context)));
    }
    let Some(source) = &invocation.source else {
        headers.push((
            "User-Agent",
            concat!("sluicegate/", env!("CARGO_PKG_VERSION")).to_owned(),
        ));
        return headers;
    };
    headers.extend([
        ("Accept", "application/json".to_owned()),
        ("User-Agent", format!("AmazonAPIGateway_{}", source.api_id)),
        ("X-Amz-Source-Arn", source.arn.to_string()),
        ("x-amzn-apigateway-api-id", source.api_id.to_string()),
        (
            "x-amzn-lambda-integration-tag",
            invocation.request_id.as_str().to_owned(),
        ),
    ]);
    headers
}

/// The fields that sign a POST: the date, the payload's hash, the session's token, `Authorization`.
fn signature(
    target: &str,
    headers: &[(&'static str, String)],
    event: &[u8],
    place: &Place,
    credentials: &Credentials,
    now: Wall,
) -> Result<Vec<(&'static str, String)>, SigningError> {
    let identity = credentials.clone().into();
    let mut settings = SigningSettings::default();
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(&place.region)
        .name("lambda")
        .time(std::time::UNIX_EPOCH + std::time::Duration::from_millis(now.0))
        .settings(settings)
        .build();
    let parameters = match parameters {
        Ok(parameters) => parameters.into(),
        Err(error) => unreachable!("all parameters are given: {error}"),
    };
    let signed = headers.iter().map(|(name, value)| (*name, value.as_str()));
    let uri = format!("https://{}{target}", place.authority);
    let request = SignableRequest::new("POST", uri, signed, SignableBody::Bytes(event))?;
    // The signer's log can be made to tell all that it signs, and an event holds its client's secrets.
    let output = dispatcher::with_default(&Dispatch::none(), || sign(request, &parameters))?;
    let (fields, _) = output.into_parts().0.into_parts();
    Ok(fields
        .iter()
        .map(|field| (field.name(), field.value().to_owned()))
        .collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::{
        lambda::invocation::Source,
        types::ids::RequestId,
        upstream::{endpoint::Endpoint, send::Destination},
    };

    fn place() -> Place {
        Place {
            destination: Destination::Endpoint(Arc::new(Endpoint::new("127.0.0.1", 1, None))),
            authority: "lambda.eu-west-1.amazonaws.com".into(),
            region: "eu-west-1".into(),
            is_aws: true,
        }
    }

    fn invocation() -> Invocation {
        Invocation {
            event: Bytes::from_static(b"{\"a\":1}"),
            mode: TransferMode::Buffered,
            request_id: RequestId::from_client(b"c6af9ac6-7b61-11e6-9a41-93e8deadbeef").unwrap(),
            trace: b"Root=1-5759e988-bd862e3fe1be46a994272793"[..].into(),
            client_context: None,
            function: None,
            qualifier: None,
            wants_log: false,
            runs_on: true,
            source: None,
        }
    }

    fn value(outgoing: &Outgoing, name: &str) -> String {
        let mut values = outgoing.fields.named(name.as_bytes());
        String::from_utf8_lossy(values.next().unwrap_or_default()).into_owned()
    }

    #[test]
    fn names_are_encoded_and_the_mode_chooses_the_operation() {
        let mut call = invocation();
        call.qualifier = Some("$LATEST".into());
        let arn = "arn:aws:lambda:eu-west-1:123456789012:function:f";
        let outgoing = build(arn, &call, &place(), None, Wall(0)).unwrap();
        assert_eq!(
            outgoing.target,
            "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aeu-west-1%3A123456789012%3Afunction%3Af/invocations?Qualifier=%24LATEST"
        );
        assert_eq!(value(&outgoing, "Authorization"), "");
        call.mode = TransferMode::Stream;
        let outgoing = build("f", &call, &place(), None, Wall(0)).unwrap();
        assert!(
            outgoing
                .target
                .starts_with("/2021-11-15/functions/f/response-streaming-invocations?")
        );
    }

    #[test]
    fn a_gateways_call_says_which_api_it_comes_from() {
        let mut call = invocation();
        call.wants_log = true;
        call.client_context = Some("{}".into());
        call.source = Some(Source {
            arn: "arn:aws:execute-api:eu-west-1:123456789012:abc/prod/GET/x".into(),
            api_id: "abc".into(),
        });
        let outgoing = build("f", &call, &place(), None, Wall(0)).unwrap();
        for (name, expected) in [
            ("Host", "lambda.eu-west-1.amazonaws.com"),
            ("Accept", "application/json"),
            ("Content-Type", "application/json"),
            ("User-Agent", "AmazonAPIGateway_abc"),
            ("X-Amz-Client-Context", "e30="),
            ("X-Amz-Invocation-Type", "RequestResponse"),
            ("X-Amz-Log-Type", "Tail"),
            (
                "X-Amz-Source-Arn",
                "arn:aws:execute-api:eu-west-1:123456789012:abc/prod/GET/x",
            ),
            (
                "X-Amzn-Trace-Id",
                "Root=1-5759e988-bd862e3fe1be46a994272793",
            ),
            ("x-amzn-apigateway-api-id", "abc"),
            (
                "x-amzn-lambda-integration-tag",
                "c6af9ac6-7b61-11e6-9a41-93e8deadbeef",
            ),
        ] {
            assert_eq!(value(&outgoing, name), expected, "{name}");
        }
    }

    /// The expected signature is botocore's (`SigV4Auth`) for the same request, time and keys.
    #[test]
    fn a_signature_is_the_one_that_aws_computes() {
        let mut call = invocation();
        call.qualifier = Some("live".into());
        let credentials = Credentials::new(
            "AKIDEXAMPLE",
            "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            Some("a/session+token==".to_owned()),
            None,
            "test",
        );
        let arn = "arn:aws:lambda:eu-west-1:123456789012:function:f";
        let now = Wall(1_440_938_160_000);
        let outgoing = build(arn, &call, &place(), Some(&credentials), now).unwrap();
        assert_eq!(value(&outgoing, "x-amz-date"), "20150830T123600Z");
        assert_eq!(
            value(&outgoing, "x-amz-security-token"),
            "a/session+token=="
        );
        assert_eq!(
            value(&outgoing, "x-amz-content-sha256"),
            "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"
        );
        let authorization = value(&outgoing, "authorization");
        assert_eq!(
            authorization,
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/eu-west-1/lambda/aws4_request, SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date;x-amz-invocation-type;x-amz-log-type;x-amz-security-token, Signature=29fe4554856abed4493fe41e4c92f22bc66d5f90a15b8fa954de046fc22ffb7f"
        );
    }

    #[test]
    fn a_value_that_would_break_the_head_is_refused() {
        let mut call = invocation();
        call.source = Some(Source {
            arn: "arn\r\nX: y".into(),
            api_id: "abc".into(),
        });
        let fault = build("f", &call, &place(), None, Wall(0)).unwrap_err();
        assert!(fault.detail.contains("X-Amz-Source-Arn"), "{fault}");
    }
}
