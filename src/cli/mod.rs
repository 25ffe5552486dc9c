//! The command line: what a user types, and what a user is told.

mod args;
mod check;
mod demo;
mod health;
mod invoke;
mod routes;
mod serve;
mod shutdown;
mod top;
mod upgrade;
mod words;

use std::{io::Write as _, process::ExitCode};

use clap::Parser as _;

use args::{Command, Sluicegate};

/// Runs the program.
pub fn run() -> ExitCode {
    let said = Sluicegate::parse();
    match said.command {
        Command::Serve(serve) => serve::run(&serve),
        Command::Check(check) => check::run(&check),
        Command::Routes(routes) => routes::run(&routes),
        Command::Invoke(invoke) => invoke::run(&invoke),
        Command::Schema => print_schema(),
        Command::Demo(demo) => demo::run(&demo),
        Command::Top(top) => top::run(&top),
        Command::Health(health) => health::run(&health),
    }
}

fn print_schema() -> ExitCode {
    let schema =
        serde_json::to_string_pretty(&crate::config::schema::settings_schema()).unwrap_or_default();
    print(&format!("{schema}\n"))
}

/// Writes to standard output. A reader that has had enough (`| head`) is no error.
fn print(text: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

/// Writes to standard error.
fn complain(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}
