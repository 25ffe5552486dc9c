//! `sluicegate routes`.

use std::{fmt::Write as _, process::ExitCode};

use http::Method;

use super::{args::Routes, check::summary, complain, print};
use crate::{
    config::{
        build::Overrides,
        load,
        model::{Api, Integration, Method as Route, Model, Policy},
        render::render,
    },
    route::{
        Found, Router,
        explain::{Verdict, candidates},
    },
    types::target::Target,
};

pub(super) fn run(routes: &Routes) -> ExitCode {
    let loaded = load(&routes.config, &Overrides::default());
    let Some(model) = loaded.model else {
        complain(&format!(
            "{}{}\n",
            render(&loaded.diagnostics, false),
            summary(&loaded.diagnostics)
        ));
        return ExitCode::from(1);
    };
    match (&routes.method, &routes.path) {
        (Some(method), Some(path)) => explain(&model, method, path),
        _ => print(&table(&model)),
    }
}

fn table(model: &Model) -> String {
    let mut rows =
        vec![["METHOD", "PATH", "INTEGRATION", "MODE", "TIMEOUT", "TARGET"].map(str::to_owned)];
    for api in &model.apis {
        for route in &api.methods {
            rows.push(row(api, route));
        }
    }
    let mut text = String::new();
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..6).map(|column| width(column).unwrap_or(0)).collect();
    for row in &rows {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        let _ = writeln!(text, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    text
}

fn row(api: &Api, route: &Route) -> [String; 6] {
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
    [
        route.verb.as_str().to_owned(),
        format!("{}{path}", hosts.join(",")),
        kind.to_owned(),
        policy.map_or("-", |policy| policy.mode.as_str()).to_owned(),
        policy.map_or_else(
            || "-".to_owned(),
            |policy| format!("{} ms", policy.limits.deadline.as_millis()),
        ),
        target,
    ]
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
            format!("{} (not served yet: 500)", lambda.function),
        ),
        Integration::Missing => ("none", None, "no integration: 500".to_owned()),
        Integration::Unusable(why) => ("unusable", None, format!("{why}: 500")),
    }
}

fn explain(model: &Model, method: &str, path: &str) -> ExitCode {
    let Ok(method) = Method::from_bytes(method.to_ascii_uppercase().as_bytes()) else {
        complain(&format!("error: `{method}` isn't an HTTP method\n"));
        return ExitCode::from(2);
    };
    let (target, authority) = match Target::parse(&method, path.as_bytes()) {
        Ok(parsed) => parsed,
        Err(fault) => {
            print(&format!("{method} {path}\n  400 Bad Request: {fault}\n"));
            return ExitCode::SUCCESS;
        }
    };
    let authority = authority.unwrap_or("localhost");
    let router = Router::new(&model.apis);
    let found = router.find(authority, &method, target.path());
    let mut text = format!("{method} {} on host {authority}\n", target.path());
    match &found {
        Found::NoApi => text.push_str("  403 Forbidden: no API is mounted on this host and path\n"),
        Found::Climbs { .. } => {
            text.push_str("  400 Bad Request: the dot segments climb above the API's base path\n");
        }
        Found::NoRoute { api } | Found::Method { api, .. } => {
            if let Some(api) = model.apis.get(*api) {
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
                list_candidates(&mut text, api, &router, authority, &method, target.path());
                tell_result(&mut text, api, &found, target.path());
            }
        }
    }
    print(&text)
}

fn list_candidates(
    text: &mut String,
    api: &Api,
    router: &Router,
    authority: &str,
    method: &Method,
    path: &str,
) {
    for candidate in candidates(api, router, authority, method, path) {
        let verbs = candidate.verbs.join(", ");
        let why = match candidate.verdict {
            Verdict::Wins => "wins".to_owned(),
            Verdict::NoMethod => format!("fits, but has no {method}"),
            Verdict::Beaten => "fits, but a more precise resource has the method".to_owned(),
        };
        let _ = writeln!(text, "    {} ({verbs}): {why}", candidate.template);
    }
}

fn tell_result(text: &mut String, api: &Api, found: &Found, path: &str) {
    let Found::Method {
        method, parameters, ..
    } = found
    else {
        text.push_str("  403 Missing Authentication Token: no resource has this path and method\n");
        return;
    };
    let Some(route) = api.methods.get(*method) else {
        return;
    };
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
}
