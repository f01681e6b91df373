//! `kubectl probesim inject`: puts the proxy in front of an application that runs, for a while, by an ephemeral container.
//!
//! The container runs `kube-probesim attach`, which keeps the time limit and gives the port back. What can be checked is
//! checked before anything is changed, by the API server, too.

mod admission;
mod arguments;
mod container;
pub(super) mod ephemeral;
pub(super) mod error;
mod follow;
mod forecast;
mod interrupts;
mod namespace;
mod place;
mod report;
pub(super) mod stage;
mod target;

use std::io::Write;

use serde_json::Value;

use arguments::Injection;
pub(super) use arguments::{InjectCall, parse};
use container::Rights;
use error::InjectError;
use follow::{Follow, Run};
use interrupts::Interrupts;
use place::Place;
use report::{Outcome, Report};
use target::Found;

use super::error::KubectlError;
use super::fields::list;
use super::options::Options;
use super::parallel::each;
use super::process::Kubectl;
use super::{EXECUTABLE, confirmed, pods};
use crate::cli::exit;
use crate::cli::fault::table;
use crate::cli::shared::print_error;
use crate::fault::Seed;
use crate::server::draw_seed;
use crate::units::Show;

/// A Pod, and what is taken over there.
struct Candidate {
    pod: Value,
    place: Place,
    rights: Rights,
    /// The rules for its protocol.
    plan: Vec<Value>,
}

/// Injects into the Pods of the call, or ends what is injected there. Returns the exit code.
///
/// # Errors
///
/// kubectl fails, no Pod is there, the namespace does not allow it, or the output is closed.
pub(super) fn run(
    kubectl: &Kubectl,
    options: &Options,
    call: &InjectCall,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8, KubectlError> {
    let found = target::find(kubectl, options, call.object.as_deref())?;
    match &call.injection {
        Some(injection) => begin(kubectl, options, call, injection, found, out, err),
        None => end(kubectl, options, call, &found.pods, out, err),
    }
}

fn begin(
    kubectl: &Kubectl,
    options: &Options,
    call: &InjectCall,
    injection: &Injection,
    found: Found,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8, KubectlError> {
    let Found { mut pods, foreign } = found;
    let ready = pods.iter().filter(|pod| pods::read_pod(pod, Some("")).is_ready).count();
    if let Some(percent) = options.share {
        // A drawn one is short enough to be typed again.
        let seed = options.seed.unwrap_or_else(|| draw_seed() >> 32);
        pods = target::share(pods, percent, Seed(seed));
        if pods.is_empty() {
            let selection = call.object.clone().unwrap_or_else(|| pods::selection(options));
            return Err(KubectlError::NoneReady(selection));
        }
        writeln!(err, "{} of {ready} Ready Pods, by --seed {seed}", pods.len())?;
    }
    let namespace = pods.first().map(|pod| target::namespace(pod).to_owned()).unwrap_or_default();
    namespace::check(kubectl, &namespace, injection.namespace.as_deref())?;
    let candidates = match candidates(kubectl, options, call, injection, &pods, foreign)? {
        Ok(candidates) => candidates,
        Err(refusals) => {
            let rows = refusals.iter().map(|(pod, reason)| vec![pod.clone(), reason.to_string()]).collect();
            err.write_all(table::aligned(&["POD", "REFUSED"], rows).as_bytes())?;
            print_error("kubectl", "nothing was changed", err);
            return Ok(exit::FAILED);
        }
    };
    if let Some(Place { port, named: Some(named), .. }) = candidates.first().map(|first| &first.place) {
        writeln!(
            err,
            "port {port} is named {named:?}: it is taken over as TCP, and rules act on connections"
        )?;
    }
    if options.is_dry_run || candidates.len() > 1 && !injection.is_sure {
        let shown: &mut dyn Write = if options.is_dry_run { out } else { err };
        show(&candidates, ready, injection, shown)?;
    }
    if options.is_dry_run {
        return Ok(exit::OK);
    }
    if candidates.len() > 1 && !injection.is_sure && !confirmed("inject into several Pods", err)? {
        writeln!(err, "nothing was changed")?;
        return Ok(exit::FAILED);
    }
    let interrupts = Interrupts::new();
    let kubectl = kubectl.apart();
    let draw = draw_seed();
    let results = each(candidates.len(), &|position| {
        let Candidate { pod, place, rights, plan } = &candidates[position];
        let name = ephemeral::name(place.port, draw.wrapping_add(position as u64));
        let executable = options.executable.as_deref();
        let container = container::container(pod, place, (injection, plan), *rights, &name, executable);
        (name, admission::add(&kubectl, pod, place, &container))
    });
    let mut report = report(options, &namespace, &pods, out);
    let mut runs = Vec::new();
    for (candidate, (name, result)) in candidates.iter().zip(results) {
        let mut run = Run::new(target::name(&candidate.pod).to_owned(), name);
        if let Err(reason) = result {
            let outcome = Outcome::Failed(reason.to_string());
            report.ended(&run.pod, &run.container, &outcome)?;
            run.outcome = Some(outcome);
        }
        runs.push(run);
    }
    if !injection.detaches {
        writeln!(err, "for {}; Ctrl-C ends it before", Show(injection.time))?;
    }
    follow(&kubectl, options, &namespace, false, injection.detaches).run(runs, &interrupts, &mut report, err)
}

/// What is taken over in each Pod, or why it is not for those where it is not.
type Checked = Result<Vec<Candidate>, Vec<(String, InjectError)>>;

/// Checks all Pods before any is changed.
fn candidates(
    kubectl: &Kubectl,
    options: &Options,
    call: &InjectCall,
    injection: &Injection,
    pods: &[Value],
    foreign: Vec<(String, InjectError)>,
) -> Result<Checked, KubectlError> {
    let mut refusals = foreign;
    refusals.retain(|(name, _)| pods.iter().any(|pod| target::name(pod) == name));
    let namespace = format!("--namespace={}", pods.first().map(target::namespace).unwrap_or_default());
    let services = kubectl.json(&["get", "services", &namespace, "--output=json"].map(str::to_owned));
    // With a port, they only tell the protocol.
    let services = if call.port.is_some() { services.unwrap_or_default() } else { services? };
    let mut places = Vec::new();
    for pod in pods {
        let (container, port) = (options.container.as_deref(), call.port.as_deref());
        let found = place::find(pod, container, (port, injection.protocol), list(&services["items"]));
        let found = found.and_then(|place| {
            let plan = injection.plan_for(place.protocol).map_err(|wrong| {
                InjectError::NoHttp(place.port, place.named.clone().unwrap_or_default(), wrong)
            })?;
            Ok((pod.clone(), place, plan))
        });
        match found {
            Ok(found) => places.push(found),
            Err(reason) => refusals.push((target::name(pod).to_owned(), reason)),
        }
    }
    if !refusals.is_empty() {
        return Ok(Err(refusals));
    }
    let admitted = each(places.len(), &|position| {
        let (pod, place, _) = &places[position];
        admission::rights(kubectl, pod, place, injection)
    });
    let mut candidates = Vec::new();
    for ((pod, place, plan), rights) in places.into_iter().zip(admitted) {
        match rights {
            Ok(rights) => candidates.push(Candidate { pod, place, rights, plan }),
            Err(reason) => refusals.push((target::name(&pod).to_owned(), reason)),
        }
    }
    Ok(if refusals.is_empty() { Ok(candidates) } else { Err(refusals) })
}

/// Shows what would be done.
fn show(
    candidates: &[Candidate],
    ready: usize,
    injection: &Injection,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    let row = |Candidate { pod, place, rights, .. }: &Candidate| {
        let mut row = vec![target::name(pod).to_owned(), place.container.clone(), place.port.to_string()];
        row.extend(rights.row());
        row
    };
    let rows = candidates.iter().map(row).collect();
    out.write_all(table::aligned(&["POD", "CONTAINER", "PORT", "USER", "CAPABILITIES"], rows).as_bytes())?;
    let is_ready = |candidate: &&Candidate| pods::read_pod(&candidate.pod, Some("")).is_ready;
    let of_ready = candidates.iter().filter(is_ready).count();
    if ready > 0 {
        let share = of_ready as f64 * 100.0 / ready as f64;
        writeln!(
            out,
            "{of_ready} of {ready} Ready Pods: about {share:.0}% of the requests to them, for {}",
            Show(injection.time)
        )?;
    }
    for rule in candidates.first().map(|first| &first.plan).into_iter().flatten() {
        writeln!(out, "rule {rule}")?;
    }
    let mut notes: Vec<&str> = candidates.iter().filter_map(|candidate| candidate.rights.note()).collect();
    notes.dedup();
    for note in notes {
        writeln!(out, "note: {note}")?;
    }
    if let Some(Candidate { pod, place, .. }) = candidates.first() {
        writeln!(out, "{}", forecast::forecast(pod, place, injection))?;
    }
    writeln!(
        out,
        "The listener itself is checked in the Pod when the container starts: it must be of TCP, on all addresses."
    )
}

/// Ends what is injected into the Pods.
fn end(
    kubectl: &Kubectl,
    options: &Options,
    call: &InjectCall,
    pods: &[Value],
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8, KubectlError> {
    let wanted = |port: u16| call.port.as_ref().is_none_or(|wanted| *wanted == port.to_string());
    let mut runs = Vec::new();
    for pod in pods {
        let of_pod = ephemeral::current(pod).into_iter().filter(|(_, port)| wanted(*port));
        runs.extend(of_pod.map(|(name, _)| Run::new(target::name(pod).to_owned(), name)));
    }
    if runs.is_empty() {
        writeln!(err, "nothing is injected there")?;
        return Ok(exit::OK);
    }
    if options.is_dry_run {
        for run in &runs {
            writeln!(out, "{}  {}", run.pod, run.container)?;
        }
        return Ok(exit::OK);
    }
    let namespace = pods.first().map(target::namespace).unwrap_or_default();
    let mut report = report(options, namespace, pods, out);
    let (interrupts, kubectl) = (Interrupts::new(), kubectl.apart());
    follow(&kubectl, options, namespace, true, false).run(runs, &interrupts, &mut report, err)
}

fn report<'a>(options: &Options, namespace: &str, pods: &[Value], out: &'a mut dyn Write) -> Report<'a> {
    let width = pods.iter().map(|pod| target::name(pod).len()).max().unwrap_or_default();
    Report { output: options.output, namespace: namespace.to_owned(), width, out }
}

fn follow<'a>(
    kubectl: &'a Kubectl,
    options: &'a Options,
    namespace: &'a str,
    stops: bool,
    detaches: bool,
) -> Follow<'a> {
    let executable = options.executable.as_deref().unwrap_or(EXECUTABLE);
    Follow { kubectl, namespace, executable, detaches, stops }
}
