//! `/routes`: all routes, or why one answers a request.

use http::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::{Current, answer::Answer};
use crate::{
    route::{
        describe::{Described, Explanation, explain, routes},
        explain::{Candidate, Verdict},
    },
    types::target::Target,
};

pub(super) fn answer(current: &Current, query: &str) -> Answer {
    let (method, path) = (parameter(query, "method"), parameter(query, "path"));
    match (method, path) {
        (None, None) => {
            let routes: Vec<Value> = routes(&current.model)
                .map(|described| told(&described))
                .collect();
            Answer::json(StatusCode::OK, &json!({ "routes": routes }))
        }
        (method, Some(path)) => {
            let method = method.unwrap_or_else(|| "GET".to_owned());
            let host = parameter(query, "host").unwrap_or_else(|| "localhost".to_owned());
            explained(current, &method, &path, &host)
        }
        (Some(_), None) => Answer::text(StatusCode::BAD_REQUEST, "say `path`, too\n"),
    }
}

fn explained(current: &Current, method: &str, path: &str, host: &str) -> Answer {
    let Ok(method) = Method::from_bytes(method.to_ascii_uppercase().as_bytes()) else {
        return Answer::text(StatusCode::BAD_REQUEST, "`method` isn't an HTTP method\n");
    };
    let (target, authority) = match Target::parse(&method, path.as_bytes()) {
        Ok(parsed) => parsed,
        Err(fault) => return Answer::text(StatusCode::BAD_REQUEST, format!("`path`: {fault}\n")),
    };
    let host = authority.unwrap_or(host);
    let explanation = explain(
        &current.model,
        &current.router,
        host,
        &method,
        target.path(),
    );
    let Explanation {
        api,
        route,
        candidates,
        text,
    } = explanation;
    let candidates: Vec<Value> = candidates.iter().map(candidate).collect();
    let value = json!({
        "method": method.as_str(),
        "host": host,
        "path": target.path(),
        "api": api.map(|api| &*api.site.api_name),
        "stage": api.map(|api| &*api.site.stage),
        "resource": route.map(|route| &*route.resource.path),
        "resourceMethod": route.map(|route| route.verb.as_str()),
        "candidates": candidates,
        "explanation": text.lines().map(masked).collect::<Vec<_>>(),
    });
    Answer::json(StatusCode::OK, &value)
}

fn candidate(candidate: &Candidate) -> Value {
    let verdict = match candidate.verdict {
        Verdict::Wins => "wins",
        Verdict::NoMethod => "no_method",
        Verdict::Beaten => "beaten",
    };
    json!({
        "resource": candidate.template,
        "methods": candidate.verbs,
        "verdict": verdict,
    })
}

/// A route as told in lists.
pub(super) fn told(described: &Described<'_>) -> Value {
    let site = &described.api.site;
    json!({
        "api": site.api_name,
        "stage": site.stage,
        "method": described.route.verb.as_str(),
        "resource": described.route.resource.path,
        "place": described.place,
        "integration": described.kind,
        "responseTransferMode": described.policy.map(|policy| policy.mode.as_str()),
        "timeoutInMillis": described.policy.map(|policy| policy.limits.deadline.as_millis() as u64),
        "target": masked(&described.target),
    })
}

/// Text without the queries of the URIs in it: keys may stand there.
pub(super) fn masked(text: &str) -> String {
    let masked = text.split(' ').map(|word| match word.split_once('?') {
        Some((before, _)) if before.contains("://") => format!("{before}?..."),
        _ => word.to_owned(),
    });
    masked.collect::<Vec<_>>().join(" ")
}

/// The first value of a query parameter.
pub(super) fn parameter(query: &str, name: &str) -> Option<String> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(key, _)| *key == name)?;
    let value = value.replace('+', "%20");
    Some(percent_decode_str(&value).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let query = "method=GET&path=%2Fa%2Fb+c&path=%2Fx&empty=";
        assert_eq!(parameter(query, "path").as_deref(), Some("/a/b c"));
        assert_eq!(parameter(query, "empty").as_deref(), Some(""));
        assert_eq!(parameter(query, "host"), None);
    }

    #[test]
    fn queries_of_uris_are_masked_and_nothing_else() {
        assert_eq!(
            masked("POST http://a/b?key=s3cret through VPC link x?"),
            "POST http://a/b?... through VPC link x?"
        );
    }
}
