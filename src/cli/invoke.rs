//! `sluicegate invoke`.

use std::{
    fmt::Write as _,
    fs,
    future::poll_fn,
    io::{IsTerminal as _, Read as _, Write as _, stderr, stdin, stdout},
    process::ExitCode,
    time::Duration,
};

use bytes::Bytes;
use serde::de::IgnoredAny;
use tokio::runtime::{Builder, Runtime};

use super::{args::Invoke, complain};
use crate::{
    config::{
        build::Overrides,
        codes::Severity,
        load,
        model::{RemoteFunction, TransferMode},
        render::render,
        uri::{function_name, parse_origin},
    },
    gateway::snapshot::Shared,
    lambda::{
        function::{Function, Target},
        invocation::{Invocation, InvokeFault},
        output::{FunctionError, Output},
        remote::Remote,
    },
    stream::{arena::READ, clocks::Clocks},
    telemetry::{log, writer},
    types::{
        clock::{Tick, Wall},
        ids::{RequestId, new_trace_root},
    },
};

pub(super) fn run(invoke: &Invoke) -> ExitCode {
    let code = match invoke_it(invoke) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(error)) => {
            complain(&coloured(&sentence(&error)));
            ExitCode::FAILURE
        }
        Err(sentence) => {
            complain(&coloured(&format!("error: {sentence}")));
            ExitCode::FAILURE
        }
    };
    writer::flush(Duration::from_secs(2));
    code
}

/// Invokes the function. Its own error, if it failed; or why it couldn't be invoked.
fn invoke_it(invoke: &Invoke) -> Result<Option<FunctionError>, String> {
    let event = event(invoke)?;
    // Functions are looked after on a thread that isn't the one which waits for their output.
    let control = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| format!("can't start the control thread: {error}"))?;
    let shared = match &invoke.endpoint {
        Some(url) => endpoint(url, &invoke.function, &control)?,
        None => configured(invoke, &control)?,
    };
    let (name, _) = function_name(&invoke.function);
    let function = shared.functions.get(name).ok_or_else(|| {
        format!(
            "`{}` has no function `{name}`; it has {}",
            invoke.config.display(),
            names(&shared)
        )
    })?;
    log::start();
    let waiting = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let ended = waiting.block_on(call(function, invoke, event));
    control.block_on(shared.stop());
    ended
}

fn names(shared: &Shared) -> String {
    let names: Vec<String> = shared
        .functions
        .keys()
        .map(|it| format!("`{it}`"))
        .collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

/// The event, which has to be JSON.
fn event(invoke: &Invoke) -> Result<Bytes, String> {
    let Some(file) = &invoke.event else {
        return Ok(Bytes::from_static(b"{}"));
    };
    let mut event = Vec::new();
    let read = if file.as_os_str() == "-" {
        stdin().read_to_end(&mut event).map(drop)
    } else {
        fs::read(file).map(|read| event = read)
    };
    read.map_err(|error| format!("can't read `{}`: {error}", file.display()))?;
    serde_json::from_slice::<IgnoredAny>(&event)
        .map_err(|error| format!("`{}` isn't valid JSON: {error}", file.display()))?;
    Ok(event.into())
}

/// The functions of a configuration, of which only those that are invoked are started.
fn configured(invoke: &Invoke, control: &Runtime) -> Result<Shared, String> {
    let loaded = load(&invoke.config, &Overrides::default());
    let Some(model) = loaded.model else {
        complain(&render(&loaded.diagnostics, stderr().is_terminal()));
        let errors = loaded.diagnostics.count(Severity::Error);
        return Err(format!(
            "`{}` has {errors} errors that stop it",
            invoke.config.display()
        ));
    };
    Ok(Shared::new(&model, control.handle()))
}

/// One function, at an endpoint.
fn endpoint(url: &str, function: &str, control: &Runtime) -> Result<Shared, String> {
    let Ok(origin) = parse_origin(url) else {
        return Err(format!(
            "`{url}` isn't the URL of a Lambda endpoint; write it like `http://127.0.0.1:8080`"
        ));
    };
    let model = RemoteFunction {
        endpoint: Some(origin),
        function_name: Some(function.into()),
        region: None,
        usual_region: None,
        profile: None,
    };
    let (name, _) = function_name(function);
    let function = Function {
        name: name.into(),
        target: Target::Remote(Remote::new(&model, control.handle())),
    };
    let mut shared = Shared::default();
    shared.functions.insert(name.into(), function.into());
    Ok(shared)
}

async fn call(
    function: &Function,
    invoke: &Invoke,
    event: Bytes,
) -> Result<Option<FunctionError>, String> {
    let (_, qualifier) = function_name(&invoke.function);
    let mode = if invoke.stream {
        TransferMode::Stream
    } else {
        TransferMode::Buffered
    };
    let invocation = Invocation {
        event,
        mode,
        request_id: RequestId::random(),
        trace: new_trace_root(Wall::now()).as_slice().into(),
        client_context: None,
        function: None,
        qualifier: qualifier.map(Into::into),
        wants_log: false,
        runs_on: false,
        source: None,
    };
    let started = Tick::now();
    let invoked = function.invoke(invocation, &Clocks::default()).await;
    let invoked = invoked.map_err(|fault| match fault {
        InvokeFault::Refused(refusal) => format!(
            "the call was refused: {} {}: {}",
            refusal.status, refusal.error_type, refusal.message
        ),
        InvokeFault::Failed(fault) => format!("the function couldn't be called: {fault}"),
    })?;
    let mut output = invoked.output;
    if invoke.stream {
        show_pieces(&mut output, started).await?;
    } else {
        show_whole(&mut output).await?;
    }
    Ok(output.completion().and_then(|it| it.error.clone()))
}

/// A line for each piece: when it arrived, and what it is.
async fn show_pieces(output: &mut Output, started: Tick) -> Result<(), String> {
    let seconds = || Tick::now().since(started).as_secs_f64();
    let (mut pieces, mut bytes) = (0, 0);
    while let Some(piece) = poll_fn(|cx| output.poll_payload(cx, READ)).await {
        let piece = piece.map_err(|cut| cut.to_string())?;
        pieces += 1;
        bytes += piece.len();
        write(format!("{:9.3} s  {}\n", seconds(), visible(&piece)).as_bytes())?;
    }
    let at = seconds();
    complain(&format!(
        "{at:9.3} s  ended after {pieces} pieces, {bytes} bytes\n"
    ));
    Ok(())
}

async fn show_whole(output: &mut Output) -> Result<(), String> {
    let mut last = b'\n';
    while let Some(piece) = poll_fn(|cx| output.poll_payload(cx, READ)).await {
        let piece = piece.map_err(|cut| cut.to_string())?;
        last = piece.last().copied().unwrap_or(last);
        write(&piece)?;
    }
    if last != b'\n' {
        write(b"\n")?;
    }
    Ok(())
}

/// Writes to standard output at once. A reader that has had enough (`| head`) ends it.
fn write(bytes: &[u8]) -> Result<(), String> {
    let mut out = stdout().lock();
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .map_err(|error| format!("can't write: {error}"))
}

/// A piece on one line: what isn't printable is written as Rust and JavaScript write it.
fn visible(piece: &[u8]) -> String {
    let mut text = String::with_capacity(piece.len());
    for chunk in piece.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\0' => text.push_str("\\0"),
                '\n' | '\r' | '\t' => text.extend(character.escape_default()),
                _ if character.is_control() => text.extend(character.escape_unicode()),
                _ => text.push(character),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// What a function's error comes to; all of it stands in the output, and with `Invoke` only there.
fn sentence(error: &FunctionError) -> String {
    if error.details.is_empty() {
        return format!("function error {}", error.code);
    }
    let described = serde_json::from_str::<serde_json::Value>(&error.details).ok();
    let message = described
        .as_ref()
        .and_then(|it| it.get("errorMessage")?.as_str())
        .unwrap_or(&error.details);
    format!("function error {}: {message}", error.code)
}

/// A line for standard error, in red if that is a terminal.
fn coloured(line: &str) -> String {
    if stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        format!("\x1b[31m{line}\x1b[0m\n")
    } else {
        format!("{line}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_stays_on_its_line() {
        assert_eq!(
            visible("{}\0\0h\u{fc}\r\n\u{1b}[31m\t".as_bytes()),
            "{}\\0\\0h\u{fc}\\r\\n\\u{1b}[31m\\t"
        );
        assert_eq!(visible(b"a\xff\xe2\x82b"), "a\\xff\\xe2\\x82b");
    }

    #[test]
    fn an_error_is_told_by_its_message() {
        let error = |details: &str| FunctionError {
            code: "Oops".into(),
            details: details.into(),
        };
        let described = error(r#"{"errorMessage":"why","stackTrace":[]}"#);
        assert_eq!(sentence(&described), "function error Oops: why");
        assert_eq!(sentence(&error("why")), "function error Oops: why");
        assert_eq!(sentence(&error("")), "function error Oops");
    }
}
