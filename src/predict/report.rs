//! What a prediction prints.

use std::io::{self, Write};
use std::time::Duration;

use serde_json::{Value, json};

use crate::kubelet::{Event, Happening, ProbeKind, RULES};
use crate::units::{Show, show_timestamp};

use super::advice::{Advice, advice};
use super::fail_on::Percent;
use super::rollout::Milestone;
use super::run::{MAX_PODS, Observation, Options, Prediction, Replicas, run};
use super::selection::{self, Selection, selections};
use super::summary::{Spread, Summary};
use super::timeline::{Short, Timeline};
use super::workload::{Kind, OurContainer, Workload};

/// Where paragraphs are broken, in characters.
const WIDTH: usize = 120;

/// Form of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// One object per line, each event among them.
    Json,
}

/// What to print of a prediction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// In which form.
    pub output: Output,
    /// The position of the Pod whose timeline is printed.
    pub shown: usize,
    /// The Services that select the Pods, by name.
    pub services: Vec<String>,
}

/// Runs the Pods of a workload and writes about it.
pub fn predict(
    workload: &Workload,
    replicas: &Replicas,
    options: &Options,
    view: &View,
    out: &mut dyn Write,
) -> io::Result<Prediction> {
    match view.output {
        Output::Text => text(workload, replicas, options, view, out),
        Output::Json => json_lines(workload, replicas, options, view, out),
    }
}

fn text(
    workload: &Workload,
    replicas: &Replicas,
    options: &Options,
    view: &View,
    out: &mut dyn Write,
) -> io::Result<Prediction> {
    let containers = workload.pod.containers.iter().map(|container| container.name.clone()).collect();
    let mut timeline = Timeline::new(containers);
    let prediction = run(workload, replicas, options, &mut |observation| match observation {
        Observation::Pod { pod, event } if pod == view.shown => timeline.see(&event),
        Observation::Pod { .. } => {}
        Observation::Rollout(milestone) => timeline.milestone(milestone),
    });
    writeln!(out, "{}: {} {}", workload.place, workload.kind, workload.name)?;
    writeln!(
        out,
        "{replicas} for {} of virtual time, under the rules of Kubernetes {RULES}",
        Show(options.horizon)
    )?;
    writeln!(out, "{}", origin(workload, replicas))?;
    if follows_calendar(workload) {
        writeln!(out, "It begins at {} (--at sets another instant)", show_timestamp(options.at))?;
    }
    section("Faults", &selection::lines(workload, replicas), out)?;
    if let Some(pod) = replicas.pods.get(view.shown) {
        let seeds: Vec<String> = pod.seeds.iter().map(|seed| seed.0.to_string()).collect();
        writeln!(out, "\nPod {}, effective seed {}", pod.name, seeds.join(", "))?;
        write!(out, "{timeline}")?;
    }
    summary(&prediction, options, view, out)?;
    let advice: Vec<String> =
        all_advice(workload, replicas, options).into_iter().map(|advice| advice.text).collect();
    section("Advice", &advice, out)?;
    section("Assumptions", &assumptions(workload, replicas), out)?;
    section("Warnings", &workload.warnings, out)?;
    Ok(prediction)
}

fn all_advice(workload: &Workload, replicas: &Replicas, options: &Options) -> Vec<Advice> {
    let mut all = advice(workload);
    all.extend(selection::advice(workload, replicas, options));
    all
}

fn follows_calendar(workload: &Workload) -> bool {
    workload.ours.iter().any(OurContainer::follows_calendar)
}

/// What was drawn, and from where.
fn origin(workload: &Workload, replicas: &Replicas) -> String {
    let seed = replicas.seed.0;
    let drawn = match (workload.kind.draws_names(), replicas.seeds_drawn) {
        (true, true) => "the Pods' names and seeds are",
        (true, false) => "the Pods' names, which go into their seeds, are",
        (false, true) => "no SEED is given; the seeds are",
        (false, false) => return format!("Seed {seed}; the node's own chances are drawn from it, too"),
    };
    format!("A sample: {drawn} drawn here from seed {seed} (--seed gives another sample)")
}

fn summary(prediction: &Prediction, options: &Options, view: &View, out: &mut dyn Write) -> io::Result<()> {
    if prediction.pods.is_empty() {
        return Ok(());
    }
    let summary = Summary::of(prediction);
    writeln!(out, "\n{:<20} {:>12} {:>12} {:>12}", "Over the Pods", "p50", "p95", "worst")?;
    if let Some(Spread { p50, p95, worst }) = summary.restarts {
        writeln!(out, "  {:<18} {p50:>12} {p95:>12} {worst:>12}", "restarts")?;
    }
    for (name, _, spread) in &summary.times {
        match spread {
            Some(spread) => {
                let [p50, p95, worst] =
                    [spread.p50, spread.p95, spread.worst].map(|time| Short(time).to_string());
                writeln!(out, "  {name:<18} {p50:>12} {p95:>12} {worst:>12}")?;
            }
            None => writeln!(out, "  {name:<18} {:>12} {:>12} {:>12}", "-", "-", "-")?,
        }
    }
    if summary.reacted > 0 && summary.reacted < prediction.pods.len() {
        writeln!(out, "  (reaction: of the {} Pods that had one)", summary.reacted)?;
    }
    writeln!(
        out,
        "Availability of the worst Pod from its first Ready on: {}",
        Percent(summary.worst_availability)
    )?;
    let service = &prediction.service;
    let name = match view.services.as_slice() {
        [] => "A Service over all of them".to_owned(),
        names => format!("Service {}", names.join(", ")),
    };
    let seen = match service.since {
        Some(since) => format!(
            "from its first endpoint at +{} on, there was no ready endpoint for {} of the time, and {} of the calls \
             failed: those without an endpoint, and those to a container that was down, up to {} after its Pod was Ready.",
            Short(since),
            Percent(service.no_endpoint),
            Percent(service.failed_calls),
            Show(options.endpoint_lag),
        ),
        None => "there is never a ready endpoint.".to_owned(),
    };
    paragraph(&format!("{name}:"), " ", &seen, out)?;
    if let Some(rollout) = prediction.rollout {
        match (rollout.complete, rollout.stalled) {
            (Some(at), None) => writeln!(out, "Rollout: all Pods available at +{}", Short(at))?,
            (Some(at), Some(stalled)) => writeln!(
                out,
                "Rollout: stalls at +{}, complete at +{} all the same",
                Short(stalled),
                Short(at)
            )?,
            (None, Some(stalled)) => writeln!(out, "Rollout: stalls at +{}", Short(stalled))?,
            (None, None) => writeln!(out, "Rollout: neither complete nor stalled at the end")?,
        }
    }
    Ok(())
}

fn section(title: &str, lines: &[String], out: &mut dyn Write) -> io::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{title}")?;
    lines.iter().try_for_each(|line| paragraph("  -", "   ", line, out))
}

/// Writes a text in lines of at most [`WIDTH`]. `first` begins the first, `others` those after it; a space follows.
fn paragraph(first: &str, others: &str, text: &str, out: &mut dyn Write) -> io::Result<()> {
    write!(out, "{first}")?;
    let mut width = first.len();
    for word in text.split(' ') {
        let length = word.chars().count();
        if width + 1 + length > WIDTH {
            write!(out, "\n{others}")?;
            width = others.len();
        }
        write!(out, " {word}")?;
        width += 1 + length;
    }
    writeln!(out)
}

/// What the manifest's reader and the run take for granted.
fn assumptions(workload: &Workload, replicas: &Replicas) -> Vec<String> {
    let mut all = workload.assumptions.clone();
    if replicas.pods.len() == MAX_PODS as usize && workload.replicas > MAX_PODS {
        all.push(format!("Of {} replicas {MAX_PODS} are run.", workload.replicas));
    }
    if replicas.seeds_drawn {
        all.push(
            "Without a SEED each start of the process draws one, here as in the service; the one shown is the first."
                .to_owned(),
        );
    }
    if replicas.pods.len() > 1 {
        let how = match workload.kind {
            Kind::StatefulSet => " (podManagementPolicy: Parallel)",
            Kind::Deployment => " (no old Pods, no maxSurge or maxUnavailable)",
            _ => "",
        };
        all.push(format!("All Pods come to their nodes at once{how}."));
        all.push(
            "Calls come evenly and are spread evenly over the endpoints. A call to a container that runs succeeds: \
             faults of the traffic and partitions are not counted."
                .to_owned(),
        );
    }
    all
}

fn json_lines(
    workload: &Workload,
    replicas: &Replicas,
    options: &Options,
    view: &View,
    out: &mut dyn Write,
) -> io::Result<Prediction> {
    let name = format!("{}/{}", workload.kind, workload.name);
    let mut written = Ok(());
    let prediction = run(workload, replicas, options, &mut |observation| {
        if written.is_ok() {
            let line = match observation {
                Observation::Pod { pod, event } => {
                    let container = &workload.pod.containers[event.container].name;
                    let mut line = json!({ "workload": name, "pod": replicas.pods[pod].name });
                    tell(&mut line, &event, container);
                    line
                }
                Observation::Rollout(milestone) => rollout(&name, milestone),
            };
            written = writeln!(out, "{line}");
        }
    });
    written?;
    let mut summary = json_summary(&name, workload, replicas, options, &prediction);
    summary["service"]["names"] = json!(view.services);
    writeln!(out, "{}", json!({ "summary": summary }))?;
    Ok(prediction)
}

fn tell(line: &mut Value, event: &Event, container: &str) {
    line["elapsed_seconds"] = json!(event.at.as_secs_f64());
    line["container"] = json!(container);
    let (kind, details) = match event.what {
        Happening::Started { restarts } => ("Started", json!({ "restarts": restarts })),
        Happening::Unhealthy { probe, error, .. } => {
            ("Unhealthy", json!({ "probe": probe.name(), "error": error }))
        }
        Happening::Warning { probe, .. } => ("ProbeWarning", json!({ "probe": probe.name() })),
        Happening::Result { probe, success } => {
            ("Result", json!({ "probe": probe.name(), "success": success }))
        }
        Happening::Killing { probe, grace, restart } => (
            "Killing",
            json!({
                "probe": probe.map(ProbeKind::name), "grace_seconds": grace.as_secs_f64(), "restart": restart
            }),
        ),
        Happening::Exited { code } => ("Exited", json!({ "exit_code": code })),
        Happening::BackOff { delay } => ("BackOff", json!({ "delay_seconds": delay.as_secs_f64() })),
        Happening::Ready(ready) => ("Ready", json!({ "ready": ready })),
        Happening::PodReady(ready) => ("PodReady", json!({ "ready": ready })),
    };
    line["event"] = json!(kind);
    if let (Value::Object(line), Value::Object(details)) = (&mut *line, details) {
        line.extend(details);
    }
    line["message"] = json!(event.message(container));
    line["recorded"] = json!(event.recorded);
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

fn json_summary(
    name: &str,
    workload: &Workload,
    replicas: &Replicas,
    options: &Options,
    prediction: &Prediction,
) -> Value {
    let summary = Summary::of(prediction);
    let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
    let mut line = json!({
        "workload": name,
        "place": workload.place,
        "kubernetes": RULES,
        "pods": prediction.pods.len(),
        "horizon_seconds": options.horizon.as_secs_f64(),
        "seed": replicas.seed.0,
        "sample": replicas.sample,
        "restarts": summary.restarts.map(|it| json!({ "p50": it.p50, "p95": it.p95, "worst": it.worst })),
    });
    for (_, name, spread) in &summary.times {
        line[*name] = json!(spread.map(|it| {
            json!({
                "p50": it.p50.as_secs_f64(), "p95": it.p95.as_secs_f64(), "worst": it.worst.as_secs_f64()
            })
        }));
    }
    line["worst_availability"] = json!(summary.worst_availability);
    line["service"] = json!({
        "first_endpoint_seconds": seconds(prediction.service.since),
        "endpoint_lag_seconds": options.endpoint_lag.as_secs_f64(),
        "no_endpoint_ratio": prediction.service.no_endpoint,
        "failed_calls_ratio": prediction.service.failed_calls,
    });
    line["rollout"] = json!(prediction.rollout.map(|rollout| {
        json!({ "complete_seconds": seconds(rollout.complete), "stalled_seconds": seconds(rollout.stalled) })
    }));
    if follows_calendar(workload) {
        line["begins_at"] = json!(show_timestamp(options.at));
    }
    let of_rule = |it: Selection| {
        json!({
            "container": it.container, "name": it.rule.name().as_str(), "source": it.source.name(), "pods": it.pods.len()
        })
    };
    line["rules"] = selections(workload, replicas).into_iter().map(of_rule).collect();
    line["advice"] = all_advice(workload, replicas, options)
        .into_iter()
        .map(|it| json!({ "code": it.code, "text": it.text }))
        .collect();
    line["assumptions"] = json!(assumptions(workload, replicas));
    line["warnings"] = json!(workload.warnings);
    line
}
