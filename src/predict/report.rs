//! The output of a prediction.

mod assumptions;
mod budgets;
mod compare;
mod html;
mod json;
mod junit;
mod markup;
mod page;
mod picture;

use crate::kubelet::RULES;
use crate::units::{Show, show_timestamp};
use std::io::{self, Write};
use std::time::Duration;

use super::advice::{Advice, advice};
use super::fail_on::{Condition, Percent};
use super::outcome::JobOutcome;
use super::run::{Detail, Observation, Options, Prediction, Replicas, run_in};
use super::runs::{Range, Runs, runs};
use super::selection;
use super::summary::{Spread, Summary};
use super::timeline::{Short, Timeline};
use super::workload::{ProbesimContainer, Workload};
use assumptions::{assumptions, of_manifest};
pub use compare::{Pair, compare, pairs};
use page::Page;
pub use page::Style;

/// Why a workload is not assessed.
const NOT_ASSESSED: &str = "no container runs kube-probesim or has a profile, so its behaviour is unknown. Pass a profile \
    (--profile CONTAINER=...), or --assume-healthy.";

/// Whether a workload is run: some behaviour is known, or all containers are assumed to be healthy.
pub fn is_assessed(workload: &Workload, options: &Options) -> bool {
    options.assume_healthy || workload.is_known()
}

/// The format of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// Text for people.
    #[default]
    Text,
    /// JSON: one object per line, with all events.
    Json,
    /// `JUnit` XML: a test suite for each workload.
    Junit,
    /// An SVG picture.
    Svg,
    /// An HTML page with the picture and the report.
    Html,
}

impl Output {
    /// All formats, with their names.
    pub const ALL: [(Self, &'static str); 5] = [
        (Self::Text, "text"),
        (Self::Json, "json"),
        (Self::Junit, "junit"),
        (Self::Svg, "svg"),
        (Self::Html, "html"),
    ];
}

/// The result of a workload.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// The result of its Pods; absent: the workload was not assessed.
    pub prediction: Option<Prediction>,
    /// The advice on it.
    pub advice: Vec<Advice>,
}

/// How to print a prediction.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    /// The format.
    pub output: Output,
    /// The position of the Pod whose timeline is printed.
    pub shown: usize,
    /// The names of the Services that select the Pods.
    pub services: Vec<String>,
    /// The conditions that fail the prediction.
    pub fail_on: Vec<Condition>,
    /// Width and colours of text.
    pub style: Style,
}

/// Writes the beginning of the output.
pub fn begin(output: Output, out: &mut dyn Write) -> io::Result<()> {
    match output {
        Output::Text | Output::Json | Output::Svg => Ok(()),
        Output::Junit => junit::begin(out),
        Output::Html => html::begin(out),
    }
}

/// Writes the end of the output.
pub fn end(output: Output, out: &mut dyn Write) -> io::Result<()> {
    match output {
        Output::Text | Output::Json | Output::Svg => Ok(()),
        Output::Junit => junit::end(out),
        Output::Html => html::end(out),
    }
}

/// Runs the Pods of a workload and writes the report.
pub fn predict(
    workload: &Workload,
    replicas: &Replicas,
    options: &Options,
    view: &View,
    out: &mut dyn Write,
) -> io::Result<Outcome> {
    match view.output {
        Output::Text => text(workload, replicas, options, view, out),
        Output::Json => json::lines(workload, replicas, options, view, out),
        Output::Junit => junit::suite(workload, replicas, options, view, out),
        Output::Svg => picture::svg(workload, replicas, options, view, out),
        Output::Html => html::section(workload, replicas, options, view, out),
    }
}

fn text(
    workload: &Workload,
    replicas: &Replicas,
    options: &Options,
    view: &View,
    out: &mut dyn Write,
) -> io::Result<Outcome> {
    let out = &mut Page { out, style: view.style };
    writeln!(out, "{}: {} {}", workload.place, workload.kind, workload.name)?;
    budgets::write(workload, options, out)?;
    if !is_assessed(workload, options) {
        writeln!(out, "\nRestarts and availability: not assessed")?;
        out.paragraph(" ", " ", NOT_ASSESSED)?;
        let advice = all_advice(workload, replicas, options, None);
        out.section("Advice", &lines_of(&advice))?;
        out.section("Assumptions", &of_manifest(workload))?;
        out.section("Warnings", &workload.warnings)?;
        return Ok(Outcome { prediction: None, advice });
    }
    let mut timeline = Timeline::new(&workload.pod.containers);
    let detail = Detail::Pod(view.shown);
    let prediction = run_in(detail, workload, replicas, options, &mut |observation| match observation {
        Observation::Pod { pod, event, flips } if pod == view.shown => timeline.see(&event, flips),
        Observation::Pod { .. } => {}
        Observation::Rollout(milestone) => timeline.milestone(milestone),
        Observation::Cluster { at, what } => timeline.cluster_event(at, &what),
    });
    writeln!(out)?;
    out.sentence(&format!(
        "{replicas} for {} of virtual time, under the rules of Kubernetes {RULES}",
        Show(options.horizon)
    ))?;
    out.sentence(&origin(workload, replicas))?;
    if follows_calendar(workload) {
        writeln!(out, "The prediction begins at {} (--at sets another instant)", show_timestamp(options.at))?;
    }
    out.section("Faults", &selection::lines(workload, replicas))?;
    if let Some(pod) = replicas.pods.get(view.shown) {
        let seeds: Vec<String> = pod.seeds.iter().map(|seed| seed.0.to_string()).collect();
        let seeds =
            if seeds.is_empty() { String::new() } else { format!(", effective seed {}", seeds.join(", ")) };
        let title = out.bold(&format!("Pod {}", pod.name));
        writeln!(out, "\n{title}{seeds}")?;
        out.timeline(&timeline)?;
    }
    if let Some(reason) = workload.why_no_pods().filter(|_| replicas.pods.is_empty()) {
        writeln!(out, "\n{}", capitalized(&reason))?;
    }
    summary(&prediction, options, view, out)?;
    if options.runs > 0
        && let Some(runs) = runs(workload, options)
    {
        over_runs(&runs, out)?;
    }
    let advice = all_advice(workload, replicas, options, Some(&prediction));
    out.section("Advice", &lines_of(&advice))?;
    out.section("Assumptions", &assumptions(workload, replicas, options))?;
    out.section("Warnings", &workload.warnings)?;
    Ok(Outcome { prediction: Some(prediction), advice })
}

/// Advice as lines, with the names.
fn lines_of(advice: &[Advice]) -> Vec<String> {
    advice.iter().map(|it| format!("{} [{}]", it.text, it.code)).collect()
}

fn all_advice(
    workload: &Workload,
    replicas: &Replicas,
    options: &Options,
    prediction: Option<&Prediction>,
) -> Vec<Advice> {
    let mut all = advice(workload, prediction, options.endpoint_lag);
    all.extend(selection::advice(workload, replicas, options));
    all.retain(|advice| !options.no_advice.contains(&advice.code));
    all
}

fn follows_calendar(workload: &Workload) -> bool {
    workload.probesim.iter().any(ProbesimContainer::follows_calendar)
}

/// A sentence about what was drawn at random, and from which seed.
fn origin(workload: &Workload, replicas: &Replicas) -> String {
    let seed = replicas.seed.0;
    let drawn = match (workload.kind.draws_names(), replicas.seeds_drawn) {
        (true, true) => "the Pods' names and seeds are",
        (true, false) => "the Pods' names, which affect their seeds, are",
        (false, true) => "no SEED is given; the seeds are",
        (false, false) => return format!("Seed {seed}, also for the timing of the node"),
    };
    format!("A random sample: {drawn} drawn from seed {seed} (--seed draws another sample)")
}

fn summary(prediction: &Prediction, options: &Options, view: &View, out: &mut Page) -> io::Result<()> {
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
        writeln!(out, "  (reaction: {} Pods had one)", summary.reacted)?;
    }
    out.sentence(&format!(
        "Availability of the worst Pod since its first Ready: {}",
        Percent(summary.worst_availability)
    ))?;
    let service = &prediction.service;
    let name = match view.services.as_slice() {
        [] => "A Service over all Pods".to_owned(),
        names => format!("Service {}", names.join(", ")),
    };
    let seen = match service.since {
        Some(since) => format!(
            "since its first endpoint at +{}, it had no ready endpoint for {} of the time, and {} of the calls \
             failed: those without an endpoint, those to a container that was down, up to {} after its Pod was Ready, \
             and those that a fault made fail.",
            Short(since),
            Percent(service.no_endpoint),
            Percent(service.failed_calls),
            Show(options.endpoint_lag),
        ),
        None => "it never has a ready endpoint.".to_owned(),
    };
    out.paragraph(&format!("{name}:"), " ", &seen)?;
    if let Some(rollout) = prediction.rollout {
        match (rollout.complete, rollout.stalled) {
            (Some(at), None) => writeln!(out, "Rollout: all Pods available at +{}", Short(at))?,
            (Some(at), Some(stalled)) => {
                writeln!(out, "Rollout: stalled at +{}, but complete at +{}", Short(stalled), Short(at))?;
            }
            (None, Some(stalled)) => writeln!(out, "Rollout: stalled at +{}", Short(stalled))?,
            (None, None) => writeln!(out, "Rollout: neither complete nor stalled at the end")?,
        }
    }
    match prediction.job {
        Some(JobOutcome { at, failure: None }) => writeln!(out, "Job: complete at +{}", Short(at))?,
        Some(JobOutcome { at, failure: Some(why) }) => {
            writeln!(out, "Job: failed at +{} ({})", Short(at), why.reason())?;
        }
        None => {}
    }
    if options.drain.is_some() {
        match prediction.drained {
            Some(at) => writeln!(out, "Drain: complete at +{}", Short(at))?,
            None => writeln!(out, "Drain: not complete at the end")?,
        }
    }
    Ok(())
}

/// Writes the figures over many runs.
fn over_runs(runs: &Runs, out: &mut Page) -> io::Result<()> {
    writeln!(out, "\n{:<30} {:>10} {:>10} {:>10}", format!("Over {} runs", runs.count), "p5", "p50", "p95")?;
    let mut row = |name: &str, values: [String; 3]| {
        writeln!(out, "  {name:<28} {:>10} {:>10} {:>10}", values[0], values[1], values[2])
    };
    let Range { p5, p50, p95 } = runs.restarts;
    row("restarts of the worst Pod", [p5, p50, p95].map(|count| count.to_string()))?;
    let Range { p5, p50, p95 } = runs.availability;
    row("availability of the worst Pod", [p5, p50, p95].map(|share| Percent(share).to_string()))?;
    let Range { p5, p50, p95 } = runs.ready;
    let shown = |at: Option<Duration>| at.map_or_else(|| "never".to_owned(), |at| format!("+{}", Short(at)));
    row("last Pod first Ready", [p5, p50, p95].map(shown))?;
    writeln!(out, "The timeline above shows one such run.")
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().into_iter().flat_map(char::to_uppercase).chain(chars).collect()
}
