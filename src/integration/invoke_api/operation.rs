//! Which operation of the Lambda API a request asks for, and on which function.

use http::Method;
use percent_encoding::percent_decode_str;

use crate::{
    config::{model::TransferMode, uri::function_name},
    lambda::invocation::Refusal,
    types::target::Target,
};

/// A call of `Invoke` or `InvokeWithResponseStream`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The function's name.
    pub name: Box<str>,
    /// The version or alias in the name, or in `?Qualifier=`.
    pub qualifier: Option<Box<str>>,
    /// Whether the name and `?Qualifier=` contradict each other.
    pub is_contradictory: bool,
    /// `STREAM` for `InvokeWithResponseStream`.
    pub mode: TransferMode,
}

/// The paths of both operations, around the function's name.
const PATHS: [(&str, &str, TransferMode); 2] = [
    (
        "/2015-03-31/functions/",
        "/invocations",
        TransferMode::Buffered,
    ),
    (
        "/2021-11-15/functions/",
        "/response-streaming-invocations",
        TransferMode::Stream,
    ),
];

impl Operation {
    /// The operation that a request asks for, if it is one of them.
    pub fn of(method: &Method, target: &Target) -> Option<Operation> {
        if method != Method::POST {
            return None;
        }
        let path = target.path();
        let path = path.strip_suffix('/').unwrap_or(path);
        let (said, mode) = PATHS.iter().find_map(|(before, after, mode)| {
            let name = path.strip_prefix(before)?.strip_suffix(after)?;
            (!name.is_empty() && !name.contains('/')).then_some((name, *mode))
        })?;
        let said = percent_decode_str(said).decode_utf8().ok()?;
        let (name, own) = function_name(&said);
        let asked = qualifier(target.query().unwrap_or_default());
        let is_contradictory = match (own, &asked) {
            (Some(own), Some(asked)) => own != &**asked,
            _ => false,
        };
        Some(Operation {
            name: name.into(),
            qualifier: own.map(Into::into).or(asked),
            is_contradictory,
            mode,
        })
    }

    /// There is no such function. `arn` is what its ARN would be.
    pub(super) fn not_found(&self, arn: &str) -> Refusal {
        let qualifier = self.qualifier.as_deref();
        let qualifier = qualifier.map_or(String::new(), |text| format!(":{text}"));
        Refusal::new(
            404,
            "ResourceNotFoundException",
            format!("Function not found: {arn}{qualifier}"),
        )
    }
}

fn qualifier(query: &str) -> Option<Box<str>> {
    let value = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(name, _)| *name == "Qualifier")?
        .1;
    let text = percent_decode_str(value).decode_utf8().ok()?;
    (!text.is_empty()).then(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(target: &str) -> Option<Operation> {
        let (target, _) = Target::parse(&Method::POST, target.as_bytes()).unwrap();
        Operation::of(&Method::POST, &target)
    }

    #[test]
    fn functions_are_named_in_all_the_ways_that_lambda_takes() {
        for (said, qualifier) in [
            ("chat", None),
            ("chat:live", Some("live")),
            ("chat%3Alive", Some("live")),
            ("123456789012:function:chat", None),
            ("arn:aws:lambda:us-east-1:123456789012:function:chat", None),
            (
                "arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Achat%3A7",
                Some("7"),
            ),
            ("chat/invocations?Qualifier=%24LATEST&a", Some("$LATEST")),
        ] {
            let (name, query) = said.split_once("/invocations").unwrap_or((said, ""));
            let found =
                operation(&format!("/2015-03-31/functions/{name}/invocations{query}")).unwrap();
            assert_eq!(&*found.name, "chat", "{said}");
            assert_eq!(found.qualifier.as_deref(), qualifier, "{said}");
            assert_eq!(found.mode, TransferMode::Buffered);
        }
        let streaming = operation("/2021-11-15/functions/chat/response-streaming-invocations");
        assert_eq!(streaming.unwrap().mode, TransferMode::Stream);
    }

    #[test]
    fn a_qualifier_may_stand_twice_but_must_agree() {
        let path = "/2015-03-31/functions/chat:a/invocations?Qualifier=";
        assert!(!operation(&format!("{path}a")).unwrap().is_contradictory);
        assert!(operation(&format!("{path}b")).unwrap().is_contradictory);
    }

    #[test]
    fn other_paths_and_methods_are_none_of_it() {
        for target in [
            "/2015-03-31/functions/chat/invocation",
            "/2015-03-31/functions//invocations",
            "/2015-03-31/functions/a/b/invocations",
            "/2021-11-15/functions/chat/invocations",
            "/2015-03-31/functions/chat/response-streaming-invocations",
            "/prod/2015-03-31/functions/chat/invocations",
        ] {
            assert_eq!(operation(target), None, "{target}");
        }
        let path = b"/2015-03-31/functions/chat/invocations";
        let (target, _) = Target::parse(&Method::GET, path).unwrap();
        assert_eq!(Operation::of(&Method::GET, &target), None);
    }
}
