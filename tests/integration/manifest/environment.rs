//! The effective environment of a container.

use super::*;

const CONFIG_MAP: &str = "\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: faults}\ndata: {rate: '30', FAILURE_RATE: '20', PORT: '9090'}\n";

/// The names of the rules of our first container.
fn rules(workload: &Workload) -> Vec<String> {
    workload.probesim[0].config.plan.rules().iter().map(|rule| rule.name().as_str().to_owned()).collect()
}

#[test]
fn values_make_the_plan_that_the_service_would_run() {
    let web =
        workload(&probed("env:\n- {name: LIVENESS_FAILURE_RATE, value: '20'}\n- {name: SEED, value: '7'}"));
    assert_eq!(rules(&web), ["liveness-rate"]);
    assert_eq!(web.probesim[0].config.seed.seed, Some(7));
    let program = web.pod.containers[0].program.as_ref().unwrap();
    assert_eq!(program.plan.len(), 1);
}

#[test]
fn the_pods_name_by_the_downward_api_is_left_to_the_prediction() {
    let of_pod = "env: [{name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]";
    let web = workload(&probed(of_pod));
    assert_eq!(web.probesim[0].pod_name, PodName::OfPod);
    assert_eq!(web.probesim[0].config.identity.pod, None);
    assert_eq!(workload(&probed("")).probesim[0].pod_name, PodName::Unset);
    let fixed = workload(&probed("env: [{name: POD_NAME, value: web-0}]"));
    assert_eq!(fixed.probesim[0].pod_name, PodName::Fixed("web-0".into()));
}

#[test]
fn the_pods_name_arrives_through_another_variable_too() {
    let text = "env:\n- {name: ME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}\n- {name: POD_NAME, value: $(ME)}";
    assert_eq!(workload(&probed(text)).probesim[0].pod_name, PodName::OfPod);
    let more = text.replace("$(ME)", "x-$(ME)");
    let web = workload(&probed(&more));
    assert_eq!(web.probesim[0].pod_name, PodName::Fixed("x-web".into()));
    assert!(web.assumptions.iter().any(|text| text.contains("POD_NAME")), "{:?}", web.assumptions);
}

#[test]
fn references_to_other_variables_are_replaced() {
    let text = "env:\n- {name: WHO, value: LIVE}\n- {name: LIVENESS_PATHS, value: /$(WHO)/$$(WHO)}";
    let web =
        workload(&probed("env:\n- {name: SHARE, value: '20'}\n- {name: FAILURE_RATE, value: $(SHARE)%}"));
    assert_eq!(rules(&web).len(), 4);
    // `$` is printable, so the escape is visible.
    let paths = workload(&probed(text)).probesim[0].config.paths.clone();
    assert!(paths.iter().any(|(path, _)| path == "/LIVE/$(WHO)"), "{paths:?}");
    let later = "env:\n- {name: FAILURE_RATE, value: $(SHARE)}\n- {name: SHARE, value: '20'}";
    assert!(refusal(&probed(later)).contains("$(SHARE)"), "a variable that comes later is not known yet");
}

#[test]
fn a_config_map_of_the_input_is_read_by_key() {
    let reference = "env: [{name: FAILURE_RATE, valueFrom: {configMapKeyRef: {name: faults, key: rate}}}]";
    assert_eq!(rules(&workload(&(probed(reference) + CONFIG_MAP))).len(), 4);
}

#[test]
fn env_from_puts_its_prefix_before_each_key_and_env_wins() {
    let text = "envFrom: [{prefix: LIVENESS_, configMapRef: {name: faults}}]";
    let web = workload(&(probed(text) + CONFIG_MAP));
    assert_eq!(rules(&web), ["liveness-rate"]);
    assert_eq!(web.probesim[0].config.probe_address.port, 8080, "LIVENESS_PORT is nobody's");
    let both = "envFrom: [{configMapRef: {name: faults}}]\nenv: [{name: PORT, value: '8080'}]";
    let web = workload(&(probed(both) + CONFIG_MAP));
    assert_eq!(rules(&web).len(), 4);
    assert_eq!(web.probesim[0].config.probe_address.port, 8080);
}

#[test]
fn a_missing_config_map_is_assumed_to_exist_or_an_error_with_complete() {
    let by_key = "env: [{name: FAILURE_RATE, valueFrom: {configMapKeyRef: {name: absent, key: rate}}}]";
    assert_eq!(
        workload(&probed(by_key)).assumptions,
        [
            "container probesim: FAILURE_RATE, from ConfigMap \"absent\", is treated as unset",
            "not in the input, but assumed to exist: ConfigMap absent (--complete makes this an error)",
        ]
    );
    assert_eq!(
        lack(&probed(by_key)),
        "pod.yaml, document 1 (line 1), Pod/web, \
         spec.containers[0].env[0].valueFrom.configMapKeyRef.name: ConfigMap \"absent\" is not in the input; \
         add its manifest, or mark it optional"
    );
    let whole = "envFrom: [{configMapRef: {name: absent}}]";
    assert!(lack(&probed(whole)).contains("spec.containers[0].envFrom[0].configMapRef.name: ConfigMap"));
    assert!(rules(&workload(&probed(&by_key.replace("key: rate", "key: rate, optional: true")))).is_empty());
    assert!(rules(&workload(&probed(&whole.replace("absent", "absent, optional: true")))).is_empty());
}

#[test]
fn a_missing_key_is_an_error_unless_it_is_optional() {
    let text = "env: [{name: FAILURE_RATE, valueFrom: {configMapKeyRef: {name: faults, key: gone}}}]";
    let error = refusal(&(probed(text) + CONFIG_MAP));
    assert!(error.ends_with("configMapKeyRef.key: ConfigMap \"faults\" has no key \"gone\""), "{error}");
    let optional = text.replace("key: gone", "key: gone, optional: true");
    assert!(rules(&workload(&(probed(&optional) + CONFIG_MAP))).is_empty());
}

#[test]
fn a_config_map_of_another_namespace_is_not_found() {
    let reference = "env: [{name: FAILURE_RATE, valueFrom: {configMapKeyRef: {name: faults, key: rate}}}]";
    let pod = probed(reference).replace("name: web,", "name: web, namespace: one,");
    let other = CONFIG_MAP.replace("name: faults", "name: faults, namespace: other");
    assert!(lack(&(pod.clone() + &other)).contains("is not in the input"));
    assert_eq!(rules(&workload(&(pod + CONFIG_MAP))).len(), 4, "no namespace is any");
}

#[test]
fn a_secret_for_one_of_our_variables_is_an_assumption_and_for_others_nothing() {
    let secret =
        |name: &str| format!("env: [{{name: {name}, valueFrom: {{secretKeyRef: {{name: s, key: k}}}}}}]");
    let probesim = workload(&probed(&secret("FAILURE_RATE")));
    assert_eq!(
        probesim.assumptions,
        [
            "container probesim: FAILURE_RATE is treated as unset: Secrets are not read",
            "not in the input, but assumed to exist: Secret s (--complete makes this an error)",
        ]
    );
    assert_eq!(workload(&probed(&secret("PASSWORD"))).assumptions.len(), 1);
    assert!(lack(&probed(&secret("PASSWORD"))).contains("Secret \"s\" is not in the input"));
    let all = workload(&probed("envFrom: [{secretRef: {name: s}}]"));
    assert!(all.assumptions[0].contains("Secret \"s\""), "{:?}", all.assumptions);
}

#[test]
fn values_without_quotes_are_accepted_with_a_warning() {
    let web = workload(&probed("env:\n- {name: SEED, value: 20}\n- {name: DEBUG, value: true}"));
    assert_eq!(web.probesim[0].config.seed.seed, Some(20));
    assert_eq!(
        web.warnings,
        [
            "pod.yaml, document 1 (line 1), Pod/web, container probesim, env SEED: the value 20 needs quotes; without them the API server refuses it",
            "pod.yaml, document 1 (line 1), Pod/web, container probesim, env DEBUG: the value true needs quotes; without them the API server refuses it",
        ]
    );
    let config_map = CONFIG_MAP.replace("'30'", "30");
    let reference = "env: [{name: FAILURE_RATE, valueFrom: {configMapKeyRef: {name: faults, key: rate}}}]";
    let web = workload(&(probed(reference) + &config_map));
    assert!(
        web.warnings[0].contains("ConfigMap/faults, data.rate: the value 30 needs quotes"),
        "{:?}",
        web.warnings
    );
}

#[test]
fn warnings_of_the_configuration_come_with_their_place() {
    let web = workload(&probed("env: [{name: FAILURE_RATES, value: '20'}]"));
    assert!(web.warnings[0].starts_with(
        "pod.yaml, document 1 (line 1), Pod/web, container probesim, env FAILURE_RATES: unknown variable"
    ));
}

#[test]
fn annotations_and_labels_of_the_pod_can_hold_values() {
    let reference = "env:\n- {name: SEED, valueFrom: {fieldRef: {fieldPath: \"metadata.labels['seed']\"}}}";
    let text = probed(reference).replace("app: web", "app: web, seed: '11'");
    assert_eq!(workload(&text).probesim[0].config.seed.seed, Some(11));
}

#[test]
fn an_environment_that_doubles_with_each_variable_is_an_error() {
    let double = |i: u32| format!("- {{name: V{i}, value: $(V{})$(V{})}}\n", i - 1, i - 1);
    let text =
        "env:\n- {name: V0, value: 0123456789abcdef}\n".to_owned() + &(1..60).map(double).collect::<String>();
    assert!(refusal(&probed(&text)).contains("spec.containers[0].env: the environment has more than"));
}
