//! The `kube-probesim` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    kube_probesim::cli::run(std::env::args_os())
}
