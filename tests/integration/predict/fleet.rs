//! Pods that are added later, replaced, deleted or evicted.

use kube_probesim::fault::Timestamp;
use kube_probesim::kubelet::PodEventKind;
use kube_probesim::predict::fleet::ClusterEvent;
use kube_probesim::predict::manifest::{Input, read};

use super::*;

/// The workload of some manifests.
pub(super) fn workload_of(text: &str) -> Workload {
    let input = Input { name: "a.yaml".to_owned(), text: text.to_owned() };
    read(&[input]).unwrap_or_else(|errors| panic!("{errors}")).workloads.remove(0)
}

fn job(spec: &str, policy: &str, faults: &str) -> Workload {
    workload_of(&format!(
        "{{apiVersion: batch/v1, kind: Job, metadata: {{name: job}}, spec: {{{spec} template: {{spec: {{restartPolicy: {policy},
        containers: [{{name: main, image: kube-probesim, env: [{{name: SEED, value: '1'}}, {{name: FAULTS, value: '{faults}'}}]}}]}}}}}}}}"
    ))
}

const FAILS: &str = "faults: [{name: end, target: process, mode: exit, code: 3, when: {after: 5s}}]";
const SUCCEEDS: &str = "faults: [{name: end, target: process, mode: exit, code: 0, when: {after: 5s}}]";

/// Events other than those of Pods, as lines with seconds.
fn cluster_events(workload: &Workload, options: &Options) -> Vec<String> {
    let (_, seen) = observed(workload, options);
    let line = |seen: Observation| match seen {
        Observation::Cluster { at, what } => Some(format!(
            "{:.0} {}{}",
            at.as_secs_f64(),
            what.name(),
            match what {
                ClusterEvent::JobFailed(why) => format!(" {}", why.reason()),
                ClusterEvent::Created { pod, .. } | ClusterEvent::Deleted { pod, .. } => format!(" {pod}"),
                _ => String::new(),
            }
        )),
        _ => None,
    };
    seen.into_iter().filter_map(line).collect()
}

/// When Pods were created, in seconds.
fn created(lines: &[String]) -> Vec<u64> {
    let of =
        |line: &String| line.contains("PodCreated").then(|| line.split(' ').next().unwrap().parse().unwrap());
    lines.iter().filter_map(of).collect()
}

#[test]
fn a_job_makes_a_new_pod_for_each_failure_and_waits_twice_as_long_each_time() {
    let lines = cluster_events(&job("backoffLimit: 3,", "Never", FAILS), &for_time(s(600)));
    let times = created(&lines);
    assert_eq!(times.len(), 3, "{lines:#?}");
    // 5 s of work, then 10, 20 and 40 s; a start takes up to a second.
    let waits: Vec<u64> = [0].iter().chain(&times).zip(&times).map(|(before, at)| at - before).collect();
    for (wait, least) in waits.iter().zip([15, 25, 45]) {
        assert!((least..=least + 1).contains(wait), "{waits:?}");
    }
    assert!(lines.last().unwrap().ends_with("JobFailed BackoffLimitExceeded"), "{lines:#?}");
}

#[test]
fn under_on_failure_restarts_of_the_containers_count() {
    let lines = cluster_events(&job("backoffLimit: 2,", "OnFailure", FAILS), &for_time(s(600)));
    // Each start and each kill are in one Pod.
    assert_eq!(created(&lines), [] as [u64; 0]);
    assert!(lines.iter().any(|line| line.ends_with("JobFailed BackoffLimitExceeded")), "{lines:#?}");
    let prediction = predicted(&job("backoffLimit: 2,", "OnFailure", FAILS), &for_time(s(600)));
    assert_eq!(prediction.pods[0].restarts(), 2);
}

#[test]
fn a_job_is_complete_with_its_completions_and_runs_so_many_at_once() {
    let workload = job("completions: 5, parallelism: 2,", "Never", SUCCEEDS);
    let lines = cluster_events(&workload, &for_time(s(100)));
    assert_eq!(created(&lines).len(), 3, "beside the first two: {lines:#?}");
    assert!(lines.last().unwrap().ends_with("JobComplete"), "{lines:#?}");
    let prediction = predicted(&workload, &for_time(s(100)));
    let at = prediction.job.unwrap().at.as_secs_f64();
    assert!((15.0..20.0).contains(&at), "three rounds: {at}");
}

#[test]
fn the_rules_of_a_job_fail_it_at_once_or_ignore_a_failure() {
    let with = |action: &str| {
        let rule = format!("{{action: {action}, onExitCodes: {{operator: In, values: [3]}}}}");
        job(&format!("backoffLimit: 1, podFailurePolicy: {{rules: [{rule}]}},"), "Never", FAILS)
    };
    let lines = cluster_events(&with("FailJob"), &for_time(s(600)));
    assert!(lines[0].ends_with("JobFailed PodFailurePolicy"), "{lines:#?}");
    let lines = cluster_events(&with("Ignore"), &for_time(s(600)));
    assert!(created(&lines).len() > 10 && !lines.iter().any(|line| line.contains("JobFailed")), "{lines:#?}");
    let lines = cluster_events(&with("Count"), &for_time(s(600)));
    assert!(lines.last().unwrap().ends_with("JobFailed BackoffLimitExceeded"), "{lines:#?}");
}

#[test]
fn a_job_past_its_deadline_fails_and_its_pods_are_deleted() {
    let workload = job(
        "activeDeadlineSeconds: 60,",
        "Never",
        "faults: [{name: deaf, target: process, mode: ignore-term}]",
    );
    let (prediction, seen) = observed(&workload, &for_time(s(200)));
    assert_eq!(prediction.job.unwrap().at, s(60));
    let gone = seen.iter().find_map(|seen| match seen {
        Observation::Pod { event, .. } if event.kind == kube_probesim::kubelet::PodEventKind::PodGone => {
            Some(event.at)
        }
        _ => None,
    });
    assert_eq!(gone, Some(s(90)), "ignore-term delays its end by the grace period");
}

fn set(kind: &str, spec: &str, env: &str) -> Workload {
    workload_of(&format!(
        "{{apiVersion: apps/v1, kind: {kind}, metadata: {{name: app}}, spec: {{{spec} selector: {{matchLabels: {{app: app}}}},
        template: {{metadata: {{labels: {{app: app}}}}, spec: {{containers: [{{name: main, image: kube-probesim,
        env: [{{name: SEED, value: '1'}}, {{name: POD_NAME, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}{env}],
        readinessProbe: {{httpGet: {{path: /readyz, port: 8080}}, periodSeconds: 5}}}}]}}}}}}}}"
    ))
}

#[test]
fn pods_of_a_stateful_set_come_in_their_order_unless_it_is_parallel() {
    let slow = ", {name: FAULTS, value: 'faults: [{name: slow, target: readiness, mode: status, when: {for: 20s}}]'}";
    let times = |spec: &str| created(&cluster_events(&set("StatefulSet", spec, slow), &for_time(s(200))));
    let ordered = times("replicas: 3,");
    assert_eq!(ordered.len(), 2);
    assert!((20..=26).contains(&ordered[0]) && (40..=52).contains(&ordered[1]), "{ordered:?}");
    assert_eq!(times("replicas: 3, podManagementPolicy: Parallel,"), [] as [u64; 0]);
    // A Pod that is never Ready blocks the others.
    let dead = ", {name: FAULTS, value: 'faults: [{name: dead, target: readiness, mode: status}]'}";
    let workload = set("StatefulSet", "replicas: 3,", dead);
    let prediction = predicted(&workload, &for_time(s(200)));
    assert_eq!(prediction.pods.len(), 3);
    assert!(prediction.pods[2].stats.first_ready.is_none() && prediction.pods[2].availability() == 0.0);
}

fn rollout(workload: &Workload, options: &Options) -> (Vec<String>, Prediction) {
    (cluster_events(workload, options), predicted(workload, options))
}

#[test]
fn a_rolling_update_keeps_to_surge_and_unavailable() {
    let strategy = |surge: u32, unavailable: u32| {
        format!(
            "replicas: 4, strategy: {{rollingUpdate: {{maxSurge: {surge}, maxUnavailable: {unavailable}}}}},"
        )
    };
    for (surge, unavailable) in [(1, 0), (0, 1), (2, 2), (4, 0)] {
        let workload = set("Deployment", &strategy(surge, unavailable), "");
        let options = Options { rollout: Some(s(60)), ..for_time(s(300)) };
        let (lines, prediction) = rollout(&workload, &options);
        let (mut alive, mut most, mut least) = (4_i32, 4, 4);
        for line in &lines {
            alive += i32::from(line.contains("PodCreated")) - i32::from(line.contains("PodDeleted"));
            (most, least) = (most.max(alive), least.min(alive));
        }
        assert_eq!(created(&lines).len(), 4, "{lines:#?}");
        assert_eq!(alive, 4);
        assert!(
            most <= 4 + surge.cast_signed() && least >= 4 - unavailable.cast_signed(),
            "{surge} {unavailable}: {lines:#?}"
        );
        assert!(prediction.rollout.unwrap().complete.unwrap() > s(60));
        assert!(prediction.service.no_endpoint == 0.0);
    }
}

#[test]
fn a_rollout_that_recreates_leaves_no_endpoint_for_a_while() {
    let workload = set("Deployment", "replicas: 2, strategy: {type: Recreate},", "");
    let (lines, prediction) = rollout(&workload, &Options { rollout: Some(s(60)), ..for_time(s(300)) });
    let deleted = lines.iter().position(|line| line.contains("PodDeleted 1")).unwrap();
    assert!(lines[deleted + 1].contains("PodCreated"), "{lines:#?}");
    assert!(prediction.service.no_endpoint > 0.0);
}

#[test]
fn a_rollout_whose_new_pods_never_become_ready_stalls_and_the_old_ones_serve_on() {
    let late = ", {name: FAULTS, value: 'faults: [{name: dead, target: readiness, mode: status, start: \"2023-11-14T22:14:20Z\"}]'}";
    let strategy =
        "replicas: 2, progressDeadlineSeconds: 60, strategy: {rollingUpdate: {maxUnavailable: 0}},";
    let mut workload = set("Deployment", strategy, late);
    // Ready Pods stay Ready for a long time; new Pods never become Ready.
    workload.pod.containers[0].readiness.as_mut().unwrap().failure_threshold = 100;
    let options = Options { rollout: Some(s(90)), at: Timestamp(s(1_700_000_000)), ..for_time(s(300)) };
    let (lines, prediction) = rollout(&workload, &options);
    assert_eq!(created(&lines).len(), 1, "only what may come on top: {lines:#?}");
    assert_eq!(prediction.rollout.unwrap().stalled, Some(s(150)));
    assert!(prediction.service.no_endpoint == 0.0);
}

#[test]
fn a_stateful_set_is_updated_from_the_last_pod_on_under_the_same_names() {
    let workload = set("StatefulSet", "replicas: 3,", "");
    let (lines, prediction) = rollout(&workload, &Options { rollout: Some(s(60)), ..for_time(s(300)) });
    let order: Vec<&str> = lines
        .iter()
        .filter(|line| line.contains("PodDeleted"))
        .map(|line| line.rsplit(' ').next().unwrap())
        .collect();
    assert_eq!(order, ["2", "1", "0"], "{lines:#?}");
    let names: Vec<&str> = prediction.pods.iter().map(|pod| pod.name.as_str()).collect();
    assert_eq!(names, ["app-0", "app-1", "app-2", "app-2", "app-1", "app-0"]);
}

#[test]
fn a_drain_waits_for_disruption_budgets() {
    let options = Options { drain: Some(s(60)), ..for_time(s(600)) };
    let with = |allowed: u32| {
        let mut workload = set("Deployment", "replicas: 3,", "");
        workload.disruptions = vec![kube_probesim::predict::Disruption {
            name: "budget".to_owned(),
            field: "maxUnavailable".to_owned(),
            allowed,
            enough_replicas: None,
            lets_unready_go: false,
        }];
        workload
    };
    let (lines, prediction) = rollout(&with(1), &options);
    assert_eq!(lines.iter().filter(|line| line.contains("PodDeleted")).count(), 3, "{lines:#?}");
    assert!(prediction.drained.unwrap() > s(60));
    assert!(prediction.service.no_endpoint == 0.0, "one at a time");
    let (lines, prediction) = rollout(&with(0), &options);
    assert_eq!((lines.len(), prediction.drained), (0, None), "{lines:#?}");
}

#[test]
fn a_pod_that_is_evicted_for_a_full_volume_is_replaced() {
    let mut workload = set(
        "Deployment",
        "replicas: 1,",
        ", {name: FAULTS, value: 'faults: [{name: full, target: process, mode: disk, path: /scratch, size: 100, when: {after: 60s}}]'}",
    );
    workload.facts[0].volume_limits = vec![("/scratch".to_owned(), 64)];
    let lines = cluster_events(&workload, &for_time(s(600)));
    assert!(created(&lines).len() >= 3, "{lines:#?}");
}

#[test]
fn pods_come_over_a_time_and_kubelets_restart() {
    let options = Options { spread: s(100), kubelet_restarts: vec![s(300)], ..for_time(s(600)) };
    let (lines, prediction) = rollout(&set("Deployment", "replicas: 4,", ""), &options);
    assert_eq!(created(&lines), [25, 50, 75]);
    assert!(lines.iter().any(|line| line == "300 KubeletRestart"));
    assert_eq!(prediction.pods[3].added, s(75));
    assert_eq!(prediction.pods[3].stats.outages, 0);
}

#[test]
fn pods_below_the_partition_of_a_stateful_set_are_not_replaced() {
    let spec = "replicas: 4, updateStrategy: {rollingUpdate: {partition: 2, maxUnavailable: 2}},";
    let workload = set("StatefulSet", spec, "");
    let (lines, _) = rollout(&workload, &Options { rollout: Some(s(60)), ..for_time(s(300)) });
    let deleted: Vec<&str> =
        lines.iter().filter(|line| line.contains("PodDeleted")).map(String::as_str).collect();
    assert_eq!(deleted, ["60 PodDeleted 3", "60 PodDeleted 2"], "both at once: {lines:#?}");
}

#[test]
fn a_pod_is_reported_as_created_or_deleted_after_the_event_that_caused_it() {
    let text = |workload: &Workload| -> Vec<String> {
        let (_, seen) = observed(workload, &Options { rollout: Some(s(60)), ..for_time(s(120)) });
        let line = |seen: Observation| match seen {
            Observation::Cluster { what, .. } => Some(what.name().to_owned()),
            Observation::Pod { pod, event, .. } => match event.kind {
                PodEventKind::PodReady(ready) => Some(format!("{pod} ready {ready}")),
                PodEventKind::PodGone => Some(format!("{pod} gone")),
                PodEventKind::Killing { .. } => Some(format!("{pod} killed")),
                _ => None,
            },
            Observation::Rollout(_) => None,
        };
        seen.into_iter().filter_map(line).collect()
    };
    let surge = "replicas: 1, strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}},";
    let lines = text(&set("Deployment", surge, ""));
    let ready = lines.iter().position(|line| line == "1 ready true").unwrap();
    assert_eq!(lines[ready + 1..ready + 3], ["PodDeleted", "0 killed"], "{lines:#?}");
    let lines = text(&set("Deployment", "replicas: 1, strategy: {type: Recreate},", ""));
    let gone = lines.iter().position(|line| line == "0 gone").unwrap();
    assert_eq!(lines[gone + 1], "PodCreated", "{lines:#?}");
}

#[test]
fn an_autoscaler_sets_the_least_number_of_pods() {
    let scaled = |replicas: &str, limits: &str| {
        workload_of(&format!(
            "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: app}}, spec: {{{replicas} selector: {{}}, template: {{metadata: \
             {{labels: {{app: app}}}}, spec: {{containers: [{{name: main, image: app}}]}}}}}}}}
---
{{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {{name: all}}, spec: {{minAvailable: 1, selector: {{}}}}}}
---
{{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {{name: scale}}, spec: {{scaleTargetRef: {{apiVersion: apps/v1, \
             kind: Deployment, name: app}}, {limits}}}}}"
        ))
    };
    let of = |replicas, limits| {
        let workload = scaled(replicas, limits);
        (workload.replicas, workload.disruptions[0].allowed)
    };
    assert_eq!(of("", "minReplicas: 3, maxReplicas: 9"), (3, 2));
    assert_eq!(of("replicas: 12,", "minReplicas: 3, maxReplicas: 9"), (9, 8));
    assert_eq!(of("replicas: 0,", "minReplicas: 3, maxReplicas: 9"), (0, 0), "it is switched off");
    assert_eq!(of("replicas: 1,", "maxReplicas: 9"), (1, 0));
    let says = scaled("", "minReplicas: 3, maxReplicas: 9").assumptions.join("\n");
    assert!(says.contains("HorizontalPodAutoscaler scale keeps 3 to 9 Pods; the prediction has 3"), "{says}");
}

#[test]
fn the_advice_names_a_number_of_replicas_only_where_that_lets_a_pod_go() {
    for (field, enough) in [
        ("minAvailable: 3", Some(4)),
        ("minAvailable: 90%", Some(10)),
        ("minAvailable: 100%", None),
        ("maxUnavailable: 0", None),
    ] {
        let workload = workload_of(&format!(
            "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: app}}, spec: {{replicas: 3, selector: {{}}, template: {{metadata: \
             {{labels: {{app: app}}}}, spec: {{containers: [{{name: main, image: app}}]}}}}}}}}
---
{{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {{name: all}}, spec: {{{field}, selector: {{}}}}}}"
        ));
        let disruption = &workload.disruptions[0];
        assert_eq!((disruption.allowed, disruption.enough_replicas), (0, enough), "{field}");
    }
}
