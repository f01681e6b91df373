//! Manifests that are wrong, each with file, document and field.

use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// With one value of a valid manifest replaced, each error still names the file on one line.
    #[test]
    fn no_value_makes_the_reader_panic(
        at in 0_usize..200,
        value in prop_oneof![
            Just("[]"), Just("{}"), Just("~"), Just("-1"), Just("1e400"), Just("99999999999999999999"), Just("''"),
            Just("[[]]"), Just("{a: 1}"), Just("\"\\0\\n\""), Just("$($("), Just("*x"), Just("true"), Just("é"),
        ],
    ) {
        let text = include_str!("../../../manifests/base/deployment.yaml");
        let fields: Vec<usize> = text.match_indices(": ").map(|(at, _)| at).collect();
        let start = fields[at % fields.len()] + 2;
        let end = start + text[start..].find('\n').unwrap_or_default();
        let broken = format!("{}{value}{}", &text[..start], &text[end..]);
        if let Err(errors) = read(&[input("deployment.yaml", &broken)]) {
            prop_assert!(!errors.errors.is_empty());
            for line in errors.to_string().lines() {
                prop_assert!(line.starts_with("deployment.yaml"), "{}", line);
            }
        }
    }
}

#[test]
fn a_text_that_is_not_yaml_is_an_error_with_document_and_line() {
    let broken = "kind: {a: }}\n";
    for (before, number) in [
        ("", 1),
        ("# A comment.\n---\n", 1),
        ("---\n---\n", 2),
        ("a: 1\n---\n", 2),
        ("---\na: 1\n---\n\n---\n", 3),
    ] {
        let error = refusal(&(before.to_owned() + broken));
        let wanted = format!("pod.yaml, document {number}: line {} ", before.lines().count() + 1);
        assert!(error.starts_with(&wanted), "{error}");
    }
    let error = refusal(broken);
    assert!(error.contains("is not YAML or JSON"), "{error}");
}

#[test]
fn a_document_that_is_no_object_is_an_error() {
    assert_eq!(
        refusal(&(probed("") + "---\njust text\n")),
        "pod.yaml, document 2 (line 10): is \"just text\", not an object with `kind`"
    );
    assert_eq!(refusals("a: 1"), ["pod.yaml, document 1 (line 1), kind: is missing"]);
    let lines = refusals("kind: Pod");
    assert_eq!(lines[0], "pod.yaml, document 1 (line 1), Pod, apiVersion: is missing");
    assert_eq!(lines[1], "pod.yaml, document 1 (line 1), Pod, spec: is missing");
}

#[test]
fn a_recursion_of_anchors_is_an_error() {
    let error = refusal("apiVersion: v1\nkind: Pod\nmetadata: &a {name: web, labels: *a}\n");
    assert!(error.contains("an alias is inside the value that it refers to"), "{error}");
    let line = |i: u32| format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(", "));
    let laughs: String = std::iter::once("a0: &a0 [x, x]\n".to_owned()).chain((1..9).map(line)).collect();
    assert!(refusal(&laughs).contains("counting the values of each alias"));
}

#[test]
fn a_hundred_megabytes_are_an_error_at_once() {
    let text = "#".repeat(100_000_000);
    let errors = read(&[input("big.yaml", &text)]).expect_err("it is taken");
    assert_eq!(
        errors.to_string(),
        format!("big.yaml: 100000000 bytes are more than the {MAX_INPUT} allowed")
    );
}

#[test]
fn a_kind_in_the_wrong_case_and_a_version_of_another_type_are_one_error_each() {
    assert_eq!(
        refusals(&probed("").replace("kind: Pod", "kind: pod")),
        ["pod.yaml, document 1 (line 1), pod/web, kind: there is no kind \"pod\"; did you mean Pod?"]
    );
    assert_eq!(
        refusals(&probed("").replace("apiVersion: v1", "apiVersion: 1")),
        ["pod.yaml, document 1 (line 1), Pod/web, apiVersion: is 1, not a string"]
    );
    // A kind of another group is not probesim to judge.
    let foreign = "apiVersion: example.com/v1\nkind: pod\nmetadata: {name: web}\n";
    assert_eq!(manifests(&format!("{foreign}---\n{}", probed(""))).others, [("pod".to_owned(), 1)]);
}

#[test]
fn a_kustomization_is_to_be_rendered_first() {
    assert_eq!(
        refusals("resources: [deployment.yaml]\nnamePrefix: test-\n"),
        [
            "pod.yaml, document 1 (line 1), kind: is missing; for a kustomization, pass the output of `kubectl kustomize \
             DIRECTORY`"
        ]
    );
}

#[test]
fn a_name_of_another_type_is_reported_once() {
    for name in ["123", "true", "[a]", "{a: b}"] {
        let text = probed("").replace("{name: web,", &format!("{{name: {name},"));
        let errors = refusals(&text);
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(
            errors[0].starts_with("pod.yaml, document 1 (line 1), Pod, metadata.name: is "),
            "{errors:?}"
        );
    }
}

#[test]
fn no_probe_is_a_warning() {
    assert_eq!(
        workload(&pod("")).warnings,
        [
            "pod.yaml, document 1 (line 1), Pod/web, container probesim, no probe asks kube-probesim, so its faults \
          do not affect the kubelet"
        ]
    );
}

#[test]
fn a_probe_of_a_port_that_does_not_exist_is_an_error() {
    assert_eq!(
        refusal(&pod("livenessProbe: {httpGet: {path: /healthz, port: 9090}}")),
        "pod.yaml, document 1 (line 1), Pod/web, container probesim, spec.containers[0].livenessProbe.httpGet.port: \
         port 9090 does not exist in the Pod; known ports: 8080 (PORT), 8081 (ADMIN_ADDRESS)"
    );
    let named =
        refusal(&pod("ports: [{name: web, containerPort: 8080}]\nlivenessProbe: {tcpSocket: {port: http}}"));
    assert!(
        named.contains("tcpSocket.port: port \"http\" does not exist in the Pod; known ports: web"),
        "{named}"
    );
    let declared = "ports: [{name: http, containerPort: 9090}]\nlivenessProbe: {tcpSocket: {port: http}}";
    assert!(refusal(&pod(declared)).contains("port 9090 does not exist"), "declaring a port opens none");
}

#[test]
fn a_variable_that_does_not_parse_is_an_error_with_its_container() {
    assert_eq!(
        refusal(&probed("env: [{name: LIVENESS_FAILURE_RATE, value: '120'}]")).split(": ").next(),
        Some("pod.yaml, document 1 (line 1), Pod/web, container probesim, env LIVENESS_FAILURE_RATE=\"120\"")
    );
}

#[test]
fn all_errors_are_reported_together() {
    let lines = refusals(&pod(
        "env: [{name: SEED, value: x}, {name: A, valueFrom: {configMapKeyRef: {name: gone, key: k}}}]\n\
         livenessProbe: {httpGet: {port: 8080}, periodSeconds: -1, successThreshold: 2}\n\
         readinessProbe: {}",
    ));
    for part in ["SEED=\"x\"", "periodSeconds: -1", "successThreshold: 2", "readinessProbe: has no"] {
        assert_eq!(lines.iter().filter(|line| line.contains(part)).count(), 1, "{part}: {lines:#?}");
    }
    assert_eq!(lines.len(), 4);
}

#[test]
fn errors_of_several_files_come_together() {
    let errors = read(&[
        input("one.yaml", &pod("readinessProbe: {}")),
        input("two.yaml", "kind: {"),
        input("three.yaml", &probed("env: 5")),
    ])
    .expect_err("it is taken");
    let lines = errors.to_string();
    for part in [
        "one.yaml, document 1 (line 1), Pod/web",
        "two.yaml, document 1: line",
        "spec.containers[0].env: is 5, not a list",
    ] {
        assert!(lines.contains(part), "{part}: {lines}");
    }
}

#[test]
fn values_of_another_type_are_errors() {
    for (rest, error) in [
        (
            "livenessProbe: {tcpSocket: {port: 8080}, periodSeconds: '10'}",
            "periodSeconds: is \"10\", not a whole number",
        ),
        ("livenessProbe: [1]", "livenessProbe: is a list, not a mapping"),
        ("livenessProbe: {tcpSocket: {port: true}}", "tcpSocket.port: is true, not a whole number"),
        (
            "livenessProbe: {tcpSocket: {port: '8080'}}",
            "tcpSocket.port: is \"8080\", not a number, or the name",
        ),
        ("livenessProbe: {tcpSocket: {port: 70000}}", "port: 70000 is not a whole number from 1 to 65535"),
        ("livenessProbe: {exec: {command: [1]}}", "exec.command[0]: is 1, not a string"),
        (
            "livenessProbe: {httpGet: {port: 8080, scheme: http}}",
            "scheme: \"http\" is not one of HTTP, HTTPS",
        ),
        ("env: [{name: A, value: [1]}]", "env[0].value: is a list, not a string"),
        ("env: [{value: a}]", "env[0].name: is missing"),
        ("restartPolicy: Sometimes", "restartPolicy: \"Sometimes\" is not one of Always"),
    ] {
        let lines = refusals(&probed(rest));
        assert!(lines.iter().any(|line| line.contains(error)), "{error}: {lines:#?}");
    }
}

#[test]
fn probes_that_the_api_server_refuses_are_errors() {
    for (rest, error) in [
        ("livenessProbe: {tcpSocket: {port: 8080}, httpGet: {port: 8080}}", "has 2 handlers instead of one"),
        ("livenessProbe: {HTTPGet: {port: 8080}}", "but a field HTTPGet; did you mean httpGet?"),
        ("livenessProbe: {period: 3}", "has no handler; use one of httpGet"),
        ("startupProbe: {tcpSocket: {port: 8080}, successThreshold: 3}", "successThreshold: 3 is not"),
        (
            "livenessProbe: {tcpSocket: {port: 8080}, terminationGracePeriodSeconds: 0}",
            "terminationGracePeriodSeconds: 0",
        ),
        ("livenessProbe: {tcpSocket: {}}", "tcpSocket.port: is missing"),
        ("livenessProbe: {exec: {}}", "exec.command: is missing"),
    ] {
        let line = refusal(&probed(rest));
        assert!(line.contains(error), "{error}: {line}");
    }
    let readiness = "readinessProbe: {tcpSocket: {port: 8080}, terminationGracePeriodSeconds: 5}";
    assert!(refusal(&pod(readiness)).contains("a readiness probe never kills a container"));
}

#[test]
fn protocols_that_the_service_does_not_speak_are_errors() {
    for (handler, error) in [
        ("grpc: {port: 8081}", "the admin listener does not speak gRPC"),
        ("grpc: {port: 8080, service: orders}", "the service \"orders\" is not one of liveness, readiness"),
        ("httpGet: {port: 8080, scheme: HTTPS}", "port 8080 does not speak TLS; set TLS_CERT_FILE"),
    ] {
        let line = refusal(&probed(&format!("livenessProbe: {{{handler}}}")));
        assert!(line.contains(error), "{line}");
    }
    let only = |handler: &str| {
        let tls = "env: [{name: TLS, value: self-signed}, {name: TLS_ONLY, value: 'true'}]";
        refusal(&pod(&format!("livenessProbe: {{{handler}}}\n{tls}")))
    };
    for handler in ["grpc: {port: 8080}", "httpGet: {port: 8080}"] {
        assert!(only(handler).contains("port 8080 requires TLS"), "{}", only(handler));
    }
}

#[test]
fn an_input_without_this_program_is_accepted_and_other_kinds_are_counted() {
    let other = probed("").replace("kube-probesim", "nginx")
        + "---\napiVersion: example.com/v1\nkind: Job\nmetadata: {name: j}\n";
    let manifests = manifests(&other);
    assert_eq!(manifests.workloads.len(), 1);
    assert!(!manifests.workloads[0].is_known());
    assert_eq!(manifests.others, [("example.com/Job".to_owned(), 1)]);
    assert!(refusal("").ends_with("the input is empty"));
}

#[test]
fn errors_of_other_containers_are_warnings() {
    let other = probed("livenessProbe: {grpc: {port: 1}, exec: {}}").replace("kube-probesim", "nginx");
    let workload = workload(&other);
    assert!(
        workload.warnings.iter().any(|line| line.contains("has 2 handlers instead of one")),
        "{workload:?}"
    );
}

#[test]
fn an_invalid_config_map_is_reported_once_for_all_its_readers() {
    let one = probed("envFrom: [{configMapRef: {name: faults}}]");
    let config_map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: faults}\ndata: {SEED: [1]}\n";
    let line = refusal(&[&one, &one.replace("name: web", "name: second"), config_map].join("---\n"));
    assert!(line.ends_with("ConfigMap/faults, data.SEED: is a list, not a string"), "{line}");
}

#[test]
fn a_pod_that_never_starts_is_an_error() {
    let text =
        probed("").replace("spec:\n", "spec:\n  initContainers: [{name: first, image: kube-probesim}]\n");
    assert!(refusal(&text).contains("container first, spec.initContainers[0]: the service never ends"));
}

#[test]
fn two_of_ours_on_one_port_are_an_error() {
    let second = "  - {name: second, image: kube-probesim, env: [{name: ADMIN_ADDRESS, value: ':9091'}]}\n";
    let line = refusal(&(probed("") + second));
    assert!(
        line.contains("container second, env: port 8080 is already used by container probesim"),
        "{line}"
    );
}

#[test]
fn a_listener_that_the_kubelet_does_not_reach_is_an_error() {
    let line = refusal(&probed("env: [{name: BIND_ADDRESS, value: 127.0.0.1}]"));
    assert!(line.contains("httpGet.port: port 8080 listens on the loopback address"), "{line}");
}

#[test]
fn arguments_that_the_service_does_not_take_are_an_error() {
    assert!(
        refusal(&probed("args: [--prt, '80']"))
            .contains("spec.containers[0].args: `serve` does not accept \"--prt 80\"")
    );
}

#[test]
fn each_problem_has_its_own_variant() {
    let errors = read(&[input("pod.yaml", &probed("livenessProbe: {}"))]).expect_err("it is taken").errors;
    assert_eq!(errors[0].problem, Problem::NoHandler(None));
    assert_eq!(errors[0].place.document, Some((1, 1)));
    assert_eq!(errors[0].place.object.as_deref(), Some("Pod/web"));
}

#[test]
fn names_that_no_object_can_have_are_errors_on_one_line() {
    let line = refusal(&probed("").replace("name: probesim", "name: \"a\\nb\""));
    assert!(line.ends_with(
        "spec.containers[0].name: \"a\\nb\" is not a name of lower-case letters, digits, `-` and `.`"
    ));
    assert!(
        refusal(&probed("").replace("name: web", "name: Web"))
            .contains("metadata.name: \"Web\" is not a name")
    );
    assert!(refusal(&probed("").replace("name: web, ", "")).contains("metadata.name: is missing"));
}

#[test]
fn containers_that_cannot_be_read_are_an_error() {
    let line = refusal("apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: web}\n");
    assert!(line.contains("Pod/web, spec.containers: is \"web\", not a list"), "{line}");
    let line = refusal(&probed("").replace("kube-probesim:0.1.0", "5"));
    assert!(line.contains("spec.containers[0].image: is 5, not a string"), "{line}");
}

#[test]
fn the_first_hundred_errors_are_reported_and_the_others_counted() {
    let variables = (0..250).map(|i| format!("{{name: A{i}, value: [{i}]}}")).collect::<Vec<_>>().join(", ");
    let lines = refusals(&probed(&format!("env: [{variables}]")));
    assert_eq!((lines.len(), lines[100].as_str()), (101, "and 150 more"));
    let pods = (0..60).map(|_| probed("env: 5\nports: 5\nargs: 5") + "---\n").collect::<String>();
    let lines = refusals(&pods);
    assert!(lines.len() == 101 && lines[100].starts_with("and "), "{}", lines.len());
}

#[test]
fn an_invalid_config_map_is_reported_once() {
    let map = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {A: [1]}\n";
    let from = "envFrom: [{configMapRef: {name: c}}]\nenv: [{name: B, valueFrom: {configMapKeyRef: {name: c, key: A}}}]";
    let lines = refusals(&format!("{}---\n{}{map}", probed(from), probed(from)));
    assert_eq!(lines, ["pod.yaml, document 3 (line 23), ConfigMap/c, data.A: is a list, not a string"]);
}
