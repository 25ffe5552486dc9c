//! The processes of an execution environment: a runtime, and extensions beside it, in one process group.
//!
//! Whatever the runtime starts stays in the group (unless it leaves on purpose), and the whole group ends with it. All
//! children are waited for, so that no zombie stays.

use std::{
    collections::BTreeMap,
    io,
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::{
    process::{Child, Command},
    task::JoinSet,
    time::timeout,
};

use super::{failure::Failure, lines::tell_lines, program::Program};

/// How long the pipes of dead processes are read on, should somebody outside the group hold them open.
const LAST_LINES: Duration = Duration::from_millis(100);

/// Takes the lines of the processes' output.
pub(super) type Tell = Arc<dyn Fn(&str) + Send + Sync>;

/// The processes of an environment.
#[derive(Debug)]
pub(super) struct Processes {
    /// The runtime's process, which leads the group.
    leader: Pid,
    children: JoinSet<Failure>,
    readers: JoinSet<()>,
    /// All of the group is gone.
    is_over: bool,
}

impl Drop for Processes {
    /// What nobody could wait for, as when the gateway exits, isn't left behind.
    fn drop(&mut self) {
        if !self.is_over {
            let _ = kill_process_group(self.leader, Signal::KILL);
        }
    }
}

impl Processes {
    /// Starts the runtime, and then the extensions.
    pub(super) fn start(
        runtime: &Program,
        extensions: &[Program],
        directory: &Path,
        variables: &BTreeMap<String, String>,
        tell: &Tell,
    ) -> Result<Processes, Failure> {
        if !directory.is_dir() {
            return Err(Failure::no_directory(directory));
        }
        let start = |program: &Program, group: i32| {
            spawn(program, directory, variables, group)
                .map_err(|error| Failure::not_started(program.explain(&error, variables)))
        };
        let child = start(runtime, 0)?;
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        let leader = id
            .and_then(Pid::from_raw)
            .ok_or_else(|| Failure::sandbox("the runtime's process has no id"))?;
        let mut processes = Processes {
            leader,
            children: JoinSet::new(),
            readers: JoinSet::new(),
            is_over: false,
        };
        processes.keep(child, tell, |status| Failure::crashed(&how(status)));
        for extension in extensions {
            let child = start(extension, leader.as_raw_nonzero().get())?;
            let name = extension.path.display().to_string();
            processes.keep(child, tell, move |status| {
                Failure::extension_crashed(&name, &how(status))
            });
        }
        Ok(processes)
    }

    fn keep(
        &mut self,
        mut child: Child,
        tell: &Tell,
        failure: impl FnOnce(ExitStatus) -> Failure + Send + 'static,
    ) {
        if let Some(pipe) = child.stdout.take() {
            let tell = tell.clone();
            self.readers
                .spawn(async move { tell_lines(pipe, |line| tell(line)).await });
        }
        if let Some(pipe) = child.stderr.take() {
            let tell = tell.clone();
            self.readers
                .spawn(async move { tell_lines(pipe, |line| tell(line)).await });
        }
        self.children.spawn(async move {
            match child.wait().await {
                Ok(status) => failure(status),
                Err(error) => Failure::sandbox(format!("a process was lost: {error}")),
            }
        });
    }

    /// Waits for the first of them to end, which none should, and for the last lines it wrote.
    pub(super) async fn exited(&mut self) -> Failure {
        let exited = self.children.join_next().await;
        let _ = timeout(LAST_LINES, self.last_line()).await;
        match exited {
            Some(Ok(failure)) => failure,
            _ => Failure::sandbox("a process was lost"),
        }
    }

    async fn last_line(&mut self) {
        while self.readers.join_next().await.is_some() {}
    }

    /// Ends them all: they are asked to, have `grace` for it, and are then killed. If extensions have been told by way
    /// of their API (`is_told`), only the runtime is asked.
    pub(super) async fn end(mut self, grace: Duration, is_told: bool) {
        if !self.children.is_empty() {
            let asked = if is_told {
                kill_process(self.leader, Signal::TERM)
            } else {
                kill_process_group(self.leader, Signal::TERM)
            };
            // If they have ended in this moment, there is nobody to ask.
            let _ = asked;
            let _ = timeout(grace, self.all_exited()).await;
        }
        let _ = kill_process_group(self.leader, Signal::KILL);
        // From here on, the group's number may become another's.
        self.is_over = true;
        self.all_exited().await;
        let _ = timeout(LAST_LINES, self.last_line()).await;
    }

    async fn all_exited(&mut self) {
        while self.children.join_next().await.is_some() {}
    }
}

fn spawn(
    program: &Program,
    directory: &Path,
    variables: &BTreeMap<String, String>,
    group: i32,
) -> io::Result<Child> {
    Command::new(&program.path)
        .args(&program.arguments)
        .current_dir(directory)
        .env_clear()
        .envs(variables)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(group)
        .kill_on_drop(true)
        .spawn()
}

/// `exit status 1` or `signal: killed`, as Lambda writes it; empty for an exit in good order.
fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(0), _) => String::new(),
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal: {}", signal_name(signal)),
        (None, None) => "an unknown reason".to_owned(),
    }
}

fn signal_name(signal: i32) -> String {
    match signal {
        6 => "aborted".to_owned(),
        9 => "killed".to_owned(),
        11 => "segmentation fault".to_owned(),
        15 => "terminated".to_owned(),
        other => format!("number {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_nobody_waits_for_takes_its_whole_group_along() {
        let (give, mut take) = tokio::sync::mpsc::unbounded_channel();
        let tell: Tell = Arc::new(move |line| drop(give.send(line.to_owned())));
        let shell = Program {
            path: "/bin/sh".into(),
            arguments: vec!["-c".into(), "sleep 1000 & echo $!; wait".into()],
        };
        let directory = std::env::temp_dir();
        let none = BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]);
        let processes = Processes::start(&shell, &[], &directory, &none, &tell).unwrap();
        let child = take.recv().await.unwrap();
        drop(processes);
        // Gone, or waiting for whoever inherits it to look.
        let is_gone = || {
            std::fs::read_to_string(format!("/proc/{child}/stat"))
                .map_or(true, |stat| stat.contains(") Z "))
        };
        let gone = async {
            while !is_gone() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(5), gone).await.unwrap();
    }

    #[test]
    fn an_exit_is_told_in_lambdas_words() {
        let told = [0, 3 << 8, 9, 11, 64].map(|raw| how(ExitStatus::from_raw(raw)));
        assert_eq!(
            told,
            [
                "",
                "exit status 3",
                "signal: killed",
                "signal: segmentation fault",
                "signal: number 64"
            ]
        );
    }
}
