//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// A streaming API gateway for the OpenAPI documents of Amazon API Gateway.
#[derive(Debug, Parser)]
#[command(
    name = "sluicegate",
    version,
    about = "A streaming API gateway for the OpenAPI documents of Amazon API Gateway",
    after_help = "Examples:\n  \
        sluicegate demo                          try it, with nothing else installed\n  \
        sluicegate serve openapi.yaml            serve a document on 127.0.0.1:8080\n  \
        sluicegate check openapi.yaml            say what is wrong with it, and what AWS would reject\n  \
        sluicegate routes openapi.yaml GET /a/b  explain which route answers a request\n\n\
        CONFIG is a sluicegate.yaml or a bare OpenAPI document (YAML or JSON); `-` reads standard input.",
    disable_help_subcommand = true
)]
pub(super) struct Sluicegate {
    #[command(subcommand)]
    pub(super) command: Command,
}

/// The configuration of a `serve` that names none.
pub(super) const DEFAULT_CONFIG: &str = "sluicegate.yaml";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve the APIs of a configuration
    Serve(Serve),
    /// Say what is wrong with configurations, and how to mend it
    Check(Check),
    /// List the routes of a configuration, or explain which one answers a request
    Routes(Routes),
    /// Invoke a function, and show what it says as it arrives
    Invoke(Invoke),
    /// Print the JSON Schema of sluicegate.yaml, for editors
    Schema,
    /// Start a gateway with backends of its own, and say what to try
    Demo(Demo),
    /// Watch the streams of a running gateway
    Top(Top),
    /// Ask a running gateway whether it takes requests
    Health(Health),
}

/// Watch the streams of a running gateway
#[derive(Debug, Args)]
#[command(
    after_help = "On a terminal the list is drawn anew each second; q or Ctrl-C ends it. Elsewhere it is printed once.\n\
    Exit status: 0, or 1 if no gateway answers."
)]
pub(super) struct Top {
    /// The gateway's admin address
    #[arg(
        long,
        env = "SLUICEGATE_ADMIN",
        value_name = "URL",
        default_value = "http://127.0.0.1:9901"
    )]
    pub(super) admin: String,
    /// Print the streams once
    #[arg(long)]
    pub(super) once: bool,
    /// What comes first
    #[arg(long, value_enum, default_value_t = Order::Age)]
    pub(super) sort: Order,
}

/// The order of streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Order {
    /// The oldest
    Age,
    /// The largest
    Bytes,
    /// The fastest
    Rate,
    /// Those that have sent nothing for longest
    Silence,
}

/// Ask a running gateway whether it takes requests
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 if it does, 1 if it doesn't or nothing answers, 2 for wrong usage."
)]
pub(super) struct Health {
    /// The gateway's admin address
    #[arg(
        long,
        env = "SLUICEGATE_ADMIN",
        value_name = "URL",
        default_value = "http://127.0.0.1:9901"
    )]
    pub(super) admin: String,
    /// Ask only whether it lives: also while it shuts down
    #[arg(long)]
    pub(super) live: bool,
}

/// Start a gateway with backends of its own, and say what to try
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// The address to listen on; by default 127.0.0.1:8080, or any free port if that is taken
    #[arg(long, env = "SLUICEGATE_LISTEN", value_name = "ADDRESS")]
    pub(super) listen: Option<String>,
}

/// Serve the APIs of a configuration
#[derive(Debug, Args)]
#[command(after_help = "Environment:\n  \
    SLUICEGATE_ADMIN  the admin address of a configuration that has none, such as `127.0.0.1:9901`\n  \
    RUST_LOG          how much the program's own log tells, such as `debug` or `sluicegate=trace`\n\n\
    Signals:\n  \
    SIGTERM   stop: not ready at once, no new connections after `shutdown.preStopDelayInMillis`, open requests may finish\n  \
    SIGINT    stop without the delay; open requests have 10 seconds\n  \
    A second signal stops at once.\n  \
    SIGHUP    load the configuration anew; a finding leaves the running one as it is\n  \
    SIGUSR2   start the program anew on the same sockets, then stop as on SIGTERM")]
pub(super) struct Serve {
    /// A sluicegate.yaml or an OpenAPI document; `-` reads standard input
    #[arg(value_name = "CONFIG", default_value = DEFAULT_CONFIG)]
    pub(super) config: PathBuf,
    /// The address to listen on, in place of the first listener's
    #[arg(long, env = "SLUICEGATE_LISTEN", value_name = "ADDRESS")]
    pub(super) listen: Option<String>,
    /// Worker threads; by default one for each CPU this process may use
    #[arg(long, env = "SLUICEGATE_WORKERS", value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(super) workers: Option<u32>,
    /// Load the configuration anew when one of its files changes, as `watch: true` in it does
    #[arg(long, env = "SLUICEGATE_WATCH")]
    pub(super) watch: bool,
    /// Refuse to start if any method can't be served, rather than answer it with 500
    #[arg(long)]
    pub(super) strict: bool,
}

/// Say what is wrong with configurations, and how to mend it
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 if there are no errors (there may be warnings), 1 if there are, 2 for wrong usage.\n\
    Every code is explained in docs/diagnostics.md."
)]
pub(super) struct Check {
    /// Configurations or OpenAPI documents; `-` reads standard input
    #[arg(value_name = "CONFIG", required = true)]
    pub(super) configs: Vec<PathBuf>,
    /// How findings are shown
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(super) format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Human,
    /// For programs: one JSON array
    Json,
}

/// List the routes of a configuration, or explain which one answers a request
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sluicegate routes openapi.yaml\n  \
    sluicegate routes openapi.yaml GET /pets/7\n  \
    sluicegate routes sluicegate.yaml GET http://api.example.com/prod/pets/7")]
pub(super) struct Routes {
    /// A sluicegate.yaml or an OpenAPI document; `-` reads standard input
    #[arg(value_name = "CONFIG")]
    pub(super) config: PathBuf,
    /// The request's method
    #[arg(value_name = "METHOD", requires = "path")]
    pub(super) method: Option<String>,
    /// The request's path, or its URL if the host matters
    #[arg(value_name = "PATH")]
    pub(super) path: Option<String>,
}

/// Invoke a function, and show what it says as it arrives
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sluicegate invoke chat --event event.json\n  \
    echo '{\"name\": \"Ada\"}' | sluicegate invoke chat --event - --stream\n  \
    sluicegate invoke chat --stream --endpoint http://127.0.0.1:8080\n\n\
    Without --endpoint the function is started here, as `functions:` of CONFIG has it; no gateway needs to run.\n\n\
    Exit status: 0 if the function answered, 1 if it failed or couldn't be invoked, 2 for wrong usage.")]
pub(super) struct Invoke {
    /// The function's name
    #[arg(value_name = "FUNCTION")]
    pub(super) function: String,
    /// A file with the event as JSON; `-` reads standard input. By default the event is `{}`
    #[arg(long, value_name = "FILE")]
    pub(super) event: Option<PathBuf>,
    /// Show each piece of the output as it arrives, with its time in seconds
    #[arg(long)]
    pub(super) stream: bool,
    /// The sluicegate.yaml that says where the function runs
    #[arg(long, value_name = "CONFIG", default_value = DEFAULT_CONFIG)]
    pub(super) config: PathBuf,
    /// Call a Lambda endpoint in place of starting the function, such as a running gateway
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    pub(super) endpoint: Option<String>,
}
