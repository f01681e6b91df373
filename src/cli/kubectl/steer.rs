//! The verbs of `fault` in many Pods, and their answers as a table.

use std::io::{BufRead, BufReader, Write};
use std::process::Child;
use std::sync::mpsc;

use serde_json::{Value, json};

use super::error::KubectlError;
use super::fields;
use super::fleet::{self, Answer};
use super::options::{Call, CallKind, Options};
use super::pods::{self, Pod};
use super::process::Kubectl;
use crate::cli::exit;
use crate::cli::fault::table;
use crate::cli::shared::{OutputFormat, print_error};
use crate::cli::text::OneLine;
use crate::fault::Seed;
use crate::server::draw_seed;

/// Runs a verb of `fault` in the Pods of the selection. Returns the exit code.
///
/// # Errors
///
/// kubectl fails, no Pod is there, or the output is closed.
pub(super) fn run(
    kubectl: &Kubectl,
    options: &Options,
    call: &Call,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8, KubectlError> {
    let mut pods = pods::find(kubectl, options)?;
    if let Some(percent) = options.share {
        let of = pods.iter().filter(|pod| pod.is_ready).count();
        // A drawn one is short enough to be typed again.
        let seed = options.seed.unwrap_or_else(|| draw_seed() >> 32);
        pods = pods::share(pods, percent, Seed(seed));
        if pods.is_empty() {
            return Err(KubectlError::NoneReady(pods::selection(options)));
        }
        // On the standard error, since the standard output may be read by a program.
        let names = pods.iter().map(|pod| pod.name.as_str()).collect::<Vec<_>>().join(", ");
        let _ = writeln!(err, "{} of {of} Ready Pods, by --seed {seed}: {names}", pods.len());
    }
    if options.is_dry_run {
        return dry_run(kubectl, options, call, &pods, out);
    }
    if call.kind == CallKind::Watch {
        return watch(kubectl, options, call, &pods, out);
    }
    let answers = fleet::ask(kubectl, options, call, &pods);
    match (options.output, call.kind) {
        (OutputFormat::Json, _) => print_json(&answers, out)?,
        (OutputFormat::Text, CallKind::List) => out.write_all(list(&answers).as_bytes())?,
        (OutputFormat::Text, CallKind::Top) => out.write_all(top(&answers).as_bytes())?,
        (OutputFormat::Text, _) => out.write_all(changes(&answers).as_bytes())?,
    }
    let failed = answers.iter().filter(|answer| answer.result.is_err()).count();
    if failed == 0 {
        return Ok(exit::OK);
    }
    print_error("kubectl", format_args!("{failed} of {} Pods failed", answers.len()), err);
    Ok(exit::FAILED)
}

/// Prints what would be run in each Pod.
fn dry_run(
    kubectl: &Kubectl,
    options: &Options,
    call: &Call,
    pods: &[Pod],
    out: &mut dyn Write,
) -> Result<u8, KubectlError> {
    let mut code = exit::OK;
    for pod in pods {
        match fleet::arguments(pod, options, call) {
            Ok(arguments) => writeln!(out, "{}", kubectl.line(&arguments))?,
            Err(reason) => {
                code = exit::FAILED;
                writeln!(out, "# {}: {reason}", pod.name)?;
            }
        }
    }
    if let Some(input) = &call.input {
        writeln!(out, "# on the standard input of each:\n# {}", String::from_utf8_lossy(input))?;
    }
    Ok(code)
}

/// An object for each Pod, a line each.
fn print_json(answers: &[Answer<'_>], out: &mut dyn Write) -> Result<(), KubectlError> {
    for Answer { pod, result } in answers {
        let mut object = json!({"namespace": pod.namespace, "pod": pod.name, "ready": pod.is_ready, "restarts": pod.restarts});
        match result {
            Ok(text) => {
                // A call that adds several rules has an answer for each.
                let answers: Vec<Value> =
                    serde_json::Deserializer::from_str(text).into_iter().filter_map(Result::ok).collect();
                object["answers"] = answers.into();
            }
            Err(reason) => object["error"] = reason.as_str().into(),
        }
        writeln!(out, "{object}")?;
    }
    Ok(())
}

/// The first line of each answer.
fn changes(answers: &[Answer<'_>]) -> String {
    let rows = answers.iter().map(|Answer { pod, result }| {
        let (result, text) = match result {
            Ok(text) => ("done", text.lines().next().unwrap_or_default()),
            Err(reason) => ("FAILED", reason.as_str()),
        };
        vec![pod.name.clone(), result.to_owned(), OneLine(text).to_string()]
    });
    table::aligned(&["POD", "RESULT", "ANSWER"], rows.collect())
}

/// The state that a Pod answered with.
fn state(result: &Result<String, String>) -> Result<Value, String> {
    let text = result.as_ref().map_err(Clone::clone)?;
    serde_json::from_str(text).map_err(|error| format!("the answer is not JSON: {error}"))
}

/// The rules of each Pod; a Pod without rules has a row that says so, and one that failed a line below.
fn list(answers: &[Answer<'_>]) -> String {
    let (mut rows, mut failed) = (Vec::new(), String::new());
    for Answer { pod, result } in answers {
        match state(result).map(|state| table::rows(&state)) {
            Ok(of_pod) if of_pod.is_empty() => rows.push(vec![pod.name.clone(), "no rule".to_owned()]),
            Ok(of_pod) => rows.extend(of_pod.into_iter().map(|row| [vec![pod.name.clone()], row].concat())),
            Err(reason) => failed.push_str(&failure(pod, &reason)),
        }
    }
    let head: Vec<&str> = std::iter::once("POD").chain(table::HEAD).collect();
    let table = if rows.is_empty() { String::new() } else { table::aligned(&head, rows) };
    table + &failed
}

/// Why a Pod has no answer, as a line.
fn failure(pod: &Pod, reason: &str) -> String {
    format!("{}  FAILED  {}\n", pod.name, OneLine(reason))
}

/// Sums of each Pod, and of all.
fn top(answers: &[Answer<'_>]) -> String {
    let (mut rows, mut sums, mut failed) = (Vec::new(), [0; 4], String::new());
    for Answer { pod, result } in answers {
        let mut row = vec![pod.name.clone(), if pod.is_ready { "yes" } else { "no" }.to_owned()];
        match state(result) {
            Ok(state) => {
                let rules = fields::list(&state["rules"]);
                let totals = rules.iter().map(table::totals);
                let (eligible, injected) = totals.fold((0, 0), |sum, of| (sum.0 + of.0, sum.1 + of.1));
                let numbers = [pod.restarts, rules.len() as u64, eligible, injected];
                sums.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += number);
                row.extend(numbers.map(|number| number.to_string()));
            }
            Err(reason) => {
                row.extend([pod.restarts.to_string(), "FAILED".to_owned()]);
                sums[0] += pod.restarts;
                failed.push_str(&failure(pod, &reason));
            }
        }
        rows.push(row);
    }
    let ready = answers.iter().filter(|answer| answer.pod.is_ready).count();
    let mut total = vec![format!("{} Pods", answers.len()), ready.to_string()];
    total.extend(sums.map(|sum| sum.to_string()));
    rows.push(total);
    table::aligned(&["POD", "READY", "RESTARTS", "RULES", "ELIGIBLE", "INJECTED"], rows) + &failed
}

/// Prints the events of all Pods as they happen, until kubectl ends in each.
fn watch(
    kubectl: &Kubectl,
    options: &Options,
    call: &Call,
    pods: &[Pod],
    out: &mut dyn Write,
) -> Result<u8, KubectlError> {
    let mut children = Vec::new();
    for pod in pods {
        let Ok(arguments) = fleet::arguments(pod, options, call) else { continue };
        children.push((pod, kubectl.start(&arguments)?));
    }
    let (sender, events) = mpsc::channel();
    let code = std::thread::scope(|scope| {
        for (pod, child) in &mut children {
            let (sender, pod) = (sender.clone(), *pod);
            let Some(stdout) = child.stdout.take() else { continue };
            scope.spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    if sender.send((pod, line)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let printed = events.iter().try_for_each(|(pod, line)| print_event(options.output, pod, &line, out));
        drop(events);
        end(children.iter_mut().map(|(_, child)| child), printed.is_err())
    });
    Ok(if children.len() < pods.len() { exit::FAILED } else { code })
}

fn print_event(output: OutputFormat, pod: &Pod, line: &str, out: &mut dyn Write) -> std::io::Result<()> {
    let event: Value = serde_json::from_str(line).unwrap_or_else(|_| json!({ "kind": line }));
    match output {
        OutputFormat::Json => {
            writeln!(out, "{}", json!({"namespace": pod.namespace, "pod": pod.name, "event": event}))?;
        }
        OutputFormat::Text => writeln!(out, "{}  {}", pod.name, OneLine(&table::event(&event)))?,
    }
    out.flush()
}

/// Waits for all, or ends all where nobody reads any more.
fn end<'a>(children: impl Iterator<Item = &'a mut Child>, kills: bool) -> u8 {
    let mut code = exit::OK;
    for child in children {
        if kills {
            // It may have ended by itself.
            let _ = child.kill();
        }
        let has_failed = child.wait().map_or(true, |status| !status.success());
        if has_failed && !kills {
            code = exit::FAILED;
        }
    }
    code
}
