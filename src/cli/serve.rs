//! `kube-probesim serve`: serves probes with the faults that the environment configures.

mod arguments;
mod help;
mod welcome;

use std::ffi::OsString;
use std::io::{IsTerminal, Write, stdout};

use tokio::runtime::{Builder, Runtime};

use super::exit;
use super::shared::forbids_colour;
use crate::env;
use crate::env::{Config, LogFormat};
use crate::fault::ABORT_CODE;
use crate::server::{ProcessEnding, Server, Signals, StartError};
use crate::sources::start;
use crate::telemetry::log::{self, Style};
use arguments::ServeRequest;

/// What `serve --help` prints.
pub(super) fn help() -> String {
    help::text()
}

/// Runs the command with the arguments that follow its name and the environment of the process. Returns the exit code.
pub fn run(
    args: impl IntoIterator<Item = OsString>,
    env: impl IntoIterator<Item = (OsString, OsString)>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    let flags = match arguments::parse(args) {
        Ok(ServeRequest::Serve(flags)) => flags,
        Ok(ServeRequest::Help) => {
            let _ = out.write_all(help::text().as_bytes());
            return exit::OK;
        }
        Err(errors) => {
            for error in errors {
                let _ = writeln!(err, "kube-probesim: {error}");
            }
            let _ = writeln!(err, "\nkube-probesim serve --help lists the options and variables");
            return exit::USAGE;
        }
    };
    let env: Vec<(OsString, OsString)> = env.into_iter().collect();
    let is_plain = env.iter().any(forbids_colour);
    // As early as possible: a kill before this point would lose the count of this start.
    let kept = start::EarlierStarts::open(env::state_dir(&env, &flags).as_deref());
    let loaded = match env::load_with(env.into_iter(), &flags) {
        Ok(loaded) => loaded,
        Err(errors) => {
            let _ = writeln!(err, "{errors}");
            return exit::CONFIG;
        }
    };
    if let Err(errors) = start::check_here(&loaded.config) {
        let _ = writeln!(err, "{errors}");
        return exit::CONFIG;
    }
    let process = &loaded.config.process;
    let is_terminal = stdout().is_terminal();
    let style = style(process.log_format, is_terminal, is_plain, false);
    let log = log::init(process.log_level, style);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    for setting in &loaded.effective {
        tracing::info!(variable = setting.name, value = setting.value, "set");
    }
    let is_welcome = is_terminal && style.format == LogFormat::Text;
    let served = runtime(process.worker_threads)
        .and_then(|runtime| runtime.block_on(serve(loaded.config, kept, is_welcome.then_some(out))));
    log.flush();
    match served {
        Ok(None) => exit::OK,
        Ok(Some(ProcessEnding::Exit(code))) => code,
        // The kernel does not deliver SIGABRT to PID 1; it would end by another signal, with another code.
        Ok(Some(ProcessEnding::Abort)) if std::process::id() == 1 => ABORT_CODE,
        Ok(Some(ProcessEnding::Abort)) => std::process::abort(),
        Err(error) => {
            let _ = writeln!(err, "kube-probesim: {error}");
            if matches!(error.downcast_ref(), Some(StartError::Tls(_))) { exit::CONFIG } else { exit::OS }
        }
    }
}

/// The style of the log: the configured one, by default text on a terminal and JSON elsewhere.
pub(super) fn style(
    asked: Option<LogFormat>,
    is_terminal: bool,
    is_plain: bool,
    is_on_stderr: bool,
) -> Style {
    let default = if is_terminal { LogFormat::Text } else { LogFormat::Json };
    Style { format: asked.unwrap_or(default), colour: is_terminal && !is_plain, is_on_stderr }
}

pub(super) type Failure = Box<dyn std::error::Error>;

pub(super) fn runtime(threads: usize) -> Result<Runtime, Failure> {
    let mut builder = if threads == 1 { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    if threads > 1 {
        builder.worker_threads(threads);
    }
    Ok(builder.enable_all().build()?)
}

async fn serve(
    config: Config,
    kept: start::EarlierStarts,
    welcome: Option<&mut dyn Write>,
) -> Result<Option<ProcessEnding>, Failure> {
    // Before the ports are bound: as PID 1, the process would otherwise ignore a signal during the start.
    let signals = Signals::listen()?;
    let upstream = config.upstream.as_ref().map(|upstream| upstream.address.to_string());
    let server = Server::bind(config, kept)?;
    if let Some(out) = welcome {
        let _ = out.write_all(
            welcome::text(server.probe_addr(), server.admin_addr(), upstream.as_deref()).as_bytes(),
        );
    }
    Ok(server.run(signals).await?.by_rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_text_on_a_terminal_unless_a_format_is_asked_for() {
        use LogFormat::{Json, Text};
        for (asked, is_terminal, is_plain, format, colour) in [
            (None, false, false, Json, false),
            (None, true, false, Text, true),
            (None, true, true, Text, false),
            (Some(Json), true, false, Json, true),
            (Some(Text), false, false, Text, false),
        ] {
            assert_eq!(
                style(asked, is_terminal, is_plain, false),
                Style { format, colour, is_on_stderr: false },
                "{asked:?} {is_terminal}"
            );
        }
    }
}
