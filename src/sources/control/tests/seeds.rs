//! Seeds and their effects.

use super::*;

#[tokio::test(start_paused = true)]
async fn the_highest_ranking_seed_determines_draws_and_selected_replicas() {
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
    control.must(ApiChange::PutPlan(json!({"seed": 9})));
    assert_eq!(control.status().snapshot.active.plan.seed(), Seed(9).for_pod("web-3"));
    control.must(ApiChange::Reset { renew: false });
    assert_eq!(control.status().snapshot.active.plan.seed(), own);
}

#[test]
fn setting_the_effective_seed_replays_selection_stagger_and_draws() {
    let place = |name: &str, scope: SeedScope, seed: u64| {
        let config = env::load([("SEED".into(), seed.to_string().into())].into_iter()).unwrap().config;
        let instance =
            Instance { pod: Some(name.to_owned()), scope, drawn_seed: 7, starts: 1, resumed: Duration::ZERO };
        instance.seed_and_replica(&Layers::new(&config).merged(), Timestamp::default())
    };
    let mut keys = std::collections::HashSet::new();
    for number in 0..24 {
        let name = format!("web-{number}");
        let (seed, replica) = place(&name, SeedScope::Pod, 42);
        // The key of a replica determines both `pods` and `stagger`.
        assert_eq!(place(&name, SeedScope::Fleet, seed.0), (seed, replica), "{name}");
        assert!(keys.insert(replica.key.map(|key| key.0)), "{name} shares its key");
    }
}

#[tokio::test(start_paused = true)]
async fn the_effective_seed_replays_later_starts_whose_draws_differ() {
    let plan =
        "{faults: [{name: some, target: liveness, mode: status, rate: 40%, delay: {fixed: 1s, jitter: 1s}}]}";
    let decisions = |seed: u64, scope: &str, starts: u64| {
        let vars = [
            ("SEED", seed.to_string().as_str()),
            ("SEED_SCOPE", scope),
            ("POD_NAME", "web-3"),
            ("FAULTS", plan),
        ]
        .map(|(name, value)| (name.into(), value.into()));
        let config = env::load(vars.into_iter()).unwrap().config;
        let mut counts = crate::fault::RequestCounts::default();
        counts.set(Target::Liveness, Client::Kubelet, 100 * starts);
        let restored = Restored { starts, counts, ..Restored::default() };
        let engine = running(&config, Layers::new(&config), 7, &restored).unwrap().0;
        let decided =
            (0..200).map(|_| engine.decide(Target::Liveness, Client::Kubelet).decision).collect::<Vec<_>>();
        (engine.active().plan.seed().0, *engine.active().plan.replica(), format!("{decided:?}"))
    };
    let mut all = std::collections::HashSet::new();
    for starts in 0..4 {
        let (effective, mut replica, decided) = decisions(42, "pod", starts);
        let (again, mut replayed, replay) = decisions(effective, "fleet", starts);
        (replica.epoch, replayed.epoch) = (Timestamp::default(), Timestamp::default());
        assert_eq!((again, replayed, replay), (effective, replica, decided.clone()), "start {}", starts + 1);
        all.insert(decided);
    }
    assert_eq!(all.len(), 4, "each start draws again");
}
