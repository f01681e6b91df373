//! Parts of a fleet, kept state, and the calendar.

use std::collections::HashSet;
use std::path::Path;

use kube_probesim::env::Config;
use kube_probesim::fault::{Draws, Origin, Replica, RequestInfo, Seed, Timestamp};
use kube_probesim::kubelet::{Pod, PodEvent, PodEventKind, Symptom};
use kube_probesim::plan::write_rule;
use kube_probesim::predict::advice::Advice;
use kube_probesim::predict::run::PodOutcome;
use kube_probesim::predict::selection::{self, selections};
use kube_probesim::sources::Instance;
use kube_probesim::sources::state::{SavedState, StateDir};
use kube_probesim::units::timestamp;

use super::*;

/// A StatefulSet of Pods with this plan.
fn fleet(pods: u32, plan: &str) -> Workload {
    workload(Kind::StatefulSet, pods, &[("FAULTS", plan), ("POD_NAME", "app-0")])
}

fn keeping(mut workload: Workload) -> Workload {
    workload.probesim[0].keeps_state = true;
    workload
}

fn at(instant: &str) -> Options {
    Options { at: timestamp(instant).unwrap(), ..Options::default() }
}

fn advice(workload: &Workload, options: &Options) -> Vec<Advice> {
    selection::advice(workload, &Replicas::new(workload, options), options)
}

/// The names of the Pods that the first rule acts on.
fn selected(workload: &Workload) -> HashSet<String> {
    let replicas = Replicas::new(workload, &Options::default());
    let pods = &selections(workload, &replicas)[0].pods;
    pods.iter().map(|pod| replicas.pods[*pod].name.clone()).collect()
}

#[test]
fn a_share_of_a_thousand_pods_is_hit_and_it_is_those_that_the_service_selects() {
    let plan =
        |seed| format!("seed: {seed}\nfaults: [{{name: some, target: readiness, mode: status, pods: 30%}}]");
    let of = |seed| {
        workload(Kind::StatefulSet, 1000, &[("FAULTS", &plan(seed)), ("SEED", ""), ("POD_NAME", "app-0")])
    };
    let web = of(7);
    let some = selected(&web);
    assert!((250..=350).contains(&some.len()), "{}", some.len());
    assert_eq!(some, selected(&web), "the same each time");
    assert_ne!(some, selected(&of(8)), "others with another seed");
    let pods = web.probesim[0].plan.rules()[0].trigger().pods.clone().unwrap();
    let prediction = predicted(&web, &for_time(s(60)));
    for PodOutcome { name, stats, .. } in &prediction.pods {
        let effective = Seed(7).for_pod(name);
        let is_one = Replica::named(Some(effective.0), Some(name)).is_one_of(&pods);
        assert_eq!(some.contains(name), is_one, "{name}");
        assert_eq!(stats.first_ready.is_none(), is_one, "{name}");
    }
    let lines = selection::lines(&web, &Replicas::new(&web, &Options::default()));
    let wanted = format!(
        "app: fault some, from the environment, acts on {} of 1000 Pods (pods: 30%): app-",
        some.len()
    );
    assert!(
        lines[0].starts_with(&wanted) && lines[0].ends_with(&format!(" and {} more", some.len() - 10)),
        "{lines:?}"
    );
}

#[test]
fn ordinals_select_their_pods_and_no_others() {
    let web = fleet(4, "faults: [{name: some, target: readiness, mode: status, pods: [0, 2]}]");
    let never: Vec<bool> =
        predicted(&web, &for_time(s(60))).pods.iter().map(|pod| pod.stats.first_ready.is_none()).collect();
    assert_eq!(never, [true, false, true, false]);
    assert_eq!(
        selection::lines(&web, &Replicas::new(&web, &Options::default())),
        ["app: fault some, from the environment, acts on 2 of 4 Pods (pods: [0,2]): app-0, app-2"]
    );
}

#[test]
fn advice_names_the_chance_that_a_share_selects_no_pod() {
    let web = fleet(3, "faults: [{name: few, target: readiness, mode: status, pods: 1%}]");
    assert_eq!(selected(&web).len(), 0);
    let found = advice(&web, &Options::default());
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].code, "pods-select-none");
    let text = &found[0].text;
    assert!(text.contains("fault few (pods: 1%) acts on none of 3 Pods") && text.contains("97.0%"), "{text}");
    let absent = fleet(3, "faults: [{name: few, target: readiness, mode: status, pods: [3]}]");
    assert!(advice(&absent, &Options::default())[0].text.contains("(pods: [3])"));
    let all = fleet(3, "faults: [{name: all, target: readiness, mode: status, pods: 100%}]");
    assert_eq!(advice(&all, &Options::default()), []);
}

#[test]
fn a_staggered_rule_begins_at_a_time_of_its_own_in_each_pod() {
    let web = fleet(
        20,
        "faults: [{name: late, target: readiness, mode: status, when: {after: 300s}, stagger: 200s}]",
    );
    let (prediction, events) = observed(&web, &for_time(s(900)));
    let mut ends = Vec::new();
    for seen in &events {
        if let Observation::Pod { event, .. } = seen
            && event.kind == PodEventKind::PodReady(false)
        {
            ends.push(event.at);
        }
    }
    assert_eq!(ends.len(), 20);
    assert!(ends[19] > ends[0] + s(100) && ends[0] > s(319) && ends[19] < s(535), "{ends:?}");
    for PodOutcome { name, reaction, .. } in &prediction.pods {
        // Threshold 3, period 10, from its own beginning on.
        assert!(reaction.unwrap() > s(19) && reaction.unwrap() < s(31), "{name}: {reaction:?}");
    }
}

#[test]
fn a_window_of_the_calendar_opens_and_closes_at_its_instants() {
    let plan = "faults: [{name: drill, target: readiness, mode: status, start: '2026-11-23T12:10:00Z', until: '2026-11-23T13:20:00+01:00'}]";
    let flips = |options: &Options| -> Vec<(Duration, bool)> {
        let seen = observed(&fleet(1, plan), options).1;
        let flip = |seen: Observation| match seen {
            Observation::Pod { event: PodEvent { kind: PodEventKind::PodReady(ready), at, .. }, .. } => {
                Some((at, ready))
            }
            _ => None,
        };
        seen.into_iter().filter_map(flip).collect()
    };
    let noon = at("2026-11-23T12:00:00Z");
    let seen = flips(&noon);
    assert_eq!(seen.iter().map(|(_, ready)| *ready).collect::<Vec<_>>(), [true, false, true]);
    assert!(
        seen[1].0 > s(619) && seen[1].0 < s(631) && seen[2].0 >= s(1200) && seen[2].0 < s(1211),
        "{seen:?}"
    );
    let reaction = predicted(&fleet(1, plan), &noon).pods[0].reaction.unwrap();
    assert!(reaction > s(19) && reaction < s(31), "{reaction:?}");
    // From within, and from after.
    assert_eq!(flips(&at("2026-11-23T12:15:00Z")).len(), 1);
    let after = at("2026-11-23T12:20:00Z");
    assert_eq!(flips(&after).len(), 1);
    let found = advice(&fleet(1, plan), &after);
    assert_eq!(found[0].code, "outside-prediction");
    assert!(found[0].text.contains("ends (until) at 2026-11-23T12:20:00Z"), "{}", found[0].text);
    let before = advice(&fleet(1, plan), &at("2026-11-23T11:10:00Z"));
    assert!(
        before[0].text.contains("does not begin (start) before 2026-11-23T12:10:00Z"),
        "{}",
        before[0].text
    );
    assert_eq!(advice(&fleet(1, plan), &noon), []);
}

#[test]
fn a_restart_does_not_move_a_window_of_the_calendar() {
    let plan = "faults: [{name: drill, target: liveness, mode: status, start: '2026-11-23T12:05:00Z', until: '2026-11-23T12:06:30Z'}]";
    let pods = predicted(&fleet(1, plan), &at("2026-11-23T12:00:00Z")).pods;
    // 90 s of it hold three failures in a row twice at most.
    assert!((1..=3).contains(&pods[0].restarts()), "{}", pods[0].restarts());
}

#[test]
fn with_a_state_clock_and_counts_go_on_over_restarts() {
    let hour = for_time(s(3600));
    let restarts = |workload: &Workload| predicted(workload, &hour).pods[0].restarts();
    let by_time = "faults: [{name: old, target: liveness, mode: status, when: {after: 10m, for: 35s}}]";
    assert_eq!(restarts(&keeping(fleet(1, by_time))), 1, "the window is over for good");
    let reaction = predicted(&keeping(fleet(1, by_time)), &hour).pods[0].reaction.unwrap();
    assert!(reaction > s(19) && reaction < s(31), "{reaction:?}");
    assert!(restarts(&fleet(1, by_time)) >= 4, "it comes again with each process");
    // A liveness kill every 2 minutes at most, so that no process sees 30 requests of readiness.
    let by_count = "faults: [{name: kill, target: liveness, mode: status, when: {after: 1m}}, \
                    {name: count, target: readiness, mode: status, when: {requests: {after: 30}}}]";
    let failed = |workload: &Workload| {
        let fails = |seen: &Observation| {
            matches!(seen, Observation::Pod { event, .. }
                if matches!(event.kind, PodEventKind::Unhealthy { probe: ProbeKind::Readiness, symptom, .. }
                    if symptom != Symptom::Refused))
        };
        observed(workload, &hour).1.iter().filter(|seen| fails(seen)).count()
    };
    assert_eq!(failed(&fleet(1, by_count)), 0);
    assert!(failed(&keeping(fleet(1, by_count))) > 0);
}

#[test]
fn windows_in_starts_need_a_state() {
    let first = "faults: [{name: once, target: liveness, mode: status, when: {starts: {for: 1}}}]";
    let restarts = |workload: &Workload| predicted(workload, &for_time(s(1800))).pods[0].restarts();
    assert_eq!(restarts(&keeping(fleet(1, first))), 1, "the second start is healthy");
    assert!(restarts(&fleet(1, first)) > 3, "each start is the first");
    let later =
        "faults: [{name: third, target: readiness, mode: status, when: {starts: {after: 2, for: 1}}}]";
    let found = advice(&fleet(1, later), &Options::default());
    assert_eq!(found[0].code, "starts-without-state");
    assert!(
        found[0].text.contains("fault third") && found[0].text.contains("STATE_DIR"),
        "{}",
        found[0].text
    );
    assert_eq!(advice(&keeping(fleet(1, later)), &Options::default()), []);
    assert_eq!(advice(&fleet(1, first), &Options::default()), []);
}

/// The plan of one start, as the service makes it.
fn started(config: &Config, dir: &Path, now: Timestamp) -> (StateDir, SavedState, ActivePlan) {
    let (state, before, wrong) = StateDir::open(dir, now);
    assert_eq!(wrong, None);
    let merged = Layers::elsewhere(config, false).merged();
    let setting = Instance {
        pod: config.identity.pod.clone(),
        scope: config.seed.scope,
        drawn_seed: 0,
        starts: before.starts + 1,
        resumed: before.elapsed,
    };
    let (plan, _) = merged.plan().unwrap();
    let began = Timestamp(now.0.saturating_sub(before.elapsed));
    let (seed, replica) = setting.seed_and_replica(&merged, began);
    let origin = Origin { elapsed: before.elapsed, counts: before.counts.clone(), starts: before.starts };
    let plan = ActivePlan::new(plan, seed, true).at(replica).with_origins(|rule| {
        let text = write_rule(rule).to_string();
        before.origins.iter().find(|(known, _)| *known == text).map_or(&origin, |(_, origin)| origin).clone()
    });
    let origins = plan
        .rules()
        .enumerate()
        .map(|(i, rule)| (write_rule(rule).to_string(), plan.origin(i).clone()))
        .collect();
    (
        state,
        SavedState {
            elapsed: before.elapsed,
            counts: before.counts.clone(),
            origins,
            ..SavedState::default()
        },
        plan,
    )
}

#[test]
fn over_restarts_with_a_state_the_prediction_decides_as_the_service_does() {
    let faults = "faults: [{name: kill, target: liveness, rate: 60%, mode: status}, \
                   {name: ramp, target: readiness, ramp: 20m, rate: 80%, mode: hang}, \
                   {name: second, target: readiness, when: {starts: {after: 1, for: 2}}, delay: {fixed: 50ms, jitter: 20ms}}, \
                   {name: window, target: [liveness, readiness], when: {after: 90s, for: 60s, every: 4m}, mode: close}, \
                   {name: drill, target: readiness, start: '2026-11-23T12:02:00Z', until: '2026-11-23T12:20:00Z', stagger: 1m, mode: reset}]";
    let web = keeping(workload(Kind::StatefulSet, 1, &[("FAULTS", faults), ("POD_NAME", "app-0")]));
    let config = crate::support::config(&[("FAULTS", faults), ("POD_NAME", "app-0")]);
    let options = at("2026-11-23T12:00:00Z");
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("predict-state");
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();

    let spec = Replicas::new(&web, &options).pods.remove(0).pod;
    let mut pod = Pod::new(spec, Draws::of(Seed(1), "node"));
    let mut process: Option<(StateDir, SavedState, ActivePlan, Duration)> = None;
    let (mut starts, mut fired) = (0, HashSet::new());
    for step in 1..=36_000 {
        let mut events = Vec::new();
        pod.run(Duration::from_millis(100 * step), &mut |event| events.push(event));
        let mut has_started = false;
        for event in events {
            let now = Timestamp(options.at.0 + event.at);
            match event.kind {
                PodEventKind::Exited { .. } => {
                    let (mut state, mut present, _, since) = process.take().unwrap();
                    present.elapsed += event.at.saturating_sub(since);
                    state.save(&present, now).unwrap();
                }
                PodEventKind::Started { .. } => {
                    let (state, present, plan) = started(&config, &dir, now);
                    process = Some((state, present, plan, event.at));
                    has_started = true;
                }
                _ => {}
            }
        }
        let Some((_, present, service, since)) = process.as_ref().filter(|_| has_started) else { continue };
        starts += 1;
        let (plan, zero) = pod.plan(0).unwrap();
        assert_eq!(plan.seed(), service.seed(), "start {starts}");
        assert_eq!(plan.seed(), Seed(42).for_pod("app-0"));
        assert_eq!(plan.replica().starts, starts);
        let off = |a: Duration, b: Duration| a.abs_diff(b) < Duration::from_millis(1);
        assert!(off(*since, zero + present.elapsed), "start {starts}: {since:?} {zero:?} {present:?}");
        let (here, there) = (plan.replica(), service.replica());
        assert_eq!((here.key, here.ordinal, here.starts), (there.key, there.ordinal, there.starts));
        assert_eq!(here.starts, starts);
        assert!(off(here.epoch.0, there.epoch.0));
        for number in 1..=400 {
            let target = if number % 2 == 0 { Target::Liveness } else { Target::Readiness };
            let elapsed = present.elapsed + s(3 * number);
            let attempt = RequestInfo { target: target.into(), client: Client::Kubelet, elapsed, number };
            let decision = plan.decide(&attempt, |cause| {
                if cause.fired {
                    fired.insert(plan.rule(cause.rule).name().to_string());
                }
            });
            assert_eq!(decision, service.decide(&attempt, |_| {}), "start {starts}, request {number}");
        }
    }
    assert!(starts > 4, "{starts}");
    assert_eq!(fired.len(), 5, "each rule has fired: {fired:?}");
}

#[test]
fn the_reaction_is_to_the_container_whose_fault_began_first() {
    let fault = |after: u64| {
        format!("faults: [{{name: down, target: readiness, mode: status, when: {{after: {after}s}}}}]")
    };
    for (first, second) in [(300, 600), (600, 300)] {
        let (mut web, other) = (fleet(1, &fault(first)), fleet(1, &fault(second)));
        let mut container = other.pod.containers[0].clone();
        for probe in [&mut container.liveness, &mut container.readiness].into_iter().flatten() {
            let ProbeHandler::Http { server, .. } = &mut probe.handler else { panic!("{probe:?}") };
            *server = 1;
        }
        web.pod.containers.push(container);
        web.probesim.push(ProbesimContainer { position: 1, ..other.probesim[0].clone() });
        let reaction = predicted(&web, &for_time(s(900))).pods[0].reaction.unwrap();
        assert!(reaction > s(19) && reaction < s(31), "{first} {second}: {reaction:?}");
    }
}

#[test]
fn the_pods_of_a_workload_share_their_rules() {
    let workload = workload(Kind::Deployment, 2, &[("FAILURE_RATE", "20")]);
    let replicas = Replicas::new(&workload, &Options::default());
    let rule = |pod: usize| replicas.pods[pod].pod.containers[0].program.as_ref().unwrap().plan.rule(0);
    assert!(std::ptr::eq(rule(0), rule(1)), "each Pod has a copy");
}
