//! A log's other end, as its thread writes to it: which lines arrived when not all of them did.

use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, ErrorKind, Write},
    os::{fd::AsFd, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

/// How long an output that takes nothing just now, and doesn't let us wait for it, is left alone.
const LATER: Duration = Duration::from_millis(20);

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

impl Output {
    /// Its name in metrics and in the program's own log.
    pub fn name(&self) -> String {
        match self {
            Output::Stdout => "stdout".to_owned(),
            Output::Stderr => "stderr".to_owned(),
            Output::File(path) => path.display().to_string(),
        }
    }

    /// Fails if it is a file that can't be opened.
    pub(super) fn probe(&self) -> io::Result<()> {
        match self {
            Output::Stdout | Output::Stderr => Ok(()),
            Output::File(path) => append(path).map(drop),
        }
    }

    /// A descriptor of our own: the standard library's streams buffer, and then don't say what was written.
    fn open(&self) -> io::Result<File> {
        let own = |stream: &dyn AsFd| stream.as_fd().try_clone_to_owned().map(File::from);
        match self {
            Output::Stdout => own(&io::stdout()),
            Output::Stderr => own(&io::stderr()),
            Output::File(path) => append(path),
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Why a batch didn't arrive whole.
#[derive(Debug)]
pub(super) struct Shortfall {
    pub error: io::Error,
    /// How many of its lines didn't arrive, or not to their end.
    pub lines: u64,
}

/// An output that is written to.
#[derive(Debug)]
pub(super) struct Writing {
    output: Output,
    file: Option<File>,
    /// Whether the last line was left without its end.
    is_cut: bool,
}

impl Writing {
    pub(super) fn new(output: Output) -> Writing {
        Writing {
            output,
            file: None,
            is_cut: false,
        }
    }

    /// Writes whole lines.
    pub(super) fn write(&mut self, lines: &[u8]) -> Result<(), Shortfall> {
        let kept = self.file.take().filter(|file| match &self.output {
            Output::Stdout | Output::Stderr => true,
            Output::File(path) => is_still_at(file, path),
        });
        let file = match kept {
            Some(file) => file,
            None => {
                self.is_cut = false;
                self.output.open().map_err(|error| Shortfall {
                    error,
                    lines: ends(lines),
                })?
            }
        };
        write_lines(self.file.insert(file), lines, &mut self.is_cut)
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

fn ends(lines: &[u8]) -> u64 {
    lines.split(|byte| *byte == b'\n').skip(1).count() as u64
}

/// Writes whole lines behind what may be a cut one.
fn write_lines(out: &mut impl Write, lines: &[u8], is_cut: &mut bool) -> Result<(), Shortfall> {
    let mut rest = lines;
    let written = if *is_cut {
        let mut end: &[u8] = b"\n";
        write_all(out, &mut end).and_then(|()| {
            *is_cut = false;
            write_all(out, &mut rest)
        })
    } else {
        write_all(out, &mut rest)
    };
    written.map_err(|error| {
        let arrived = lines.len() - rest.len();
        let last = lines.get(..arrived).and_then(<[u8]>::last);
        *is_cut |= last.is_some_and(|byte| *byte != b'\n');
        Shortfall {
            error,
            lines: ends(rest),
        }
    })
}

/// Writes it all, or leaves in `rest` what wasn't written.
fn write_all(out: &mut impl Write, rest: &mut &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        match out.write(rest) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => *rest = rest.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Whoever shares a pipe or terminal with us may have made it one that doesn't block.
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(LATER),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with so much room; it takes a few bytes at a time.
    struct Disk {
        room: usize,
        content: Vec<u8>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.room).min(3);
            if count == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            self.room -= count;
            self.content.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn only_lines_that_dont_arrive_are_lost_and_the_next_begins_on_a_line_of_its_own() {
        for (room, lost, content) in [
            (0, 3, "later\n"),
            (2, 3, "on\nlater\n"),
            (3, 3, "one\nlater\n"),
            (4, 2, "one\nlater\n"),
            (6, 2, "one\ntw\nlater\n"),
            (8, 1, "one\ntwo\nlater\n"),
            (13, 1, "one\ntwo\nthree\nlater\n"),
            (14, 0, "one\ntwo\nthree\nlater\n"),
        ] {
            let mut disk = Disk {
                room,
                content: Vec::new(),
            };
            let mut is_cut = false;
            let written = write_lines(&mut disk, b"one\ntwo\nthree\n", &mut is_cut);
            assert_eq!(written.err().map_or(0, |it| it.lines), lost, "{room}");
            // While it is full, nothing changes.
            let still_full = write_lines(&mut disk, b"x\ny\n", &mut is_cut);
            assert_eq!(still_full.unwrap_err().lines, 2, "{room}");
            disk.room = 100;
            write_lines(&mut disk, b"later\n", &mut is_cut).unwrap();
            assert_eq!(String::from_utf8(disk.content).unwrap(), content, "{room}");
        }
    }

    #[test]
    fn the_end_of_a_cut_line_alone_is_no_line() {
        let mut disk = Disk {
            room: 2,
            content: Vec::new(),
        };
        let mut is_cut = false;
        write_lines(&mut disk, b"one\n", &mut is_cut).unwrap_err();
        disk.room = 1;
        let lost = write_lines(&mut disk, b"two\n", &mut is_cut).unwrap_err();
        assert_eq!((lost.lines, is_cut), (1, false));
        disk.room = 100;
        write_lines(&mut disk, b"three\n", &mut is_cut).unwrap();
        assert_eq!(disk.content, b"on\nthree\n");
    }
}
