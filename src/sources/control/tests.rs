mod counters;
mod proxies;
mod seeds;
mod stop;

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

/// A control for the plan of these variables; its file is at `/faults` if `FAULTS_FILE` says so.
fn control(vars: &[(&str, &str)]) -> Control {
    let pairs = vars.iter().map(|(name, value)| (name.into(), value.into()));
    let config = env::load(pairs).unwrap().config;
    running(&config, Layers::new(&config), 7, &Restored::default()).unwrap().2
}

fn put(name: &str, rule: Value) -> ApiChange {
    ApiChange::PutFault { name: name.to_owned(), rule }
}

fn down(target: &str) -> Value {
    json!({"target": target, "mode": "status"})
}

fn delete(name: &str) -> ApiChange {
    ApiChange::DeleteFault { name: name.to_owned() }
}

fn patch(name: &str, patch: Value) -> ApiChange {
    ApiChange::PatchFault { name: name.to_owned(), patch }
}

impl Control {
    fn must(&self, change: ApiChange) -> u64 {
        self.change("test", None, change).unwrap().generation
    }

    /// Names and sources of the rules in force.
    fn shown(&self) -> String {
        let SourcesStatus { snapshot, rules, .. } = self.status();
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

    fn errors(&self, change: ApiChange) -> Vec<String> {
        match self.change("test", None, change) {
            Err(ChangeRefusal::Invalid(errors)) => errors.iter().map(ToString::to_string).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn scrape(&self) -> String {
        self.0.metrics.encode()
    }
}

const RATE: &[(&str, &str)] = &[("LIVENESS_FAILURE_RATE", "20"), ("READINESS_FAIL_AFTER_TIME", "60")];

#[tokio::test(start_paused = true)]
async fn api_rules_come_first_and_deleted_rules_stay_out_until_a_reset() {
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
    assert_eq!(control.must(ApiChange::Reset { renew: false }), 6);
    assert_eq!(control.shown(), "readiness-time:environment liveness-rate:environment");
}

#[tokio::test(start_paused = true)]
async fn an_unchanged_rule_keeps_its_origin_until_it_is_renewed() {
    let control = control(RATE);
    advance(Duration::from_secs(10)).await;
    let same = control.rule("readiness-time");
    control.must(put("other", down("traffic")));
    control.must(put("readiness-time", same));
    assert_eq!(control.origin("readiness-time"), Duration::ZERO, "same content from another source");
    assert_eq!(control.origin("other"), Duration::from_secs(10));
    control.must(patch("readiness-time", json!({"status": 503})));
    assert_eq!(control.origin("readiness-time"), Duration::from_secs(10), "different content");
    advance(Duration::from_secs(10)).await;
    control.must(ApiChange::Reset { renew: false });
    assert_eq!(control.origin("liveness-rate"), Duration::ZERO);
    control.must(ApiChange::Reset { renew: true });
    assert_eq!(control.origin("liveness-rate"), Duration::from_secs(20));
}

#[tokio::test(start_paused = true)]
async fn put_plan_replaces_everything_until_a_reset() {
    let control = control(RATE);
    let plan =
        json!({"seed": 5, "faults": [{"name": "a", "target": "liveness", "mode": "hang", "ttl": "10s"}]});
    control.must(ApiChange::PutPlan(plan));
    assert_eq!(control.shown(), "a:api");
    assert_eq!(control.status().seed, Some((5, Source::Api)));
    assert_eq!(control.status().rules[0].expires_in, Some(Duration::from_secs(10)));
    control.must(delete("a"));
    assert_eq!(control.shown(), "", "lower layers stay hidden");
    control.must(ApiChange::Reset { renew: false });
    assert_eq!(control.shown(), "readiness-time:environment liveness-rate:environment");
    assert_eq!(control.status().seed, None);
}

#[tokio::test(start_paused = true)]
async fn a_rule_with_a_ttl_expires_and_a_patch_without_ttl_keeps_its_end() {
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
        control.events().page(Some(0), 100).events.iter().map(|event| event.kind.name()).collect();
    assert_eq!(kinds, ["plan"; 6]);
    control.must(put("down", json!({"target": "traffic", "mode": "status", "ttl": "60s"})));
    control.must(patch("down", json!({"ttl": null})));
    assert_eq!(control.status().rules[0].expires_in, None);
    running.abort();
}

#[tokio::test]
async fn errors_name_the_field_and_change_nothing() {
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
            vec!["name=\"up\": is not down, the name in the path; omit it"],
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
                "some: pods: `pods` needs a configured seed (`SEED`, or `seed` in a plan) and POD_NAME, so that the replicas agree on the selection",
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
            ApiChange::PutPlan(json!({"faults": [{"name": "a", "ttl": "0s"}, 5]})),
            vec![
                "faults[0]: ttl=\"0s\": is not more than 0; omit it for no limit",
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
        Err(ChangeRefusal::NotFound { name: "nobody".into() })
    );
    assert_eq!(
        control.change("test", None, patch("NO", json!({}))),
        Err(ChangeRefusal::NotFound { name: "NO".into() })
    );
    assert_eq!(control.status().snapshot.active.generation, 1);
    assert!(control.scrape().contains("probesim_plan_reloads_total{source=\"api\",result=\"error\"} 8\n"));
}

#[tokio::test]
async fn a_change_for_another_generation_is_rejected() {
    let control = control(RATE);
    let change = |expected: &[u64]| control.change("test", Some(expected), put("down", down("traffic")));
    assert_eq!(change(&[1]), Ok(ChangeResult { generation: 2, created: true, stopped: false }));
    assert_eq!(change(&[1]), Err(ChangeRefusal::Stale { generation: 2 }));
    assert_eq!(change(&[1, 2]), Ok(ChangeResult { generation: 3, created: false, stopped: false }));
}

#[tokio::test]
async fn a_file_ranks_below_the_api_and_a_broken_one_keeps_the_previous_plan() {
    let control = control(&[("FAULTS_FILE", "/faults"), ("LIVENESS_FAILURE_RATE", "20"), ("SEED", "1")]);
    let read = |content: Result<Option<&str>, &str>| control.read(Source::File, content);
    read(Ok(Some("faults: [{name: a, target: traffic, mode: hang}, {name: liveness-rate, disabled: true}]")));
    assert_eq!(control.shown(), "a:file");
    read(Ok(Some("faults: [{name: a, target: trafic, mode: hang}]")));
    assert_eq!(control.shown(), "a:file");
    let file = |control: &Control| control.status().sources.remove(1);
    assert_eq!(file(&control).errors.len(), 1);
    assert!(file(&control).errors[0].starts_with("/faults: a: target=\"trafic\": is not one of"));
    read(Err("is not UTF-8"));
    assert_eq!(file(&control).errors, ["/faults: is not UTF-8"]);
    let generation = control.status().snapshot.active.generation;
    read(Ok(Some(
        "faults: [{name: liveness-rate, disabled: true}, {name: a, mode: hang, target: [traffic]}]",
    )));
    assert_eq!(control.status().snapshot.active.generation, generation, "different formatting is no change");
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
    assert_eq!(file(&control).errors, ["/faults: does not exist; it adds no rules until it does"]);
    let metrics = control.scrape();
    for line in [r#"{source="file",result="ok"} 9"#, r#"{source="file",result="error"} 3"#] {
        assert!(metrics.contains(&format!("probesim_plan_reloads_total{line}\n")), "{line} in {metrics}");
    }
}

/// A plan with this many rules.
fn many(count: usize) -> Value {
    let rule = |i| json!({"name": format!("rule-{i}"), "target": "traffic", "mode": "hang"});
    json!({ "faults": (0..count).map(rule).collect::<Vec<_>>() })
}

#[tokio::test(start_paused = true)]
async fn hidden_rules_count_so_that_expiry_and_reset_never_fail() {
    let control = control(&[("LIVENESS_FAILURE_RATE", "20"), ("FAULTS_FILE", "/faults")]);
    let running = tokio::spawn(control.clone().run());
    control.read(Source::File, Ok(Some(&many(999).to_string())));
    control.must(put("liveness-rate", json!({"disabled": true, "ttl": "10s"})));
    let full = ["all sources combined: 1001 rules are more than the 1000 allowed"];
    assert_eq!(control.errors(put("one-more", down("traffic"))), full);
    sleep(Duration::from_secs(11)).await;
    assert_eq!(control.status().snapshot.active.plan.len(), 1000);
    assert_eq!(control.status().snapshot.active.generation, 4);
    // A plan that replaces all others hides a file that would not fit together with the environment.
    control.must(ApiChange::PutPlan(many(1000)));
    control.read(Source::File, Ok(Some(&many(1000).to_string())));
    assert_eq!(control.status().sources[1].errors, [format!("/faults: {}", full[0])]);
    control.must(ApiChange::Reset { renew: false });
    assert_eq!(control.status().snapshot.active.plan.len(), 1000);
    running.abort();
}
