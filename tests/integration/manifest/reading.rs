//! Texts that `kubectl` reads, and YAML parsers may refuse.

use super::*;

#[test]
fn a_list_in_flow_style_may_end_at_the_indentation_of_its_key() {
    let web = workload(&probed("args: [\n  \"serve\",\n]"));
    assert_eq!(web.name, "web");
}

#[test]
fn a_byte_order_mark_may_begin_the_second_document() {
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n---\n\u{feff}";
    let manifests = manifests(&format!("{service}{}", probed("")));
    assert_eq!((manifests.services.len(), manifests.workloads.len()), (1, 1));
}

#[test]
fn scalars_are_those_of_yaml_1_1() {
    let text = pod("readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 010}")
        .replace("spec:\n", "spec:\n  hostNetwork: yes\n");
    let web = workload(&text);
    assert_eq!(readiness(&web, 0).period, 8);
    assert!(web.assumptions.iter().any(|line| line.contains("hostNetwork")), "{:?}", web.assumptions);
}

#[test]
fn objects_may_be_json_one_after_the_other() {
    let object = |name: &str| {
        format!(
            r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{name}"}},"spec":{{"containers":[{{"name":"c","image":"kube-probesim","livenessProbe":{{"tcpSocket":{{"port":8080}}}}}}]}}}}"#
        )
    };
    for between in ["\n", "", "\n\n  "] {
        let workloads = manifests(&[object("a"), object("b")].join(between)).workloads;
        let names: Vec<&str> = workloads.iter().map(|workload| workload.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
    }
}

#[test]
fn the_last_of_duplicate_keys_is_used_with_a_warning() {
    let web = workload(&probed("").replace("{name: web,", "{name: first, name: web,"));
    assert_eq!(web.name, "web");
    assert_eq!(
        web.warnings,
        [
            "pod.yaml, document 1, line 3 column 25: the key \"name\" is given twice; like kubectl, this takes the last value"
        ]
    );
    // A ConfigMap makes no Pods itself.
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {a: x, a: y}\n---\n";
    let web = workload(&format!("{map}{}", probed("")));
    assert!(
        web.warnings.iter().any(|line| line.contains("document 1, line 4 column 14: the key \"a\"")),
        "{:?}",
        web.warnings
    );
}

#[test]
fn fields_are_merged_from_an_anchor() {
    let text = pod(
        "livenessProbe: &probe\n  httpGet: {path: /healthz, port: 8080}\n  periodSeconds: 7\nreadinessProbe:\n  <<: *probe\n  httpGet: {path: /readyz, port: 8080}",
    );
    let web = workload(&text);
    assert_eq!(readiness(&web, 0).period, 7);
    assert_eq!(
        readiness(&web, 0).handler,
        ProbeHandler::Http {
            server: 0,
            endpoint: ProbeEndpoint::Target(Target::Readiness),
            client: Client::Kubelet
        }
    );
}

#[test]
fn a_template_is_refused_as_such() {
    for line in ["name: {{ .Release.Name }}", "{{- include \"name\" . | nindent 2 }}"] {
        let text = probed("").replace("metadata: {", &format!("{line}\nmetadata: {{"));
        let line = refusal(&text);
        assert!(line.contains("line 3 column") && line.contains("`helm template`"), "{line}");
    }
    let quoted = refusal(&probed("").replace("name: web,", "name: \"{{ .Release.Name }}\","));
    assert!(quoted.contains("metadata.name: ") && quoted.contains("`helm template`"), "{quoted}");
    let image = refusal(&probed("").replace("image: kube-probesim:0.1.0", "image: \"{{ .Values.image }}\""));
    assert!(image.contains("`helm template`"), "{image}");
}
