//! A configuration or an OpenAPI document, whatever is in it: every finding has its place, can be shown, and says
//! rightly whether the rest can be served; what can be served is found by the router.

#![no_main]

use std::path::Path;

use http::Method;
use libfuzzer_sys::fuzz_target;
use sluicegate::{
    config::{
        build::{Loaded, Overrides, load_text},
        diagnostics::{Diagnostic, Diagnostics},
        model::{Api, Verb},
        render::render,
    },
    route::{Found, Router},
};

/// Where the documents that a configuration names are looked for.
const BASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../config");

fn assert_placed(finding: &Diagnostic, diagnostics: &Diagnostics) {
    let Some(place) = &finding.place else { return };
    let text = diagnostics
        .text(&finding.file)
        .expect("a place lies in a text");
    assert!(text.get(place.span.clone()).is_some(), "{finding:?}");
    let before = &text[..place.span.start];
    let line = before.rsplit('\n').next().unwrap_or_default();
    assert_eq!(place.line, before.matches('\n').count() + 1);
    assert_eq!(place.column, line.chars().count() + 1);
}

fn assert_told(diagnostics: &Diagnostics) {
    let findings = diagnostics.sorted();
    let shown = render(diagnostics, false);
    for finding in &findings {
        assert_placed(finding, diagnostics);
        assert!(shown.contains(finding.code.as_str()));
    }
    assert!(shown.len() >= render(&Diagnostics::default(), false).len());
    render(diagnostics, true);
    let rows = diagnostics.to_json();
    assert_eq!(rows.as_array().map(Vec::len), Some(findings.len()));
}

/// A request for each method of the only API is found.
fn assert_routed(api: &Api) {
    let router = Router::new(std::slice::from_ref(api));
    let host = api.domains.first().map_or_else(String::new, |domain| {
        let label = if domain.is_wildcard { "any." } else { "" };
        format!("{label}{}", domain.name)
    });
    for own in &api.methods {
        let segments = own.resource.path.split('/').map(|segment| {
            if segment.starts_with('{') {
                "value"
            } else {
                segment
            }
        });
        let path = segments.collect::<Vec<_>>().join("/");
        let path = format!("{}{path}", api.site.base_path);
        let method = match &own.verb {
            Verb::Any => Method::GET,
            Verb::Only(method) => method.clone(),
        };
        match router.find(&host, &method, &path) {
            Found::Method { parameters, .. } => {
                for place in parameters {
                    assert!(path.get(place.start as usize..place.end as usize).is_some());
                }
            }
            // Dot segments of the document's own are never asked for.
            Found::Climbs { .. } => {}
            lost => panic!("{method} {path} on `{host}`: {lost:?}"),
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let Loaded { model, diagnostics } =
        load_text("input", &text, Path::new(BASE), &Overrides::default());
    assert_told(&diagnostics);
    match model {
        None => assert!(diagnostics.errors() > 0, "nothing says why"),
        Some(model) => {
            assert!(!diagnostics.is_fatal());
            if let [api] = &model.apis[..] {
                assert_routed(api);
            }
        }
    }
});
