//! The volumes that mode `disk` may fill.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use thiserror::Error;

use crate::file;

/// File system types that are not volumes: in memory, or views of the kernel.
const NON_VOLUME_TYPES: &[&str] = &[
    "tmpfs",
    "ramfs",
    "devtmpfs",
    "proc",
    "sysfs",
    "cgroup",
    "cgroup2",
    "devpts",
    "mqueue",
    "securityfs",
    "debugfs",
    "tracefs",
    "bpf",
    "hugetlbfs",
    "overlay",
];

/// Why a path must not be filled.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum VolumeError {
    /// Not a mount point.
    #[error("is not the mount point of a volume; mount a volume such as an emptyDir there")]
    NotMounted,
    /// The root of the container.
    #[error(
        "is the root file system, which is on the node's disk; mount a volume such as an emptyDir and use its mount point"
    )]
    Root,
    /// A file system in memory, or a virtual one.
    #[error("is a {0}, not a volume on a disk; to use memory, use mode memory")]
    Kind(String),
    /// The volume of `STATE_DIR`.
    #[error("is the volume of STATE_DIR, which must not be filled; mount another one")]
    State,
    /// Not writable.
    #[error("is not writable for this user: {0}; a volume becomes writable by securityContext.fsGroup")]
    NotWritable(String),
}

/// An entry of `/proc/self/mountinfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct MountEntry {
    /// Device and path on it, which identify the volume.
    origin: (String, String),
    point: PathBuf,
    kind: String,
}

/// Checks whether mode `disk` may fill the volume at `path`.
///
/// # Errors
///
/// Why it may not.
pub fn check(path: &Path, state: Option<&Path>) -> Result<(), VolumeError> {
    find(&mounts(), path, state)?;
    access(path, Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|error| VolumeError::NotWritable(std::io::Error::from(error).to_string()))
}

/// The mount points of all writable volumes that mode `disk` may fill.
pub fn all(state: Option<&Path>) -> Vec<PathBuf> {
    let mounts = mounts();
    let points = mounts.iter().map(|mount| mount.point.clone());
    points.filter(|point| find(&mounts, point, state).is_ok()).collect()
}

fn find(mounts: &[MountEntry], path: &Path, state: Option<&Path>) -> Result<(), VolumeError> {
    if path == Path::new("/") {
        return Err(VolumeError::Root);
    }
    // Mounts can be stacked: the last one is visible.
    let mount = mounts.iter().rfind(|mount| mount.point == path).ok_or(VolumeError::NotMounted)?;
    if NON_VOLUME_TYPES.contains(&mount.kind.as_str()) {
        return Err(VolumeError::Kind(mount.kind.clone()));
    }
    let of_state = state.and_then(|state| {
        let holds = |mount: &&MountEntry| state.starts_with(&mount.point);
        mounts.iter().filter(holds).max_by_key(|mount| mount.point.as_os_str().len())
    });
    if of_state.is_some_and(|of_state| of_state.origin == mount.origin) {
        return Err(VolumeError::State);
    }
    Ok(())
}

fn mounts() -> Vec<MountEntry> {
    parse(&file::read_kernel("/proc/self/mountinfo").unwrap_or_default())
}

/// Parses lines in the format of proc(5): `36 35 98:0 /root /point options … - type source options`.
fn parse(text: &str) -> Vec<MountEntry> {
    let mount = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let fields: Vec<&str> = before.split(' ').collect();
        Some(MountEntry {
            origin: ((*fields.get(2)?).to_owned(), (*fields.get(3)?).to_owned()),
            point: unescaped(fields.get(4)?).into(),
            kind: after.split(' ').next()?.to_owned(),
        })
    };
    text.lines().filter_map(mount).collect()
}

/// The kernel escapes blanks, tabs, newlines and backslashes as octal numbers.
fn unescaped(path: &str) -> String {
    [(r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", "\\")]
        .into_iter()
        .fold(path.to_owned(), |path, (code, character)| path.replace(code, character))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
        1 0 0:40 / / ro,relatime - overlay overlay ro\n\
        2 1 8:1 /pods/a/volumes/scratch /scratch rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
        3 1 8:1 /pods/a/volumes/state /state rw - ext4 /dev/sda1 rw\n\
        4 1 0:50 / /tmp rw - tmpfs tmpfs rw\n\
        5 1 8:1 /pods/a/volumes/state /again rw - ext4 /dev/sda1 rw\n\
        6 1 8:2 / /with\\040blank rw - xfs /dev/sdb rw\n";

    #[test]
    fn root_memory_and_state_are_no_volumes_to_fill() {
        let mounts = parse(MOUNTS);
        let state = Some(Path::new("/state/probesim"));
        for (path, expected) in [
            ("/scratch", Ok(())),
            ("/scratch/", Ok(())),
            ("/with blank", Ok(())),
            ("/", Err(VolumeError::Root)),
            ("/scratch/below", Err(VolumeError::NotMounted)),
            ("/tmp", Err(VolumeError::Kind("tmpfs".into()))),
            ("/state", Err(VolumeError::State)),
            ("/again", Err(VolumeError::State)),
        ] {
            assert_eq!(find(&mounts, Path::new(path), state), expected, "{path}");
        }
        assert_eq!(find(&mounts, Path::new("/state"), None), Ok(()));
        assert_eq!(find(&mounts, Path::new("/scratch"), Some(Path::new("/elsewhere"))), Ok(()));
    }
}
