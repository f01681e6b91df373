//! Where the service keeps its state.

use super::*;

/// A Pod with our container, `STATE_DIR`, and these entries of `volumeMounts` and `volumes`.
fn keeping(dir: &str, mount: &str, volume: &str) -> Workload {
    let container = probed(&format!("env: [{{name: STATE_DIR, value: {dir}}}]\nvolumeMounts: [{mount}]"));
    workload(&format!("{container}  volumes: [{volume}]\n"))
}

const MOUNT: &str = "{name: state, mountPath: /state}";

#[test]
fn a_volume_that_can_be_written_keeps_the_state() {
    for (dir, volume, assumed) in [
        ("/state", "emptyDir: {}", 0),
        ("/state/probesim", "emptyDir: {medium: Memory}", 0),
        ("/state", "ephemeral: {volumeClaimTemplate: {}}", 0),
        ("/state", "persistentVolumeClaim: {claimName: c}", 1),
        ("/state/a/b", "hostPath: {path: /x}", 1),
    ] {
        let web = keeping(dir, MOUNT, &format!("{{name: state, {volume}}}"));
        assert!(web.probesim[0].keeps_state, "{volume}");
        assert!(web.pod.containers[0].program.as_ref().unwrap().keeps_state, "{volume}");
        assert_eq!(
            (web.warnings.len(), web.assumptions.len()),
            (0, assumed),
            "{volume}: {:?}",
            web.assumptions
        );
    }
}

#[test]
fn a_claim_of_the_stateful_set_keeps_it_too() {
    let pod = probed(&format!("env: [{{name: STATE_DIR, value: /state}}]\nvolumeMounts: [{MOUNT}]"));
    let (_, spec) = pod.split_once("spec:\n").unwrap();
    let text = format!(
        "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{name: web}}\nspec:\n  \
         volumeClaimTemplates: [{{metadata: {{name: state}}}}]\n  template:\n    spec:\n{}",
        indented(spec, 4)
    );
    let web = workload(&text);
    assert!(
        web.probesim[0].keeps_state && web.assumptions[0].contains("is assumed to be empty at first"),
        "{:?}",
        web.assumptions
    );
}

#[test]
fn a_state_that_is_lost_with_the_container_is_a_warning() {
    for (dir, mount, volume, part) in [
        ("/var/state", MOUNT, "emptyDir: {}", "is on no volume"),
        ("/state", MOUNT, "configMap: {name: c}", "read-only as a configMap"),
        ("/state", MOUNT, "projected: {sources: []}", "read-only as a projected"),
        ("/state", "{name: state, mountPath: /state, readOnly: true}", "emptyDir: {}", "mounted read-only"),
        ("/state", MOUNT, "persistentVolumeClaim: {claimName: c, readOnly: true}", "mounted read-only"),
        ("/state/a/b", MOUNT, "emptyDir: {}", "the parent directory is missing"),
    ] {
        let web = keeping(dir, mount, &format!("{{name: state, {volume}}}"));
        assert!(!web.probesim[0].keeps_state, "{volume}");
        assert_eq!(web.warnings.len(), 1, "{:?}", web.warnings);
        let warning = &web.warnings[0];
        assert!(
            warning.contains(part) && warning.contains("the state is lost with the container"),
            "{warning}"
        );
    }
    assert!(!workload(&probed("")).probesim[0].keeps_state);
}

#[test]
fn two_containers_with_one_directory_are_a_warning() {
    let one = probed(&format!("env: [{{name: STATE_DIR, value: /state}}]\nvolumeMounts: [{MOUNT}]"));
    let two = |path: &str| {
        format!(
            "{one}  - name: other\n    image: kube-probesim\n    \
             env: [{{name: STATE_DIR, value: {path}}}, {{name: PORT, value: '1'}}, {{name: ADMIN_ADDRESS, value: ':2'}}]\n    \
             volumeMounts: [{{name: state, mountPath: /elsewhere}}]\n  volumes: [{{name: state, emptyDir: {{}}}}]\n"
        )
    };
    let warnings = workload(&two("/elsewhere")).warnings;
    assert!(
        warnings[0].contains("container other, container probesim has the same STATE_DIR"),
        "{warnings:?}"
    );
    assert_eq!(workload(&two("/elsewhere/own")).warnings, [""; 0]);
}
