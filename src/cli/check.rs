//! `sluicegate check`.

use std::{
    io::{IsTerminal as _, stdout},
    process::ExitCode,
};

use super::{
    args::{Check, Format},
    print,
};
use crate::config::{
    build::Overrides, codes::Severity, diagnostics::Diagnostics, load, render::render,
};

pub(super) fn run(check: &Check) -> ExitCode {
    let mut diagnostics = Diagnostics::default();
    for config in &check.configs {
        diagnostics.absorb(load(config, &Overrides::default()).diagnostics);
    }
    match check.format {
        Format::Human => {
            let colour = stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            print(&format!(
                "{}{}\n",
                render(&diagnostics, colour),
                summary(&diagnostics)
            ));
        }
        Format::Json => {
            let text = serde_json::to_string_pretty(&diagnostics.to_json()).unwrap_or_default();
            print(&format!("{text}\n"));
        }
    }
    if diagnostics.errors() > 0 {
        ExitCode::from(1)
    } else {
        ExitCode::SUCCESS
    }
}

/// How many findings there are.
pub(super) fn summary(diagnostics: &Diagnostics) -> String {
    let count = |count: usize, what: &str| match count {
        0 => None,
        1 => Some(format!("1 {what}")),
        _ => Some(format!("{count} {what}s")),
    };
    let counts = [
        count(diagnostics.errors(), "error"),
        count(diagnostics.count(Severity::Warning), "warning"),
    ];
    let counts: Vec<String> = counts.into_iter().flatten().collect();
    if counts.is_empty() {
        "nothing found: it is fine".to_owned()
    } else {
        counts.join(", ")
    }
}
