//! `sluicegate routes`.

use std::{fmt::Write as _, process::ExitCode};

use http::Method;

use super::{args::Routes, check::summary, complain, print};
use crate::{
    config::{build::Overrides, load, model::Model, render::render},
    route::{
        Router,
        describe::{self, Described},
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
    rows.extend(describe::routes(model).map(row));
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

fn row(route: Described<'_>) -> [String; 6] {
    let policy = route.policy;
    [
        route.route.verb.as_str().to_owned(),
        route.place,
        route.kind.to_owned(),
        policy.map_or("-", |policy| policy.mode.as_str()).to_owned(),
        policy.map_or_else(
            || "-".to_owned(),
            |policy| format!("{} ms", policy.limits.deadline.as_millis()),
        ),
        route.target,
    ]
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
    let router = Router::new(&model.apis);
    let authority = authority.unwrap_or("localhost");
    print(&describe::explain(model, &router, authority, &method, target.path()).text)
}
