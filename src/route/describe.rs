//! Routes in words: the table of all, and why one answers a request. For the command line and the operator's address.

use std::fmt::Write as _;

use http::Method;

use super::{
    Found, Router,
    explain::{Candidate, Verdict, candidates},
};
use crate::config::model::{Api, Integration, Method as Route, Model, Policy};

/// A route in words.
#[derive(Debug)]
pub struct Described<'a> {
    /// The API.
    pub api: &'a Api,
    /// The method.
    pub route: &'a Route,
    /// Hosts and path that reach it.
    pub place: String,
    /// What it does: `HTTP_PROXY`, `AWS_PROXY`, `MOCK`, or why nothing.
    pub kind: &'static str,
    /// Its limits and timeouts, if it calls an integration.
    pub policy: Option<&'a Policy>,
    /// What it calls.
    pub target: String,
}

/// All routes, in the order of the configuration.
pub fn routes(model: &Model) -> impl Iterator<Item = Described<'_>> {
    let of_api = |api| {
        let Api { methods, .. }: &Api = api;
        methods.iter().map(move |route| described(api, route))
    };
    model.apis.iter().flat_map(of_api)
}

fn described<'a>(api: &'a Api, route: &'a Route) -> Described<'a> {
    let (kind, policy, target) = describe(route);
    let hosts: Vec<String> = api
        .domains
        .iter()
        .map(|domain| {
            if domain.is_wildcard {
                format!("*.{}", domain.name)
            } else {
                domain.name.to_string()
            }
        })
        .collect();
    let path = match (&*api.site.base_path, &*route.resource.path) {
        ("", path) => path.to_owned(),
        (base, "/") => base.to_owned(),
        (base, path) => format!("{base}{path}"),
    };
    Described {
        api,
        route,
        place: format!("{}{path}", hosts.join(",")),
        kind,
        policy,
        target,
    }
}

fn describe(route: &Route) -> (&'static str, Option<&Policy>, String) {
    if !route.unenforced.is_empty() {
        return (
            "refused",
            None,
            format!(
                "asks for {}, which isn't enforced yet: 500",
                route.unenforced.join(" and ")
            ),
        );
    }
    match &route.integration {
        Integration::HttpProxy(proxy) => {
            let method = proxy
                .method
                .as_ref()
                .map_or(String::new(), |method| format!("{method} "));
            let link = proxy
                .vpc_link
                .as_ref()
                .map_or(String::new(), |link| format!(" through VPC link {link}"));
            (
                "HTTP_PROXY",
                Some(&proxy.policy),
                format!("{method}{}{link}", proxy.uri.text),
            )
        }
        Integration::Mock(_) => ("MOCK", None, "answers by itself".to_owned()),
        Integration::Lambda(lambda) => (
            "AWS_PROXY",
            Some(&lambda.policy),
            lambda.function.to_string(),
        ),
        Integration::Missing => ("none", None, "no integration: 500".to_owned()),
        Integration::Unusable(why) => ("unusable", None, format!("{why}: 500")),
    }
}

/// Why a request is answered as it is.
#[derive(Debug)]
pub struct Explanation<'a> {
    /// The API, if one is mounted there.
    pub api: Option<&'a Api>,
    /// The method, if there is one.
    pub route: Option<&'a Route>,
    /// The resources that fit the path, the most precise first.
    pub candidates: Vec<Candidate>,
    /// All that, in lines for people.
    pub text: String,
}

/// Explains what becomes of a request. `path` is raw.
pub fn explain<'a>(
    model: &'a Model,
    router: &Router,
    authority: &str,
    method: &Method,
    path: &str,
) -> Explanation<'a> {
    let found = router.find(authority, method, path);
    let mut explanation = Explanation {
        api: None,
        route: None,
        candidates: Vec::new(),
        text: format!("{method} {path} on host {authority}\n"),
    };
    let text = &mut explanation.text;
    let api = match &found {
        Found::NoApi => {
            text.push_str("  403 Forbidden: no API is mounted on this host and path\n");
            return explanation;
        }
        Found::Climbs { .. } => {
            text.push_str("  400 Bad Request: the dot segments climb above the API's base path\n");
            return explanation;
        }
        Found::NoRoute { api } | Found::Method { api, .. } => model.apis.get(*api),
    };
    let Some(api) = api else {
        return explanation;
    };
    let mount = if api.site.base_path.is_empty() {
        "/"
    } else {
        &api.site.base_path
    };
    let _ = writeln!(
        text,
        "  API `{}`, stage `{}`, mounted at {mount}",
        api.site.api_name, api.site.stage
    );
    explanation.candidates = candidates(api, router, authority, method, path);
    list_candidates(text, &explanation.candidates, method);
    explanation.api = Some(api);
    explanation.route = tell_result(text, api, &found, path);
    explanation
}

fn list_candidates(text: &mut String, candidates: &[Candidate], method: &Method) {
    for candidate in candidates {
        let verbs = candidate.verbs.join(", ");
        let why = match candidate.verdict {
            Verdict::Wins => "wins".to_owned(),
            Verdict::NoMethod => format!("fits, but has no {method}"),
            Verdict::Beaten => "fits, but a more precise resource has the method".to_owned(),
        };
        let _ = writeln!(text, "    {} ({verbs}): {why}", candidate.template);
    }
}

fn tell_result<'a>(
    text: &mut String,
    api: &'a Api,
    found: &Found,
    path: &str,
) -> Option<&'a Route> {
    let Found::Method {
        method, parameters, ..
    } = found
    else {
        text.push_str("  403 Missing Authentication Token: no resource has this path and method\n");
        return None;
    };
    let route = api.methods.get(*method)?;
    for (name, place) in route.resource.parameters.iter().zip(parameters) {
        let value = path
            .get(place.start as usize..place.end as usize)
            .unwrap_or_default();
        let _ = writeln!(text, "  path parameter {name} = {value}");
    }
    let (kind, policy, target) = describe(route);
    let mode = policy.map_or(String::new(), |policy| {
        format!(
            ", {}, cut after {} ms",
            policy.mode.as_str(),
            policy.limits.deadline.as_millis()
        )
    });
    let _ = writeln!(text, "  integration {kind}{mode}: {target}");
    Some(route)
}
