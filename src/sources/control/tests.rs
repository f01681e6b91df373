use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{advance, sleep};

use super::*;
use crate::env;
use crate::env::SeedScope;
use crate::fault::{Client, ListenerId, Seed, Target};
use crate::plan::write_rule;
use crate::sources::start::running;
use crate::sources::state::Restored;

/// A control over the plan of these variables; a file is at `/faults` if `FAULTS_FILE` says so.
fn control(vars: &[(&str, &str)]) -> Control {
    let pairs = vars.iter().map(|(name, value)| (name.into(), value.into()));
    let config = env::load(pairs).unwrap().config;
    running(&config, Layers::new(&config), 7, &Restored::default(), false).unwrap().2
}

fn put(name: &str, rule: Value) -> Change {
    Change::PutFault { name: name.to_owned(), rule }
}

fn down(target: &str) -> Value {
    json!({"target": target, "mode": "status"})
}

fn delete(name: &str) -> Change {
    Change::DeleteFault { name: name.to_owned() }
}

fn patch(name: &str, patch: Value) -> Change {
    Change::PatchFault { name: name.to_owned(), patch }
}

impl Control {
    fn must(&self, change: Change) -> u64 {
        self.change("test", None, change).unwrap().generation
    }

    /// Names and sources of the rules in force.
    fn shown(&self) -> String {
        let Status { snapshot, rules, .. } = self.status();
        let plan = &snapshot.active.plan;
        assert_eq!(plan.len(), rules.len());
        let names = plan
            .rules()
            .zip(&rules)
            .map(|(rule, status)| format!("{}:{}", rule.name(), status.source.name()));
        names.collect::<Vec<_>>().join(" ")
    }

    fn rule(&self, name: &str) -> Value {
        let status = self.status();
        let rule = status.snapshot.active.plan.rules().find(|rule| rule.name().as_str() == name);
        write_rule(rule.unwrap())
    }

    fn origin(&self, name: &str) -> Duration {
        let plan = &self.status().snapshot.active.plan;
        let position = plan.rules().position(|rule| rule.name().as_str() == name).unwrap();
        plan.origin(position).elapsed
    }

    fn errors(&self, change: Change) -> Vec<String> {
        match self.change("test", None, change) {
            Err(Refusal::Invalid(errors)) => errors.iter().map(ToString::to_string).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn scrape(&self) -> String {
        self.0.metrics.encode()
    }
}

const RATE: &[(&str, &str)] = &[("LIVENESS_FAILURE_RATE", "20"), ("READINESS_FAIL_AFTER_TIME", "60")];

#[tokio::test(start_paused = true)]
async fn a_rule_of_the_api_comes_first_and_one_deleted_is_out_of_force_until_a_reset() {
    let control = control(RATE);
    assert_eq!(control.shown(), "readiness-time:environment liveness-rate:environment");
    assert_eq!(control.must(put("down", down("traffic"))), 2);
    assert_eq!(control.must(delete("readiness-time")), 3);
    assert_eq!(control.shown(), "down:api liveness-rate:environment");
    assert_eq!(control.status().hidden.len(), 1);
    assert_eq!(control.must(put("liveness-rate", down("liveness"))), 4);
    assert_eq!(control.shown(), "down:api liveness-rate:api");
    assert_eq!(control.must(delete("liveness-rate")), 5);
    assert_eq!(control.shown(), "down:api");
    assert_eq!(control.must(Change::Reset { renew: false }), 6);
    assert_eq!(control.shown(), "readiness-time:environment liveness-rate:environment");
}

#[tokio::test(start_paused = true)]
async fn an_unchanged_rule_keeps_its_origin_through_all_changes_and_a_renewal_ends_that() {
    let control = control(RATE);
    advance(Duration::from_secs(10)).await;
    let same = control.rule("readiness-time");
    control.must(put("other", down("traffic")));
    control.must(put("readiness-time", same));
    assert_eq!(control.origin("readiness-time"), Duration::ZERO, "the same content from another source");
    assert_eq!(control.origin("other"), Duration::from_secs(10));
    control.must(patch("readiness-time", json!({"status": 503})));
    assert_eq!(control.origin("readiness-time"), Duration::from_secs(10), "another content");
    advance(Duration::from_secs(10)).await;
    control.must(Change::Reset { renew: false });
    assert_eq!(control.origin("liveness-rate"), Duration::ZERO);
    control.must(Change::Reset { renew: true });
    assert_eq!(control.origin("liveness-rate"), Duration::from_secs(20));
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_is_put_replaces_everything_and_what_it_was_comes_back() {
    let control = control(RATE);
    let plan =
        json!({"seed": 5, "faults": [{"name": "a", "target": "liveness", "mode": "hang", "ttl": "10s"}]});
    control.must(Change::PutPlan(plan));
    assert_eq!(control.shown(), "a:api");
    assert_eq!(control.status().seed, Some((5, Source::Api)));
    assert_eq!(control.status().rules[0].expires_in, Some(Duration::from_secs(10)));
    control.must(delete("a"));
    assert_eq!(control.shown(), "", "nothing comes up from beneath");
    control.must(Change::Reset { renew: false });
    assert_eq!(control.shown(), "readiness-time:environment liveness-rate:environment");
    assert_eq!(control.status().seed, None);
}

#[tokio::test(start_paused = true)]
async fn a_rule_with_a_ttl_ends_by_itself_and_a_patch_leaves_its_end_alone_unless_it_names_it() {
    let control = control(RATE);
    let running = tokio::spawn(control.clone().run());
    control.must(put("down", json!({"target": "traffic", "mode": "status", "ttl": "60s"})));
    advance(Duration::from_secs(50)).await;
    control.must(patch("down", json!({"status": 503})));
    assert_eq!(control.status().rules[0].expires_in, Some(Duration::from_secs(10)));
    control.must(patch("down", json!({"ttl": "30s"})));
    control.must(put("liveness-rate", json!({"disabled": true, "ttl": "20s"})));
    assert_eq!(control.shown(), "down:api readiness-time:environment");
    sleep(Duration::from_secs(25)).await;
    assert_eq!(control.shown(), "down:api readiness-time:environment liveness-rate:environment");
    sleep(Duration::from_secs(10)).await;
    assert_eq!(control.shown(), "readiness-time:environment liveness-rate:environment");
    let kinds: Vec<_> =
        control.events().page(Some(0), 100).events.iter().map(|event| event.what.kind()).collect();
    assert_eq!(kinds, ["plan"; 6]);
    control.must(put("down", json!({"target": "traffic", "mode": "status", "ttl": "60s"})));
    control.must(patch("down", json!({"ttl": null})));
    assert_eq!(control.status().rules[0].expires_in, None);
    running.abort();
}

#[tokio::test]
async fn what_is_wrong_is_told_with_its_field_and_changes_nothing() {
    let control = control(RATE);
    for (change, errors) in [
        (
            put("down", json!({"target": "traffic", "mode": "hank"})),
            vec!["down: mode=\"hank\": is not one of status, redirect, hang, "],
        ),
        (
            put("down", json!({"target": "traffic", "mode": "hang", "ttl": "5 parsecs"})),
            vec!["down: ttl=\"5 parsecs\": is not a duration"],
        ),
        (
            put("down", json!({"name": "up", "target": "traffic", "mode": "hang"})),
            vec!["name=\"up\": is not down, the name in the path; leave it out"],
        ),
        (
            put("Down", down("traffic")),
            vec![
                "name: the name \"Down\" is not a DNS label: 1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit",
            ],
        ),
        (put("down", json!("hang")), vec!["\"hang\": is not a mapping"]),
        (
            put("some", json!({"target": "traffic", "mode": "hang", "pods": "30%"})),
            vec![
                "some: pods: `pods` needs a seed that is given (`SEED`, or `seed` in a plan) and POD_NAME: by both, replicas agree on who is meant",
            ],
        ),
        (
            patch("liveness-rate", json!({"rate": "120%", "ttl": "x"})),
            vec![
                "liveness-rate: ttl=\"x\": is not a duration such as 250ms, 30s or 1m30s (units: us, ms, s, m, h, d)",
                "liveness-rate: rate=\"120%\": is not between 0% and 100%",
            ],
        ),
        (
            Change::PutPlan(json!({"faults": [{"name": "a", "ttl": "0s"}, 5]})),
            vec![
                "faults[0]: ttl=\"0s\": is not more than 0; leave it out for ever",
                "faults[0] (a): `target` is missing",
                "faults[1]=\"5\": is not a mapping",
            ],
        ),
    ] {
        let shown = format!("{change:?}");
        let given = control.errors(change);
        assert_eq!(given.len(), errors.len(), "{shown}: {given:#?}");
        for (given, error) in given.iter().zip(errors) {
            assert!(given.starts_with(error), "{shown}: {given} is not {error}");
        }
    }
    assert_eq!(
        control.change("test", None, delete("nobody")),
        Err(Refusal::NotFound { name: "nobody".into() })
    );
    assert_eq!(
        control.change("test", None, patch("NO", json!({}))),
        Err(Refusal::NotFound { name: "NO".into() })
    );
    assert_eq!(control.status().snapshot.active.generation, 1);
    assert!(control.scrape().contains("probesim_plan_reloads_total{source=\"api\",result=\"error\"} 8\n"));
}

#[tokio::test]
async fn a_change_for_another_generation_is_refused() {
    let control = control(RATE);
    let change = |expected: &[u64]| control.change("test", Some(expected), put("down", down("traffic")));
    assert_eq!(change(&[1]), Ok(Changed { generation: 2, created: true, stopped: false }));
    assert_eq!(change(&[1]), Err(Refusal::Stale { generation: 2 }));
    assert_eq!(change(&[1, 2]), Ok(Changed { generation: 3, created: false, stopped: false }));
}

#[tokio::test]
async fn a_file_is_beneath_the_api_and_a_broken_one_leaves_the_plan_before() {
    let control = control(&[("FAULTS_FILE", "/faults"), ("LIVENESS_FAILURE_RATE", "20"), ("SEED", "1")]);
    let read = |content: Result<Option<&str>, &str>| control.read(Source::File, content);
    read(Ok(Some("faults: [{name: a, target: traffic, mode: hang}, {name: liveness-rate, disabled: true}]")));
    assert_eq!(control.shown(), "a:file");
    read(Ok(Some("faults: [{name: a, target: trafic}]")));
    assert_eq!(control.shown(), "a:file");
    let file = |control: &Control| control.status().sources.remove(1);
    assert_eq!(file(&control).errors.len(), 1);
    assert!(file(&control).errors[0].starts_with("/faults: faults[0] (a): target=\"trafic\": is not one of"));
    read(Err("is not UTF-8"));
    assert_eq!(file(&control).errors, ["/faults: is not UTF-8"]);
    let generation = control.status().snapshot.active.generation;
    read(Ok(Some(
        "faults: [{name: liveness-rate, disabled: true}, {name: a, mode: hang, target: [traffic]}]",
    )));
    assert_eq!(control.status().snapshot.active.generation, generation, "another spelling is no change");
    assert!(file(&control).errors.is_empty());
    for nothing in ["", "\n", "# nothing\n", "null", "{}", "faults: []"] {
        read(Ok(Some(nothing)));
        assert_eq!(
            (control.shown().as_str(), file(&control).errors.len()),
            ("liveness-rate:environment", 0),
            "{nothing:?}"
        );
    }
    control.must(put("a", down("readiness")));
    assert_eq!(control.shown(), "a:api liveness-rate:environment");
    read(Ok(None));
    assert_eq!(control.shown(), "a:api liveness-rate:environment");
    assert_eq!(file(&control).errors, ["/faults: is not there; it has no rules until it is"]);
    let metrics = control.scrape();
    for line in [r#"{source="file",result="ok"} 9"#, r#"{source="file",result="error"} 3"#] {
        assert!(metrics.contains(&format!("probesim_plan_reloads_total{line}\n")), "{line} in {metrics}");
    }
}

#[tokio::test(start_paused = true)]
async fn counters_go_on_when_a_rule_changes_and_stay_for_ten_minutes_when_it_is_gone() {
    let control = control(&[]);
    let ask = || control.0.engine.decide(Target::Liveness, Client::Other);
    let value = |series: &str| -> Option<f64> {
        let metrics = control.scrape();
        let line = metrics.lines().find_map(|line| line.strip_prefix(series).map(str::to_owned));
        line.map(|value| value.trim().parse().unwrap())
    };
    let injected = |mode: &str| {
        value(&format!(
            "probesim_faults_injected_total{{fault=\"down\",target=\"liveness\",mode=\"{mode}\"}}"
        ))
    };
    let eligible = || value("probesim_faults_eligible_total{fault=\"down\",target=\"liveness\"}");
    let seconds = || value("probesim_fault_active_seconds_total{fault=\"down\"}");
    control.must(put("down", down("liveness")));
    ask();
    advance(Duration::from_secs(10)).await;
    control.must(put("down", json!({"target": "liveness", "mode": "hang"})));
    ask();
    ask();
    advance(Duration::from_secs(10)).await;
    assert_eq!((injected("status"), injected("hang"), eligible()), (Some(1.0), Some(2.0), Some(3.0)));
    assert_eq!(seconds(), Some(20.0));
    control.must(put("down", down("liveness")));
    ask();
    assert_eq!((injected("status"), injected("hang")), (Some(2.0), Some(2.0)));
    control.must(delete("down"));
    advance(Duration::from_secs(590)).await;
    assert_eq!((injected("status"), eligible(), seconds()), (Some(2.0), Some(4.0), Some(20.0)));
    assert_eq!(value("probesim_fault_active{fault=\"down\"}"), Some(0.0));
    advance(Duration::from_secs(11)).await;
    assert_eq!((injected("status"), eligible(), seconds()), (None, None, None));
}

#[tokio::test]
async fn counts_of_rules_that_are_gone_are_bounded() {
    let control = control(&[]);
    for i in 0..1_500 {
        control.must(Change::PutPlan(
            json!({"faults": [{"name": format!("rule-{i}"), "target": "traffic", "mode": "hang"}]}),
        ));
    }
    let metrics = control.scrape();
    assert_eq!(metrics.lines().filter(|line| line.starts_with("probesim_fault_active{")).count(), 1_001);
    assert!(
        metrics.contains("rule-1499") && metrics.contains("rule-499\"") && !metrics.contains("rule-498\"")
    );
    assert_eq!(control.status().snapshot.active.generation, 1_501);
}

#[tokio::test(start_paused = true)]
async fn the_strongest_seed_decides_draws_and_members() {
    let vars = [("POD_NAME", "web-3"), ("SEED", "1"), ("LIVENESS_FAILURE_RATE", "50")];
    let control = control(&vars);
    let own = control.status().snapshot.active.plan.seed();
    assert_eq!(own, Seed(1).for_pod("web-3"));
    control.must(put("some", json!({"target": "traffic", "mode": "hang", "pods": [3]})));
    control.must(put("none", json!({"target": "traffic", "mode": "hang", "pods": [0, 4]})));
    let selected: Vec<bool> = control.status().rules.iter().map(|rule| rule.selected).collect();
    assert_eq!(selected, [true, false, true]);
    let metrics = control.scrape();
    assert!(metrics.contains("probesim_fault_selected{fault=\"some\"} 1\n"));
    assert!(metrics.contains("probesim_fault_selected{fault=\"none\"} 0\n"));
    assert!(metrics.contains("probesim_fault_active{fault=\"none\"} 0\n"));
    control.must(Change::PutPlan(json!({"seed": 9})));
    assert_eq!(control.status().snapshot.active.plan.seed(), Seed(9).for_pod("web-3"));
    control.must(Change::Reset { renew: false });
    assert_eq!(control.status().snapshot.active.plan.seed(), own);
}

#[tokio::test(start_paused = true)]
async fn a_stop_puts_every_rule_out_of_force_until_a_resume_and_clocks_go_on() {
    let control = control(&[("LIVENESS_FAIL_AFTER_TIME", "60"), ("FAULTS_FILE", "/faults")]);
    let engine = control.0.engine.clone();
    let fails = |target| engine.decide(target, Client::Other).decision.verdict != crate::fault::Verdict::Pass;
    control.read(Source::File, Ok(Some("faults: [{name: cut, target: listener, mode: drop}]")));
    assert!(engine.active().plan.link(ListenerId::Probe, engine.elapsed()).whole.is_some());
    control.must(Change::Stop);
    let stop = control.status().snapshot.active.stop.clone().unwrap();
    assert_eq!((stop.source, stop.by.as_str()), (Source::Api, "test"));
    assert!(engine.active().plan.link(ListenerId::Probe, engine.elapsed()).whole.is_none());
    // What sources bring later stays out of force, too, and a reset ends no stop.
    control.must(put("down", down("traffic")));
    control.read(Source::File, Ok(Some("faults: [{name: new, target: readiness, mode: hang}]")));
    control.must(Change::Reset { renew: false });
    advance(Duration::from_secs(61)).await;
    assert!(![Target::Liveness, Target::Readiness, Target::Traffic].into_iter().any(fails));
    assert!(control.scrape().contains("probesim_stopped 1\n"));
    let generation = control.status().snapshot.active.generation;
    assert_eq!(control.must(Change::Stop), generation, "a second stop changes nothing");
    let resumed = control.change("test", None, Change::Resume).unwrap();
    assert!(!resumed.stopped);
    assert!(fails(Target::Liveness), "its clock went on");
    assert!(fails(Target::Readiness));
    assert!(control.scrape().contains("probesim_stopped 0\n"));
    let metrics = control.scrape();
    assert!(metrics.contains("probesim_fault_active_seconds_total{fault=\"new\"} 0\n"), "{metrics}");
}

#[tokio::test]
async fn an_annotation_stops_and_a_resume_does_not_end_that() {
    let control = control(&[("LIVENESS_FAILURE_RATE", "100"), ("ANNOTATION_FILE", "/annotation")]);
    control.read(Source::Annotation, Ok(Some("{stop: true}")));
    let stop = || control.status().snapshot.active.stop.clone();
    assert_eq!(
        stop().map(|stop| (stop.source, stop.by)),
        Some((Source::Annotation, "/annotation".to_owned()))
    );
    assert!(control.change("test", None, Change::Resume).unwrap().stopped);
    control.read(Source::Annotation, Ok(Some("{stop: 5}")));
    assert!(stop().is_some(), "a broken annotation leaves the stop");
    control.must(Change::Stop);
    control.read(Source::Annotation, Ok(None));
    assert_eq!(stop().map(|stop| stop.source), Some(Source::Api));
    control.must(Change::Resume);
    assert_eq!(stop(), None);
    let kinds = control.events().page(Some(0), 100).events;
    let stops: Vec<_> = kinds.iter().filter(|event| event.what.kind() == "stop").collect();
    assert_eq!(stops.len(), 2, "one for the stop that held without a gap, one for its end");
    assert_eq!(control.errors(Change::PutPlan(json!({"stop": true}))).len(), 1);
}

#[tokio::test]
async fn a_stop_names_what_brings_rules_back_and_how_to_end_it_there() {
    let vars = [
        ("LIVENESS_FAILURE_RATE", "20"),
        ("FAULTS_FILE", "/faults"),
        ("ANNOTATION_FILE", "/annotation"),
        ("POD_NAME", "web-0"),
        ("POD_NAMESPACE", "shop"),
    ];
    let control = control(&vars);
    let rule = |name: &str| format!("faults: [{{name: {name}, target: traffic, mode: hang}}]");
    control.read(Source::File, Ok(Some(&rule("a"))));
    control.read(Source::Annotation, Ok(Some(&rule("b"))));
    let returning: Vec<_> = control.status().returning.into_iter().map(|of| of.end).collect();
    assert_eq!(
        returning,
        [
            "kubectl -n shop set env WORKLOAD LIVENESS_FAILURE_RATE-, with WORKLOAD such as deployment/web",
            "take the rules out of /faults, or out of the ConfigMap that is mounted there",
            "kubectl -n shop annotate pod web-0 probesim.io/faults-",
        ]
    );
}

/// A plan of so many rules.
fn many(count: usize) -> Value {
    let rule = |i| json!({"name": format!("rule-{i}"), "target": "traffic", "mode": "hang"});
    json!({ "faults": (0..count).map(rule).collect::<Vec<_>>() })
}

#[tokio::test(start_paused = true)]
async fn what_a_rule_hides_counts_so_that_its_end_and_a_reset_never_fail() {
    let control = control(&[("LIVENESS_FAILURE_RATE", "20"), ("FAULTS_FILE", "/faults")]);
    let running = tokio::spawn(control.clone().run());
    control.read(Source::File, Ok(Some(&many(999).to_string())));
    control.must(put("liveness-rate", json!({"disabled": true, "ttl": "10s"})));
    let full = ["all sources together: 1001 rules are more than the 1000 allowed"];
    assert_eq!(control.errors(put("one-more", down("traffic"))), full);
    sleep(Duration::from_secs(11)).await;
    assert_eq!(control.status().snapshot.active.plan.len(), 1000);
    assert_eq!(control.status().snapshot.active.generation, 4);
    // A plan that replaces all others hides a file that would not fit beside the environment.
    control.must(Change::PutPlan(many(1000)));
    control.read(Source::File, Ok(Some(&many(1000).to_string())));
    assert_eq!(control.status().sources[1].errors, [format!("/faults: {}", full[0])]);
    control.must(Change::Reset { renew: false });
    assert_eq!(control.status().snapshot.active.plan.len(), 1000);
    running.abort();
}

#[test]
fn the_effective_seed_given_to_the_fleet_replays_selection_stagger_and_draws_of_each_replica() {
    let place = |name: &str, scope: SeedScope, seed: u64| {
        let config = env::load([("SEED".into(), seed.to_string().into())].into_iter()).unwrap().config;
        let instance = Instance { pod: Some(name.to_owned()), scope, drawn_seed: 7, starts: 1 };
        instance.seed_and_replica(&Layers::new(&config).merged(), Timestamp::default())
    };
    let mut keys = std::collections::HashSet::new();
    for number in 0..24 {
        let name = format!("web-{number}");
        let (seed, replica) = place(&name, SeedScope::Pod, 42);
        // The key of a replica decides on both `pods` and `stagger`.
        assert_eq!(place(&name, SeedScope::Fleet, seed.0), (seed, replica), "{name}");
        assert!(keys.insert(replica.key.map(|key| key.0)), "{name} shares its key");
    }
}

#[test]
fn counts_that_people_read_begin_with_the_rule_while_metrics_go_on() {
    let control = control(&[]);
    let ask = || (0..5).for_each(|_| drop(control.0.engine.decide(Target::Liveness, Client::Other)));
    let read = || {
        let active = control.0.engine.active();
        let tally = active.tallies(0).next().unwrap();
        (tally.eligible, tally.injected)
    };
    control.must(put("down", down("liveness")));
    ask();
    control.must(put("other", down("startup")));
    assert_eq!(read(), (5, 5), "an unchanged rule goes on");
    control.must(delete("other"));
    control.must(delete("down"));
    control.must(put("down", down("liveness")));
    assert_eq!(read(), (0, 0));
    ask();
    assert_eq!(read(), (5, 5));
    let injected = "probesim_faults_injected_total{fault=\"down\",target=\"liveness\",mode=\"status\"} 10\n";
    assert!(control.scrape().contains(injected), "{}", control.scrape());
}
