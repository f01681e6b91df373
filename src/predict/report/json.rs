//! The report as JSON, one object per line: each event, then a summary.
//!
//! A prediction has up to millions of events, so lines are assembled from parts that are formatted once.

mod events;

use std::io::{self, Write};
use std::time::Duration;

use serde_json::{Value, json};

use super::super::advice::Advice;
use super::super::budget::{self, Amount, Budget, Meaning};
use super::super::fleet::ClusterEvent;
use super::super::rollout::Milestone;
use super::super::run::{Observation, Options, PodOutcome, Prediction, Replicas, run};
use super::super::runs::{Runs, runs};
use super::super::selection::{Selection, selections};
use super::super::summary::Summary;
use super::super::workload::Workload;
use super::{Outcome, View, all_advice, assumptions, follows_calendar, is_assessed, of_manifest};
use crate::kubelet::{ProbeKind, RULES};
use crate::units::show_timestamp;
use events::EventLines;

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
                Observation::Pod { pod, event, flips } => out.write_all(events.line(pod, &event, flips)),
                Observation::Rollout(milestone) => writeln!(out, "{}", rollout(&name, milestone)),
                Observation::Cluster { at, what } => {
                    if let (ClusterEvent::Created { pod, .. }, Some((_, of))) = (&what, what.pod()) {
                        events.meet(&name, *pod, of);
                    }
                    writeln!(out, "{}", cluster_event(&name, at, &what))
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

/// The summary of a workload that is not assessed.
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
        "assumptions": of_manifest(workload),
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

fn cluster_event(name: &str, at: Duration, what: &ClusterEvent) -> Value {
    let mut line = json!({ "workload": name, "elapsed_seconds": at.as_secs_f64(), "event": what.name() });
    if let Some((_, pod)) = what.pod() {
        line["pod"] = json!(pod);
    }
    match what {
        ClusterEvent::Deleted { evicted, .. } => line["evicted"] = json!(evicted),
        ClusterEvent::JobFailed(why) => line["reason"] = json!(why.reason()),
        _ => {}
    }
    line
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
    if let Some(job) = prediction.job {
        let field = if job.failure.is_some() { "job_failed_seconds" } else { "job_complete_seconds" };
        line[field] = json!(job.at.as_secs_f64());
        if let Some(why) = job.failure {
            line["job_failed_reason"] = json!(why.reason());
        }
    }
    if options.drain.is_some() {
        line["drained_seconds"] = json!(seconds(prediction.drained));
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
