//! Reading the files that a configuration names: regular ones, and never more of them than there may be.
//!
//! A pipe or a device in the place of a file would keep whoever reads it waiting for good, and the reload with it.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

/// Bytes of the largest file that a configuration may name: lists of revoked certificates have grown to half of it.
pub const MOST_BYTES: u64 = 256 * 1024 * 1024;

/// Why a file wasn't read.
#[derive(Debug)]
pub enum Unread {
    /// The system refuses it.
    Refused(io::Error),
    /// It is a directory, a pipe, a socket or a device.
    Irregular,
    /// It has more bytes than this.
    TooLarge(u64),
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unread::Refused(error) => error.fmt(f),
            Unread::Irregular => f.write_str("it isn't a regular file"),
            Unread::TooLarge(most) => write!(f, "it has more than {most} bytes"),
        }
    }
}

impl std::error::Error for Unread {}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Unread {
        Unread::Refused(error)
    }
}

/// Reads a regular file of at most `most` bytes.
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>, Unread> {
    // Before it is opened: opening a pipe waits for whoever writes to it.
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(Unread::Irregular);
    }
    if metadata.len() > most {
        return Err(Unread::TooLarge(most));
    }
    let mut bytes = Vec::new();
    // It may have grown since, and files of the system don't say how long they are.
    let read = File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if read as u64 > most {
        return Err(Unread::TooLarge(most));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_within_the_limit_are_read() {
        let directory =
            std::env::temp_dir().join(format!("sluicegate-files-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let (file, pipe) = (directory.join("file"), directory.join("pipe"));
        fs::write(&file, "12345").unwrap();
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        assert_eq!(read(&file, 5).unwrap(), b"12345");
        assert!(matches!(read(&file, 4), Err(Unread::TooLarge(4))));
        // It says that it has no byte.
        let said = Path::new("/proc/self/status");
        assert!(matches!(read(said, 10), Err(Unread::TooLarge(10))));
        for irregular in [&pipe, &directory, Path::new("/dev/zero")] {
            assert!(matches!(read(irregular, 5), Err(Unread::Irregular)));
        }
        let missing = read(&directory.join("missing"), 5);
        assert!(matches!(missing, Err(Unread::Refused(_))));
        fs::remove_dir_all(directory).unwrap();
    }
}
