//! The table of `docs/process-faults.md`: how Kubernetes reacts to each fault in each place. Each cell is simulated.

use kube_probesim::kubelet::{PodEventKind, PodFailure};
use kube_probesim::predict::fleet::ClusterEvent;

use super::fleet::workload_of;
use super::*;

/// The faulted container in a place of a Pod. The liveness probe of the application beside it asks it.
fn workload_in(place: &str, policy: &str, rule: &str) -> Workload {
    let faulty = |more: &str| {
        format!(
            "{{name: faulty, image: kube-probesim, {more} resources: {{limits: {{memory: 32Mi, cpu: 1m}}}},
            volumeMounts: [{{name: scratch, mountPath: /scratch}}],
            env: [{{name: SEED, value: '1'}}, {{name: FAULTS, value: 'faults: [{rule}]'}}]}}"
        )
    };
    let ask = "{httpGet: {path: /healthz, port: 8080}, periodSeconds: 5}";
    let probed = format!("livenessProbe: {ask}, readinessProbe: {ask},");
    let app = "{name: app, image: example/app}";
    let through = format!("{{name: app, image: example/app, livenessProbe: {ask}}}");
    let (init, containers) = match place {
        "plain" => (String::new(), format!("{}, {app}", faulty(&probed))),
        "sidecar" => (faulty("restartPolicy: Always, "), through),
        "unstarted" => (faulty(&format!("restartPolicy: Always, startupProbe: {ask},")), app.to_owned()),
        "init" => (faulty(""), app.to_owned()),
        _ => (String::new(), faulty("")),
    };
    let spec = format!(
        "{{restartPolicy: {policy}, initContainers: [{init}], containers: [{containers}], volumes: [{{name: scratch, emptyDir: {{sizeLimit: 64Mi}}}}]}}"
    );
    workload_of(&if place == "job" {
        format!(
            "{{apiVersion: batch/v1, kind: Job, metadata: {{name: it}}, spec: {{backoffLimit: 2, template: {{spec: {spec}}}}}}}"
        )
    } else {
        format!("{{apiVersion: v1, kind: Pod, metadata: {{name: it}}, spec: {spec}}}")
    })
}

/// The events of ten minutes, as lines without times.
fn story(place: &str, policy: &str, rule: &str) -> Vec<String> {
    let workload = workload_in(place, policy, rule);
    let (_, seen) = observed(&workload, &Options { assume_healthy: true, ..for_time(s(600)) });
    let line = |seen| match seen {
        Observation::Pod { event, .. } => {
            let container = &workload.pod.containers[event.container];
            Some(format!("{}: {}", container.name, event.message(container)))
        }
        Observation::Cluster { what: ClusterEvent::JobFailed(why), .. } => {
            Some(format!("Job failed: {}", why.reason()))
        }
        Observation::Cluster { what, .. } => Some(what.message()),
        Observation::Rollout(_) => None,
    };
    seen.into_iter().filter_map(line).collect()
}

fn count(story: &[String], part: &str) -> usize {
    story.iter().filter(|line| line.contains(part)).count()
}

#[track_caller]
fn has(story: &[String], parts: &[&str]) {
    for part in parts {
        assert!(count(story, part) > 0, "{part}: {story:#?}");
    }
}

#[track_caller]
fn lacks(story: &[String], parts: &[&str]) {
    for part in parts {
        assert_eq!(count(story, part), 0, "{part}: {story:#?}");
    }
}

const STARTED: &str = "faulty: Container started";
const BACK_OFF: &str = "Back-off restarting failed container faulty";

/// The cells of a row of the page's table, beginning with the mode's.
fn row(mode: &str) -> Vec<String> {
    let page = crate::support::repository("docs/process-faults.md");
    let page = std::fs::read_to_string(page).unwrap();
    let table = page.split("## How Kubernetes reacts").nth(1).unwrap();
    let line = table.lines().find(|line| line.starts_with(&format!("| {mode} |"))).unwrap();
    line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()
}

/// Each cell agrees with its simulation.
#[track_caller]
fn says(mode: &str, cells: [&str; 4]) {
    assert_eq!(row(mode)[1..], cells, "docs/process-faults.md, {mode}");
}

#[test]
fn an_exit_with_zero_is_what_the_table_says() {
    says(
        "`exit` with 0",
        [
            "`Completed`; restarted with back-off under `Always`",
            "only the sidecar is restarted, with back-off",
            "succeeded; the next container starts",
            "succeeded",
        ],
    );
    let rule = "{name: x, target: process, mode: exit, code: 0, when: {after: 8s}}";
    has(&story("plain", "Always", rule), &["faulty exited with code 0", BACK_OFF]);
    let once = story("plain", "OnFailure", rule);
    assert_eq!(count(&once, STARTED), 1, "Completed: {once:#?}");
    let sidecar = story("sidecar", "Always", rule);
    has(&sidecar, &[BACK_OFF]);
    lacks(&sidecar, &["app exited with code 3"]);
    let init = story("init", "Always", rule);
    assert_eq!((count(&init, STARTED), count(&init, "app: Container started")), (1, 1), "{init:#?}");
    has(&story("job", "Never", rule), &["Pod has Succeeded", "Job complete"]);
}

#[test]
fn ends_with_another_code_are_what_the_table_says() {
    says(
        "`exit`, `abort`, OOM kill",
        [
            "restarted with back-off under `Always` and `OnFailure`; under `Never` it stays terminated, and the Pod fails once all containers have terminated",
            "only the sidecar is restarted, with back-off; until its first start succeeds, it blocks the Pod",
            "restarted with back-off until it succeeds; under `Never` the Pod fails",
            "restarted in the same Pod under `OnFailure`; under `Never`, a new Pod for each attempt, up to `backoffLimit`",
        ],
    );
    for (mode, code) in [("exit, code: 3", 3), ("abort", 134), ("memory, size: 64MiB", 137)] {
        let rule = format!("{{name: x, target: process, mode: {mode}, when: {{after: 2s}}}}");
        let exited = format!("faulty exited with code {code}");
        for policy in ["Always", "OnFailure"] {
            has(&story("plain", policy, &rule), &[&exited, BACK_OFF]);
        }
        let never = story("plain", "Never", &rule);
        assert_eq!(count(&never, STARTED), 1, "{never:#?}");
        lacks(&never, &["Pod has Failed"]);
        let sidecar = story("sidecar", "Always", &rule);
        has(&sidecar, &[BACK_OFF, "app: Container app failed liveness probe, will be restarted"]);
        let not_yet = format!("{rule}, {{name: n, target: liveness, mode: status}}");
        let unstarted = story("unstarted", "Always", &not_yet);
        lacks(&unstarted, &["app: Container started"]);
        let init = story("init", "OnFailure", &rule);
        has(&init, &[BACK_OFF]);
        lacks(&init, &["app: Container started"]);
        has(&story("init", "Never", &rule), &["Pod has Failed"]);
        let again = story("job", "OnFailure", &rule);
        assert_eq!((count(&again, STARTED), count(&again, "is created")), (3, 0), "{again:#?}");
        let anew = story("job", "Never", &rule);
        assert_eq!((count(&anew, STARTED), count(&anew, "is created")), (3, 2), "{anew:#?}");
        has(&anew, &["Job failed: BackoffLimitExceeded"]);
    }
    // All containers of a Job's Pod have ended.
    let rule = "{name: x, target: process, mode: exit, when: {after: 2s}}";
    has(&story("job", "Never", rule), &["Pod has Failed"]);
}

#[test]
fn throttling_is_what_the_table_says() {
    says(
        "`cpu` beyond the limit",
        [
            "throttled: answers are late, probes time out",
            "the same; traffic through it is late, too",
            "the Pod starts later",
            "the Job takes longer",
        ],
    );
    // A thousandth of a core for two.
    let rule =
        "{name: x, target: process, mode: cpu, cores: 2, allow_node_pressure: true, when: {after: 20s}}";
    has(&story("plain", "Always", rule), &["Liveness probe failed: Get", "Client.Timeout exceeded"]);
    has(&story("sidecar", "Always", rule), &["app: Liveness probe failed: Get"]);
}

#[test]
fn a_process_that_ignores_sigterm_is_what_the_table_says() {
    says(
        "`ignore-term`",
        [
            "SIGKILL after the grace period",
            "delays the Pod's termination and a Job's completion",
            "delays the termination of a Pod that is deleted meanwhile",
            "delays the termination of a Job that is deleted or past its deadline",
        ],
    );
    let rule = "{name: x, target: process, mode: ignore-term}";
    let dead = "{name: d, target: liveness, mode: status, when: {after: 20s}}";
    has(&story("plain", "Always", &format!("{rule}, {dead}")), &["faulty exited with code 137"]);
    // The end of a Pod whose other containers are done waits for its sidecar.
    let ends = |rule: &str| {
        let mut workload = workload_in("sidecar", "Never", rule);
        workload.pod.containers[1].ends =
            Some(kube_probesim::kubelet::ContainerEnd { after: s(10), code: 0, out_of_memory: false });
        let (_, seen) = observed(&workload, &Options { assume_healthy: true, ..for_time(s(600)) });
        let ended = |seen: &Observation| match seen {
            Observation::Pod { event, .. } if matches!(event.kind, PodEventKind::PodFinished { .. }) => {
                Some(event.at)
            }
            _ => None,
        };
        seen.iter().find_map(ended).unwrap()
    };
    let healthy = ends("{name: none, target: liveness, mode: status, when: {after: 1h}}");
    assert_eq!(ends(rule), healthy + s(30));
}

#[test]
fn missing_descriptors_are_what_the_table_says() {
    says(
        "`fds`",
        [
            "probes time out: not ready, then restarted by liveness",
            "the same; traffic through it waits",
            "no effect: it is not probed",
            "no effect: it is not probed",
        ],
    );
    let rule = "{name: x, target: process, mode: fds, when: {after: 20s}}";
    let plain = story("plain", "Always", rule);
    has(
        &plain,
        &["Client.Timeout exceeded", "Pod is not ready", "faulty failed liveness probe, will be restarted"],
    );
    has(&story("sidecar", "Always", rule), &["app: Liveness probe failed: Get"]);
    lacks(&story("job", "Never", rule), &["failed", "exited"]);
}

#[test]
fn a_full_volume_is_what_the_table_says() {
    says(
        "`disk` beyond a `sizeLimit`",
        ["the kubelet evicts the Pod", "the same", "the same", "the same; the Job creates a new Pod"],
    );
    let rule = "{name: x, target: process, mode: disk, path: /scratch, size: 100MiB, when: {after: 20s}},
        {name: end, target: process, mode: exit, code: 0, when: {after: 5m}}";
    for place in ["plain", "sidecar", "init", "job"] {
        let workload = workload_in(place, "Never", rule);
        let (_, seen) = observed(&workload, &Options { assume_healthy: true, ..for_time(s(600)) });
        let evicted = PodEventKind::PodFails(PodFailure::Evicted);
        let is_it = |it: &Observation| matches!(it, Observation::Pod { event, .. } if event.kind == evicted);
        assert!(seen.iter().any(is_it), "{place}");
        let anew = seen
            .iter()
            .any(|it| matches!(it, Observation::Cluster { what: ClusterEvent::Created { .. }, .. }));
        assert_eq!(anew, place == "job", "{place}");
    }
}
