//! The `kube-probesim` command.

use std::process::ExitCode;

use dlmalloc::GlobalDlmalloc;

/// musl's gives memory back and maps it anew with each connection that comes and goes, which doubles the CPU time of one.
#[global_allocator]
static ALLOCATOR: GlobalDlmalloc = GlobalDlmalloc;

fn main() -> ExitCode {
    kube_probesim::cli::run(std::env::args_os())
}
