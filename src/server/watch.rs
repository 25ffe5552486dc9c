//! Watching a configuration's files.
//!
//! Directories are watched, not files: editors and deployment tools put a new file in place of the old one, and a
//! `ConfigMap` of Kubernetes changes by swapping a symbolic link (`..data`) beside the files' own links. What happens in the
//! directories only asks for a look; whether anything has changed, the files' contents say.

use std::{
    collections::{BTreeSet, hash_map::DefaultHasher},
    ffi::OsString,
    hash::{Hash as _, Hasher as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _, event::ModifyKind,
};
use tokio::{sync::mpsc, time::timeout};

use crate::config::files;

/// How long the files must be left alone before they are read.
const QUIET: Duration = Duration::from_millis(300);
/// They are read after this many events, even if nobody leaves them alone.
const MOST_EVENTS: usize = 1000;

/// Names that matter in the watched directories.
type Names = Arc<Mutex<BTreeSet<OsString>>>;

/// Watches files, or nothing.
#[derive(Debug)]
pub struct Watcher {
    inner: Option<RecommendedWatcher>,
    directories: BTreeSet<PathBuf>,
    names: Names,
    sender: mpsc::UnboundedSender<()>,
    events: mpsc::UnboundedReceiver<()>,
}

impl Default for Watcher {
    fn default() -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        Watcher {
            inner: None,
            directories: BTreeSet::new(),
            names: Names::default(),
            sender,
            events,
        }
    }
}

impl Watcher {
    /// Watches these files from now on, and no others.
    pub fn follow(&mut self, files: &BTreeSet<PathBuf>) {
        let places: Vec<PathBuf> = files.iter().flat_map(|file| links(file)).collect();
        let names = places.iter().filter_map(|it| it.file_name());
        *self.names.lock().unwrap_or_else(PoisonError::into_inner) =
            names.map(ToOwned::to_owned).collect();
        let wanted: BTreeSet<PathBuf> = places.iter().map(|place| directory_of(place)).collect();
        if self.inner.is_none() && !wanted.is_empty() {
            self.inner = self.start();
        }
        let Some(inner) = &mut self.inner else { return };
        for gone in self.directories.difference(&wanted) {
            let _ = inner.unwatch(gone);
        }
        // Those that are kept are watched anew: a directory of the same name may be another one by now.
        for directory in &wanted {
            if let Err(error) = inner.watch(directory, RecursiveMode::NonRecursive) {
                let directory = directory.display();
                tracing::warn!(%error, "`{directory}` can't be watched: send SIGHUP after changes in it");
            }
        }
        self.directories = wanted;
        if self.directories.is_empty() {
            self.inner = None;
        }
    }

    fn start(&self) -> Option<RecommendedWatcher> {
        let (names, sender) = (self.names.clone(), self.sender.clone());
        let tell = move |event: notify::Result<Event>| {
            let names = names.lock().unwrap_or_else(PoisonError::into_inner);
            if event.map_or(true, |event| matters(&event, &names)) {
                let _ = sender.send(());
            }
        };
        let started = notify::recommended_watcher(tell);
        started
            .inspect_err(|error| {
                tracing::warn!(%error, "files can't be watched: send SIGHUP after changes");
            })
            .ok()
    }

    /// Waits until something happened to the files, and then until they are left alone.
    pub async fn stirred(&mut self) {
        let _ = self.events.recv().await;
        for _ in 0..MOST_EVENTS {
            if timeout(QUIET, self.events.recv()).await.is_err() {
                break;
            }
        }
    }
}

/// Whether an event may concern the files: logs in the same directory don't.
fn matters(event: &Event, names: &BTreeSet<OsString>) -> bool {
    let is_ours = |path: &PathBuf| path.file_name().is_some_and(|name| names.contains(name));
    match event.kind {
        EventKind::Access(_) => false,
        EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Metadata(_)) => {
            event.paths.iter().any(is_ours)
        }
        _ => true,
    }
}

/// A path and everything its name leads through: links in it, and the file itself.
fn links(path: &Path) -> Vec<PathBuf> {
    let is_link = |place: &&Path| {
        let metadata = place.symlink_metadata();
        metadata.is_ok_and(|metadata| metadata.is_symlink())
    };
    let mut places = vec![path.to_path_buf()];
    places.extend(path.ancestors().filter(is_link).map(Path::to_path_buf));
    places.extend(path.canonicalize());
    places
}

fn directory_of(place: &Path) -> PathBuf {
    let parent = place.parent().unwrap_or(place);
    if parent.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        parent.to_path_buf()
    }
}

/// A number that changes when the contents of the files do.
pub fn fingerprint(files: &BTreeSet<PathBuf>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for file in files {
        file.hash(&mut hasher);
        files::read(file, files::MOST_BYTES).ok().hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    /// A directory of its own, removed at the end.
    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Directory {
            let path = std::env::temp_dir()
                .join(format!("sluicegate-watch-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Directory(path)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    async fn is_stirred(watcher: &mut Watcher) -> bool {
        timeout(Duration::from_secs(5), watcher.stirred())
            .await
            .is_ok()
    }

    #[tokio::test]
    async fn a_file_that_is_written_or_replaced_is_seen() {
        let directory = Directory::new("file");
        let file = directory.0.join("a.yaml");
        fs::write(&file, "1").unwrap();
        let mut watcher = Watcher::default();
        watcher.follow(&BTreeSet::from([file.clone()]));
        fs::write(&file, "2").unwrap();
        assert!(is_stirred(&mut watcher).await);
        let aside = directory.0.join("b.tmp");
        fs::write(&aside, "3").unwrap();
        fs::rename(&aside, &file).unwrap();
        assert!(is_stirred(&mut watcher).await);
        fs::write(&file, "4").unwrap();
        assert!(is_stirred(&mut watcher).await);
    }

    #[tokio::test]
    async fn other_files_that_are_written_are_passed_over() {
        let directory = Directory::new("other");
        let file = directory.0.join("a.yaml");
        let log = directory.0.join("access.log");
        fs::write(&file, "1").unwrap();
        fs::write(&log, "1").unwrap();
        let mut watcher = Watcher::default();
        watcher.follow(&BTreeSet::from([file]));
        fs::write(&log, "2").unwrap();
        let waiting = timeout(Duration::from_millis(700), watcher.stirred());
        assert!(waiting.await.is_err());
    }

    #[tokio::test]
    async fn what_a_link_leads_to_is_seen_where_it_is() {
        let (here, there) = (Directory::new("here"), Directory::new("there"));
        fs::write(there.0.join("b.yaml"), "1").unwrap();
        symlink(there.0.join("b.yaml"), here.0.join("a.yaml")).unwrap();
        let mut watcher = Watcher::default();
        watcher.follow(&BTreeSet::from([here.0.join("a.yaml")]));
        fs::write(there.0.join("b.yaml"), "2").unwrap();
        assert!(is_stirred(&mut watcher).await);
    }

    #[tokio::test]
    async fn swapped_links_are_seen_each_time() {
        let directory = Directory::new("links");
        let at = |name: &str| directory.0.join(name);
        for version in ["..1", "..2", "..3"] {
            fs::create_dir_all(at(version)).unwrap();
            fs::write(at(version).join("a.yaml"), version).unwrap();
        }
        symlink("..1", at("..data")).unwrap();
        symlink("..data/a.yaml", at("a.yaml")).unwrap();
        let files = BTreeSet::from([at("a.yaml")]);
        let mut watcher = Watcher::default();
        let mut before = fingerprint(&files);
        for version in ["..2", "..3"] {
            watcher.follow(&files);
            symlink(version, at("..tmp")).unwrap();
            fs::rename(at("..tmp"), at("..data")).unwrap();
            assert!(is_stirred(&mut watcher).await);
            assert_ne!(fingerprint(&files), before);
            before = fingerprint(&files);
        }
    }
}
