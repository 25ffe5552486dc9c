//! `sluicegate demo`: a gateway, backends to go with it, and commands to try, without anything else installed.

mod backends;
mod files;
mod screen;

use std::{
    io::{IsTerminal as _, stdout},
    net::SocketAddr,
    process::ExitCode,
    time::Duration,
};

use files::{Files, Language};

use super::{
    args::Demo,
    complain, print,
    serve::{self, Running},
};
use crate::{
    config::{
        build::{Overrides, load},
        model::Model,
        render::render,
    },
    telemetry::{live, log, writer},
};

pub(super) fn run(demo: &Demo) -> ExitCode {
    log::start();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("backends")
        .enable_all()
        .build();
    let backends = runtime.and_then(|runtime| {
        let document = runtime.block_on(backends::start())?;
        Ok((runtime, document))
    });
    let (runtime, document) = match backends {
        Ok(backends) => backends,
        Err(error) => {
            complain(&format!(
                "error: can't start the demo's backends: {error}\n"
            ));
            return ExitCode::from(1);
        }
    };
    live::watch();
    live::keep_ended();
    let language = Language::installed();
    let files = match Files::write(&document, language) {
        Ok(files) => files,
        Err(error) => {
            complain(&format!("error: can't write the demo's files: {error}\n"));
            return ExitCode::from(1);
        }
    };
    let code = match start(demo, &files) {
        Ok(running) => serve_demo(running, language),
        Err(message) => {
            complain(&message);
            ExitCode::from(1)
        }
    };
    writer::flush(Duration::from_secs(1));
    drop(runtime);
    code
}

/// Starts the gateway; on any free port if the usual one is taken and no other was asked for.
fn start(demo: &Demo, files: &Files) -> Result<Running, String> {
    let first = serve::start(&model(demo.listen.as_deref(), files)?);
    let second = match first {
        Err(_) if demo.listen.is_none() => serve::start(&model(Some("127.0.0.1:0"), files)?),
        first => first,
    };
    second.map_err(|fault| fault.told())
}

fn model(listen: Option<&str>, files: &Files) -> Result<Model, String> {
    let overrides = Overrides {
        listen: listen.map(ToOwned::to_owned),
        workers: Some(1),
        ..Overrides::default()
    };
    let loaded = load(&files.configuration(), &overrides);
    loaded
        .model
        .ok_or_else(|| render(&loaded.diagnostics, false))
}

fn serve_demo(running: Running, language: Option<Language>) -> ExitCode {
    let Some(address) = running.address() else {
        return ExitCode::from(1);
    };
    print(&introduction(address, language));
    let is_terminal = stdout().is_terminal();
    let colour = is_terminal && std::env::var_os("NO_COLOR").is_none();
    let showing = std::thread::Builder::new()
        .name("screen".to_owned())
        .spawn(move || screen::show(is_terminal, colour));
    if let Err(error) = showing {
        complain(&format!("the live view can't be shown: {error}\n"));
    }
    running.until_interrupted()
}

fn introduction(address: SocketAddr, language: Option<Language>) -> String {
    let function = function_lines(address, language);
    format!(
        "Sluicegate's demo runs on http://{address}, with backends of its own on this machine. Ctrl-C ends it.\n\
         Try these in another terminal, and watch the streams here:\n\n  \
         Words as a language model writes them: streamed, and the same buffered\n    \
         curl -N http://{address}/chat\n    \
         curl -N http://{address}/chat-buffered\n\n  \
         30 MiB: the first 10 at full speed, the rest at 2 MiB/s, as on API Gateway\n    \
         curl -o /dev/null http://{address}/download\n\n  \
         A backend that thinks for three seconds, and one that sends its head at once and its body later\n    \
         curl -i http://{address}/slow\n    \
         curl -iN http://{address}/head-first\n\n  \
         A backend that breaks off in the middle: never mistaken for the end\n    \
         curl -N http://{address}/broken; echo \"curl says $?\"\n\n{function}  \
         The document behind all this; while the demo runs, another gateway can serve it, too\n    \
         curl http://{address}/openapi.yaml | sluicegate serve --listen 127.0.0.1:0 -\n\n"
    )
}

/// What to try with the function, or what it takes to have one.
fn function_lines(address: SocketAddr, language: Option<Language>) -> String {
    let port = address.port();
    match language {
        Some(language) => format!(
            "  A Lambda function in {}, run here: through the API, and by its function URL\n    \
             curl -N http://{address}/function\n    \
             curl -N http://words.lambda-url.localhost:{port}/\n\n",
            language.name()
        ),
        None => {
            "  A Lambda function would be here, too, if `node` or `python3` were on the PATH\n\n"
                .to_owned()
        }
    }
}
