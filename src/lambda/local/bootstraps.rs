//! The bundled runtimes for Node.js and Python, written to a directory where their interpreters find them.
//!
//! One private directory serves all functions of the process; it is removed with the last of them. A process that is killed
//! leaves its directory behind; the next one removes it. Which ones are in use is told by a lock, which ends with its
//! process.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use crate::types::ids::random;

/// The files of both runtimes.
const FILES: [(&str, &str); 6] = [
    ("node.mjs", include_str!("../bootstrap/node.mjs")),
    ("node_api.mjs", include_str!("../bootstrap/node_api.mjs")),
    (
        "node_stream.mjs",
        include_str!("../bootstrap/node_stream.mjs"),
    ),
    ("python.py", include_str!("../bootstrap/python.py")),
    ("python_api.py", include_str!("../bootstrap/python_api.py")),
    (
        "python_stream.py",
        include_str!("../bootstrap/python_stream.py"),
    ),
];

/// What the names of such directories begin with.
const PREFIX: &str = "sluicegate-functions-";
/// The file that is locked for as long as the directory is in use.
const LOCK: &str = "lock";
/// A younger directory may not be locked yet.
const YOUNG: Duration = Duration::from_secs(60);

static CURRENT: Mutex<Weak<Bootstraps>> = Mutex::new(Weak::new());

/// The directory with the bundled runtimes.
#[derive(Debug)]
pub(super) struct Bootstraps {
    directory: PathBuf,
    _lock: File,
}

impl Bootstraps {
    /// The directory that is there already, or a new one.
    pub(super) fn get() -> io::Result<Arc<Bootstraps>> {
        let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bootstraps) = current.upgrade() {
            return Ok(bootstraps);
        }
        let all = std::env::temp_dir();
        remove_abandoned(&all, YOUNG);
        let name = format!("{PREFIX}{:016x}", random());
        let bootstraps = Arc::new(Bootstraps::write(all.join(name))?);
        *current = Arc::downgrade(&bootstraps);
        Ok(bootstraps)
    }

    fn write(directory: PathBuf) -> io::Result<Bootstraps> {
        fs::DirBuilder::new().mode(0o700).create(&directory)?;
        let lock = File::create(directory.join(LOCK))?;
        // Where files can't be locked, what is left behind stays.
        let _ = lock.try_lock();
        // From here on the directory goes when this value does, whatever fails.
        let bootstraps = Bootstraps {
            directory,
            _lock: lock,
        };
        for (name, text) in FILES {
            fs::write(bootstraps.directory.join(name), text)?;
        }
        Ok(bootstraps)
    }

    /// Where the files are.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Drop for Bootstraps {
    fn drop(&mut self) {
        // Interpreters may have put their caches beside the files.
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            let directory = self.directory.display();
            tracing::debug!("the directory `{directory}` can't be removed: {error}");
        }
    }
}

/// Removes what processes have left behind that couldn't do so themselves.
fn remove_abandoned(all: &Path, young: Duration) {
    let entries = fs::read_dir(all).into_iter().flatten().flatten();
    let named = entries.filter(|it| it.file_name().to_string_lossy().starts_with(PREFIX));
    for directory in named.map(|it| it.path()).filter(|it| is_ours(it)) {
        if is_abandoned(&directory.join(LOCK), young).unwrap_or(false) {
            let _ = fs::remove_dir_all(directory);
        }
    }
}

/// Everybody can make such names in a directory for all; nobody else can make a directory of this user's.
fn is_ours(directory: &Path) -> bool {
    let own = rustix::process::geteuid().as_raw();
    fs::symlink_metadata(directory).is_ok_and(|it| {
        let permissions = it.mode() & 0o777;
        it.is_dir() && it.uid() == own && permissions == 0o700
    })
}

fn is_abandoned(lock: &Path, young: Duration) -> io::Result<bool> {
    if !fs::symlink_metadata(lock)?.is_file() {
        return Ok(false);
    }
    let file = File::open(lock)?;
    let age = file.metadata()?.modified()?.elapsed().unwrap_or_default();
    Ok(age >= young && file.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_directory_is_private_and_goes_with_its_last_user() {
        let directory = std::env::temp_dir().join(format!("sluicegate-test-{:016x}", random()));
        let bootstraps = Bootstraps::write(directory.clone()).unwrap();
        let mode = fs::metadata(&directory).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        for (name, text) in FILES {
            assert_eq!(fs::read_to_string(directory.join(name)).unwrap(), text);
        }
        drop(bootstraps);
        assert!(!directory.exists());
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_what_is_in_use_stays() {
        let all = std::env::temp_dir().join(format!("sluicegate-test-{:016x}", random()));
        fs::create_dir(&all).unwrap();
        let used = Bootstraps::write(all.join(format!("{PREFIX}used"))).unwrap();
        let (left, other) = (all.join(format!("{PREFIX}left")), all.join("other"));
        let strange = all.join(format!("{PREFIX}for-all"));
        for (directory, mode) in [(&left, 0o700), (&other, 0o700), (&strange, 0o755)] {
            fs::DirBuilder::new().mode(mode).create(directory).unwrap();
            fs::write(directory.join(LOCK), "").unwrap();
        }
        remove_abandoned(&all, YOUNG);
        assert!(left.exists(), "it may be about to be locked");
        remove_abandoned(&all, Duration::ZERO);
        assert!(!left.exists() && other.exists() && strange.exists());
        assert!(used.directory().join("node.mjs").exists());
        drop(used);
        fs::remove_dir_all(all).unwrap();
    }

    #[test]
    fn all_functions_share_one_directory() {
        let (one, other) = (Bootstraps::get().unwrap(), Bootstraps::get().unwrap());
        assert_eq!(one.directory(), other.directory());
    }
}
