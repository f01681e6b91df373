//! Counters of rules that change, expire and come back.

use super::*;

#[tokio::test(start_paused = true)]
async fn counters_continue_when_a_rule_changes_and_stay_ten_minutes_after_it_is_removed() {
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
async fn counters_of_removed_rules_are_bounded() {
    let control = control(&[]);
    for i in 0..1_500 {
        control.must(ApiChange::PutPlan(
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

#[test]
fn api_counts_start_with_the_rule_while_metrics_continue() {
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
    assert_eq!(read(), (5, 5), "an unchanged rule continues");
    control.must(delete("other"));
    control.must(delete("down"));
    control.must(put("down", down("liveness")));
    assert_eq!(read(), (0, 0));
    ask();
    assert_eq!(read(), (5, 5));
    let injected = "probesim_faults_injected_total{fault=\"down\",target=\"liveness\",mode=\"status\"} 10\n";
    assert!(control.scrape().contains(injected), "{}", control.scrape());
}
