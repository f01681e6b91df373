//! `kube-probesim wait`: blocks until all named objects and addresses are ready.

mod arguments;
mod go_flags;
mod report;
mod targets;

use std::ffi::OsString;
use std::future::pending;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::exit;
use super::shared::{block_on, print_error, print_help, print_usage_errors};
use super::signals::EndSignals;
use super::text::without_local_address;
use crate::cluster::{Grant, State, observe};
use crate::task;
use arguments::{WaitArguments, WaitCommand};
use report::WaitReport;
use targets::{StateSource, WaitTarget};

/// Interval of the progress report while nothing changes.
const REMINDER: Duration = Duration::from_secs(30);

/// Changes within this time are reported together.
const REPORT_INTERVAL: Duration = Duration::from_millis(100);

pub(super) const HELP: &str = "\
Block until all given items are ready, such as in an init container.

Usage: kube-probesim wait [OPTIONS] ITEM...

ITEM
  KIND/NAME                    an object of the Kubernetes API: deployment/postgres, pod/cache-0, job/migrate, service/api
  KIND --selector LABELS       all objects with these labels, at least one
  http://... https://... tcp://... grpc://... grpcs://...
                               an address, as for `probe`

OPTIONS
  --resource KIND --name NAME  the same as KIND/NAME; --name can be repeated
  -l, --selector LABELS        such as app=db,tier!=cache
  --condition CONDITION        condition of the item before it; before the first item, of all items without one; --for is the same
  -n, --namespace NAMESPACE    namespace of the items that follow; the first also of those before it
                               [default: that of the Pod, else default]
  --timeout DURATION           give up after this time [default: 0, never]
  --server URL                 the API server [default: that of the Pod]; http://127.0.0.1:8001 is `kubectl proxy`
  --certificate-authority FILE authorities for the certificate of --server [default: those of the system]
  --token-file FILE            the token for --server
  --every DURATION             time from one attempt at an address to the next [default: 1s]
  --probe-timeout DURATION     time limit of an attempt at an address [default: 1s]
  --output text|json           [default: text]; JSON is one object per line
  -h, --help

Options also work as Go's flags: -namespace app and -namespace=app. A duration is written 250ms, 1s or 1m30s; a bare number
is in seconds.

CONDITION
  ready                        default of pods; for workloads, all replicas are ready
  available                    default of deployments: the condition Available, for the current generation
  rolled-out                   default of statefulsets and daemonsets: `kubectl rollout status` would return
  complete                     default of jobs
  has-endpoints                default of services: at least one endpoint is ready
  exists                       default of every other kind
  TYPE, TYPE=STATUS            an entry of status.conditions
  jsonpath={.status.phase}=Running
                               this value; without =, any value

It continues after errors of the API server. It prints what is missing when that changes and at least every 30 s. If a
permission is missing, it prints the Role that grants it.

Exit code: 0 all items are ready, 1 not within --timeout, 2 impossible: a Job has failed, or a named Pod has ended. 64 wrong
usage; 78 no API server is known; 128 + N ended by signal N.
";

/// Runs the command with the arguments that follow its name and the environment of the process. Returns the exit
/// code.
pub fn run(
    args: impl IntoIterator<Item = OsString>,
    env: impl IntoIterator<Item = (OsString, OsString)>,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> u8 {
    let arguments = match arguments::parse(args) {
        Ok(WaitCommand::Wait(arguments)) => arguments,
        Ok(WaitCommand::Help) => return print_help(HELP, stdout),
        Err(errors) => return print_usage_errors("wait", &errors, stderr),
    };
    let targets = match targets::resolve(&arguments, &env.into_iter().collect::<Vec<_>>()) {
        Ok(targets) => targets,
        Err(error) => {
            print_error("wait", error, stderr);
            return exit::CONFIG;
        }
    };
    block_on(Box::pin(wait(&arguments, targets, stdout, stderr))).unwrap_or_else(|error| {
        print_error("wait", format_args!("cannot start: {error}"), stderr);
        exit::OS
    })
}

/// An observer's report about one item, identified by its number.
struct ItemUpdate {
    item: usize,
    state: State,
    grant: Option<Grant>,
}

async fn wait(
    arguments: &WaitArguments,
    targets: Vec<WaitTarget>,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> u8 {
    let start = Instant::now();
    let end = arguments.timeout.map(|timeout| start + timeout);
    let mut signals = EndSignals::new();
    let mut report =
        WaitReport::new(targets.iter().map(|target| target.name.clone()), arguments.output, start);
    let (sender, mut updates) = unbounded_channel();
    for (number, target) in targets.into_iter().enumerate() {
        observe_item(number, target, arguments, sender.clone());
    }
    drop(sender);
    let mut reminder = start + REMINDER;
    loop {
        let next = tokio::select! {
            biased;
            number = signals.next() => return exit::signalled(number),
            () = sleep_until_some(end) => {
                let _ = report.timed_out(stdout);
                print_error("wait", format_args!("not ready in time: {}", report.missing()), stderr);
                return exit::FAILED;
            }
            () = sleep_until(reminder) => None,
            update = updates.recv() => update,
        };
        let changed = match next {
            None => true,
            Some(update) => take_all(update, &mut updates, &mut report).await,
        };
        if let Some(failed) = report.failed() {
            print_error("wait", format_args!("cannot become ready: {failed}"), stderr);
            return exit::NEVER;
        }
        if report.is_ready() {
            let _ = report.ready(stdout);
            return exit::OK;
        }
        if changed {
            reminder = Instant::now() + REMINDER;
            let _ = report.waiting(stdout);
        }
        if let Some(role) = report.new_role() {
            let _ = writeln!(stderr, "# This Role grants what is missing:\n{role}");
        }
    }
}

/// Applies an update and those that follow shortly after. Returns whether anything changed.
async fn take_all(
    first: ItemUpdate,
    updates: &mut UnboundedReceiver<ItemUpdate>,
    report: &mut WaitReport,
) -> bool {
    let mut changed = report.take(first.item, first.state, first.grant);
    let deadline = Instant::now() + REPORT_INTERVAL;
    while !report.is_ready() && report.failed().is_none() {
        let Ok(Some(update)) = timeout_at(deadline, updates.recv()).await else { break };
        changed |= report.take(update.item, update.state, update.grant);
    }
    changed
}

async fn sleep_until_some(end: Option<Instant>) {
    match end {
        Some(end) => sleep_until(end).await,
        None => pending().await,
    }
}

/// Starts the task that observes an item.
fn observe_item(
    number: usize,
    target: WaitTarget,
    arguments: &WaitArguments,
    updates: UnboundedSender<ItemUpdate>,
) {
    match target.source {
        StateSource::Object { access, subject } => {
            let mut last = None;
            let report = Box::new(move |state: State, grant: Option<Grant>| {
                // Unchanged states are not sent, which keeps the queue short.
                if last.as_ref() != Some(&state) {
                    last = Some(state.clone());
                    let _ = updates.send(ItemUpdate { item: number, state, grant });
                }
            });
            task::spawn(observe(Arc::clone(&access), subject, report));
        }
        StateSource::Address(probe) => {
            let (every, timeout) = (arguments.every, arguments.probe_timeout);
            task::spawn(async move {
                let mut last = None;
                loop {
                    let start = Instant::now();
                    let outcome = probe.attempt(timeout).await;
                    let state = if outcome.result.is_success() {
                        State::Ready
                    } else {
                        State::Missing(without_local_address(&outcome.message))
                    };
                    if last.as_ref() != Some(&state) {
                        last = Some(state.clone());
                        let _ = updates.send(ItemUpdate { item: number, state, grant: None });
                    }
                    sleep_until(start + every).await;
                }
            });
        }
    }
}
