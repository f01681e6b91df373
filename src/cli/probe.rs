//! `kube-probesim probe`: probes like the kubelet, once, until a result, or forever.

mod address;
mod arguments;
mod latency;
mod report;

use std::ffi::OsString;
use std::io::Write;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::clock::Timer;
use crate::prober::{Outcome, ProbeResult};

use super::exit;
use super::shared::{block_on, print_error, print_help, print_usage_errors};
use super::signals::EndSignals;
use arguments::{ProbeArguments, ProbeCommand, Schedule};
use report::{ProbeReport, ResultTally};

pub(super) const HELP: &str = "\
Probe like the kubelet, once, until a result, or forever.

Usage: kube-probesim probe [OPTIONS] [ADDRESS]

ADDRESS
  http://host[:port][/path]    GET, with the kubelet's headers, redirect rules and limits
  https://host[:port][/path]   the same over TLS; like the kubelet, without verifying the certificate
  tcp://host:port              connect and close
  grpc://host:port[/service]   grpc.health.v1.Health/Check, plaintext
  grpcs://host:port[/service]  the same over TLS
  liveness, readiness, startup, dependency, traffic
                               the path of this target, at PORT and BIND_ADDRESS of the environment
  Default: readiness.

OPTIONS
  --timeout DURATION           total time for connect, handshake, head, body and redirects [default: 1s]
  --header 'Name: value'       header of an HTTP probe; repeatable; 'Host: x' replaces the host, 'Accept:' removes that header
  --verify                     verify certificates, unlike a kubelet, against the authorities of the system or those in
                               SSL_CERT_FILE
  --ca FILE                    verify certificates against the authorities in this file (PEM)
  --until success|failure      repeat until this result, then exit with 0; a warning is a success, an error is neither
  --every DURATION             time from one attempt to the next [default with --until: 1s]; without --until, probe
                               continuously, and print availability and latency at the end
  --for DURATION               with --until or --every: start no attempt after this time [default: no limit]
  --output text|json           [default: text]; JSON is one object per line
  -h, --help

A duration is written 250ms, 1s or 1m30s; a bare number is in seconds.

A line has the result, the phase in which the attempt ended, the status code, and the text of the kubelet's event. It has
no time, so that events of an exec probe with the same result have the same text, and Kubernetes counts them as one.
With --until and --every, a line is printed for each change of the result; it starts with the elapsed time, and has the
latency after the status code. JSON always has the latency.
The kubelet repeats an attempt that ends with an error up to twice at once, and then discards the error; with --until and
--every, each attempt counts by itself.

Exit code, by the last attempt: 0 success or warning, 1 failure, 3 error. With --until: 0 the result occurred; otherwise 3
if the last attempt ended with an error, else 1. 64 wrong usage; 128 + N ended by signal N before the first attempt was
complete.
";

/// Runs the command with the arguments that follow its name and the environment of the process. Returns the exit
/// code.
pub fn run(
    args: impl IntoIterator<Item = OsString>,
    env: impl IntoIterator<Item = (OsString, OsString)>,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> u8 {
    let arguments = match arguments::parse(args, &env.into_iter().collect::<Vec<_>>()) {
        Ok(ProbeCommand::Probe(arguments)) => arguments,
        Ok(ProbeCommand::Help) => return print_help(HELP, stdout),
        Err(errors) => return print_usage_errors("probe", &errors, stderr),
    };
    block_on(Box::pin(probe(&arguments, stdout, stderr))).unwrap_or_else(|error| {
        print_error("probe", format_args!("cannot start: {error}"), stderr);
        exit::OS
    })
}

/// The exit code for a result.
pub const fn exit_code(result: ProbeResult) -> u8 {
    match result {
        ProbeResult::Success | ProbeResult::Warning => 0,
        ProbeResult::Failure => exit::FAILED,
        ProbeResult::Error => exit::ERROR,
    }
}

async fn probe(arguments: &ProbeArguments, stdout: &mut dyn Write, stderr: &mut dyn Write) -> u8 {
    let mut signals = EndSignals::new();
    let mut report = ProbeReport::new(&arguments.address, arguments.output, stdout);
    match arguments.schedule {
        Schedule::Once => tokio::select! {
            outcome = arguments.probe.attempt(arguments.timeout) => {
                let _ = report.outcome(&outcome, None);
                exit_code(outcome.result)
            }
            number = signals.next() => 128 + number,
        },
        Schedule::Until { success, every, limit } => {
            let wanted = |outcome: &Outcome| match outcome.result {
                ProbeResult::Success | ProbeResult::Warning => success,
                ProbeResult::Failure => !success,
                ProbeResult::Error => false,
            };
            let repeated = repeat(arguments, every, limit, wanted, &mut signals, &mut report).await;
            if repeated.reached {
                return 0;
            }
            let result = if success { "success" } else { "failure" };
            let attempts = repeated.tally.attempts();
            print_error("probe", format_args!("no {result} in {attempts} attempts"), stderr);
            // When a failure is awaited, the last attempt may have succeeded.
            repeated.code.max(exit::FAILED)
        }
        Schedule::Observe { every, limit } => {
            let repeated = repeat(arguments, every, limit, |_| false, &mut signals, &mut report).await;
            let _ = report.summary(&repeated.tally);
            repeated.code
        }
    }
}

/// The result of repeated attempts.
struct Repeated {
    /// The exit code of the last attempt.
    code: u8,
    /// Whether the awaited outcome occurred.
    reached: bool,
    tally: ResultTally,
}

/// Probes until the awaited outcome, the limit, a signal, or a closed output, and reports each change.
async fn repeat(
    arguments: &ProbeArguments,
    every: Duration,
    limit: Option<Duration>,
    wanted: impl Fn(&Outcome) -> bool,
    signals: &mut EndSignals,
    report: &mut ProbeReport<'_>,
) -> Repeated {
    let start = Instant::now();
    let end = limit.map(|limit| start + limit);
    // Like the kubelet's ticker, which holds one tick: the next attempt may follow a slow one at once.
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut tally = ResultTally::default();
    let mut last = None;
    let mut code = None;
    let mut reached = false;
    while !reached {
        let tick = async {
            tokio::select! {
                biased;
                () = Timer::of_runtime().sleep_until_some(end) => None,
                _ = ticks.tick() => {
                    let elapsed = start.elapsed();
                    Some((elapsed, arguments.probe.attempt(arguments.timeout).await))
                }
            }
        };
        let (elapsed, outcome) = tokio::select! {
            biased;
            number = signals.next() => {
                code = code.or(Some(128 + number));
                break;
            }
            attempt = tick => match attempt {
                Some(attempt) => attempt,
                None => break,
            },
        };
        tally.add(&outcome);
        code = Some(exit_code(outcome.result));
        reached = wanted(&outcome);
        let now = (outcome.result, outcome.phase, outcome.status);
        if last.replace(now) != Some(now) && report.outcome(&outcome, Some(elapsed)).is_err() {
            break;
        }
    }
    Repeated { code: code.unwrap_or_default(), reached, tally }
}
