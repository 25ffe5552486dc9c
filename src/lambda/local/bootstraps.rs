//! The bundled runtimes for Node.js and Python, written to a directory where their interpreters find them.
//!
//! One private directory serves all functions of the process; it is removed with the last of them.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
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

static CURRENT: Mutex<Weak<Bootstraps>> = Mutex::new(Weak::new());

/// The directory with the bundled runtimes.
#[derive(Debug)]
pub(super) struct Bootstraps {
    directory: PathBuf,
}

impl Bootstraps {
    /// The directory that is there already, or a new one.
    pub(super) fn get() -> io::Result<Arc<Bootstraps>> {
        let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bootstraps) = current.upgrade() {
            return Ok(bootstraps);
        }
        let name = format!("sluicegate-{}-{:016x}", std::process::id(), random());
        let bootstraps = Arc::new(Bootstraps::write(std::env::temp_dir().join(name))?);
        *current = Arc::downgrade(&bootstraps);
        Ok(bootstraps)
    }

    fn write(directory: PathBuf) -> io::Result<Bootstraps> {
        fs::DirBuilder::new().mode(0o700).create(&directory)?;
        // From here on the directory goes when this value does, whatever fails.
        let bootstraps = Bootstraps { directory };
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
    fn all_functions_share_one_directory() {
        let (one, other) = (Bootstraps::get().unwrap(), Bootstraps::get().unwrap());
        assert_eq!(one.directory(), other.directory());
    }
}
