//! `kube-probesim attach`: puts the proxy in front of an application that is already running.

mod arguments;
mod report;
mod settings;

use std::cell::Cell;
use std::ffi::OsString;
use std::io::{IsTerminal as _, Write, stderr};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::sleep;

use super::exit;
use super::serve::{runtime, style};
use super::shared::{forbids_colour, print_error, print_help, print_usage_errors};
use super::signals::EndSignals;
use crate::attach::{Cause, NextConnection, Refusal, Release, Running, Target, end_connections, take, watch};
use crate::server::{Server, ServerEnd, Signals, StartError};
use crate::telemetry::log;
pub(in crate::cli) use arguments::protocol;
use arguments::{AttachArguments, AttachCommand, Switch};
use report::Reason;

pub(super) const HELP: &str = "\
Put the proxy in front of an application that is already running, for a while.

Usage: kube-probesim attach --port N [OPTIONS] [OPTIONS of fault add]
       kube-probesim attach --stop

It takes new connections to all addresses of this network namespace but loopback, injects faults and forwards
to 127.0.0.1, where the application still listens. At the end, the application has its port back.
In a Pod, it runs in an ephemeral container with the application's process namespace.

OPTIONS
  --port N             port on which the application listens
  --protocol NAME      http or tcp: what rules act on, requests or connections and their bytes [default: http]
  --for DURATION       when it ends by itself [default: 5m]
  --file PATH          rules: a rule or a plan in YAML or JSON; - is standard input
  --existing           end the connections that are open, with one error each; otherwise they stay as they are
  --include-probes     rules act on the kubelet, too
  --as-localhost       connect to the application from 127.0.0.1, not from the address that the client reached
  --admin ADDRESS      address of the admin listener [default: 127.0.0.1:0, a free port]
  --dry-run            check everything, change nothing, and print what was found
  --stop               end the attach that runs in this container, and wait for its end
  -h, --help

With --protocol tcp, the target of rules in a plan and of fault add is application. HTTP/2 and TLS need no --protocol.

One rule for all traffic is made of the options of fault add: --status, --delay, --rate, --path, --method and
others; see kube-probesim fault --help. Without a rule, requests only pass through, and fault add adds rules
later (--admin takes the address of the first line).

It prints one JSON object per line: attached, and released at the end; or checked, or refused. The log goes to
standard error. It takes the variables of serve, such as LOG_LEVEL and SHUTDOWN_GRACE [default: 10s].
Exit code: 0 at the end, 64 for a wrong command line, 71 if the system refuses something else, such as the address of
the admin listener, 78 if the port cannot be taken (refused says what helps); --stop gives 1 if no attach runs.
";

/// Time limit of `--stop`: longer than any drain with the default settings.
const STOP: Duration = Duration::from_secs(60);

/// Runs the command with the arguments that follow its name and the environment of the process. Returns the exit code.
pub fn run(
    args: impl IntoIterator<Item = OsString>,
    env: impl IntoIterator<Item = (OsString, OsString)>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    let arguments = match arguments::parse(args) {
        Ok(AttachCommand::Help) => return print_help(HELP, out),
        Ok(AttachCommand::Stop) => return stop(err),
        Ok(AttachCommand::Attach(arguments)) => *arguments,
        Err(errors) => return print_usage_errors("attach", &errors, err),
    };
    let env: Vec<(OsString, OsString)> = env.into_iter().collect();
    let is_plain = env.iter().any(forbids_colour);
    let loaded = match settings::load(env, &arguments) {
        Ok(loaded) => loaded,
        Err(errors) => {
            let _ = writeln!(err, "{errors}\nSee kube-probesim attach --help");
            return exit::USAGE;
        }
    };
    let target = match Target::find(arguments.port) {
        Ok(target) => target,
        Err(refusal) => return refuse(&refusal, out, err),
    };
    if arguments.has(Switch::DryRun) {
        report::print(out, &report::checked(&target));
        return exit::OK;
    }
    let process = &loaded.config.process;
    let log = log::init(process.log_level, style(process.log_format, stderr().is_terminal(), is_plain, true));
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let attached = runtime(process.worker_threads)
        .map_err(|error| Failure::Other(error.to_string()))
        .and_then(|runtime| runtime.block_on(Box::pin(serve(&arguments, loaded.config, &target, out))));
    log.flush();
    match attached {
        Ok((reason, end)) => {
            let next = target.addresses.first().map_or(NextConnection::Refused, |at| NextConnection::of(*at));
            report::released(out, reason, &end.totals, next);
            exit::OK
        }
        Err(Failure::Refused(refusal)) => refuse(&refusal, out, err),
        Err(Failure::Other(error)) => {
            print_error("attach", error, err);
            exit::OS
        }
    }
}

/// The port is not taken over, or the service does not start.
enum Failure {
    Refused(Box<Refusal>),
    Other(String),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        Self::Other(error.to_string())
    }
}

fn refuse(refusal: &Refusal, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    print_error("attach", format_args!("{refusal}; {}", refusal.remedy()), err);
    report::print(out, &report::refused(refusal));
    exit::CONFIG
}

/// Takes the port over and serves it until the end.
async fn serve(
    arguments: &AttachArguments,
    config: crate::env::Config,
    target: &Target,
    out: &mut dyn Write,
) -> Result<(Reason, ServerEnd), Failure> {
    // Before the port is taken: whoever stops it then must find a handler.
    let mut ends = EndSignals::new();
    let mut copies = Vec::new();
    let server = Server::bind_taken(config, || {
        let taken = take(target)?;
        copies = taken.copies;
        Ok::<_, Failure>(taken.listeners)
    })?;
    let release = Arc::new(Release::new(copies));
    let gone = watch(target, &release).map_err(|error| Failure::Other(error.to_string()))?;
    report::print(out, &report::attached(target, server.admin_addr(), arguments));
    if arguments.has(Switch::Existing) {
        match end_connections(target) {
            Ok(ended) => {
                tracing::info!(connections = ended, "ended the connections that the application had");
            }
            Err(error) => tracing::warn!("the connections that the application has stay open: {error}"),
        }
    }
    let (signals, interrupt) = Signals::manual();
    let reason = Cell::new(Reason::Rule);
    let control = async {
        reason.set(first(&mut ends, gone, arguments.time).await);
        tracing::info!(reason = reason.get().name(), "letting go of the port");
        release.hand_over().await;
        interrupt.send();
        ends.next().await;
        interrupt.send();
        std::future::pending::<()>().await;
    };
    let end = tokio::select! {
        end = server.run(signals) => end,
        () = control => unreachable!("it waits forever"),
    };
    release.close();
    Ok((reason.get(), end.map_err(|error| Failure::Other(error.to_string()))?))
}

/// Waits for the first reason to end.
async fn first(ends: &mut EndSignals, gone: oneshot::Receiver<Cause>, time: Duration) -> Reason {
    let gone = async {
        match gone.await {
            Ok(cause) => Reason::Application(cause),
            // The thread never ends without a cause.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        reason = gone => reason,
        () = sleep(time) => Reason::TimeLimit,
        number = ends.next() => if number == SIGTERM { Reason::Stop } else { Reason::Signal },
    }
}

/// The number of the signal that `--stop` sends.
const SIGTERM: u8 = 15;

/// Ends the processes of `attach` in this container.
fn stop(err: &mut dyn Write) -> u8 {
    let running = Running::all();
    if running.is_empty() {
        print_error("attach", "no attach runs in this container", err);
        return exit::FAILED;
    }
    let mut code = exit::OK;
    for process in running {
        let pid = process.pid;
        if let Err(error) = process.stop() {
            print_error("attach", format_args!("cannot stop process {pid}: {error}"), err);
            code = exit::FAILED;
        } else if !process.ends_within(STOP) {
            print_error("attach", format_args!("process {pid} has not ended within {STOP:?}"), err);
            code = exit::FAILED;
        }
    }
    code
}

/// The address that is shown for the application behind the proxy.
fn upstream(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}
