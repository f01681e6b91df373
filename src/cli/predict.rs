//! `kube-probesim predict`: predicts how the kubelet reacts to the faults of a manifest.

mod arguments;
mod choice;
mod fetch;
mod files;
mod meter;
mod profiles;
mod terminal;

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::wall_clock;
use crate::fault::Timestamp;
use crate::predict::Workload;
use crate::predict::fail_on::Condition;
use crate::predict::manifest::{self, Manifests};
use crate::predict::profile::ProfileSet;
use crate::predict::report::{self, Outcome, Output, View};
use crate::predict::run::{Options, Replicas};

use arguments::{PredictArguments, PredictCommand};
use meter::Meter;
pub use terminal::{ProgressForm, Terminal};

use super::exit;
use super::shared::{print_error, print_help, print_usage_errors};

/// The size of the output buffer, in bytes.
const REPORT: usize = 1 << 20;

pub(super) const HELP: &str = "\
Print the budgets of a manifest's probes, and predict what the kubelet will do with its faults.

Usage: kube-probesim predict [OPTIONS] [FILE]...

FILE  YAML or JSON with Pods, or with anything that has a Pod template (Deployments, Jobs, Rollouts, Lists, ...), of any
      image, and with their ConfigMaps, Services and PodDisruptionBudgets; a directory means its .yaml, .yml and .json
      files; - or none: standard input

OPTIONS
  --for DURATION           simulated time [default: 1h]
  --at INSTANT             instant of the start, such as 2026-11-23T12:00:00Z, for faults with `start` or `until` [default: now]
  --pods N                 Pods of each workload [default: its replicas]
  --pod NAME               print the timeline of this Pod [default: the first]
  --seed N                 seed of names, of chances on the node, and of seeds that are not given
                           [default: the workload's SEED, else 0]
  --endpoint-lag DURATION  how long a Pod that is no longer Ready still gets calls [default: 1s]
  --call-timeout DURATION  how long a caller of the Service waits for an answer [default: 5s]
  --profile CONTAINER=FILE|{...}
                           how a container behaves, as a file or inline: '{ready_after: 20s, latency: 50ms}'; also
                           WORKLOAD/CONTAINER and *; repeatable; without CONTAINER=, a file with `profiles` by container
  --profile-from [CONTAINER=]FILE|URL[#HISTOGRAM]
                           measured latencies: a histogram in Prometheus' text format, or the output of
                           `probe --every 1s --output json`
  --stops-after DURATION|never
                           how long programs without a profile take to exit after SIGTERM; never: they ignore SIGTERM
                           and take the whole grace period [default: 0s]
  --assume-healthy         assume that containers without a profile are healthy; otherwise restarts and availability of
                           workloads without kube-probesim are not assessed
  --complete               a ConfigMap or Secret that is not in the input is an error, instead of assumed to exist
  --runs N                 also print p5, p50 and p95 over N independent runs
  --rollout AT             start a rolling update at this time, such as 10m, with the strategy of the manifest
  --drain AT               drain the nodes of the Pods at this time, one after the other, as far as budgets allow
  --kubelet-restart AT     restart the kubelets at this time; repeatable
  --pods-over DURATION     create the first Pods spread over this time, not all at once
  --against FILE           compare budgets and outcomes: FILE... is before, this is after; repeatable
  --kind KIND, --name NAME, --selector LABELS
                           select workloads by kind, name, and labels of their Pods (app=web,tier!=db); repeatable
  --no-advice NAME         suppress this advice; repeatable
  --output FORM            text, json, junit, svg (a picture of one workload) or html (a page)
                                [default: text]; JSON is one object per line: each event, then a summary
  --fail-on CONDITION      exit with 1 if it holds for a Pod; repeatable: 'restarts > 0', 'unready > 30s',
                           'outage > 10s', 'backoff > 1m', 'availability < 99.9%' (also >= and <=), or the name of advice
  -h, --help

A duration is written 250ms, 1s or 1m30s; a bare number is in seconds.

Exit code: 0; 1 a condition of --fail-on holds; 64 wrong usage; 65 wrong manifests; 66 a file
cannot be read.
";

/// Runs the command with the arguments that follow its name. Returns the exit code.
pub fn run(
    args: impl IntoIterator<Item = OsString>,
    stdin: &mut dyn Read,
    terminal: &Terminal,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> u8 {
    let arguments = match arguments::parse(args, terminal.is_input) {
        Ok(PredictCommand::Predict(mut arguments)) => {
            arguments.style = terminal.style;
            arguments.progress = terminal.progress_beside(arguments.output);
            arguments.options.progress = (arguments.progress != ProgressForm::None).then(Arc::default);
            arguments
        }
        Ok(PredictCommand::Help) => return print_help(HELP, stdout),
        Err(errors) => return print_usage_errors("predict", &errors, stderr),
    };
    let profiles = match profiles::load(&arguments.profiles) {
        Ok(profiles) => profiles,
        Err(problems) => {
            for problem in &problems {
                print_error("predict", &problem.text, stderr);
            }
            let unreadable = problems.iter().any(|problem| problem.is_unreadable);
            return if unreadable { exit::NO_INPUT } else { exit::DATA };
        }
    };
    let manifests = match load(&arguments.files, &arguments, &profiles, stdin, stderr) {
        Ok(manifests) => manifests,
        Err(code) => return code,
    };
    if arguments.against.is_empty() {
        return predict(&arguments, &manifests, stdout, stderr);
    }
    match load(&arguments.against, &arguments, &profiles, stdin, stderr) {
        Ok(against) => compare(&arguments, &manifests, &against, stdout, stderr),
        Err(code) => code,
    }
}

/// Reads manifests, applies the profiles, and keeps the selected workloads. Prints errors and returns the exit code.
fn load(
    files: &[OsString],
    arguments: &PredictArguments,
    profiles: &ProfileSet,
    stdin: &mut dyn Read,
    stderr: &mut dyn Write,
) -> Result<Manifests, u8> {
    let inputs = files::read(files, stdin).map_err(|errors| {
        let unreadable = errors.iter().any(|(_, error)| !error.is_content());
        for (file, error) in errors {
            print_error("predict", format!("{file}: {error}"), stderr);
        }
        if unreadable { exit::NO_INPUT } else { exit::DATA }
    })?;
    let mut manifests = manifest::read_as(&inputs, arguments.complete).map_err(|errors| {
        let _ = writeln!(stderr, "{errors}");
        exit::DATA
    })?;
    if !arguments.choice.takes_all() && !manifests.workloads.is_empty() {
        let all: Vec<String> =
            manifests.workloads.iter().map(|it| format!("{} {}", it.kind, it.name)).take(10).collect();
        manifests.choose(|workload| arguments.choice.takes(workload));
        if manifests.workloads.is_empty() {
            let line = format!("--kind, --name and --selector select none of {}", all.join(", "));
            print_error("predict", line, stderr);
            return Err(exit::USAGE);
        }
    }
    apply_profiles(&mut manifests, profiles).map_err(|(code, lines)| {
        for line in &lines {
            print_error("predict", line, stderr);
        }
        code
    })?;
    Ok(manifests)
}

/// Prints what changes between two versions. Conditions of `--fail-on` apply to the second.
fn compare(
    arguments: &PredictArguments,
    before: &Manifests,
    after: &Manifests,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> u8 {
    let options = options(arguments);
    if let Err(line) = check_assessed(arguments, &after.workloads, &options) {
        print_error("predict", line, stderr);
        return exit::USAGE;
    }
    let as_json = arguments.output == Output::Json;
    let mut code = 0;
    let _meter = meter(arguments, &options, before.workloads.iter().chain(&after.workloads));
    let mut stdout = io::BufWriter::new(stdout);
    for (number, pair) in report::pairs(&before.workloads, &after.workloads).into_iter().enumerate() {
        if number > 0 && !as_json {
            let _ = writeln!(stdout);
        }
        let after = pair.after;
        // Stop quietly: the reader closed the pipe.
        let Ok(outcome) = report::compare(pair, &options, as_json, &mut stdout) else { return code };
        if let (Some(workload), Some(outcome)) = (after, outcome)
            && has_failed(arguments, workload, &outcome, stderr)
        {
            code = exit::FAILED;
        }
    }
    let _ = stdout.flush();
    code
}

/// Whether a condition of `--fail-on` holds. Prints the reason.
fn has_failed(
    arguments: &PredictArguments,
    workload: &Workload,
    outcome: &Outcome,
    stderr: &mut dyn Write,
) -> bool {
    let pods = outcome.prediction.as_ref().map_or(&[][..], |prediction| prediction.pods.as_slice());
    let mut failed = false;
    for reason in arguments.fail_on.iter().filter_map(|condition| condition.check(pods, &outcome.advice)) {
        let _ = writeln!(stderr, "kube-probesim predict: {} {}: {reason}", workload.kind, workload.name);
        failed = true;
    }
    failed
}

/// Checks that everything that `--fail-on` refers to is assessed. The error is one line.
fn check_assessed(
    arguments: &PredictArguments,
    workloads: &[Workload],
    options: &Options,
) -> Result<(), String> {
    let needs_run = arguments.fail_on.iter().any(Condition::needs_run);
    let unassessed = workloads.iter().find(|workload| !report::is_assessed(workload, options));
    match unassessed.filter(|_| needs_run) {
        Some(workload) => Err(format!(
            "--fail-on needs an assessment, but no container of {} {} runs kube-probesim; select others, or use --assume-healthy",
            workload.kind, workload.name
        )),
        None => Ok(()),
    }
}

/// The options, with the instant at which the prediction begins.
fn options(arguments: &PredictArguments) -> Options {
    // Whole seconds, so that the printed instant can be given to --at.
    let at = arguments.at.unwrap_or_else(|| Timestamp(Duration::from_secs(wall_clock().0.as_secs())));
    Options { at, ..arguments.options.clone() }
}

/// Applies the profiles to the workloads.
fn apply_profiles(manifests: &mut Manifests, profiles: &ProfileSet) -> Result<(), (u8, Vec<String>)> {
    let mut errors = Vec::new();
    for workload in &mut manifests.workloads {
        let place = format!("{}, {} {}", workload.place, workload.kind, workload.name);
        if let Err(wrong) = profiles.apply(workload) {
            errors.extend(wrong.into_iter().map(|line| format!("{place}: {line}")));
        }
    }
    if !errors.is_empty() {
        return Err((exit::DATA, errors));
    }
    let containers: Vec<(&str, &str)> = manifests
        .workloads
        .iter()
        .flat_map(|it| it.pod.containers.iter().map(|container| (it.name.as_str(), container.name.as_str())))
        .collect();
    let unused = profiles.unused(&containers);
    if unused.is_empty() {
        return Ok(());
    }
    let known: Vec<&str> = containers.iter().map(|(_, name)| *name).take(10).collect();
    let line = |name: &str| {
        format!("--profile {name}: there is no such container; the containers are {}", known.join(", "))
    };
    Err((exit::USAGE, unused.into_iter().map(line).collect()))
}

fn predict(
    arguments: &PredictArguments,
    manifests: &Manifests,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> u8 {
    let Manifests { workloads, services, others } = manifests;
    if workloads.is_empty() {
        return report_no_pods(arguments, others, stdout, stderr);
    }
    let options = &options(arguments);
    if arguments.output == Output::Svg && workloads.len() > 1 {
        let names: Vec<String> =
            workloads.iter().map(|it| format!("{} {}", it.kind, it.name)).take(5).collect();
        let line = format!("--output svg shows one workload; select one of {}", names.join(", "));
        print_error("predict", line, stderr);
        return exit::USAGE;
    }
    if let Err(line) = check_assessed(arguments, workloads, options) {
        print_error("predict", line, stderr);
        return exit::USAGE;
    }
    let replicas: Vec<Replicas> = workloads.iter().map(|workload| Replicas::new(workload, options)).collect();
    if let Some(wanted) = &arguments.timeline_of
        && !replicas.iter().flat_map(|replicas| &replicas.pods).any(|pod| pod.name == *wanted)
    {
        let _ = writeln!(
            stderr,
            "kube-probesim predict: --pod {wanted:?} is not one of the Pods{}",
            examples(&replicas)
        );
        return exit::USAGE;
    }
    let mut code = 0;
    let meter = meter(arguments, options, workloads.iter());
    // The buffer holds the report back until the progress is removed from the terminal.
    let mut stdout = io::BufWriter::with_capacity(REPORT, stdout);
    if report::begin(arguments.output, &mut stdout).is_err() {
        return code;
    }
    for (number, (workload, replicas)) in workloads.iter().zip(&replicas).enumerate() {
        if number > 0 && arguments.output == Output::Text {
            let _ = writeln!(stdout);
        }
        let shown = arguments.timeline_of.as_deref();
        let shown = replicas.pods.iter().position(|pod| Some(pod.name.as_str()) == shown).unwrap_or_default();
        let selecting = services.iter().filter(|service| service.workloads.contains(&number));
        let names = selecting.map(|service| {
            let despite =
                if service.publishes_not_ready { " (as without publishNotReadyAddresses)" } else { "" };
            format!("{}{despite}", service.name)
        });
        let view = View {
            output: arguments.output,
            shown,
            services: names.collect(),
            fail_on: arguments.fail_on.clone(),
            style: arguments.style,
        };
        let predicted = report::predict(workload, replicas, options, &view, &mut stdout);
        // Stop quietly: the reader closed the pipe.
        let Ok(outcome) = predicted else { return code };
        if has_failed(arguments, workload, &outcome, stderr) {
            code = exit::FAILED;
        }
    }
    drop(meter);
    let _ = report::end(arguments.output, &mut stdout);
    let _ = stdout.flush();
    code
}

/// Starts the display of progress, if there is one.
fn meter<'a>(
    arguments: &PredictArguments,
    options: &Options,
    workloads: impl Iterator<Item = &'a Workload>,
) -> Option<Meter> {
    let progress = options.progress.clone()?;
    for workload in workloads.filter(|workload| report::is_assessed(workload, options)) {
        let pods = options.pods.unwrap_or(workload.replicas) as usize;
        let is_compared = !arguments.against.is_empty();
        let runs = if is_compared { 0 } else { options.runs as usize };
        progress.expect(pods * (1 + runs), options.horizon);
    }
    Some(Meter::start(progress, arguments.progress == ProgressForm::Terminal))
}

/// Reports that no object of the input creates Pods.
fn report_no_pods(
    arguments: &PredictArguments,
    others: &[(String, usize)],
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> u8 {
    let kinds = others.iter().map(|(kind, count)| format!("{count} {kind}"));
    let what = format!("no object in the input creates Pods; found {}", kinds.collect::<Vec<_>>().join(", "));
    if !arguments.fail_on.is_empty() {
        print_error("predict", format!("--fail-on has nothing to check: {what}"), stderr);
        return exit::USAGE;
    }
    let _ = match arguments.output {
        Output::Text => writeln!(stdout, "Nothing to predict: {what}"),
        Output::Json | Output::Svg => Ok(()),
        form => report::begin(form, stdout).and_then(|()| report::end(form, stdout)),
    };
    0
}

/// The first few names.
fn examples(replicas: &[Replicas]) -> String {
    let names: Vec<&str> =
        replicas.iter().flat_map(|replicas| &replicas.pods).map(|pod| pod.name.as_str()).take(5).collect();
    if names.is_empty() { String::new() } else { format!(", such as {}", names.join(", ")) }
}
