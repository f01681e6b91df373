//! Programs that some tests need besides Rust.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Makes a missing program a failure, for machines that are meant to run every test.
const REQUIRE: &str = "PROBESIM_REQUIRE_TOOLS";

/// Whether each of `programs` is in the `PATH`. Otherwise, skips the test as [`skip`] does.
pub fn are_there(programs: &[&str]) -> bool {
    let missing: Vec<&str> = programs.iter().copied().filter(|program| !is_in_path(program)).collect();
    if missing.is_empty() {
        return true;
    }
    skip(&format!("not in the PATH: {}", missing.join(", ")));
    false
}

/// Reports that the calling test is skipped and why, or fails it where `PROBESIM_REQUIRE_TOOLS=1` is set.
pub fn skip(why: &str) {
    assert!(std::env::var_os(REQUIRE).is_none_or(|value| value != "1"), "{why}, and {REQUIRE}=1");
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    // Written to the stream itself: the test harness would swallow what `eprintln!` prints in a test that passes.
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {why}");
}

fn is_in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| is_executable(&folder.join(program)))
}

fn is_executable(file: &Path) -> bool {
    file.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}
