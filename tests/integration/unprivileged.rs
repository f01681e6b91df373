//! Runs tests as an unprivileged user, since permissions do not apply to root.

#![allow(unreachable_pub, clippy::missing_panics_doc)]

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// The user and the group called nobody.
const NOBODY: u32 = 65534;

const DIRECTORY: &str = "UNPRIVILEGED_DIRECTORY";

/// Runs `body` with an empty directory. As root, runs `test`, which must be the calling test, again as nobody.
pub fn run(test: &str, body: fn(&Path)) {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return body(Path::new(&directory));
    }
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    if fs::metadata(directory).unwrap().uid() == 0 {
        // The user nobody may have no access to the build directory.
        let (program, inner) = (directory.join("test"), directory.join("directory"));
        fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        fs::create_dir(&inner).unwrap();
        for entry in [directory, &program, &inner] {
            chown(entry, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let mut again = Command::new(&program);
        again.args(["--exact", test]).env(DIRECTORY, &inner).current_dir("/").uid(NOBODY).gid(NOBODY);
        let output = again.output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && told.contains("1 passed"), "{told}");
    } else {
        body(directory);
    }
}
