//! The demo's files: its document, and a Lambda function in whichever language is there.

use std::{env, fs, io, os::unix::fs::DirBuilderExt as _, path::PathBuf};

use crate::types::ids::random;

/// A language that functions can be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    Node,
    Python,
}

impl Language {
    /// The first that is installed.
    pub(super) fn installed() -> Option<Language> {
        let path = env::var_os("PATH").unwrap_or_default();
        let is_there =
            |program: &str| env::split_paths(&path).any(|folder| folder.join(program).is_file());
        [(Language::Node, "node"), (Language::Python, "python3")]
            .into_iter()
            .find(|(_, program)| is_there(program))
            .map(|(language, _)| language)
    }

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Language::Node => "Node.js",
            Language::Python => "Python",
        }
    }

    fn function(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Language::Node => (
                "index.mjs",
                include_str!("function/index.mjs"),
                "runtime: nodejs20.x, handler: index.handler",
            ),
            Language::Python => (
                "app.py",
                include_str!("function/app.py"),
                "runtime: python3.11, handler: app.handler",
            ),
        }
    }
}

/// The route of the function, to be added to the document.
const ROUTE: &str = "\
  # A Lambda function, run by the gateway itself.
  /function:
    get:
      x-amazon-apigateway-integration:
        type: aws_proxy
        httpMethod: POST
        uri: arn:aws:apigateway:us-east-1:lambda:path/2021-11-15/functions/arn:aws:lambda:us-east-1:123456789012:function:words/response-streaming-invocations
        responseTransferMode: STREAM
        timeoutInMillis: 300000
";

/// A private directory with the demo's configuration; it is removed with this value.
#[derive(Debug)]
pub(super) struct Files {
    directory: PathBuf,
}

impl Files {
    /// Writes the configuration of `document`, and of a function if there is a language for it.
    pub(super) fn write(document: &str, language: Option<Language>) -> io::Result<Files> {
        let name = format!("sluicegate-demo-{}-{:016x}", std::process::id(), random());
        let directory = env::temp_dir().join(name);
        fs::DirBuilder::new().mode(0o700).create(&directory)?;
        // From here on the directory goes when this value does, whatever fails.
        let files = Files { directory };
        let mut document = document.to_owned();
        // The screen tells what happens, line by line.
        let mut settings =
            "apis: [{ definition: openapi.yaml }]\naccessLog: { path: none }\n".to_owned();
        if let Some(language) = language {
            let (file, code, how) = language.function();
            document.push_str(ROUTE);
            settings = format!(
                "{settings}functions:\n  words: {{ {how}, functionUrlConfig: {{ invokeMode: RESPONSE_STREAM }} }}\n"
            );
            fs::write(files.directory.join(file), code)?;
        }
        fs::write(files.directory.join("openapi.yaml"), document)?;
        fs::write(files.configuration(), settings)?;
        Ok(files)
    }

    /// The configuration's file.
    pub(super) fn configuration(&self) -> PathBuf {
        self.directory.join("sluicegate.yaml")
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}
