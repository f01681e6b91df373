//! Files that others may have created: opened without blocking, checked after opening, read up to a limit.
//!
//! Checks use the file descriptor, so that the file cannot be replaced between check and read. Pipes, sockets and devices
//! never block. Symbolic links are followed only where Kubernetes creates them (volumes of config maps, secrets and the
//! downward API).

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;
use thiserror::Error;

/// Most files of the kernel are shorter, in bytes; longer ones take another read.
const KERNEL_FILE: usize = 4000;

/// How a symbolic link at the path itself is handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// It is followed.
    Follow,
    /// It is an error.
    Refuse,
}

/// Why a file cannot be read.
#[derive(Debug, Error)]
pub enum FileError {
    /// No file, or a dangling symbolic link.
    #[error("is not there")]
    Missing,
    /// A directory.
    #[error("is a directory")]
    Directory,
    /// A pipe, a socket, a device, or a symbolic link that is not followed.
    #[error("is not a regular file")]
    NotRegular,
    /// Larger than allowed.
    #[error("is larger than the {0} bytes allowed")]
    TooLarge(usize),
    /// Invalid UTF-8.
    #[error("is not UTF-8 from byte {0} on")]
    NotUtf8(usize),
    /// An error of the operating system.
    #[error("cannot be read: {0}")]
    Io(io::Error),
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound => Self::Missing,
            // A socket.
            _ if Errno::from_io_error(&error) == Some(Errno::NXIO) => Self::NotRegular,
            _ => Self::Io(error),
        }
    }
}

/// Reads a regular file of at most `limit` bytes.
///
/// # Errors
///
/// There is no such file, or it is larger. Never blocks.
pub fn read(path: &Path, limit: usize, links: Links) -> Result<Vec<u8>, FileError> {
    let mut flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    if links == Links::Refuse {
        flags |= OFlags::NOFOLLOW;
    }
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path);
    let file = file.map_err(|error| match Errno::from_io_error(&error) {
        // The link at the path itself.
        Some(Errno::LOOP) if links == Links::Refuse => FileError::NotRegular,
        _ => error.into(),
    })?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(FileError::Directory);
    }
    if !metadata.is_file() {
        return Err(FileError::NotRegular);
    }
    if metadata.len() > limit as u64 {
        return Err(FileError::TooLarge(limit));
    }
    read_bounded(&file, limit)
}

/// Reads a regular file of at most `limit` bytes of text; symbolic links are followed.
///
/// # Errors
///
/// Those of [`read`], or it is not UTF-8.
pub fn read_text(path: &Path, limit: usize) -> Result<String, FileError> {
    text(read(path, limit, Links::Follow)?)
}

/// Reads a file that the kernel writes, such as those of `/proc`. They give no length, so space is made beforehand: the
/// standard library would begin with 32 bytes and read eight times.
///
/// # Errors
///
/// It is not there, or cannot be read.
pub fn read_kernel(path: &str) -> io::Result<String> {
    let mut text = String::with_capacity(KERNEL_FILE);
    File::open(path)?.read_to_string(&mut text)?;
    Ok(text)
}

/// Reads a file named on the command line: at most `limit` bytes of text from a regular file or, blocking, from an open
/// descriptor (`/dev/stdin`, or `/dev/fd/63` from a shell's `<(command)`).
///
/// # Errors
///
/// Those of [`read_text`].
pub fn read_named(path: &Path, limit: usize) -> Result<String, FileError> {
    let is_descriptor = path == Path::new("/dev/stdin")
        || ["/dev/fd", "/proc/self/fd"].iter().any(|folder| path.starts_with(folder));
    if !is_descriptor {
        return read_text(path, limit);
    }
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(FileError::Directory);
    }
    read_all(file, limit)
}

/// Reads all text, for example from standard input: at most `limit` bytes.
///
/// # Errors
///
/// There is more, or it is not UTF-8, or it cannot be read.
pub fn read_all(from: impl Read, limit: usize) -> Result<String, FileError> {
    text(read_bounded(from, limit)?)
}

fn read_bounded(from: impl Read, limit: usize) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    from.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > limit { Err(FileError::TooLarge(limit)) } else { Ok(bytes) }
}

fn text(bytes: Vec<u8>) -> Result<String, FileError> {
    String::from_utf8(bytes).map_err(|error| FileError::NotUtf8(error.utf8_error().valid_up_to()))
}

/// Writes a new file, replacing anything of that name.
///
/// # Errors
///
/// It cannot be written, or an existing entry cannot be removed.
pub fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // A new file is regular, and not a link to another one.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let mut file = OpenOptions::new().write(true).create_new(true).custom_flags(flags).open(path)?;
    file.write_all(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    fn fifo(path: &Path) {
        mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap();
    }

    fn error(path: &Path) -> String {
        read_text(path, 10).unwrap_err().to_string()
    }

    #[test]
    fn only_a_regular_file_is_read_and_nothing_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("file"), "0123456789").unwrap();
        symlink("file", path("link")).unwrap();
        symlink("nothing", path("dangling")).unwrap();
        symlink("/dev/zero", path("device")).unwrap();
        fifo(&path("fifo"));
        let _socket = UnixListener::bind(path("socket")).unwrap();
        std::fs::write(path("large"), "0123456789a").unwrap();
        std::fs::write(path("bytes"), b"ab\xff").unwrap();
        assert_eq!(read_text(&path("file"), 10).unwrap(), "0123456789");
        assert_eq!(read_text(&path("link"), 10).unwrap(), "0123456789");
        assert!(matches!(read(&path("link"), 10, Links::Refuse), Err(FileError::NotRegular)));
        for (name, expected) in [
            ("nothing", "is not there"),
            ("dangling", "is not there"),
            ("fifo", "is not a regular file"),
            ("device", "is not a regular file"),
            ("socket", "is not a regular file"),
            (".", "is a directory"),
            ("large", "is larger than the 10 bytes allowed"),
            ("bytes", "is not UTF-8 from byte 2 on"),
        ] {
            assert_eq!(error(&path(name)), expected, "{name}");
        }
    }

    #[test]
    fn what_a_command_line_names_is_a_file_or_an_open_descriptor() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("file"), "text").unwrap();
        fifo(&path("fifo"));
        let named = |path: &Path| read_named(path, 10).map_err(|error| error.to_string());
        assert_eq!(named(&path("file")), Ok("text".to_owned()));
        for waits in [path("fifo"), PathBuf::from("/dev/zero"), PathBuf::from("/dev/tty")] {
            let error = named(&waits).unwrap_err();
            assert!(error == "is not a regular file" || error.starts_with("cannot be read"), "{error}");
        }
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"piped").unwrap();
        drop(writer);
        let descriptor = format!("/dev/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader));
        assert_eq!(named(Path::new(&descriptor)), Ok("piped".to_owned()));
    }

    #[test]
    fn a_new_file_takes_the_place_of_a_fifo_or_a_link_and_writes_through_neither() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("other"), "untouched").unwrap();
        symlink("other", path("link")).unwrap();
        fifo(&path("fifo"));
        for name in ["link", "fifo", "new"] {
            write_new(&path(name), b"text").unwrap();
            assert!(path(name).symlink_metadata().unwrap().is_file(), "{name}");
            assert_eq!(std::fs::read(path(name)).unwrap(), b"text");
        }
        assert_eq!(std::fs::read(path("other")).unwrap(), b"untouched");
    }
}
