//! The writer: one thread that writes all log lines, so that a blocked disk or pipe never blocks a request.
//!
//! Lines wait in a bounded buffer per sink. The writer is woken by the first line of a batch and takes the whole batch a
//! little later, or as soon as it is large; what doesn't fit is dropped and counted.

use std::{
    collections::HashMap,
    fs::{File, Metadata, OpenOptions},
    io::{self, Write},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// Bytes that may wait for one sink.
const MOST_WAITING: usize = 4 * 1024 * 1024;
/// How long the writer lets lines gather.
const GATHER: Duration = Duration::from_millis(20);
/// A batch of this many bytes is taken at once: if more gathered, lines would drive all else from the processor's caches.
const LARGE: usize = 64 * 1024;

/// Where lines go.
#[derive(Debug)]
pub struct Sink {
    output: Output,
    waiting: Mutex<Vec<u8>>,
    dropped: AtomicU64,
    /// How many the output failed to take.
    unwritten: AtomicU64,
    /// How many dropped ones were told.
    told: AtomicU64,
    failed: AtomicBool,
}

/// A sink's other end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, appended to.
    File(PathBuf),
}

#[derive(Default)]
struct Writer {
    sinks: Mutex<HashMap<Output, Arc<Sink>>>,
    waiting: Mutex<Waiting>,
    lines: Condvar,
    /// Counts passes, so that a flush can wait for a whole one.
    passes: Mutex<u64>,
    passed: Condvar,
}

/// What waits for the writer.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Waiting {
    #[default]
    Nothing,
    Lines,
    LargeBatch,
}

static WRITER: LazyLock<Writer> = LazyLock::new(|| {
    let spawned = std::thread::Builder::new()
        .name("writer".to_owned())
        .spawn(run);
    if let Err(error) = spawned {
        // Without the thread no line is ever written; the first thing an operator sees is this.
        let _ = writeln!(io::stderr(), "can't start the log writer: {error}");
    }
    Writer::default()
});

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The sink for an output; all users of one output share it. Fails if a file can't be opened.
pub fn sink(output: &Output) -> io::Result<Arc<Sink>> {
    if let Output::File(path) = output {
        OpenOptions::new().create(true).append(true).open(path)?;
    }
    let sink = Sink {
        output: output.clone(),
        waiting: Mutex::default(),
        dropped: AtomicU64::new(0),
        unwritten: AtomicU64::new(0),
        told: AtomicU64::new(0),
        failed: AtomicBool::new(false),
    };
    Ok(locked(&WRITER.sinks)
        .entry(output.clone())
        .or_insert_with(|| Arc::new(sink))
        .clone())
}

impl Sink {
    /// Hands lines over, each with its line end. Never waits for the output.
    pub fn push(&self, lines: &[u8]) {
        let mut waiting = locked(&self.waiting);
        if waiting.len() + lines.len() > MOST_WAITING {
            self.dropped.fetch_add(1, Relaxed);
            return;
        }
        let before = waiting.len();
        waiting.extend_from_slice(lines);
        drop(waiting);
        if before < LARGE && before + lines.len() >= LARGE {
            wake(Waiting::LargeBatch);
        } else if before == 0 {
            wake(Waiting::Lines);
        }
    }

    /// How many records were dropped because the output didn't keep up.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }
}

fn wake(why: Waiting) {
    let mut waiting = locked(&WRITER.waiting);
    *waiting = why.max(*waiting);
    drop(waiting);
    WRITER.lines.notify_one();
}

/// The outputs, and how many lines each has lost.
pub fn lost() -> Vec<(String, u64)> {
    let sinks = locked(&WRITER.sinks);
    let lost = sinks.values().map(|sink| {
        let name = match &sink.output {
            Output::Stdout => "stdout".to_owned(),
            Output::Stderr => "stderr".to_owned(),
            Output::File(path) => path.display().to_string(),
        };
        (name, sink.dropped() + sink.unwritten.load(Relaxed))
    });
    let mut lost: Vec<_> = lost.collect();
    lost.sort();
    lost
}

/// Waits until everything handed over so far has been written, or for `limit`.
pub fn flush(limit: Duration) {
    let goal = *locked(&WRITER.passes) + 2;
    wake(Waiting::Lines);
    let passes = locked(&WRITER.passes);
    let _ = WRITER.passed.wait_timeout_while(passes, limit, |passes| {
        // A pass ends with the flag cleared; ask for the next one.
        wake(Waiting::Lines);
        *passes < goal
    });
}

fn run() {
    let mut files = HashMap::new();
    let mut batch = Vec::new();
    loop {
        let waiting = WRITER
            .lines
            .wait_while(locked(&WRITER.waiting), |it| *it == Waiting::Nothing)
            .unwrap_or_else(PoisonError::into_inner);
        let (mut waiting, _) = WRITER
            .lines
            .wait_timeout_while(waiting, GATHER, |it| *it < Waiting::LargeBatch)
            .unwrap_or_else(PoisonError::into_inner);
        *waiting = Waiting::Nothing;
        drop(waiting);
        let sinks: Vec<Arc<Sink>> = locked(&WRITER.sinks).values().cloned().collect();
        for sink in sinks {
            std::mem::swap(&mut batch, &mut locked(&sink.waiting));
            if !batch.is_empty() {
                let result = write(&sink.output, &batch, &mut files);
                if result.is_err() {
                    let lines = batch.split(|byte| *byte == b'\n').count() - 1;
                    sink.unwritten.fetch_add(lines as u64, Relaxed);
                }
                tell_failure(&sink, result);
                batch.clear();
            }
            tell_lost(&sink);
        }
        *locked(&WRITER.passes) += 1;
        WRITER.passed.notify_all();
    }
}

fn write(output: &Output, lines: &[u8], files: &mut HashMap<PathBuf, File>) -> io::Result<()> {
    match output {
        Output::Stdout => {
            let mut out = io::stdout().lock();
            out.write_all(lines)?;
            out.flush()
        }
        Output::Stderr => io::stderr().lock().write_all(lines),
        Output::File(path) => {
            let file = match files.remove(path).filter(|file| is_still_at(file, path)) {
                Some(file) => file,
                None => OpenOptions::new().create(true).append(true).open(path)?,
            };
            (&file).write_all(lines)?;
            files.insert(path.clone(), file);
            Ok(())
        }
    }
}

/// Whether the path still leads to the file: it doesn't once somebody has rotated it.
fn is_still_at(file: &File, path: &Path) -> bool {
    let identity = |metadata: Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(own), Ok(there)) => identity(own) == identity(there),
        _ => false,
    }
}

/// Says how many lines an output has lost since this was last said.
fn tell_lost(sink: &Sink) {
    let lost = sink.dropped();
    let told = sink.told.swap(lost, Relaxed);
    if lost > told && sink.output != Output::Stderr {
        let lines = lost - told;
        tracing::warn!(output = ?sink.output, lines, "log lines were lost: the output doesn't keep up");
    }
}

/// Says once that an output fails, and once that it works again.
fn tell_failure(sink: &Sink, result: io::Result<()>) {
    let failed = result.is_err();
    if sink.failed.swap(failed, Relaxed) == failed || sink.output == Output::Stderr {
        return;
    }
    match result {
        Err(error) => {
            tracing::error!(output = ?sink.output, %error, "log lines can't be written and are lost");
        }
        Ok(()) => tracing::info!(output = ?sink.output, "log lines are written again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_many_threads_arrive_whole_and_in_full() {
        let path = std::env::temp_dir().join(format!("sluicegate-writer-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let output = Output::File(path.clone());
        let writing = |thread: usize| {
            let sink = sink(&output).unwrap();
            for line in 0..500 {
                sink.push(format!("{thread} {line} {}\n", "x".repeat(line % 97)).as_bytes());
            }
        };
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || writing(thread));
            }
        });
        flush(Duration::from_secs(5));
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(text.lines().count(), 2000);
        assert!(text.lines().all(|line| {
            let mut words = line.split(' ').map(ToOwned::to_owned);
            let (_, number, rest) = (words.next(), words.next().unwrap(), words.next().unwrap());
            rest.len() == number.parse::<usize>().unwrap() % 97
        }));
    }

    #[test]
    fn a_rotated_file_is_opened_anew() {
        let path = std::env::temp_dir().join(format!("sluicegate-rotated-{}", std::process::id()));
        let aside = path.with_extension("1");
        let sink = sink(&Output::File(path.clone())).unwrap();
        sink.push(b"before\n");
        flush(Duration::from_secs(5));
        std::fs::rename(&path, &aside).unwrap();
        sink.push(b"after\n");
        flush(Duration::from_secs(5));
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        assert_eq!(
            (read(&aside), read(&path)),
            ("before\n".to_owned(), "after\n".to_owned())
        );
        std::fs::remove_file(&path).unwrap();
        std::fs::remove_file(&aside).unwrap();
    }

    #[test]
    fn a_sink_that_is_full_drops_and_counts() {
        let sink = Sink {
            output: Output::Stderr,
            waiting: Mutex::default(),
            dropped: AtomicU64::new(0),
            unwritten: AtomicU64::new(0),
            told: AtomicU64::new(0),
            failed: AtomicBool::new(false),
        };
        let line = vec![b'x'; MOST_WAITING / 2];
        (0..5).for_each(|_| sink.push(&line));
        assert_eq!(sink.dropped(), 3);
        assert_eq!(locked(&sink.waiting).len(), MOST_WAITING);
    }
}
