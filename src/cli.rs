//! The command line: verbs, signals and exit codes.

pub mod fault;
pub mod predict;
pub mod probe;

use std::ffi::OsString;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::env;
use crate::env::Config;
use crate::server::Server;
use crate::sources::start;
use crate::telemetry::log;

/// Exit code of a wrong command line (`EX_USAGE` of sysexits.h).
pub const EXIT_USAGE: u8 = 64;
/// Exit code of input that is wrong (`EX_DATAERR`).
pub const EXIT_DATA: u8 = 65;
/// Exit code where the system refuses what is needed, such as a port (`EX_OSERR`).
pub const EXIT_OS: u8 = 71;
/// Exit code of a wrong configuration (`EX_CONFIG`).
pub const EXIT_CONFIG: u8 = 78;

const HELP: &str = "\
A probe and fault simulator for Kubernetes

Usage: kube-probesim [serve]      serve probes with the faults of the environment
       kube-probesim probe ...    probe like the kubelet; see probe --help
       kube-probesim fault ...    change the faults of a running service; see fault --help
       kube-probesim predict ...  tell what the kubelet will do; see predict --help
       kube-probesim --help       print this
       kube-probesim --version    print the version
";

/// Runs the program.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().skip(1).collect();
    if args.first().is_some_and(|verb| verb == "probe") {
        let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
        return ExitCode::from(probe::run(args.into_iter().skip(1), std::env::vars_os(), &mut out, &mut err));
    }
    if args.first().is_some_and(|verb| verb == "fault") {
        let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
        return ExitCode::from(fault::run(args.into_iter().skip(1), std::env::vars_os(), &mut out, &mut err));
    }
    if args.first().is_some_and(|verb| verb == "predict") {
        use std::io::IsTerminal;
        let mut stdin = std::io::stdin();
        let is_terminal = stdin.is_terminal();
        let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
        let args = args.into_iter().skip(1);
        return ExitCode::from(predict::run(args, &mut stdin, is_terminal, &mut out, &mut err));
    }
    let words: Vec<&str> = args.iter().map(|arg| arg.to_str().unwrap_or("\u{fffd}")).collect();
    match words.as_slice() {
        [] | ["serve"] => serve(),
        ["--help" | "-h" | "help", ..] => print(HELP),
        ["--version" | "-V", ..] => {
            print(&format!("kube-probesim {} ({})\n", crate::VERSION, crate::REVISION))
        }
        [first, ..] => {
            let wrong = if *first == "serve" { words[1] } else { first };
            eprintln!(
                "kube-probesim: unexpected argument {wrong:?}; serve takes its settings from the environment\n\n{HELP}"
            );
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn print(text: &str) -> ExitCode {
    use std::io::Write;
    // A reader that has left is no failure of ours.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn serve() -> ExitCode {
    let loaded = match env::load(std::env::vars_os()) {
        Ok(loaded) => loaded,
        Err(errors) => {
            eprintln!("{errors}");
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    if let Err(errors) = start::check_files(&loaded.config) {
        eprintln!("{errors}");
        return ExitCode::from(EXIT_CONFIG);
    }
    let log = log::init(&loaded.config.process);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    for setting in &loaded.effective {
        tracing::info!(variable = setting.name, value = setting.value, "set");
    }
    let served = runtime(loaded.config.process.worker_threads)
        .and_then(|runtime| runtime.block_on(serve_on(loaded.config)));
    log.flush();
    match served {
        Ok(code) => code,
        Err(error) => {
            eprintln!("kube-probesim: {error}");
            ExitCode::from(EXIT_OS)
        }
    }
}

fn runtime(threads: usize) -> Result<tokio::runtime::Runtime, Box<dyn std::error::Error>> {
    let mut builder = if threads == 1 {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    if threads > 1 {
        builder.worker_threads(threads);
    }
    Ok(builder.enable_all().build()?)
}

async fn serve_on(config: Config) -> Result<ExitCode, Box<dyn std::error::Error>> {
    // Before the ports are bound, so that a signal during the start is not lost on a process that is PID 1.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let server = Server::bind(config)?;
    let (count, mut counted) = watch::channel(0_u32);
    let counting = async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            count.send_modify(|count| *count += 1);
        }
    };
    tokio::spawn(counting);
    let mut second = counted.clone();
    let shutdown = async move {
        let _ = counted.wait_for(|count| *count >= 1).await;
    };
    tokio::select! {
        ended = server.run(shutdown) => ended?,
        _ = second.wait_for(|count| *count >= 2) => tracing::warn!("a second signal: ending at once"),
    }
    Ok(ExitCode::SUCCESS)
}
