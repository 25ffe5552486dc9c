//! The writers: a thread for each output that writes its log lines, so that a blocked disk or pipe blocks neither
//! requests nor other logs.
//!
//! Lines wait in a bounded buffer per output. Its writer is woken by the first line of a batch and takes the whole batch
//! a little later, or as soon as it is large; what doesn't fit is dropped and counted. When nobody uses an output any
//! more, its writer ends; only its counts are kept.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

pub use super::output::Output;
use super::{
    output::{Shortfall, Writing},
    seldom::Seldom,
};
use crate::types::clock::Tick;

/// Bytes that may wait for one output.
const MOST_WAITING: usize = 4 * 1024 * 1024;
/// How long a writer lets lines gather.
const GATHER: Duration = Duration::from_millis(20);
/// A batch of this many bytes is taken at once: if more gathered, lines would drive all else from the processor's caches.
const LARGE: usize = 64 * 1024;

/// Where lines go. The output is closed when its last sink is gone.
#[derive(Debug)]
pub struct Sink(Arc<Queue>);

/// An output's lines and counts.
#[derive(Debug)]
struct Queue {
    output: Output,
    waiting: Mutex<Waiting>,
    /// Wakes the writer.
    lines: Condvar,
    /// Tells of each batch that is done.
    done: Condvar,
    /// How many sinks there are.
    users: AtomicUsize,
    dropped: AtomicU64,
    /// How many the output failed to take.
    unwritten: AtomicU64,
    drops: Seldom,
    failures: Seldom,
}

/// What waits for a writer.
#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    /// Whether somebody waits for them to be written.
    is_urgent: bool,
    has_writer: bool,
    /// Batches taken, and batches done.
    taken: u64,
    done: u64,
}

static QUEUES: LazyLock<Mutex<HashMap<Output, Arc<Queue>>>> = LazyLock::new(Mutex::default);

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A sink for an output; all sinks of one output share its buffer. Fails if a file can't be opened.
pub fn sink(output: &Output) -> io::Result<Sink> {
    output.probe()?;
    let queue = locked(&QUEUES)
        .entry(output.clone())
        .or_insert_with(|| Arc::new(Queue::new(output.clone())))
        .clone();
    let sink = Sink::of(queue);
    let mut waiting = locked(&sink.0.waiting);
    if !waiting.has_writer {
        let queue = sink.0.clone();
        std::thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || queue.write())?;
        waiting.has_writer = true;
    }
    drop(waiting);
    Ok(sink)
}

impl Sink {
    fn of(queue: Arc<Queue>) -> Sink {
        queue.users.fetch_add(1, Relaxed);
        Sink(queue)
    }

    /// Hands lines over, each with its line end. Never waits for the output.
    pub fn push(&self, lines: &[u8]) {
        let queue = &*self.0;
        let mut waiting = locked(&queue.waiting);
        let before = waiting.lines.len();
        if before + lines.len() > MOST_WAITING {
            drop(waiting);
            return queue.drop_one();
        }
        waiting.lines.extend_from_slice(lines);
        drop(waiting);
        if before == 0 || (before < LARGE && before + lines.len() >= LARGE) {
            queue.lines.notify_one();
        }
    }
}

impl Clone for Sink {
    fn clone(&self) -> Sink {
        Sink::of(self.0.clone())
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if self.0.users.fetch_sub(1, Relaxed) == 1 {
            // The writer looks for users only while it holds the lock.
            drop(locked(&self.0.waiting));
            self.0.lines.notify_one();
        }
    }
}

impl Queue {
    fn new(output: Output) -> Queue {
        Queue {
            output,
            waiting: Mutex::default(),
            lines: Condvar::new(),
            done: Condvar::new(),
            users: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            unwritten: AtomicU64::new(0),
            drops: Seldom::new(),
            failures: Seldom::new(),
        }
    }

    /// The program's own log is no place to say that it fails.
    fn is_own_log(&self) -> bool {
        self.output == Output::Stderr
    }

    /// Counts what there was no room for. Says so here, because the writer may be stuck.
    fn drop_one(&self) {
        self.dropped.fetch_add(1, Relaxed);
        if !self.is_own_log()
            && let Some(lines) = self.drops.count(Tick::now())
        {
            self.tell_dropped(lines);
        }
    }

    fn tell_dropped(&self, lines: u64) {
        tracing::warn!(
            output = self.output.name(),
            lines,
            "log lines were lost: the output doesn't keep up"
        );
    }

    /// The writer's life.
    fn write(&self) {
        let mut writing = Writing::new(self.output.clone());
        let mut batch = Vec::new();
        let mut has_complained = false;
        while self.take(&mut batch) {
            let result = writing.write(&batch);
            batch.clear();
            if let Err(shortfall) = &result {
                self.unwritten.fetch_add(shortfall.lines, Relaxed);
            }
            if !self.is_own_log() {
                self.tell(result, &mut has_complained);
            }
            locked(&self.waiting).done += 1;
            self.done.notify_all();
        }
    }

    /// Waits for lines and takes them all. False if there are none and nobody is left who could bring some.
    fn take(&self, batch: &mut Vec<u8>) -> bool {
        let is_idle = |it: &mut Waiting| it.lines.is_empty() && self.users.load(Relaxed) > 0;
        let mut waiting = self
            .lines
            .wait_while(locked(&self.waiting), is_idle)
            .unwrap_or_else(PoisonError::into_inner);
        if waiting.lines.is_empty() {
            // Whoever becomes a user from here on starts another writer.
            waiting.has_writer = false;
            waiting.lines = Vec::new();
            return false;
        }
        let is_small = |it: &mut Waiting| it.lines.len() < LARGE && !it.is_urgent;
        let (mut waiting, _) = self
            .lines
            .wait_timeout_while(waiting, GATHER, is_small)
            .unwrap_or_else(PoisonError::into_inner);
        waiting.is_urgent = false;
        std::mem::swap(batch, &mut waiting.lines);
        waiting.taken += 1;
        true
    }

    /// Says that the output fails, and that it works again, however often that changes.
    fn tell(&self, result: Result<(), Shortfall>, has_complained: &mut bool) {
        let now = Tick::now();
        match result {
            Err(Shortfall { error, lines }) => {
                if let Some(lines) = self.failures.count_many(lines, now) {
                    *has_complained = true;
                    tracing::error!(output = self.output.name(), lines, %error, "log lines can't be written and are lost");
                }
            }
            Ok(()) if std::mem::take(has_complained) => {
                tracing::info!(output = self.output.name(), "log lines are written again");
            }
            Ok(()) => {}
        }
        if let Some(lines) = self.drops.rest(now) {
            self.tell_dropped(lines);
        }
    }

    /// Asks for what waits to be written now. How many batches are done when it is.
    fn hurry(&self) -> u64 {
        let mut waiting = locked(&self.waiting);
        if waiting.lines.is_empty() {
            return waiting.taken;
        }
        waiting.is_urgent = true;
        let goal = waiting.taken + 1;
        drop(waiting);
        self.lines.notify_one();
        goal
    }

    fn wait_for(&self, goal: u64, limit: Duration) {
        let waiting = locked(&self.waiting);
        let _ = self
            .done
            .wait_timeout_while(waiting, limit, |it| it.done < goal);
    }
}

/// The outputs, and how many lines each has lost.
pub fn lost() -> Vec<(String, u64)> {
    let queues = locked(&QUEUES);
    let lost = queues.values().map(|queue| {
        let lost = queue.dropped.load(Relaxed) + queue.unwritten.load(Relaxed);
        (queue.output.name(), lost)
    });
    let mut lost: Vec<_> = lost.collect();
    lost.sort();
    lost
}

/// Waits until everything handed over so far has been written, or for `limit`.
pub fn flush(limit: Duration) {
    let deadline = Tick::now().after(limit);
    let queues: Vec<Arc<Queue>> = locked(&QUEUES).values().cloned().collect();
    let goals: Vec<u64> = queues.iter().map(|queue| queue.hurry()).collect();
    for (queue, goal) in queues.iter().zip(goals) {
        queue.wait_for(goal, deadline.since(Tick::now()));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

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
        let sink = Sink::of(Arc::new(Queue::new(Output::Stderr)));
        let line = vec![b'x'; MOST_WAITING / 2];
        (0..5).for_each(|_| sink.push(&line));
        assert_eq!(sink.0.dropped.load(Relaxed), 3);
        assert_eq!(locked(&sink.0.waiting).lines.len(), MOST_WAITING);
    }

    #[test]
    fn an_output_that_nobody_uses_is_closed_with_all_written_and_opened_again() {
        let path = std::env::temp_dir().join(format!("sluicegate-closed-{}", std::process::id()));
        let output = Output::File(path.clone());
        let first = sink(&output).unwrap();
        let queue = first.0.clone();
        let has_writer = || locked(&queue.waiting).has_writer;
        for _ in 0..3 {
            let (one, other) = (sink(&output).unwrap(), first.clone());
            one.push(b"line\n");
            drop((one, other));
        }
        flush(Duration::from_secs(5));
        assert!(has_writer());
        first.push(b"last\n");
        drop(first);
        let mut patience = 500;
        while has_writer() && patience > 0 {
            std::thread::sleep(Duration::from_millis(10));
            patience -= 1;
        }
        assert!(!has_writer());
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "line\nline\nline\nlast\n"
        );
        let again = sink(&output).unwrap();
        again.push(b"again\n");
        flush(Duration::from_secs(5));
        assert!(has_writer());
        assert!(std::fs::read_to_string(&path).unwrap().ends_with("again\n"));
        std::fs::remove_file(&path).unwrap();
    }
}
