//! The annotation of a Pod, and sources together.

use super::*;

const ANNOTATION: &str = "{name: notes, downwardAPI: {items: [{path: faults, fieldRef: {fieldPath: \"metadata.annotations['probesim.io/faults']\"}}]}}";

/// A Pod with this annotation, mounted at the default of `ANNOTATION_FILE`.
fn annotated(env: &str, value: &str) -> String {
    with(env, "{name: notes, mountPath: /etc/downwardapi}", ANNOTATION).replace(
        "metadata: {name: web,",
        &format!("metadata: {{name: web, annotations: {{probesim.io/faults: '{value}'}},"),
    )
}

#[test]
fn the_annotation_of_the_pod_is_a_plan_where_a_volume_has_it() {
    let of = |text: &str| rules(&workload(text));
    assert_eq!(of(&annotated("", PLAN)), [("down".to_owned(), Source::Annotation)]);
    assert_eq!(of(&annotated("", "")), []);
    let unmounted = annotated("", PLAN).replace("mountPath: /etc/downwardapi", "mountPath: /other");
    assert_eq!(of(&unmounted), [], "nobody reads it");
    let elsewhere = unmounted.replace("env: []", "env: [{name: ANNOTATION_FILE, value: /other/faults}]");
    assert_eq!(of(&elsewhere), [("down".to_owned(), Source::Annotation)]);
    let asked = annotated("{name: ANNOTATION_FILE, value: /other/faults}", PLAN);
    assert!(without(&asked).contains("ANNOTATION_FILE (/other/faults) is not there"));
    let nothing =
        with("", "{name: notes, mountPath: /etc/downwardapi}", "{name: notes, downwardAPI: {items: []}}");
    let web = workload(&nothing);
    assert_eq!(
        (rules(&web).len(), web.warnings.len(), web.assumptions.len()),
        (0, 0, 0),
        "nobody asked for it"
    );
    let projected = annotated("", PLAN)
        .replace("downwardAPI: {items", "projected: {sources: [{downwardAPI: {items")
        .replace("\"}}]}}", "\"}}]}}]}}");
    assert_eq!(of(&projected), [("down".to_owned(), Source::Annotation)]);
    let wrong = refusal(&annotated("", "faults: [{name: down, target: no_body, mode: hang}]"));
    assert!(
        wrong
            .starts_with("pod.yaml, document 1 (line 1), Pod/web, metadata.annotations.probesim.io/faults: "),
        "{wrong}"
    );
    assert!(
        wrong.contains("faults[0] (down): target=\"no_body\"") && wrong.contains("ANNOTATION_FILE of"),
        "{wrong}"
    );
}

#[test]
fn the_annotation_of_a_controllers_pods_is_its_templates() {
    let pod = annotated("", PLAN);
    let (metadata, spec) = pod.split_once("spec:\n").unwrap();
    let metadata = metadata.split_once("metadata: ").unwrap().1.trim();
    let text = format!(
        "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{name: web, annotations: {{probesim.io/faults: 'faults: []'}}}}\n\
         spec:\n  template:\n    metadata: {metadata}\n    spec:\n{}",
        indented(spec, 4)
    );
    assert_eq!(rules(&workload(&text)), [("down".to_owned(), Source::Annotation)]);
}

#[test]
fn sources_are_merged_as_in_the_service() {
    let named = |name: &str| format!("{{name: {name}, target: readiness, mode: hang}}");
    let faults = format!(
        "{{name: FAULTS, value: 'faults: [{}, {}, {}]'}}, {{name: SEED, value: '1'}}",
        named("a"),
        named("b"),
        named("c")
    );
    let annotation = "{name: notes, mountPath: /etc/downwardapi}";
    let map = config_map(
        &format!("data: {{plan.yaml: 'seed: 2\nfaults: [{}, {{name: c, disabled: true}}]'}}", named("b"))
            .replace('\n', "\\n")
            .replace('\'', "\""),
    );
    let text = with(
        &format!("{faults}, {FILE}"),
        &format!("{MOUNT}, {annotation}"),
        &format!("{{name: faults, configMap: {{name: plans}}}}, {ANNOTATION}"),
    )
    .replace(
        "metadata: {name: web,",
        &format!("metadata: {{name: web, annotations: {{probesim.io/faults: 'faults: [{}]'}},", named("d")),
    );
    let web = workload(&(text + &map));
    let named = |name: &str, source| (name.to_owned(), source);
    assert_eq!(
        rules(&web),
        [named("d", Source::Annotation), named("b", Source::File), named("a", Source::Environment)]
    );
    let merged = &web.probesim[0].merged;
    assert_eq!(merged.seed, Some((2, Source::File)));
    let hidden: Vec<&str> = merged.hidden.iter().map(|hidden| hidden.name.as_str()).collect();
    assert_eq!(hidden, ["b", "c"]);
}
