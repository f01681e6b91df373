//! One JSON object per line: each event, then a summary.
//!
//! A prediction has up to millions of events, so lines are put together from parts that are formatted once.

use std::io::{self, Write};
use std::time::Duration;

use serde_json::{Value, json};

use super::super::advice::Advice;
use super::super::budget::{self, Amount, Budget, Meaning};
use super::super::rollout::Milestone;
use super::super::run::{Observation, Options, PodOutcome, Prediction, Replicas, run};
use super::super::runs::{Runs, runs};
use super::super::selection::{Selection, selections};
use super::super::summary::Summary;
use super::super::watcher::Sight;
use super::super::workload::Workload;
use super::{Outcome, View, all_advice, assumptions, follows_calendar, is_assessed};
use crate::kubelet::{ContainerSpec, Event, PodEventKind, ProbeKind, RULES};
use crate::units::show_timestamp;

/// Writes all events and the summary.
pub(super) fn lines(
    workload: &Workload,
    replicas: &Replicas,
    options: &Options,
    view: &View,
    out: &mut dyn Write,
) -> io::Result<Outcome> {
    let name = format!("{}/{}", workload.kind, workload.name);
    if !is_assessed(workload, options) {
        let advice = all_advice(workload, replicas, options, None);
        let line = unassessed(&name, workload, replicas, options, view, &advice);
        writeln!(out, "{}", json!({ "summary": line }))?;
        return Ok(Outcome { prediction: None, advice });
    }
    let mut written = Ok(());
    let mut events = EventLines::new(&name, workload, replicas);
    let prediction = run(workload, replicas, options, &mut |observation| {
        if written.is_ok() {
            written = match observation {
                Observation::Pod { pod, event, sight } => out.write_all(events.line(pod, &event, sight)),
                Observation::Rollout(milestone) => writeln!(out, "{}", rollout(&name, milestone)),
                Observation::JobComplete { at } => {
                    let at = at.as_secs_f64();
                    let line = json!({ "workload": name, "elapsed_seconds": at, "event": "JobComplete" });
                    writeln!(out, "{line}")
                }
            };
        }
    });
    written?;
    let advice = all_advice(workload, replicas, options, Some(&prediction));
    let mut summary = summary(&name, workload, replicas, options, &prediction);
    summary["advice"] = advice_lines(&advice);
    summary["service"]["names"] = json!(view.services);
    if options.runs > 0 {
        summary["runs"] = json!(runs(workload, options).map(|runs| of_runs(&runs)));
    }
    writeln!(out, "{}", json!({ "summary": summary }))?;
    Ok(Outcome { prediction: Some(prediction), advice })
}

/// The summary of a workload that is not run.
fn unassessed(
    name: &str,
    workload: &Workload,
    replicas: &Replicas,
    options: &Options,
    view: &View,
    advice: &[Advice],
) -> Value {
    json!({
        "workload": name,
        "place": workload.place,
        "kubernetes": RULES,
        "assessed": false,
        "pods": replicas.pods.len(),
        "budgets": budgets(workload, options),
        "service": { "names": view.services },
        "advice": advice_lines(advice),
        "assumptions": workload.assumptions,
        "warnings": workload.warnings,
    })
}

fn of_runs(runs: &Runs) -> Value {
    let ready = |at: Option<Duration>| at.map(|at| at.as_secs_f64());
    json!({
        "count": runs.count,
        "restarts": { "p5": runs.restarts.p5, "p50": runs.restarts.p50, "p95": runs.restarts.p95 },
        "availability": { "p5": runs.availability.p5, "p50": runs.availability.p50, "p95": runs.availability.p95 },
        "ready_seconds": { "p5": ready(runs.ready.p5), "p50": ready(runs.ready.p50), "p95": ready(runs.ready.p95) },
    })
}

fn advice_lines(advice: &[Advice]) -> Value {
    advice.iter().map(|it| json!({ "code": it.code, "text": it.text })).collect()
}

fn budgets(workload: &Workload, options: &Options) -> Value {
    let amount = |amount: Amount| match amount {
        Amount::Time(time) => json!(time.as_secs_f64()),
        Amount::Pods(count) => json!(count),
        Amount::NoLimit => json!("no limit"),
        Amount::Never => json!("never"),
    };
    let line = |budget: Budget| {
        let (first, second) = match budget.meaning {
            Meaning::Limit => ("safe_up_to", "certain_beyond"),
            Meaning::Time => ("shortest", "longest"),
        };
        let is_count = matches!((budget.least, budget.most), (Amount::Pods(_), _));
        json!({
            "name": budget.name,
            "container": budget.container.map(|at| workload.pod.containers[at].name.as_str()),
            "probe": budget.probe.map(ProbeKind::name),
            "what": budget.what,
            "unit": if is_count { "pods" } else { "seconds" },
            first: amount(budget.least),
            second: amount(budget.most),
            "from": budget.formulas,
        })
    };
    budget::budgets(workload, options.endpoint_lag).into_iter().map(line).collect()
}

/// Formats events.
struct EventLines<'a> {
    containers: &'a [ContainerSpec],
    /// By Pod: the beginning of its lines, and how often it had an event of each text.
    pods: Vec<(String, Vec<u64>)>,
    texts: Vec<Text>,
    buffer: Vec<u8>,
}

/// What lines of the same kind share.
struct Text {
    container: usize,
    kind: PodEventKind,
    /// The members from the container to the message.
    members: String,
    /// The position of the first text with equal members: those are counted together.
    counted_as: usize,
}

impl<'a> EventLines<'a> {
    fn new(name: &str, workload: &'a Workload, replicas: &Replicas) -> Self {
        let opening = |pod: &str| {
            format!("{{\"workload\":{},\"pod\":{},\"elapsed_seconds\":", Value::from(name), Value::from(pod))
        };
        Self {
            containers: &workload.pod.containers,
            pods: replicas.pods.iter().map(|pod| (opening(&pod.name), Vec::new())).collect(),
            texts: Vec::new(),
            buffer: Vec::new(),
        }
    }

    /// The line of an event, with its end.
    fn line(&mut self, pod: usize, event: &Event, sight: Sight) -> &[u8] {
        let text = self.text(event);
        let (opening, counts) = &mut self.pods[pod];
        let buffer = &mut self.buffer;
        buffer.clear();
        buffer.extend_from_slice(opening.as_bytes());
        push_seconds(buffer, event.at);
        buffer.extend_from_slice(self.texts[text].members.as_bytes());
        match event.kind {
            PodEventKind::Started { restarts } => {
                buffer.extend_from_slice(b",\"restarts\":");
                push_number(buffer, restarts);
            }
            PodEventKind::BackOff { delay } => {
                buffer.extend_from_slice(b",\"delay_seconds\":");
                push_seconds(buffer, delay);
            }
            PodEventKind::PodReady(ready) => {
                buffer.extend_from_slice(b",\"watchers_see\":[");
                for (number, value) in sight.values(ready).iter().enumerate() {
                    buffer.extend_from_slice(if number > 0 { b"," } else { b"" });
                    buffer.extend_from_slice(if *value { b"true" } else { b"false" });
                }
                buffer.push(b']');
            }
            _ => {}
        }
        if event.kind.reason().is_some() {
            let text = self.texts[text].counted_as;
            if counts.len() <= text {
                counts.resize(text + 1, 0);
            }
            counts[text] += 1;
            buffer.extend_from_slice(b",\"count\":");
            push_number(buffer, if event.kind.repeats() { counts[text] } else { 1 });
        }
        buffer.extend_from_slice(b",\"recorded\":");
        buffer.extend_from_slice(if event.recorded { b"true}\n" } else { b"false}\n" });
        buffer
    }

    /// The position of an event's text among the known ones.
    fn text(&mut self, event: &Event) -> usize {
        // Numbers that are not part of the message.
        let kind = match event.kind {
            PodEventKind::Started { .. } => PodEventKind::Started { restarts: 0 },
            PodEventKind::BackOff { .. } => PodEventKind::BackOff { delay: Duration::ZERO },
            kind => kind,
        };
        let container = event.container;
        let known = self.texts.iter().position(|text| text.container == container && text.kind == kind);
        known.unwrap_or_else(|| {
            let members = members(event, &self.containers[container]);
            let number = self.texts.len();
            let counted_as = self.texts.iter().position(|text| text.members == members).unwrap_or(number);
            self.texts.push(Text { container, kind, members, counted_as });
            number
        })
    }
}

fn members(event: &Event, container: &ContainerSpec) -> String {
    let (name, details) = match event.kind {
        PodEventKind::Started { .. } => ("Started", json!({})),
        PodEventKind::Unhealthy { probe, error, .. } => {
            ("Unhealthy", json!({ "probe": probe.name(), "error": error }))
        }
        PodEventKind::Warning { probe, .. } => ("ProbeWarning", json!({ "probe": probe.name() })),
        PodEventKind::Result { probe, success } => {
            ("Result", json!({ "probe": probe.name(), "success": success }))
        }
        PodEventKind::Killing { probe, grace, restart } => (
            "Killing",
            json!({
                "probe": probe.map(ProbeKind::name), "grace_seconds": grace.as_secs_f64(), "restart": restart
            }),
        ),
        PodEventKind::OutOfMemory => ("OutOfMemory", json!({})),
        PodEventKind::Exited { code } => ("Exited", json!({ "exit_code": code })),
        PodEventKind::BackOff { .. } => ("BackOff", json!({})),
        PodEventKind::Ready(ready) => ("Ready", json!({ "ready": ready })),
        PodEventKind::PodReady(ready) => ("PodReady", json!({ "ready": ready })),
        PodEventKind::PodFails(why) => ("PodFails", json!({ "reason": why.reason() })),
        PodEventKind::PodGone => ("PodGone", json!({})),
        PodEventKind::PodFinished { succeeded } => {
            ("PodFinished", json!({ "phase": if succeeded { "Succeeded" } else { "Failed" } }))
        }
        PodEventKind::CallsFail(fail) => ("CallsFail", json!({ "fail": fail })),
    };
    let mut all = json!({ "container": container.name, "event": name, "message": event.message(container) });
    if let (Value::Object(all), Value::Object(details)) = (&mut all, details) {
        all.extend(details);
    }
    let all = all.to_string();
    format!(",{}", all.trim_start_matches('{').trim_end_matches('}'))
}

/// Appends a number in decimal digits.
fn push_number(buffer: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    buffer.extend_from_slice(&digits[first..]);
}

/// Appends seconds with as many decimals as they have, at least one.
fn push_seconds(buffer: &mut Vec<u8>, duration: Duration) {
    push_number(buffer, duration.as_secs());
    buffer.push(b'.');
    let mut nanos = duration.subsec_nanos();
    let mut place = 100_000_000;
    loop {
        buffer.push(b'0' + (nanos / place) as u8);
        nanos %= place;
        place /= 10;
        if nanos == 0 || place == 0 {
            break;
        }
    }
}

fn rollout(name: &str, milestone: Milestone) -> Value {
    match milestone {
        Milestone::Complete { at } => {
            json!({ "workload": name, "elapsed_seconds": at.as_secs_f64(), "event": "RolloutComplete" })
        }
        Milestone::Stalled { at, available } => json!({
            "workload": name, "elapsed_seconds": at.as_secs_f64(), "event": "ProgressDeadlineExceeded",
            "available": available
        }),
    }
}

fn summary(
    name: &str,
    workload: &Workload,
    replicas: &Replicas,
    options: &Options,
    prediction: &Prediction,
) -> Value {
    let figures = Summary::of(prediction);
    let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
    let mut line = json!({
        "workload": name,
        "place": workload.place,
        "kubernetes": RULES,
        "assessed": true,
        "budgets": budgets(workload, options),
        "pods": prediction.pods.len(),
        "horizon_seconds": options.horizon.as_secs_f64(),
        "seed": replicas.seed.0,
        "sample": replicas.sample,
        "restarts": figures.restarts.map(|it| json!({ "p50": it.p50, "p95": it.p95, "worst": it.worst })),
    });
    for (_, name, spread) in &figures.times {
        line[*name] = json!(spread.map(|it| {
            json!({
                "p50": it.p50.as_secs_f64(), "p95": it.p95.as_secs_f64(), "worst": it.worst.as_secs_f64()
            })
        }));
    }
    line["worst_availability"] = json!(figures.worst_availability);
    let watched = |it: &PodOutcome| it.watchers.unready.as_secs_f64();
    line["watchers"] = json!({
        "ready_flips": prediction.pods.iter().map(|pod| pod.watchers.flips).max(),
        "unready_seconds": prediction.pods.iter().map(watched).fold(0.0, f64::max),
    });
    line["service"] = json!({
        "first_endpoint_seconds": seconds(prediction.service.since),
        "endpoint_lag_seconds": options.endpoint_lag.as_secs_f64(),
        "no_endpoint_ratio": prediction.service.no_endpoint,
        "failed_calls_ratio": prediction.service.failed_calls,
    });
    line["rollout"] = json!(prediction.rollout.map(|rollout| {
        json!({ "complete_seconds": seconds(rollout.complete), "stalled_seconds": seconds(rollout.stalled) })
    }));
    if let Some(reason) = workload.why_no_pods().filter(|_| replicas.pods.is_empty()) {
        line["no_pods"] = json!(reason);
    }
    if let Some(at) = prediction.job_complete {
        line["job_complete_seconds"] = json!(at.as_secs_f64());
    }
    if follows_calendar(workload) {
        line["begins_at"] = json!(show_timestamp(options.at));
    }
    let of_rule = |it: Selection| {
        json!({
            "container": it.container, "name": it.rule.name().as_str(), "source": it.source.name(), "pods": it.pods.len()
        })
    };
    line["rules"] = selections(workload, replicas).into_iter().map(of_rule).collect();
    line["assumptions"] = json!(assumptions(workload, replicas, options));
    line["warnings"] = json!(workload.warnings);
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_seconds_are_written_as_json() {
        let written = |push: &dyn Fn(&mut Vec<u8>)| {
            let mut buffer = Vec::new();
            push(&mut buffer);
            String::from_utf8_lossy(&buffer).into_owned()
        };
        for number in [0, 7, 10, 1_234_567, u64::MAX] {
            assert_eq!(written(&|buffer| push_number(buffer, number)), number.to_string());
        }
        for (nanos, text) in [
            (0, "0.0"),
            (1_000_000_000, "1.0"),
            (1_405_000_000, "1.405"),
            (86_399_999_999_999, "86399.999999999"),
            (1, "0.000000001"),
        ] {
            assert_eq!(written(&|buffer| push_seconds(buffer, Duration::from_nanos(nanos))), text);
        }
    }
}
