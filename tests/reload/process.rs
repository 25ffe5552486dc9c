//! The program in a process of its own: its files, what it says, and what it is told.

use std::{
    fs,
    future::{Future, IntoFuture},
    io::{BufRead as _, BufReader, Read, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::Pin,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{sync::mpsc, task::JoinHandle};

use crate::support::{Client, status, within};

/// A command of the program, free of what the environment says. `SLUICEGATE_TEST_BINARY` is the absolute path of another
/// build of it, such as an optimised one.
pub fn sluicegate(arguments: &[&str]) -> Command {
    let program = std::env::var("SLUICEGATE_TEST_BINARY");
    let mut command = Command::new(
        program
            .as_deref()
            .unwrap_or(env!("CARGO_BIN_EXE_sluicegate")),
    );
    for name in [
        "SLUICEGATE_LISTEN",
        "SLUICEGATE_WORKERS",
        "SLUICEGATE_WATCH",
        "SLUICEGATE_ADMIN",
        "RUST_LOG",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
    ] {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

/// A port that nobody listens on, and that the kernel gives to no outgoing connection of another test.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(64);
    loop {
        let number = first.wrapping_add(NEXT.fetch_add(1, Relaxed));
        let port = 10_000 + u16::try_from(number % 20_000).unwrap();
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The path item of a mock that answers `text`.
pub fn mock(path: &str, text: &str) -> String {
    format!(
        "  {path}:\n    get:\n      x-amazon-apigateway-integration:\n        type: mock\n        \
         requestTemplates: {{application/json: '{{\"statusCode\": 200}}'}}\n        \
         responses: {{default: {{statusCode: 200, responseTemplates: {{application/json: '{text}'}}}}}}\n"
    )
}

/// Sends a signal to a process.
pub fn signal_to(process: u32, name: &str) {
    let sent = Command::new("kill")
        .args(["-s", name, &process.to_string()])
        .status();
    assert!(sent.unwrap().success());
}

/// The number behind `key` in a line.
pub fn number_after(line: &str, key: &str) -> u32 {
    let rest = line
        .split(key)
        .nth(1)
        .unwrap_or_else(|| panic!("no {key} in {line}"));
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

/// A gateway about to be started.
pub struct Starting<'a> {
    directory: PathBuf,
    address: SocketAddr,
    listener: &'a str,
    settings: &'a str,
    command: Command,
    stdout: Stdio,
}

/// A gateway that runs. It is killed, and its files are removed, when it goes out of scope.
pub struct Process {
    child: Mutex<Option<Child>>,
    id: u32,
    lines: tokio::sync::Mutex<mpsc::UnboundedReceiver<String>>,
    pub address: SocketAddr,
    admin: SocketAddr,
    pub directory: PathBuf,
}

fn settings(admin: SocketAddr, listeners: &str, more: &str) -> String {
    let (definition, more): (Vec<&str>, Vec<&str>) = more
        .lines()
        .partition(|line| line.starts_with("definition: "));
    let definition = definition
        .first()
        .copied()
        .unwrap_or("definition: api.yaml");
    let workers = if more.iter().any(|line| line.starts_with("workers")) {
        ""
    } else {
        "workers: 2\n"
    };
    let more: String = more.iter().map(|line| format!("{line}\n")).collect();
    format!(
        "listeners:\n{listeners}admin: {{address: '{admin}'}}\n{workers}apis: [{{{definition}}}]\n{more}"
    )
}

impl Process {
    /// A gateway on a free port with these files, an admin address, and `more` in its settings.
    pub fn start<'a>(files: &[(&str, &str)], more: &'a str) -> Starting<'a> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Relaxed);
        let name = format!("sluicegate-process-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).unwrap();
        for (name, text) in files {
            fs::write(directory.join(name), text).unwrap();
        }
        let config = directory.join("sluicegate.yaml");
        Starting {
            command: sluicegate(&["serve", &config.to_string_lossy()]),
            directory,
            address: ([127, 0, 0, 1], free_port()).into(),
            listener: "",
            settings: more,
            stdout: Stdio::piped(),
        }
    }

    async fn run(
        mut command: Command,
        stdout: Stdio,
        directory: PathBuf,
        address: SocketAddr,
        admin: SocketAddr,
        input: &str,
    ) -> Process {
        command.stdout(stdout).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        drop(command);
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes()).unwrap();
        }
        let (say, lines) = mpsc::unbounded_channel();
        if let Some(stdout) = child.stdout.take() {
            listen(stdout, say.clone());
        }
        listen(child.stderr.take().unwrap(), say);
        let mut process = Process {
            id: child.id(),
            child: Mutex::new(Some(child)),
            lines: tokio::sync::Mutex::new(lines),
            address,
            admin,
            directory,
        };
        let line = process.line_with("listening on http").await;
        let said = line.split("://").nth(1).unwrap();
        let end = said.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':');
        process.address = said[..end.unwrap_or(said.len())].parse().unwrap();
        process
    }

    /// Writes one of its files.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.directory.join(name), text).unwrap();
    }

    /// Writes its settings: the list of listeners, and more.
    pub fn configure(&self, listeners: &str, more: &str) {
        self.write("sluicegate.yaml", &settings(self.admin, listeners, more));
    }

    /// Reloads by the operator's address.
    pub async fn reload(&self) -> (String, String) {
        self.ask_admin("POST /reload").await
    }

    /// A connection to the operator's address.
    pub async fn connect_admin(&self) -> Client {
        Client::connect(self.admin).await
    }

    pub async fn ask_admin(&self, what: &str) -> (String, String) {
        Client::ask(
            self.admin,
            &format!("{what} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        )
        .await
    }

    /// What `/readyz` tells in detail, whatever name it is asked by.
    pub async fn readiness(&self) -> serde_json::Value {
        let request =
            "GET /readyz HTTP/1.1\r\nHost: anybody.example\r\nAccept: application/json\r\n\r\n";
        let (_, text) = Client::ask(self.admin, request).await;
        serde_json::from_str(&text).unwrap()
    }

    pub fn signal(&self, name: &str) {
        signal_to(self.id, name);
    }

    /// Waits for a line with `text`.
    pub async fn line_with(&self, text: &str) -> String {
        let mut lines = self.lines.lock().await;
        let mut seen = Vec::new();
        loop {
            match tokio::time::timeout(Duration::from_secs(10), lines.recv()).await {
                Ok(Some(line)) if line.contains(text) => return line,
                Ok(Some(line)) => seen.push(line),
                _ => panic!("no line with `{text}`, only {seen:#?}"),
            }
        }
    }

    /// All that it has said and nobody has waited for.
    pub async fn said(&self) -> Vec<String> {
        let mut lines = self.lines.lock().await;
        std::iter::from_fn(|| lines.try_recv().ok()).collect()
    }

    /// All that it says to its end and nobody has waited for.
    pub async fn last_words(&self) -> Vec<String> {
        let mut lines = self.lines.lock().await;
        let mut said = Vec::new();
        while let Some(line) = within(lines.recv()).await {
            said.push(line);
        }
        said
    }

    pub fn id(&self) -> u32 {
        self.id
    }

    /// Waits for its end.
    pub async fn exit_status(&self) -> Option<i32> {
        for _ in 0..500 {
            let ended = self
                .child
                .lock()
                .unwrap()
                .as_mut()
                .unwrap()
                .try_wait()
                .unwrap();
            if let Some(status) = ended {
                return status.code();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it still runs");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.lock().unwrap().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Starting<'_> {
    /// Listens there.
    pub fn at(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// With more about its listener.
    pub fn with_command(mut self, change: impl FnOnce(&mut Command)) -> Self {
        change(&mut self.command);
        self
    }

    /// With its standard output there, where nobody waits for its lines.
    pub fn with_stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.stdout = stdout.into();
        self
    }

    /// With the directory as `prepare` leaves it.
    pub fn prepared(self, prepare: impl FnOnce(&Path)) -> Self {
        prepare(&self.directory);
        self
    }
}

impl<'a> Starting<'a> {
    /// With more about its listener.
    pub fn with_listener(mut self, more: &'a str) -> Self {
        self.listener = more;
        self
    }
}

impl<'a> IntoFuture for Starting<'a> {
    type Output = Process;
    type IntoFuture = Pin<Box<dyn Future<Output = Process> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        let admin = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let listeners = format!("  - address: {}\n{}", self.address, self.listener);
        let text = settings(admin, &listeners, self.settings);
        fs::write(self.directory.join("sluicegate.yaml"), text).unwrap();
        Box::pin(Process::run(
            self.command,
            self.stdout,
            self.directory,
            self.address,
            admin,
            "",
        ))
    }
}

/// A gateway that reads its configuration from standard input.
pub async fn with_input(command: Command, input: &str) -> Process {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let (stdout, directory) = (Stdio::piped(), PathBuf::new());
    Process::run(command, stdout, directory, nowhere, nowhere, input).await
}

fn listen(from: impl Read + Send + 'static, say: mpsc::UnboundedSender<String>) {
    std::thread::spawn(move || {
        BufReader::new(from)
            .lines()
            .map_while(Result::ok)
            .try_for_each(|line| say.send(line))
    });
}

/// Clients that ask again and again; any answer but 200 is a failure.
pub struct Load {
    pub answered: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    took: Arc<Mutex<Vec<Duration>>>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts clients; they connect anew for each request, or when the gateway asks them to (`keeps`).
    pub fn start(address: SocketAddr, path: &str, count: usize, keeps: bool) -> Load {
        let mut load = Load {
            answered: Arc::default(),
            is_over: Arc::default(),
            took: Arc::default(),
            clients: Vec::new(),
        };
        for _ in 0..count {
            let (answered, is_over) = (load.answered.clone(), load.is_over.clone());
            let took = load.took.clone();
            let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
            load.clients.push(tokio::spawn(async move {
                let mut client = None;
                while !is_over.load(Relaxed) {
                    let mut own = match client.take() {
                        Some(own) => own,
                        None => Client::connect(address).await,
                    };
                    let begun = tokio::time::Instant::now();
                    own.send(&request).await;
                    let (head, _) = own.answer().await;
                    assert_eq!(status(&head), 200);
                    took.lock().unwrap().push(begun.elapsed());
                    let is_kept = crate::support::header(&head, "connection") != Some("close");
                    client = (keeps && is_kept).then_some(own);
                    answered.fetch_add(1, Relaxed);
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }));
        }
        load
    }

    /// Stops the clients, and prints what they saw.
    pub async fn tell(self, what: &str) {
        let took = self.took.clone();
        let count = self.stop().await;
        let mut took = took.lock().unwrap();
        took.sort();
        let (median, late) = (took[count / 2], took[count * 99 / 100]);
        println!(
            "{what}: {count} requests, {median:?} at the median, {late:?} at the 99th percentile"
        );
    }

    /// Stops the clients; none may have failed. How many requests were answered.
    pub async fn stop(self) -> usize {
        self.is_over.store(true, Relaxed);
        for client in self.clients {
            within(client).await.unwrap();
        }
        self.answered.load(Relaxed)
    }
}
