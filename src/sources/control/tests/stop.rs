//! Stop and resume.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_stop_disables_every_rule_until_a_resume_and_clocks_continue() {
    let control = control(&[("LIVENESS_FAIL_AFTER_TIME", "60"), ("FAULTS_FILE", "/faults")]);
    let engine = control.0.engine.clone();
    let fails = |target| engine.decide(target, Client::Other).decision.verdict != crate::fault::Verdict::Pass;
    control.read(Source::File, Ok(Some("faults: [{name: cut, target: listener, mode: drop}]")));
    assert!(engine.active().plan.link(ListenerId::Probe, engine.elapsed()).whole.is_some());
    control.must(ApiChange::Stop);
    let stop = control.status().snapshot.active.stop.clone().unwrap();
    assert_eq!((stop.source, stop.by.as_str()), (Source::Api, "test"));
    assert!(engine.active().plan.link(ListenerId::Probe, engine.elapsed()).whole.is_none());
    // Rules that sources add later are stopped as well, and a reset does not end the stop.
    control.must(put("down", down("traffic")));
    control.read(Source::File, Ok(Some("faults: [{name: new, target: readiness, mode: hang}]")));
    control.must(ApiChange::Reset { renew: false });
    advance(Duration::from_secs(61)).await;
    assert!(![Target::Liveness, Target::Readiness, Target::Traffic].into_iter().any(fails));
    assert!(control.scrape().contains("probesim_stopped 1\n"));
    let generation = control.status().snapshot.active.generation;
    assert_eq!(control.must(ApiChange::Stop), generation, "a second stop changes nothing");
    let resumed = control.change("test", None, ApiChange::Resume).unwrap();
    assert!(!resumed.stopped);
    assert!(fails(Target::Liveness), "its clock continued");
    assert!(fails(Target::Readiness));
    assert!(control.scrape().contains("probesim_stopped 0\n"));
    let metrics = control.scrape();
    assert!(metrics.contains("probesim_fault_active_seconds_total{fault=\"new\"} 0\n"), "{metrics}");
}

#[tokio::test]
async fn resume_does_not_end_a_stop_by_annotation() {
    let control = control(&[("LIVENESS_FAILURE_RATE", "100"), ("ANNOTATION_FILE", "/annotation")]);
    control.read(Source::Annotation, Ok(Some("{stop: true}")));
    let stop = || control.status().snapshot.active.stop.clone();
    assert_eq!(
        stop().map(|stop| (stop.source, stop.by)),
        Some((Source::Annotation, "/annotation".to_owned()))
    );
    assert!(control.change("test", None, ApiChange::Resume).unwrap().stopped);
    control.read(Source::Annotation, Ok(Some("{stop: 5}")));
    assert!(stop().is_some(), "a broken annotation keeps the stop");
    control.must(ApiChange::Stop);
    control.read(Source::Annotation, Ok(None));
    assert_eq!(stop().map(|stop| stop.source), Some(Source::Api));
    control.must(ApiChange::Resume);
    assert_eq!(stop(), None);
    let kinds = control.events().page(Some(0), 100).events;
    let stops: Vec<_> = kinds.iter().filter(|event| event.kind.name() == "stop").collect();
    assert_eq!(stops.len(), 2, "one for the uninterrupted stop, one for its end");
    assert_eq!(control.errors(ApiChange::PutPlan(json!({"stop": true}))).len(), 1);
}

#[tokio::test]
async fn a_stop_names_the_sources_that_bring_rules_back_and_how_to_remove_them() {
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
            "kubectl -n shop set env WORKLOAD LIVENESS_FAILURE_RATE-, where WORKLOAD is, for example, deployment/web",
            "remove the rules from /faults, or out of the ConfigMap that is mounted there",
            "kubectl -n shop annotate pod web-0 probesim.io/faults-",
        ]
    );
}
