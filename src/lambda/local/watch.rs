//! Watches a function's code, so that a change is run with the next invocation.

use std::{
    ffi::OsStr,
    fs,
    path::{Component, Path, PathBuf},
    sync::{Arc, Weak},
    time::Duration,
};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::{runtime::Handle, sync::Notify, task::spawn_blocking, time::timeout};
use tokio_util::task::AbortOnDropHandle;

use super::{ending::Ending, pool::Pool};

/// A change is acted on when nothing more has changed for so long: editors and build tools write in several steps.
const QUIET: Duration = Duration::from_millis(200);
/// Directories that are watched at most; each takes one of the kernel's watches.
const MOST_DIRECTORIES: usize = 4096;

/// A watch on a function's directory, until it is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    _task: AbortOnDropHandle<()>,
}

impl Watch {
    /// Watches, and retires the pool's environments at each change.
    pub(super) fn start(pool: &Arc<Pool>, control: &Handle) -> Option<Watch> {
        let directory = pool.local.directory.clone();
        let name = &pool.function.name;
        let changed = Arc::new(Notify::new());
        let watcher = watcher(directory.clone(), changed.clone());
        let mut watcher = watcher
            .inspect_err(|error| tracing::warn!("the code of `{name}` can't be watched: {error}"))
            .ok()?;
        watch_all(&mut watcher, &directory);
        let own = Arc::downgrade(pool);
        let task = control.spawn(async move {
            loop {
                changed.notified().await;
                while timeout(QUIET, changed.notified()).await.is_ok() {}
                if !replace(&own) {
                    return;
                }
                // Directories may be new. To look for them takes time, which this thread doesn't have.
                let root = directory.clone();
                let looked = spawn_blocking(move || {
                    watch_all(&mut watcher, &root);
                    watcher
                });
                match looked.await {
                    Ok(same) => watcher = same,
                    Err(_) => return,
                }
            }
        });
        Some(Watch {
            _task: AbortOnDropHandle::new(task),
        })
    }
}

/// False if nothing is left to be replaced.
fn replace(pool: &Weak<Pool>) -> bool {
    let Some(pool) = pool.upgrade() else {
        return false;
    };
    let name = &pool.function.name;
    tracing::info!(target: "function", "{name}: its code has changed; the next invocation runs it");
    pool.retire_all(Ending::CodeChanged);
    true
}

fn watcher(directory: PathBuf, changed: Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    notify::recommended_watcher(move |event: notify::Result<Event>| {
        // An error may mean that events were lost.
        if event.is_err() || event.is_ok_and(|event| matters(&event, &directory)) {
            changed.notify_one();
        }
    })
}

fn matters(event: &Event, root: &Path) -> bool {
    let is_change = matches!(
        event.kind,
        EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_)
    );
    is_change && event.paths.iter().any(|path| !is_ignored(path, root))
}

/// Whether something below `root` is none of the function's own code: hidden, or put there by tools.
fn is_ignored(path: &Path, root: &Path) -> bool {
    let below = path.strip_prefix(root).unwrap_or(path);
    below.components().any(|component| match component {
        Component::Normal(name) => is_ignored_name(name),
        _ => false,
    })
}

fn is_ignored_name(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with('.') || name == "node_modules" || name == "__pycache__"
}

/// Watches a directory and those below it. Links aren't followed.
fn watch_all(watcher: &mut RecommendedWatcher, root: &Path) {
    let mut found = vec![root.to_owned()];
    let mut count = 0;
    while let Some(directory) = found.pop() {
        count += 1;
        if count > MOST_DIRECTORIES {
            let root = root.display();
            tracing::warn!("only {MOST_DIRECTORIES} directories below `{root}` are watched");
            return;
        }
        if let Err(error) = watcher.watch(&directory, RecursiveMode::NonRecursive) {
            tracing::warn!("`{}` can't be watched: {error}", directory.display());
        }
        let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
        let below = entries
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter(|entry| !is_ignored_name(&entry.file_name()));
        found.extend(below.map(|entry| entry.path()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tools_put_beside_the_code_is_ignored() {
        let root = Path::new("/home/me/.work/chat");
        let ignored = |path: &str| is_ignored(&root.join(path), root);
        assert!(!ignored("index.mjs"));
        assert!(!ignored("lib/deep/a.py"));
        assert!(ignored(".git/index"));
        assert!(ignored("lib/__pycache__/a.pyc"));
        assert!(ignored("node_modules/x/index.js"));
    }

    #[test]
    fn reading_code_is_no_change() {
        let root = Path::new("/code");
        let event = |kind| Event::new(kind).add_path("/code/a.py".into());
        assert!(!matters(
            &event(EventKind::Access(notify::event::AccessKind::Read)),
            root
        ));
        assert!(matters(&event(EventKind::Any), root));
    }
}
