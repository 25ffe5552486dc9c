//! AWS_PROXY integrations: which function, and whether URI and mode agree.

use super::{integration::Building, request_parameters, text::KNOWN_FUNCTIONS};
use http::StatusCode;

use crate::{
    config::{
        codes::Code,
        diagnostics::Diagnostics,
        document::settings as said,
        intrinsics::resolve,
        model::{Integration, Lambda, LambdaAnswers, TransferMode},
        uri::function_name,
    },
    types::fields::is_field_value,
};

const BUFFERED: (&str, &str) = ("/2015-03-31/functions/", "/invocations");
const STREAMING: (&str, &str) = ("/2021-11-15/functions/", "/response-streaming-invocations");

pub(super) fn build(building: &Building<'_>, diagnostics: &mut Diagnostics) -> Integration {
    let function = match function_of(building, diagnostics) {
        Ok(function) => function,
        Err(why) => return Integration::Unusable(why.into()),
    };
    let said = building.integration.get("httpMethod");
    if let Some(method) = said.filter(|it| {
        !it.scalar()
            .is_some_and(|method| method.eq_ignore_ascii_case("POST"))
    }) {
        let message = "Lambda functions are invoked with POST; on AWS this method fails every call";
        let finding = building.report(&method, Code::E042, message);
        diagnostics.push(finding.label("expected `POST`"));
        return Integration::Unusable("its httpMethod isn't POST".into());
    }
    warn(building, &function, diagnostics);
    if let Some(poison) = request_parameters::check_unused(building, diagnostics) {
        return Integration::Unusable(poison);
    }
    let answers = answers(&building.said.lambda);
    if !is_field_value(answers.default_content_type.as_bytes()) {
        let said = &answers.default_content_type;
        let message = format!("the `defaultContentType` {said:?} can't be the value of a header");
        let finding = building.report_whole(Code::E015, message);
        diagnostics.push(finding.hint("expected a media type, such as `text/event-stream`"));
        return Integration::Unusable("its defaultContentType can't be a header's value".into());
    }
    let mut policy = building.policy.clone();
    let function: Box<str> = function.into();
    // A function on AWS runs on without its client in any case; one that runs here can be spared the work.
    let is_remote = configured(building, &function) == Some(false);
    policy.finish_without_client |= is_remote && building.said.on_client_disconnect.is_none();
    Integration::Lambda(Box::new(Lambda {
        function,
        answers,
        policy,
    }))
}

fn answers(said: &said::LambdaAnswers) -> LambdaAnswers {
    let status = said.function_error_status.unwrap_or(500);
    LambdaAnswers {
        header_arrays: said.header_arrays.unwrap_or_default(),
        function_error_status: StatusCode::from_u16(status)
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        default_content_type: said
            .default_content_type
            .as_deref()
            .unwrap_or("application/json")
            .into(),
        lambda_limits: said.lambda_limits.unwrap_or_default(),
    }
}

/// Whether the function is configured to run here; `None` if it isn't configured at all.
fn configured(building: &Building<'_>, function: &str) -> Option<bool> {
    let (name, _) = function_name(function);
    building.source.functions.get(name).copied()
}

/// The function that the URI invokes, if the URI is for the integration's mode.
fn function_of(
    building: &Building<'_>,
    diagnostics: &mut Diagnostics,
) -> Result<String, &'static str> {
    let Some(uri) = building.integration.get("uri") else {
        let finding = building.report_whole(Code::E035, "the integration has no `uri`");
        diagnostics.push(finding.hint("expected the function's invocation ARN"));
        return Err("it has no uri");
    };
    // A function that only CloudFormation knows is found by its logical name.
    let Some(resolved) = resolve(uri.value, building.source.bindings()) else {
        let finding = building.report(&uri, Code::E025, "`uri` can't be turned into text");
        diagnostics.push(finding.hint(KNOWN_FUNCTIONS));
        return Err("its uri can't be turned into text");
    };
    let text = building
        .reader()
        .filled(&resolved.text, &uri, "`uri`", diagnostics);
    let Some((function, mode)) = function(&text) else {
        let message = format!("`{text}` isn't the invocation ARN of a Lambda function");
        let finding = building.report(&uri, Code::E035, message);
        diagnostics.push(finding.hint(
            "expected `arn:aws:apigateway:REGION:lambda:path/2015-03-31/functions/FUNCTION-ARN/invocations`, or \
             `…:lambda:path/2021-11-15/functions/FUNCTION-ARN/response-streaming-invocations` for STREAM",
        ));
        return Err("its uri isn't the invocation ARN of a function");
    };
    if mode != building.mode {
        let message = format!(
            "`responseTransferMode` is `{}`, but the URI invokes the function for `{}`",
            building.mode.as_str(),
            mode.as_str()
        );
        let (before, after) = if building.mode == TransferMode::Stream {
            STREAMING
        } else {
            BUFFERED
        };
        let hint =
            format!("with this mode the URI must be `…:lambda:path{before}FUNCTION-ARN{after}`");
        diagnostics.push(building.report(&uri, Code::E034, message).hint(hint));
        return Err("its uri and its transfer mode don't agree");
    }
    Ok(function.to_owned())
}

/// The function in an invocation ARN, and the mode the ARN is for.
fn function(uri: &str) -> Option<(&str, TransferMode)> {
    let (_, path) = uri.split_once(":lambda:path")?;
    let inside = |(before, after): (&str, &str)| {
        let function = path.strip_prefix(before)?.strip_suffix(after)?;
        (!function.is_empty() && !function.contains('/')).then_some(())?;
        path.get(before.len()..before.len() + function.len())
    };
    let streaming = inside(STREAMING).map(|function| (function, TransferMode::Stream));
    streaming.or_else(|| inside(BUFFERED).map(|function| (function, TransferMode::Buffered)))
}

/// A function that nobody configured is never called by surprise.
fn warn(building: &Building<'_>, function: &str, diagnostics: &mut Diagnostics) {
    if configured(building, function).is_some() {
        return;
    }
    let at = building
        .integration
        .get("uri")
        .unwrap_or_else(|| building.integration.clone());
    let (name, _) = function_name(function);
    let message = format!(
        "`{}` calls the function `{name}`, which isn't configured: it is answered 500",
        building.name
    );
    let hint = format!(
        "add it to `functions:` of sluicegate.yaml: `{name}: {{ runtime: nodejs20.x, handler: index.handler, codeUri: … }}` \
         runs it here, `{name}: {{}}` calls it on AWS"
    );
    diagnostics.push(building.report(&at, Code::W111, message).hint(hint));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arn_tells_function_and_mode() {
        let arn = "arn:aws:lambda:us-east-1:123456789012:function:chat";
        let buffered = format!(
            "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{arn}/invocations"
        );
        assert_eq!(function(&buffered), Some((arn, TransferMode::Buffered)));
        let streaming = format!(
            "arn:aws:apigateway:us-east-1:lambda:path/2021-11-15/functions/{arn}/response-streaming-invocations"
        );
        assert_eq!(function(&streaming), Some((arn, TransferMode::Stream)));
        let mixed = format!(
            "arn:aws:apigateway:us-east-1:lambda:path/2021-11-15/functions/{arn}/invocations"
        );
        assert_eq!(function(&mixed), None);
        assert_eq!(function("https://example.com"), None);
        assert_eq!(
            function("arn:aws:apigateway:r:lambda:path/2015-03-31/functions//invocations"),
            None
        );
    }
}
