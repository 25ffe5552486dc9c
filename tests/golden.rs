//! What `check` says, to the letter, about one small configuration for every finding there is.
//!
//! A directory of `tests/golden` holds a configuration and what is expected of it; `UPDATE_GOLDEN=1 cargo test --test
//! golden` writes the expectations anew, to be read before they are committed.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that is wrong about its world should stop at once"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use sluicegate::config::codes::{Code, Severity};

const MAIN_FILES: [&str; 3] = ["sluicegate.yaml", "input.yaml", "input.json"];

/// Needs a document of over 6 MB; `a_document_of_6_mb_is_told` writes one.
const WITHOUT_A_CASE: [Code; 1] = [Code::W120];

/// Cases of a build that sends traces, and of one that doesn't.
const WITH_TRACES: [&str; 1] = ["E015-collector"];
const WITHOUT_TRACES: [&str; 1] = ["W125-tracing"];

struct Said {
    output: String,
    status: Option<i32>,
}

fn check(directory: &Path, arguments: &[&str]) -> Said {
    let output = Command::new(env!("CARGO_BIN_EXE_sluicegate"))
        .arg("check")
        .args(arguments)
        .current_dir(directory)
        .env_remove("SLUICEGATE_LISTEN")
        .output()
        .unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(
        !errors.contains("panicked"),
        "{}: {errors}",
        directory.display()
    );
    Said {
        output: String::from_utf8(output.stdout).unwrap() + &errors,
        status: output.status.code(),
    }
}

fn cases() -> Vec<(String, PathBuf)> {
    let mut cases: Vec<_> = fs::read_dir("tests/golden")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .map(|path| {
            (
                path.file_name().unwrap().to_string_lossy().into_owned(),
                path,
            )
        })
        .collect();
    cases.sort();
    cases
}

/// The cases of this build.
fn own_cases() -> impl Iterator<Item = (String, PathBuf)> {
    let others = if cfg!(feature = "otel") {
        WITHOUT_TRACES
    } else {
        WITH_TRACES
    };
    let is_own = move |(case, _): &(String, PathBuf)| !others.contains(&case.as_str());
    cases().into_iter().filter(is_own)
}

fn main_file(directory: &Path) -> &'static str {
    let found = MAIN_FILES
        .into_iter()
        .find(|name| directory.join(name).exists());
    found.unwrap_or_else(|| panic!("{} has none of {MAIN_FILES:?}", directory.display()))
}

fn code_of(case: &str) -> Option<Code> {
    let name = case.split('-').next().unwrap();
    let code = Code::from_name(name);
    assert!(
        code.is_some() || name == "OK",
        "tests/golden/{case}: there is no code {name}"
    );
    code
}

#[test]
fn findings_read_as_expected() {
    let writes = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = Vec::new();
    for (case, directory) in own_cases() {
        let said = check(&directory, &[main_file(&directory)]);
        let expected_at = directory.join("expected.txt");
        if writes {
            fs::write(&expected_at, &said.output).unwrap();
        }
        let expected = fs::read_to_string(&expected_at).unwrap_or_default();
        if said.output != expected {
            wrong.push(format!(
                "tests/golden/{case}:\n--- expected\n{expected}\n--- said\n{}",
                said.output
            ));
        }
        let code = code_of(&case);
        let names_it =
            code.is_none_or(|code| said.output.contains(&format!("[{}]", code.as_str())));
        let is_error = code.is_some_and(|code| code.severity() != Severity::Warning);
        if !names_it || said.status != Some(i32::from(is_error)) {
            wrong.push(format!(
                "tests/golden/{case}: status {:?}\n{}",
                said.status, said.output
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn programs_get_the_same_findings() {
    for (case, directory) in own_cases() {
        let said = check(&directory, &["--format", "json", main_file(&directory)]);
        let rows: Vec<serde_json::Value> = serde_json::from_str(&said.output).unwrap();
        let human = fs::read_to_string(directory.join("expected.txt")).unwrap();
        let told = human
            .lines()
            .filter(|line| line.starts_with("error[") || line.starts_with("warning["))
            .count();
        assert_eq!(rows.len(), told, "tests/golden/{case}");
        for row in rows {
            assert!(
                human.contains(row["message"].as_str().unwrap()),
                "tests/golden/{case}: {row}"
            );
            if let Some(line) = row["line"].as_u64() {
                let place = format!("{}:{line}:{}", row["file"].as_str().unwrap(), row["column"]);
                assert!(human.contains(&place), "tests/golden/{case}: {place}");
            }
        }
    }
}

#[test]
fn every_code_has_a_case_and_a_paragraph() {
    let cases: Vec<Option<Code>> = cases().iter().map(|(case, _)| code_of(case)).collect();
    let page = fs::read_to_string("docs/diagnostics.md").unwrap();
    let mut missing = Vec::new();
    for code in Code::ALL {
        if !cases.contains(&Some(*code)) && !WITHOUT_A_CASE.contains(code) {
            missing.push(format!("{} has no case in tests/golden", code.as_str()));
        }
        let heading = format!("### {}: {}\n", code.as_str(), code.summary());
        if !page.contains(&heading) {
            missing.push(format!("docs/diagnostics.md has no `{}`", heading.trim()));
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn a_document_of_6_mb_is_told() {
    let directory = std::env::temp_dir().join(format!("sluicegate-golden-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let filler = "x".repeat(6 * 1024 * 1024);
    let text = format!(
        "openapi: 3.0.1\ninfo: {{title: t, version: '1', description: '{filler}'}}\npaths: {{}}\n"
    );
    fs::write(directory.join("input.yaml"), text).unwrap();
    let said = check(&directory, &["input.yaml"]);
    assert!(said.output.contains("warning[W120]"), "{}", said.output);
    assert_eq!(said.status, Some(0));
    // More than this isn't read at all.
    fs::write(
        directory.join("input.yaml"),
        " ".repeat(10 * 1024 * 1024 + 1),
    )
    .unwrap();
    let said = check(&directory, &["input.yaml"]);
    fs::remove_dir_all(&directory).unwrap();
    let expected = "error[E004]: the file has more than 10485760 bytes";
    assert!(said.output.contains(expected), "{}", said.output);
    assert_eq!(said.status, Some(1));
}
