//! What is fuzzed, and what must hold whatever comes in. The seeds run through this as ordinary tests, too.

#[path = "answer.rs"]
mod answer;
#[path = "health.rs"]
mod health;
#[path = "opening.rs"]
mod opening;
#[path = "pair.rs"]
mod pair;
#[path = "plain.rs"]
mod plain;
#[path = "profile.rs"]
mod profile;
#[path = "service.rs"]
mod service;
#[path = "toxiproxy.rs"]
mod toxiproxy;

pub use answer::answer;
pub use health::health;
pub use opening::opening;
pub use pair::pair;
pub use plain::plain;
pub use profile::profile;
pub use toxiproxy::toxiproxy;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;
use std::time::Duration;

use kube_probesim::engine::Engine;
use kube_probesim::env::{self, Config};
use kube_probesim::fault::{Client, ListenerId, Rule, Target};
use kube_probesim::plan::{Errors, RawPlan, Source, document, read_plan, read_rule, write_rule};
use kube_probesim::predict::manifest::{self, Input};
use kube_probesim::predict::run::{Options, Replicas, run};
use kube_probesim::sources::start::running;
use kube_probesim::sources::state::Restored;
use kube_probesim::sources::{ApiChange, ChangeRefusal, Control, Layers};

/// The most text that errors may have, whatever the size of the input: more would flood a log.
const MOST_TEXT: usize = 64 << 10;

/// The name of a replica, so that rules for a part of a fleet are allowed.
const POD: &str = "web-1";

/// A plan in YAML or JSON: read, written and read again it is the same, and its engine answers.
pub fn plan(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match document::parse(text, document::MAX_PLAN) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(value) => match read_plan(&value, "plan") {
            Ok(RawPlan { rules, .. }) => rules.iter().for_each(holds),
            Err(errors) => told(&errors),
        },
    }
}

/// Lines `NAME=value`: understood or refused with the name of what is wrong.
pub fn environment(data: &[u8]) {
    match env::load(variables(data)) {
        Ok(loaded) => {
            loaded.config.plan.rules().iter().for_each(holds);
            ask(&control(&loaded.config).0);
        }
        Err(errors) => told(&errors),
    }
}

/// Manifests of any kind: understood or refused; what is understood can be predicted.
pub fn manifest(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let input = Input { name: "fuzz.yaml".to_owned(), text: text.to_owned() };
    let Ok(manifests) = manifest::read(&[input]) else { return };
    let options = Options { horizon: Duration::from_secs(120), pods: Some(2), ..Options::default() };
    for workload in manifests.workloads.iter().take(3) {
        run(workload, &Replicas::new(workload, &options), &options, &mut |_| {});
    }
}

/// Lines of `operation name body`, as the admin API hands them on: each is done as a whole or not at all, and after a
/// reset there is what was before.
pub fn api(data: &[u8]) {
    let loaded =
        env::load(variables(b"LIVENESS_FAILURE_RATE=20\nSEED=1\nPOD_NAME=web-1")).expect("a configuration");
    let (engine, control) = control(&loaded.config);
    let first: Vec<Rule> = engine.active().plan.rules().cloned().collect();
    for line in data.split(|byte| *byte == b'\n').take(50) {
        let Ok(line) = std::str::from_utf8(line) else { continue };
        let mut words = line.splitn(3, ' ');
        let (operation, name) =
            (words.next().unwrap_or_default(), words.next().unwrap_or_default().to_owned());
        let body = document::parse_json(words.next().unwrap_or("null").as_bytes(), document::MAX_PLAN);
        let body = body.unwrap_or_default();
        let change = match operation {
            "plan" => ApiChange::PutPlan(body),
            "put" => ApiChange::PutFault { name, rule: body },
            "patch" => ApiChange::PatchFault { name, patch: body },
            "delete" => ApiChange::DeleteFault { name },
            "stop" => ApiChange::Stop,
            "resume" => ApiChange::Resume,
            _ => ApiChange::Reset { renew: name == "renew" },
        };
        let before = engine.active();
        match control.change("fuzz", None, change) {
            Ok(changed) => {
                // A second stop, and a resume without one, change nothing.
                let same = matches!(operation, "stop" | "resume") && changed.generation == before.generation;
                assert!(same || changed.generation == before.generation + 1);
            }
            Err(refusal) => {
                if let ChangeRefusal::Invalid(errors) = refusal {
                    told(&errors);
                }
                assert!(Arc::ptr_eq(&before, &engine.active()), "a refused change left a trace");
            }
        }
        engine.active().plan.rules().for_each(holds);
        ask(&engine);
        let status = control.status();
        assert_eq!(status.rules.len(), status.snapshot.active.plan.len());
    }
    control.change("fuzz", None, ApiChange::Reset { renew: false }).expect("a reset is never refused");
    assert_eq!(engine.active().plan.rules().cloned().collect::<Vec<_>>(), first);
}

/// The content of an annotation: taken over, or the previous plan stays in force.
pub fn annotation(data: &[u8]) {
    let loaded = env::load(variables(b"ANNOTATION_FILE=/annotation\nSEED=1\nPOD_NAME=web-1"))
        .expect("a configuration");
    let (engine, control) = control(&loaded.config);
    control.read(Source::Annotation, Ok(Some("{faults: [{name: before, target: traffic, mode: hang}]}")));
    let before = engine.active();
    let content = std::str::from_utf8(data).map(Some).map_err(|_| "is not UTF-8");
    control.read(Source::Annotation, content);
    let errors = control.status().sources.iter().map(|source| source.errors.len()).sum::<usize>();
    assert!(errors == 0 || Arc::ptr_eq(&before, &engine.active()), "a broken annotation left a trace");
    ask(&engine);
    control.read(Source::Annotation, Ok(None));
    assert!(engine.active().plan.is_empty());
}

fn variables(data: &[u8]) -> impl Iterator<Item = (OsString, OsString)> {
    let os = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    let pairs: Vec<_> = data
        .split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let equals = line.iter().position(|byte| *byte == b'=')?;
            Some((os(&line[..equals]), os(&line[equals + 1..])))
        })
        .collect();
    pairs.into_iter()
}

/// A rule is the same after it was written and read.
fn holds(rule: &Rule) {
    let value = write_rule(rule);
    assert_eq!(read_rule(&value, "").as_ref(), Ok(rule), "{value}");
}

/// Errors say something, and not too much.
fn told(errors: &Errors) {
    assert!(!errors.is_empty());
    let text = errors.to_string().len();
    assert!(text < MOST_TEXT, "{text} bytes of errors");
    assert!(errors.iter().all(|error| !error.reason.to_string().is_empty()));
}

fn control(config: &Config) -> (Engine, Control) {
    let mut config = config.clone();
    config.identity.pod.get_or_insert_with(|| POD.to_owned());
    let layers = Layers::new(&config);
    let (engine, _, control) = running(&config, layers, 7, &Restored::default()).expect("metrics");
    (engine, control)
}

/// Whatever the plan, each target gets a decision and the future is known.
fn ask(engine: &Engine) {
    for target in Target::ALL {
        for client in Client::ALL {
            engine.decide(target, client);
        }
    }
    let active = engine.active();
    let mut now = Duration::ZERO;
    for _ in 0..10 {
        active.plan.link(ListenerId::Probe, now);
        match active.plan.next_change(now) {
            Some(next) => {
                assert!(next > now, "the next change is not in the future");
                now = next;
            }
            None => break,
        }
    }
}
