//! A gateway in this process, with one worker, and its records.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use serde_json::Value;
use sluicegate::{
    admin::{Admin, Current},
    config::{build::Overrides, load, model::Model, render::render},
    server::run::Server,
    telemetry::live,
    types::{
        lifecycle::{Conductor, Phase},
        reload::Reloads,
    },
};

/// A running gateway. It is stopped, and its files are removed, when it goes out of scope.
pub struct Gateway {
    server: Option<Server>,
    pub address: SocketAddr,
    directory: PathBuf,
    model: Arc<Model>,
}

/// An OpenAPI document with these paths (YAML, indented by two).
pub fn document(paths: &str) -> String {
    format!("openapi: 3.0.1\ninfo: {{title: Test}}\npaths:\n{paths}")
}

/// The path item of a catch-all that goes to `backend`. `more` is added to its integration, one key a line.
pub fn proxy(path: &str, backend: SocketAddr, more: &str) -> String {
    let name = path
        .split(['{', '}'])
        .nth(1)
        .unwrap_or("")
        .trim_end_matches('+');
    let uri = path.replace("+}", "}");
    let mapping = if name.is_empty() {
        String::new()
    } else {
        format!(
            "        requestParameters: {{integration.request.path.{name}: method.request.path.{name}}}\n"
        )
    };
    let more: String = more
        .lines()
        .map(|line| format!("        {line}\n"))
        .collect();
    format!(
        "  {path}:\n    x-amazon-apigateway-any-method:\n      x-amazon-apigateway-integration:\n        \
         type: http_proxy\n        uri: http://{backend}{uri}\n{mapping}{more}"
    )
}

impl Gateway {
    /// A gateway whose catch-all streams from `backend`.
    pub fn streaming(backend: SocketAddr) -> Gateway {
        Gateway::with_integration(
            backend,
            "responseTransferMode: STREAM\ntimeoutInMillis: 60000",
        )
    }

    /// A gateway whose catch-all buffers what `backend` answers.
    pub fn buffered(backend: SocketAddr) -> Gateway {
        Gateway::with_integration(backend, "")
    }

    /// A gateway whose catch-all goes to `backend`, with `more` in its integration.
    pub fn with_integration(backend: SocketAddr, more: &str) -> Gateway {
        Gateway::start("", &document(&proxy("/{proxy+}", backend, more)))
    }

    /// A gateway with these settings (without listeners, definition and log) for `document`.
    pub fn start(settings: &str, document: &str) -> Gateway {
        let settings = format!(
            "listeners: [{{address: 127.0.0.1:0}}]\nworkers: 1\naccessLog: {{path: access.log}}\n\
             apis: [{{definition: api.yaml}}]\n{settings}"
        );
        Gateway::from_files(&[("sluicegate.yaml", &settings), ("api.yaml", document)])
    }

    /// A gateway with the functions `names`, each in a runtime that does what its events say; `more` are settings of
    /// all of them. It needs a runtime with several threads, one of which looks after their processes.
    pub fn with_functions(names: &[&str], more: &str) -> Gateway {
        let function = |name: &&str| {
            let command = "command: [python3, runtime.py]";
            format!("  {name}: {{runtime: provided, {command}{more}}}\n")
        };
        let functions: String = names.iter().map(function).collect();
        let settings = format!(
            "listeners: [{{address: 127.0.0.1:0}}]\nworkers: 1\naccessLog: {{path: access.log}}\n\
             lambda: {{address: 127.0.0.1:0, region: eu-west-3}}\nfunctions:\n{functions}"
        );
        let runtime = include_str!("runtime.py");
        Gateway::from_files(&[("sluicegate.yaml", &settings), ("runtime.py", runtime)])
    }

    /// A gateway with the function `chat` behind `/whole` (BUFFERED), `/stream` (STREAM) and `/kept` (STREAM that goes on
    /// without its client), in the same runtime.
    pub fn with_function_api() -> Gateway {
        let method = |path: &str, mode: &str, version: &str, operation: &str| {
            format!(
                "  {path}:\n    x-amazon-apigateway-any-method:\n      x-amazon-apigateway-integration:\n        \
                 type: aws_proxy\n        httpMethod: POST\n        responseTransferMode: {mode}\n        \
                 uri: arn:aws:apigateway:eu-west-3:lambda:path/{version}/functions/arn:aws:lambda:eu-west-3:123456789012:function:chat/{operation}\n"
            )
        };
        let whole = method("/whole", "BUFFERED", "2015-03-31", "invocations");
        let streaming = |path: &str| {
            let operation = "response-streaming-invocations";
            method(path, "STREAM", "2021-11-15", operation)
        };
        let stream = streaming("/stream");
        let kept = streaming("/kept") + "        x-sluicegate-on-client-disconnect: finish\n";
        let settings = "listeners: [{address: 127.0.0.1:0}]\nworkers: 1\naccessLog: {path: access.log}\n\
             apis: [{definition: api.yaml}]\nfunctions:\n  chat: {runtime: provided, concurrency: 1, command: [python3, runtime.py]}\n";
        Gateway::from_files(&[
            ("sluicegate.yaml", settings),
            ("api.yaml", &document(&(whole + &stream + &kept))),
            ("runtime.py", include_str!("runtime.py")),
        ])
    }

    /// The address that serves functions only.
    pub fn functions(&self) -> SocketAddr {
        self.server.as_ref().unwrap().addresses()[1].0
    }

    /// Lets a function go on that waits for a file of this name.
    pub fn let_go(&self, name: &str) {
        fs::write(self.directory.join(name), "").unwrap();
    }

    /// Waits until a function has written a file of this name.
    pub async fn touched(&self, name: &str) {
        super::within(async {
            while !self.directory.join(name).exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    /// A gateway from files, the first of which is its configuration.
    pub fn from_files(files: &[(&str, &str)]) -> Gateway {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "sluicegate-it-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Relaxed)
        );
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).unwrap();
        for (name, text) in files {
            fs::write(directory.join(name), text).unwrap();
        }
        Gateway::from_directory(directory, files[0].0)
    }

    /// A gateway from a configuration in a directory, which is removed afterwards.
    pub fn from_directory(directory: PathBuf, config: &str) -> Gateway {
        let loaded = load(&directory.join(config), &Overrides::default());
        let model = loaded
            .model
            .unwrap_or_else(|| panic!("{}", render(&loaded.diagnostics, false)));
        let server = Server::start(&model, &tokio::runtime::Handle::current()).unwrap();
        let address = server.addresses()[0].0;
        Gateway {
            server: Some(server),
            address,
            directory,
            model: Arc::new(model),
        }
    }

    /// Starts its admin address, from where everything that is under way can be seen.
    pub fn admin(&self) -> SocketAddr {
        live::watch();
        let server = self.server.as_ref().unwrap();
        let current = Current::new(self.model.clone(), server.shared());
        let reloads = Arc::new(Reloads::new().0);
        let admin = Admin::new(server.conductor().clone(), reloads, current);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        admin.start(listener).unwrap();
        address
    }

    /// To move it through the phases of its end.
    pub fn conductor(&self) -> &Conductor {
        self.server.as_ref().unwrap().conductor()
    }

    /// How many requests its workers have under way.
    pub async fn exchanges(&self) -> usize {
        self.server.as_ref().unwrap().exchanges().await
    }

    /// Waits until its workers have ended.
    pub async fn ended(mut self) {
        let server = self.server.take().unwrap();
        super::within(tokio::task::spawn_blocking(move || server.join()))
            .await
            .unwrap();
    }

    /// The only record so far; waits for it.
    pub async fn record(&self) -> Value {
        let mut records = self.records(1).await;
        assert_eq!(records.len(), 1, "{records:?}");
        records.remove(0)
    }

    /// All records, once there are at least `count`. A little later, so that one too many is seen.
    pub async fn records(&self, count: usize) -> Vec<Value> {
        let read = || {
            let text = fs::read_to_string(self.directory.join("access.log")).unwrap_or_default();
            text.lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect::<Vec<Value>>()
        };
        for _ in 0..250 {
            if read().len() >= count {
                tokio::time::sleep(Duration::from_millis(60)).await;
                return read();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!(
            "only {} of {count} records were written: {:?}",
            read().len(),
            read()
        );
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.conductor().advance(Phase::Cut);
            let shared = server.shared().clone();
            server.join();
            if !shared.functions.is_empty() {
                // A runtime may not be blocked on from within another.
                let stopping = std::thread::spawn(move || {
                    let waiting = tokio::runtime::Runtime::new().unwrap();
                    waiting.block_on(async { super::within(shared.stop()).await });
                });
                let _ = stopping.join();
            }
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}
