//! Plans in files of a container: ConfigMap, projected and downward API volumes.

mod annotation;
mod volumes;

use kube_probesim::plan::Source;
use proptest::prelude::*;

use super::*;

const FILE: &str = "{name: FAULTS_FILE, value: /etc/faults/plan.yaml}";
const MOUNT: &str = "{name: faults, mountPath: /etc/faults}";
const PLAN: &str = "faults: [{name: down, target: readiness, mode: hang}]";

/// A Pod with our container, these entries of `env` and `volumeMounts`, and these lines of `spec.volumes`.
fn with(env: &str, mounts: &str, volumes: &str) -> String {
    let container = probed(&format!("env: [{env}]\nvolumeMounts: [{mounts}]"));
    format!("{container}  volumes: [{volumes}]\n")
}

/// A ConfigMap `plans` with these entries.
fn config_map(data: &str) -> String {
    format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: plans}}\n{data}\n")
}

fn plan_map() -> String {
    config_map(&format!("data: {{plan.yaml: '{PLAN}', other: 'x'}}"))
}

/// Name and source of each rule in force.
fn rules(workload: &Workload) -> Vec<(String, Source)> {
    let rules = &workload.probesim[0].merged.rules;
    let program = workload.pod.containers[0].program.as_ref().unwrap();
    let names: Vec<&str> = program.plan.rules().map(|rule| rule.name().as_str()).collect();
    let merged: Vec<&str> = rules.iter().map(|(rule, _)| rule.name().as_str()).collect();
    assert_eq!(names, merged, "what is reported is what runs");
    rules.iter().map(|(rule, source)| (rule.name().to_string(), *source)).collect()
}

fn from_file() -> Vec<(String, Source)> {
    vec![("down".to_owned(), Source::File)]
}

/// The assumption or warning that the file is absent.
fn without(text: &str) -> String {
    let web = workload(text);
    assert_eq!(rules(&web), []);
    let is_listed = |line: &String| line.starts_with("not in the input, but assumed to exist");
    let all: Vec<String> =
        web.assumptions.into_iter().chain(web.warnings).filter(|line| !is_listed(line)).collect();
    assert_eq!(all.len(), 1, "{all:#?}");
    all[0].clone()
}

#[test]
fn a_plan_in_a_config_map_volume_is_read_wherever_it_is_mounted() {
    let volume = "{name: faults, configMap: {name: plans}}";
    let item = "{name: faults, configMap: {name: plans, items: [{key: other, path: x}, {key: plan.yaml, path: sub/p}]}}";
    let projected = "{name: faults, projected: {sources: [{secret: {name: s, items: [{key: k, path: k}]}}, {configMap: {name: plans}}, {serviceAccountToken: {path: token}}]}}";
    let file = |path: &str| format!("{{name: FAULTS_FILE, value: {path}}}");
    for (path, mount, volume) in [
        ("/etc/faults/plan.yaml", MOUNT, volume),
        ("/etc/faults/..data/plan.yaml", MOUNT, volume),
        ("/etc/./faults//x/../plan.yaml", "{name: faults, mountPath: /etc/faults/, readOnly: true}", volume),
        ("/etc/faults/sub/p", MOUNT, item),
        ("/etc/faults/p", "{name: faults, mountPath: /etc/faults, subPath: sub}", item),
        ("/plan", "{name: faults, mountPath: /plan, subPath: plan.yaml}", volume),
        ("/etc/faults/plan.yaml", MOUNT, projected),
        // The innermost mount counts, in any order.
        (
            "/etc/faults/plan.yaml",
            "{name: faults, mountPath: /etc/faults}, {name: other, mountPath: /etc}",
            "{name: faults, configMap: {name: plans}}, {name: other, emptyDir: {}}",
        ),
    ] {
        let secret = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: s}\n";
        let text = with(&file(path), mount, volume) + &plan_map() + secret;
        let web = workload(&text);
        assert_eq!(rules(&web), from_file(), "{text}");
        assert_eq!(
            (web.assumptions.len(), web.warnings.len()),
            (0, 0),
            "{:?} {:?}",
            web.assumptions,
            web.warnings
        );
    }
    let relative = with(&file("plan.yaml"), MOUNT, volume)
        .replace("    readinessProbe", "    workingDir: /etc/faults\n    readinessProbe");
    assert_eq!(rules(&workload(&(relative + &plan_map()))), from_file());
}

#[test]
fn a_directory_of_the_same_beginning_is_another() {
    let text =
        with(FILE, "{name: faults, mountPath: /etc/fault}", "{name: faults, configMap: {name: plans}}");
    assert!(without(&(text + &plan_map())).contains("no volume is mounted there"));
}

#[test]
fn a_file_outside_of_config_maps_is_treated_as_missing_and_listed() {
    for (volume, part) in [
        ("secret: {secretName: s}", "kind secret is not read"),
        ("emptyDir: {}", "kind emptyDir is not read"),
        ("hostPath: {path: /x}", "kind hostPath is not read"),
        ("csi: {driver: d}", "kind csi is not read"),
        ("image: {reference: r}", "kind image is not read"),
        ("projected: {sources: [{secret: {name: s}}]}", "a Secret may have a file there"),
        (
            "projected: {sources: [{serviceAccountToken: {path: plan.yaml}}]}",
            "serviceAccountToken may have a file there",
        ),
        ("configMap: {name: gone, optional: true}", "\"gone\" is not in the input, and is optional"),
        (
            "downwardAPI: {items: [{path: plan.yaml, fieldRef: {fieldPath: metadata.annotations}}]}",
            "it contains metadata.annotations, which is not a plan",
        ),
        (
            "downwardAPI: {items: [{path: plan.yaml, resourceFieldRef: {resource: limits.cpu}}]}",
            "a resource of the container",
        ),
    ] {
        let said = without(&with(FILE, MOUNT, &format!("{{name: faults, {volume}}}")));
        assert!(
            said.starts_with(
                "container probesim: FAULTS_FILE (/etc/faults/plan.yaml) is treated as missing: "
            ),
            "{said}"
        );
        assert!(said.contains(part), "{part}: {said}");
    }
    let binary = config_map("binaryData: {plan.yaml: eA==}");
    let said = without(&(with(FILE, MOUNT, "{name: faults, configMap: {name: plans}}") + &binary));
    assert!(said.contains("binaryData of ConfigMap \"plans\" is not read"), "{said}");
    let by_variable = "{name: faults, mountPath: /etc/faults, subPathExpr: $(POD_NAME)}";
    let said = without(&(with(FILE, by_variable, "{name: faults, configMap: {name: plans}}") + &plan_map()));
    assert!(said.contains("subPathExpr"), "{said}");
}

#[test]
fn a_volume_without_the_file_is_a_warning_since_the_service_runs_without_it() {
    let volume = "{name: faults, configMap: {name: plans}}";
    let text = with(FILE, MOUNT, volume) + &config_map("data: {plan.yml: 'x'}");
    assert_eq!(
        without(&text),
        "pod.yaml, document 1 (line 1), Pod/web, container probesim, FAULTS_FILE (/etc/faults/plan.yaml) is not there: \
         volume faults is there, but it has no \"plan.yaml\"; the service runs without it"
    );
    let item = "{name: faults, configMap: {name: plans, items: [{key: plan.yaml, path: p}]}}";
    assert!(without(&(with(FILE, MOUNT, item) + &plan_map())).contains("it has no \"plan.yaml\""));
    let whole = with("{name: FAULTS_FILE, value: /etc/faults}", MOUNT, volume) + &plan_map();
    assert!(without(&whole).contains("the path is its directory"));
    let none = "{name: faults, projected: {sources: []}}";
    assert!(without(&with(FILE, MOUNT, none)).contains("it has no \"plan.yaml\""));
}

#[test]
fn what_keeps_the_pod_from_starting_is_an_error() {
    let gone = with(FILE, MOUNT, "{name: faults, configMap: {name: gone}}");
    assert_eq!(
        lack(&gone),
        "pod.yaml, document 1 (line 1), Pod/web, spec.volumes[0].configMap.name: ConfigMap \"gone\" \
         is not in the input; add its manifest, or mark it optional"
    );
    let projected = with(FILE, MOUNT, "{name: faults, projected: {sources: [{configMap: {name: gone}}]}}");
    assert!(lack(&projected).contains("spec.volumes[0].projected.sources[0].configMap.name: ConfigMap"));
    let item = |more: &str| {
        let volume = format!(
            "{{name: faults, configMap: {{name: plans, items: [{{key: none, path: plan.yaml}}]{more}}}}}"
        );
        with(FILE, MOUNT, &volume) + &plan_map()
    };
    let error = refusal(&item(""));
    assert!(
        error.contains("spec.volumes[0].configMap.items[0].key: ConfigMap \"plans\" has no key \"none\""),
        "{error}"
    );
    assert!(error.contains("never start"), "{error}");
    assert!(without(&item(", optional: true")).contains("is not there"));
    let unknown = with(FILE, MOUNT, "{name: other, emptyDir: {}}");
    assert!(
        refusal(&unknown)
            .contains("spec.containers[0].volumeMounts[0].name: the Pod has no volume \"faults\"")
    );
}

#[test]
fn a_volume_that_nobody_asks_for_may_be_anything() {
    let text = with("", MOUNT, "{name: faults, configMap: {name: kube-root-ca.crt}}");
    assert_eq!(rules(&workload(&text)), []);
}

#[test]
fn a_plan_that_is_wrong_is_an_error_with_config_map_key_place_and_field() {
    let volume = "{name: faults, configMap: {name: plans}}";
    let plan = "faults: [{name: down, target: readiness, mode: hang, rate: 120%}, {name: x, target: nobody}]";
    let text = with(FILE, MOUNT, volume) + &config_map(&format!("data: {{plan.yaml: '{plan}'}}"));
    let lines = refusals(&text);
    assert!(lines.len() >= 2, "{lines:#?}");
    for line in &lines {
        for part in [
            "pod.yaml, document 2 (line ",
            "ConfigMap/plans, data.plan.yaml: /etc/faults/plan.yaml: faults[",
            "(FAULTS_FILE of Pod/web, container probesim; the service would log this error and run without this plan)",
        ] {
            assert!(line.contains(part), "{part}: {line}");
        }
    }
    assert!(lines[0].contains("faults[0] (down): rate=\"120%\""), "{}", lines[0]);
    assert!(lines[1].contains("faults[1] (x)"), "{}", lines[1]);
    let broken = with(FILE, MOUNT, volume) + &config_map("data: {plan.yaml: 'faults: ['}");
    assert!(refusal(&broken).contains("is not YAML or JSON"));
    let unquoted = with(FILE, MOUNT, volume) + &config_map("data: {plan.yaml: {faults: []}}");
    assert!(refusal(&unquoted).contains("ConfigMap/plans, data.plan.yaml: is a mapping, not a string"));
    for empty in ["''", "'faults: []'"] {
        let text = with(FILE, MOUNT, volume) + &config_map(&format!("data: {{plan.yaml: {empty}}}"));
        let web = workload(&text);
        assert_eq!((rules(&web).len(), web.warnings.len()), (0, 0), "{empty}");
    }
}

#[test]
fn each_pod_can_have_its_own_file_and_the_example_is_listed() {
    let env = "{name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}, {name: FAULTS_FILE, value: /etc/faults/$(POD_NAME)}";
    let text = with(env, MOUNT, "{name: faults, configMap: {name: plans}}")
        + &config_map(&format!("data: {{web: '{PLAN}'}}"));
    let web = workload(&text);
    assert_eq!(rules(&web), from_file());
    assert_eq!(
        web.assumptions,
        ["container probesim: FAULTS_FILE contains the Pod's name; the prediction uses \"web\""]
    );
}

const POD_NAME: &str = "{name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}";
const SHARE: &str = "faults: [{name: some, target: readiness, mode: hang, pods: 30%}]";

#[test]
fn a_share_needs_seed_and_name_as_in_the_service() {
    let of = |env: &str| probed(&format!("env: [{{name: FAULTS, value: '{SHARE}'}}, {env}]"));
    let seed = "{name: SEED, value: '1'}";
    assert_eq!(rules(&workload(&of(&format!("{seed}, {POD_NAME}")))).len(), 1);
    for env in [seed, POD_NAME] {
        let error = refusal(&of(env));
        assert!(error.contains("FAULTS: some: pods"), "{error}");
        let file = with(&format!("{FILE}, {env}"), MOUNT, "{name: faults, configMap: {name: plans}}")
            + &config_map(&format!("data: {{plan.yaml: '{SHARE}'}}"));
        let error = refusal(&file);
        assert!(error.contains("data.plan.yaml: /etc/faults/plan.yaml: some: pods"), "{error}");
    }
}

#[test]
fn ordinals_are_for_stateful_sets() {
    let plan = "faults: [{name: some, target: readiness, mode: hang, pods: [0, 2]}]";
    let pod = probed(&format!("env: [{{name: FAULTS, value: '{plan}'}}, {POD_NAME}]"));
    let (_, spec) = pod.split_once("spec:\n").unwrap();
    let of = |kind: &str, name: &str| {
        format!(
            "apiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:\n  template:\n    spec:\n{}",
            indented(spec, 4)
        )
    };
    assert_eq!(rules(&workload(&of("StatefulSet", "web"))).len(), 1);
    for name in ["web", "web-0"] {
        assert!(refusal(&of("Deployment", name)).contains("FAULTS: some: pods"), "{name}");
    }
}

#[test]
fn a_scalar_of_a_plan_that_yaml_1_1_reads_differently_is_a_warning() {
    let map = config_map("data: {plan.yaml: 'seed: 010'}");
    let web = workload(&(with(FILE, MOUNT, "{name: faults, configMap: {name: plans}}") + &map));
    assert_eq!(web.probesim[0].merged.seed.map(|(seed, _)| seed), Some(10));
    let [warning] = web.warnings.as_slice() else { panic!("{:?}", web.warnings) };
    assert!(warning.contains("/etc/faults/plan.yaml: line 1 column 7: 010 is read as YAML 1.2"), "{warning}");
}
