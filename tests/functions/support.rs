//! Functions whose runtime does what their events say.

use std::{
    fs,
    future::{Future, poll_fn},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use serde_json::{Value, json};
use sluicegate::{
    config::model::{Function, FunctionTarget, LocalFunction, Runtime, TransferMode},
    lambda::{
        invocation::{Invocation, InvokeFault, Refusal},
        local::{Gauges, Local},
        output::{Completion, FunctionError, Invoked, Output},
    },
    types::ids::{RequestId, random},
};

/// Waits for what must happen, but not for ever.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    let output = tokio::time::timeout(Duration::from_secs(20), future).await;
    output.expect("it should happen within twenty seconds")
}

/// The interpreter itself: what is on the PATH may be a script that looks for it.
pub fn python() -> &'static str {
    static PYTHON: OnceLock<String> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let output = Command::new("python3")
            .args(["-c", "import sys; print(sys.executable)"])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    })
}

/// A function and the thread that looks after it. Its processes and files are gone when it goes out of scope.
pub struct Lab {
    pub local: Option<Arc<Local>>,
    pub control: Option<tokio::runtime::Runtime>,
    pub directory: PathBuf,
}

impl Lab {
    /// A function with one environment at a time.
    pub fn new() -> Lab {
        Lab::with(|_| {})
    }

    /// A function as `change` makes it.
    pub fn with(change: impl FnOnce(&mut LocalFunction)) -> Lab {
        // `RUST_LOG=function` shows what the processes say.
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let _ = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_test_writer()
            .try_init();
        let directory = std::env::temp_dir().join(format!("sluicegate-lab-{:016x}", random()));
        fs::create_dir(&directory).unwrap();
        let script = |name: &str, text: &str| {
            let text = format!("#!{} -S\n{text}", python());
            let path = directory.join(name);
            fs::write(&path, text).unwrap();
            let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            fs::set_permissions(&path, executable).unwrap();
        };
        script("bootstrap", include_str!("runtime.py"));
        script("extension.py", include_str!("extension.py"));
        let mut local = LocalFunction {
            runtime: Runtime::Provided,
            runtime_name: "provided".into(),
            command: Vec::new(),
            extensions: Vec::new(),
            directory: directory.clone(),
            handler: "index.handler".into(),
            environment: Vec::new(),
            timeout: Duration::from_secs(60),
            init_timeout: Duration::from_secs(20),
            memory_size: 128,
            most_environments: 1,
            most_invocations: None,
            per_environment: 1,
            idle: Duration::from_secs(60),
            watch: false,
            region: "eu-west-3".into(),
        };
        change(&mut local);
        let function = Function {
            name: "chat".into(),
            arn: "arn:aws:lambda:eu-west-3:123456789012:function:chat".into(),
            target: FunctionTarget::Local(Box::new(local)),
            url: None,
        };
        let control = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        Lab {
            local: Some(Arc::new(Local::new(&function, control.handle()))),
            control: Some(control),
            directory,
        }
    }

    pub fn local(&self) -> &Arc<Local> {
        self.local.as_ref().unwrap()
    }

    pub fn gauges(&self) -> Gauges {
        self.local().gauges()
    }

    /// Invokes it with these steps, and waits for the beginning of its answer.
    pub async fn begin(&self, steps: Value) -> Answer {
        self.invoke(invocation(steps)).await.unwrap()
    }

    pub async fn invoke(&self, invocation: Invocation) -> Result<Answer, Refusal> {
        match within(self.local().invoke(invocation)).await {
            Ok(invoked) => Ok(Answer::from(invoked)),
            Err(InvokeFault::Refused(refusal)) => Err(refusal),
            Err(InvokeFault::Failed(fault)) => panic!("{fault:?}"),
        }
    }

    /// Invokes it and waits for the end.
    pub async fn run(&self, steps: Value) -> (String, Completion) {
        self.begin(steps).await.rest().await
    }

    /// The process that runs its next invocation.
    pub async fn pid(&self) -> u32 {
        let (payload, completion) = self.run(json!([["pid"]])).await;
        assert_eq!(completion.error, None);
        payload.parse().unwrap()
    }

    /// Lets a runtime go on that waits for this name.
    pub fn let_go(&self, name: &str) {
        fs::write(self.directory.join(name), "").unwrap();
    }

    /// What its processes have noted under a name.
    pub fn notes(&self, name: &str) -> Vec<Value> {
        let notes = fs::read_to_string(self.directory.join(".notes")).unwrap_or_default();
        let notes = notes
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        let notes = notes.filter(|note: &Value| note[0] == name);
        notes
            .map(|note| Value::Array(note.as_array().unwrap()[1..].to_vec()))
            .collect()
    }

    /// The same, as soon as there are so many.
    pub async fn noted(&self, name: &str, count: usize) -> Vec<Value> {
        until(|| self.notes(name).len() >= count).await;
        self.notes(name)
    }

    pub async fn stop(&self) {
        within(self.local().stop()).await;
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let (local, control) = (self.local.take(), self.control.take());
        // A runtime may not be blocked on from within another.
        let ended = std::thread::spawn(move || {
            let control = control.unwrap();
            if let Some(local) = local {
                control.block_on(local.stop());
            }
        });
        ended.join().unwrap();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// An invocation with these steps.
pub fn invocation(steps: Value) -> Invocation {
    Invocation {
        function: None,
        event: Bytes::from(json!({ "do": steps }).to_string()),
        mode: TransferMode::Stream,
        request_id: RequestId::random(),
        trace: b"Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"
            .to_vec()
            .into(),
        client_context: None,
        qualifier: None,
        wants_log: false,
        runs_on: false,
        source: None,
    }
}

/// Waits until something is so.
pub async fn until(condition: impl Fn() -> bool) {
    within(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// Whether a process is there, be it a zombie.
pub fn lives(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

/// An answer as it comes.
pub struct Answer {
    pub content_type: Option<Box<str>>,
    pub version: Box<str>,
    pub output: Output,
}

impl From<Invoked> for Answer {
    fn from(invoked: Invoked) -> Answer {
        Answer {
            content_type: invoked.content_type,
            version: invoked.version,
            output: invoked.output,
        }
    }
}

impl Answer {
    /// The next piece of payload.
    pub async fn next(&mut self) -> Option<String> {
        let piece = within(poll_fn(|cx| self.output.poll_payload(cx, usize::MAX))).await?;
        Some(String::from_utf8(piece.unwrap().to_vec()).unwrap())
    }

    /// All that comes, and the end.
    pub async fn rest(mut self) -> (String, Completion) {
        let mut payload = String::new();
        while let Some(piece) = self.next().await {
            payload.push_str(&piece);
        }
        (payload, self.output.completion().cloned().unwrap())
    }
}

/// The error of a completion.
pub fn error(completion: &Completion) -> &FunctionError {
    completion.error.as_ref().expect("it should have failed")
}

/// Neither environments nor anybody who waits for one.
pub fn nothing() -> Gauges {
    Gauges::default()
}
