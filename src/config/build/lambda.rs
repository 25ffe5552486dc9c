//! AWS_PROXY integrations: which function, and whether URI and mode agree.

use super::integration::{Building, KNOWN_FUNCTIONS};
use crate::config::{
    codes::Code,
    diagnostics::Diagnostics,
    intrinsics::{fill_stage_variables, resolve},
    model::{Integration, Lambda, TransferMode},
};

const BUFFERED: (&str, &str) = ("/2015-03-31/functions/", "/invocations");
const STREAMING: (&str, &str) = ("/2021-11-15/functions/", "/response-streaming-invocations");

pub(super) fn build(building: &Building<'_>, diagnostics: &mut Diagnostics) -> Integration {
    let function = match function_of(building, diagnostics) {
        Ok(function) => function,
        Err(why) => return Integration::Unusable(why.into()),
    };
    let said = building.integration.get("httpMethod");
    if let Some(method) = said.filter(|it| it.scalar().as_deref() != Some("POST")) {
        let message = "Lambda functions are invoked with POST; on AWS this method fails every call";
        let finding = building.report(&method, Code::E042, message);
        diagnostics.push(finding.label("expected `POST`"));
        return Integration::Unusable("its httpMethod isn't POST".into());
    }
    warn(building, diagnostics);
    Integration::Lambda(Lambda {
        function: function.into(),
        policy: building.policy.clone(),
    })
}

/// The function that the URI invokes, if the URI is for the integration's mode.
fn function_of(
    building: &Building<'_>,
    diagnostics: &mut Diagnostics,
) -> Result<String, &'static str> {
    let Some(uri) = building.integration.get("uri") else {
        let finding = building.report(
            &building.integration,
            Code::E035,
            "the integration has no `uri`",
        );
        diagnostics.push(finding.hint("expected the function's invocation ARN"));
        return Err("it has no uri");
    };
    // A function that only CloudFormation knows is found by its logical name.
    let Some(resolved) = resolve(uri.value, building.source.bindings()) else {
        let finding = building.report(&uri, Code::E025, "`uri` can't be turned into text");
        diagnostics.push(finding.hint(KNOWN_FUNCTIONS));
        return Err("its uri can't be turned into text");
    };
    let (text, _) =
        fill_stage_variables(&resolved.text, |name| building.source.stage_variable(name));
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
        path.strip_prefix(before)?.strip_suffix(after).map(str::len)
    };
    let part =
        |(before, _): (&str, &str), length: usize| path.get(before.len()..before.len() + length);
    // The longer suffix first: the shorter one doesn't end it, but be plain about it.
    if let Some(length) = inside(STREAMING) {
        return Some((part(STREAMING, length)?, TransferMode::Stream));
    }
    Some((part(BUFFERED, inside(BUFFERED)?)?, TransferMode::Buffered))
        .filter(|(name, _)| !name.is_empty())
}

fn warn(building: &Building<'_>, diagnostics: &mut Diagnostics) {
    let at = building
        .integration
        .get("type")
        .unwrap_or_else(|| building.integration.clone());
    let message = format!(
        "`{}` calls a Lambda function, which isn't supported yet: it is answered 500",
        building.name
    );
    diagnostics.push(building.report(&at, Code::W111, message));
    let parameters = building
        .integration
        .get("requestParameters")
        .filter(|it| it.members().next().is_some());
    if let Some(parameters) = parameters {
        let message = "an `aws_proxy` integration ignores `requestParameters`";
        diagnostics.push(
            parameters
                .report_key(Code::W106, message)
                .of_method(Some(&building.name)),
        );
    }
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
    }
}
