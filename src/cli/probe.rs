//! `kube-probesim probe`: probes like the kubelet, once, until a result, or for ever.

mod arguments;
mod latency;
mod report;

use std::ffi::OsString;
use std::io::Write;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::clock::Timer;
use crate::prober::{Outcome, ProbeResult};

use arguments::{Arguments, Request, Schedule};
use report::{Report, Tally};

/// Exit code of wrong usage.
pub const EXIT_USAGE: u8 = 64;

/// Exit code where the runtime cannot be started.
const EXIT_OS: u8 = 71;

const HELP: &str = "\
Probe like the kubelet, once, until a result, or for ever.

Usage: kube-probesim probe [OPTIONS] [ADDRESS]

ADDRESS
  http://host[:port][/path]    GET, with the kubelet's headers, redirect rules and limits
  tcp://host:port              connect and close
  grpc://host:port[/service]   grpc.health.v1.Health/Check, plaintext
  liveness, readiness, startup, dependency, traffic
                               that path of the service on PORT and BIND_ADDRESS of the environment
  Absent: readiness. https:// is not supported yet.

OPTIONS
  --timeout DURATION           for connect, head and body together, redirects included [default: 1s]
  --header 'Name: value'       of an HTTP probe; repeatable; 'Host: x' replaces the host, 'Accept:' removes that header
  --until success|failure      repeat until this result (a warning is a success, an error is neither)
  --every DURATION             time from one attempt to the next [default with --until: 1s]; without --until:
                               observe, and print availability and latency at the end
  --for DURATION               with --until or --every: begin no attempt after this time [default: no limit]
  --output text|json           [default: text]; JSON is one object per line
  -h, --help

A duration is written 250ms, 1s or 1m30s; a bare number is in seconds.

A line has: result, phase in which the attempt ended, status code, time, and the text of the kubelet's event.
With --until and --every a line stands for each change, with the time since the start before it.
Each line is one attempt. The kubelet repeats an attempt that ends with an error up to twice at once, and then throws
the error away; with --until and --every each attempt counts by itself.

Exit code, by the last attempt: 0 success or warning, 1 failure, 3 error; 64 wrong usage; 128 + N ended by signal N
before the first attempt was through.
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
        Ok(Request::Probe(arguments)) => arguments,
        Ok(Request::Help) => {
            // Whoever closes the output has read enough; so below.
            let _ = stdout.write_all(HELP.as_bytes());
            return 0;
        }
        Err(errors) => {
            for error in errors {
                let _ = writeln!(stderr, "kube-probesim probe: {error}");
            }
            let _ = writeln!(stderr, "See kube-probesim probe --help");
            return EXIT_USAGE;
        }
    };
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(probe(&arguments, stdout, stderr));
            // The lookup of a name may still hang, and nobody waits for it.
            runtime.shutdown_background();
            code
        }
        Err(error) => {
            let _ = writeln!(stderr, "kube-probesim probe: cannot start: {error}");
            EXIT_OS
        }
    }
}

/// Exit code of an attempt with this result.
pub const fn exit_code(result: ProbeResult) -> u8 {
    match result {
        ProbeResult::Success | ProbeResult::Warning => 0,
        ProbeResult::Failure => 1,
        ProbeResult::Error => 3,
    }
}

async fn probe(arguments: &Arguments, stdout: &mut dyn Write, stderr: &mut dyn Write) -> u8 {
    let mut signals = Signals::new();
    let mut report = Report::new(&arguments.address, arguments.output, stdout);
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
            let ended = repeat(arguments, every, limit, wanted, &mut signals, &mut report).await;
            if !ended.reached {
                let result = if success { "success" } else { "failure" };
                let _ = writeln!(
                    stderr,
                    "kube-probesim probe: no {result} in {} attempts",
                    ended.tally.attempts()
                );
            }
            ended.code
        }
        Schedule::Observe { every, limit } => {
            let ended = repeat(arguments, every, limit, |_| false, &mut signals, &mut report).await;
            let _ = report.summary(&ended.tally);
            ended.code
        }
    }
}

/// What came of attempts in a row.
struct Repeated {
    code: u8,
    /// Whether the wanted outcome came.
    reached: bool,
    tally: Tally,
}

/// Probes until the wanted outcome, the limit, a signal, or a closed output, and reports each change.
async fn repeat(
    arguments: &Arguments,
    every: Duration,
    limit: Option<Duration>,
    wanted: impl Fn(&Outcome) -> bool,
    signals: &mut Signals,
    report: &mut Report<'_>,
) -> Repeated {
    let start = Instant::now();
    let end = limit.map(|limit| start + limit);
    // As the kubelet's ticker: it holds one tick, so that a slow attempt may be followed by the next at once.
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut tally = Tally::default();
    let mut last = None;
    let mut code = None;
    let mut reached = false;
    while !reached {
        let tick = async {
            tokio::select! {
                biased;
                () = Timer::of_runtime().sleep_until_some(end) => None,
                _ = ticks.tick() => {
                    let began = start.elapsed();
                    Some((began, arguments.probe.attempt(arguments.timeout).await))
                }
            }
        };
        let (began, outcome) = tokio::select! {
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
        if last.replace(now) != Some(now) && report.outcome(&outcome, Some(began)).is_err() {
            break;
        }
    }
    Repeated { code: code.unwrap_or_default(), reached, tally }
}

/// The signals that end the command. As the first process of a container it would not notice them otherwise.
struct Signals([Option<(u8, Signal)>; 2]);

impl Signals {
    fn new() -> Self {
        Self([(2, SignalKind::interrupt()), (15, SignalKind::terminate())].map(|(number, kind)| {
            // Without a handler the signal does what it does by default.
            signal(kind).ok().map(|signal| (number, signal))
        }))
    }

    /// The number of the next signal.
    async fn next(&mut self) -> u8 {
        async fn one(signal: &mut Option<(u8, Signal)>) -> u8 {
            match signal {
                Some((number, signal)) => {
                    signal.recv().await;
                    *number
                }
                None => std::future::pending().await,
            }
        }
        let [interrupt, terminate] = &mut self.0;
        tokio::select! {
            number = one(interrupt) => number,
            number = one(terminate) => number,
        }
    }
}
