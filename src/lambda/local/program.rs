//! Which programs a function's environment is made of, and why one of them couldn't be started.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use crate::config::model::{LocalFunction, Runtime};

/// A program to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    /// Its path, or a name to be found on the PATH.
    pub path: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}

impl Program {
    /// The program that speaks the Runtime API.
    pub(super) fn of_runtime(local: &LocalFunction, bootstraps: Option<&Path>) -> Program {
        if let [name, arguments @ ..] = &*local.command {
            return Program {
                path: found(name, &local.directory),
                arguments: arguments.iter().map(ToString::to_string).collect(),
            };
        }
        let bundled = |interpreter: &str, file: &str| Program {
            path: interpreter.into(),
            arguments: bootstraps
                .map(|directory| directory.join(file).display().to_string())
                .into_iter()
                .collect(),
        };
        match local.runtime {
            Runtime::Node => bundled("node", "node.mjs"),
            Runtime::Python => bundled("python3", "python.py"),
            Runtime::Provided => Program {
                path: local.directory.join("bootstrap"),
                arguments: Vec::new(),
            },
        }
    }

    /// The programs beside it.
    pub(super) fn of_extensions(local: &LocalFunction) -> Vec<Program> {
        let names = local.extensions.iter();
        names
            .map(|name| Program {
                path: found(name, &local.directory),
                arguments: Vec::new(),
            })
            .collect()
    }

    /// Whether the bundled runtimes are needed to start the function.
    pub(super) fn is_bundled(local: &LocalFunction) -> bool {
        local.command.is_empty() && local.runtime != Runtime::Provided
    }

    /// Why it couldn't be started, and how to mend it.
    pub(super) fn explain(
        &self,
        error: &io::Error,
        variables: &BTreeMap<String, String>,
    ) -> String {
        let path = self.path.display();
        match error.kind() {
            io::ErrorKind::NotFound if self.path.is_absolute() && self.path.exists() => format!(
                "`{path}` exists, but the interpreter in its first line (or its loader) wasn't found"
            ),
            io::ErrorKind::NotFound if self.path.is_absolute() => format!(
                "the program `{path}` wasn't found; put it there, or set the function's `command`"
            ),
            io::ErrorKind::NotFound => {
                let searched = variables.get("PATH").map_or("", String::as_str);
                format!(
                    "the program `{path}` wasn't found on the PATH ({searched}); install it, or set the \
                     function's `command`"
                )
            }
            io::ErrorKind::PermissionDenied => {
                format!("`{path}` may not be executed; try `chmod +x {path}`")
            }
            _ => format!("`{path}` couldn't be started: {error}"),
        }
    }
}

/// A program with a slash in its name, or that stands in the directory, is meant relative to it; others are on the PATH.
fn found(name: &str, directory: &Path) -> PathBuf {
    let own = directory.join(name);
    if name.contains('/') || own.is_file() {
        own
    } else {
        name.into()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing, *};

    #[test]
    fn a_command_is_meant_relative_to_the_directory_if_it_can_be() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert_eq!(found("node", directory), Path::new("node"));
        assert_eq!(found("Cargo.toml", directory), directory.join("Cargo.toml"));
        assert_eq!(found("bin/run", directory), directory.join("bin/run"));
        assert_eq!(found("/bin/sh", directory), Path::new("/bin/sh"));
    }

    #[test]
    fn without_a_command_the_runtime_says_what_is_started() {
        let bootstraps = Some(Path::new("/runtimes"));
        let mut local = testing::local();
        let own = Program::of_runtime(&local, bootstraps);
        assert_eq!(own.path, local.directory.join("bootstrap"));
        local.runtime = Runtime::Node;
        let node = Program::of_runtime(&local, bootstraps);
        assert_eq!(
            (&*node.path, &*node.arguments),
            (Path::new("node"), &["/runtimes/node.mjs".to_owned()][..])
        );
        local.command = vec!["npx".into(), "aws-lambda-ric".into()];
        let command = Program::of_runtime(&local, bootstraps);
        assert_eq!(
            (&*command.path, &*command.arguments),
            (Path::new("npx"), &["aws-lambda-ric".to_owned()][..])
        );
    }

    #[test]
    fn a_program_that_is_missing_is_named_with_a_cure() {
        let missing = io::Error::from(io::ErrorKind::NotFound);
        let variables = BTreeMap::from([("PATH".to_owned(), "/bin".to_owned())]);
        let program = |path: &str| Program {
            path: path.into(),
            arguments: Vec::new(),
        };
        assert_eq!(
            program("nodejs").explain(&missing, &variables),
            "the program `nodejs` wasn't found on the PATH (/bin); install it, or set the function's `command`"
        );
        assert_eq!(
            program("/no/such").explain(&missing, &variables),
            "the program `/no/such` wasn't found; put it there, or set the function's `command`"
        );
    }
}
