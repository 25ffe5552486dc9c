//! The architecture's one rule: a module uses only lower floors, and modules on one floor don't see each other.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that is wrong about its world should stop at once"
)]

use std::{fs, path::Path};

/// The floors, lowest first (`docs/architecture.md`).
const FLOORS: [&[&str]; 8] = [
    &["types"],
    &["stream"],
    &["config"],
    &[
        "upstream",
        "lambda",
        "route",
        "limit",
        "telemetry",
        "validate",
    ],
    &["integration", "guard", "otlp"],
    &["gateway"],
    &["server", "admin"],
    &["cli"],
];

/// Lambda calls its endpoints over the upstream's connections.
const SANCTIONED: [(&str, &str); 1] = [("lambda", "upstream")];

/// Production lines a file may have, and what it takes to call a function long is clippy's business.
const MOST_LINES: usize = 400;

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

fn files(directory: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path
                .strip_prefix("src")
                .unwrap()
                .to_string_lossy()
                .into_owned();
            found.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
}

/// The sources with their paths below `src`, without their tests.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    files(Path::new("src"), &mut found);
    for (_, text) in &mut found {
        if let Some(tests) = text.find("\n#[cfg(test)]\nmod tests") {
            text.truncate(tests);
        }
    }
    found
}

/// The modules that a text reaches through `crate::`, nested imports included.
fn reached(text: &str) -> Vec<String> {
    let mut modules = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        let Some(list) = rest.strip_prefix('{') else {
            modules.push(word(rest));
            continue;
        };
        let mut depth = 0;
        let mut is_start = true;
        for (offset, character) in list.char_indices() {
            match character {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => is_start = true,
                _ if depth == 0 && is_start && character.is_alphabetic() => {
                    modules.push(word(&list[offset..]));
                    is_start = false;
                }
                _ => {}
            }
        }
    }
    modules
}

fn word(text: &str) -> String {
    text.chars()
        .take_while(|character| character.is_alphanumeric() || *character == '_')
        .collect()
}

#[test]
fn every_module_uses_only_lower_floors() {
    let mut edges = Vec::new();
    for (name, text) in sources() {
        let module = name.split(['/', '.']).next().unwrap().to_owned();
        if ["lib", "main"].contains(&module.as_str()) {
            continue;
        }
        let own = floor(&module).unwrap_or_else(|| panic!("src/{name} is on no floor"));
        for used in reached(&text) {
            let Some(theirs) = floor(&used) else { continue };
            let is_allowed =
                used == module || theirs < own || SANCTIONED.contains(&(&module, &used));
            if !is_allowed {
                edges.push(format!(
                    "src/{name} (floor {own}) uses `{used}` (floor {theirs})"
                ));
            }
        }
    }
    assert!(
        edges.is_empty(),
        "edges that go up or sideways:\n{}",
        edges.join("\n")
    );
}

#[test]
fn nested_imports_are_seen() {
    let text = "use crate::{\n    config::{model::X, uri},\n    types::{a, b},\n};\nfn f() { crate::server::x() }";
    assert_eq!(reached(text), ["config", "types", "server"]);
}

#[test]
fn files_stay_short_enough_to_hold_one_idea() {
    let long: Vec<String> = sources()
        .into_iter()
        .map(|(name, text)| (name, text.lines().count()))
        .filter(|(_, lines)| *lines > MOST_LINES)
        .map(|(name, lines)| format!("src/{name} has {lines} production lines"))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn only_one_file_names_the_yaml_crate() {
    let naming: Vec<String> = sources()
        .into_iter()
        .filter(|(_, text)| text.contains("serde_yaml::"))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(naming, ["config/yaml.rs"]);
}
