//! Probes and who answers them.

use super::*;

/// The liveness probe of a Pod whose readiness probe is valid.
fn liveness(probe: &str) -> (ProbeSpec, Workload) {
    let web =
        workload(&probed(&format!("ports: [{{name: http, containerPort: 8080}}]\nlivenessProbe: {probe}")));
    let probe = web.pod.containers[0].liveness.clone();
    (probe.unwrap_or_else(|| panic!("no liveness probe: {web:?}")), web)
}

const fn http(aim: ProbeEndpoint) -> ProbeHandler {
    ProbeHandler::Http { server: 0, endpoint: aim, client: Client::Kubelet }
}

#[test]
fn what_a_probe_leaves_out_has_the_defaults_of_the_api() {
    let (probe, _) = liveness("{httpGet: {path: /healthz, port: http}, timeoutSeconds: 0, periodSeconds: 0}");
    assert_eq!(probe.address.path, "/healthz");
    let address = probe.address.clone();
    assert_eq!(probe, ProbeSpec { address, ..ProbeSpec::new(http(ProbeEndpoint::Target(Target::Liveness))) });
    assert_eq!((probe.initial_delay, probe.timeout, probe.period), (0, 1, 10));
    assert_eq!((probe.success_threshold, probe.failure_threshold, probe.grace), (1, 3, None));
}

#[test]
fn each_field_of_a_probe_is_read() {
    let (probe, _) = liveness(
        "{tcpSocket: {port: 8080}, initialDelaySeconds: 5, timeoutSeconds: 2, periodSeconds: 3, failureThreshold: 4, terminationGracePeriodSeconds: 7}",
    );
    let tcp = ProbeSpec::new(ProbeHandler::Tcp { server: 0 });
    let wanted =
        ProbeSpec { initial_delay: 5, timeout: 2, period: 3, failure_threshold: 4, grace: Some(7), ..tcp };
    assert_eq!(probe, wanted);
    let web = workload(&pod("readinessProbe: {tcpSocket: {port: 8080}, successThreshold: 2}"));
    assert_eq!(readiness(&web, 0).success_threshold, 2);
}

#[test]
fn a_path_leads_to_its_target_or_to_a_fixed_status() {
    for (path, aim) in [
        ("/healthz", ProbeEndpoint::Target(Target::Liveness)),
        ("/livez?verbose", ProbeEndpoint::Target(Target::Liveness)),
        ("readyz", ProbeEndpoint::Target(Target::Readiness)),
        ("/startupz", ProbeEndpoint::Target(Target::Startup)),
        ("/dependency", ProbeEndpoint::Target(Target::Dependency)),
        ("/", ProbeEndpoint::Status(200)),
        ("/metrics", ProbeEndpoint::Status(200)),
        ("/healthz/", ProbeEndpoint::Status(404)),
        ("/nothing", ProbeEndpoint::Status(404)),
    ] {
        assert_eq!(
            liveness(&format!("{{httpGet: {{path: {path}, port: 8080}}}}")).0.handler,
            http(aim),
            "{path}"
        );
    }
    assert_eq!(
        liveness("{httpGet: {port: 8080}}").0.handler,
        http(ProbeEndpoint::Status(200)),
        "the default is /"
    );
}

#[test]
fn paths_of_the_environment_count() {
    let text =
        "env:\n- {name: TRAFFIC_PATHS, value: '/api/*'}\n- {name: LIVENESS_PATHS, value: '/api/live'}\n";
    for (path, target) in [("/api/x", Target::Traffic), ("/api/live", Target::Liveness)] {
        let probe = format!("livenessProbe: {{httpGet: {{path: {path}, port: 8080}}}}");
        let web = workload(&probed(&(text.to_owned() + &probe)));
        assert_eq!(
            web.pod.containers[0].liveness.as_ref().unwrap().handler,
            http(ProbeEndpoint::Target(target)),
            "{path}"
        );
    }
}

#[test]
fn a_port_of_the_environment_counts() {
    let text = "env: [{name: PORT, value: '9090'}]\nlivenessProbe: {tcpSocket: {port: 9090}}";
    let web = workload(&pod(text));
    assert_eq!(web.pod.containers[0].liveness.as_ref().unwrap().handler, ProbeHandler::Tcp { server: 0 });
}

#[test]
fn flags_of_serve_count_like_variables_and_win_over_them() {
    for args in ["[serve, --port, '9000']", "[--port=9000]", "['--set', 'PORT=9000']"] {
        let text = format!(
            "args: {args}\nenv: [{{name: PORT, value: '7000'}}]\nlivenessProbe: {{tcpSocket: {{port: 9000}}}}"
        );
        let web = workload(&pod(&text));
        let liveness = web.pod.containers[0].liveness.as_ref().unwrap();
        assert_eq!(liveness.handler, ProbeHandler::Tcp { server: 0 }, "{args}");
    }
}

#[test]
fn a_user_agent_among_the_headers_changes_the_client() {
    let with = |agent: &str| {
        let headers = format!("httpHeaders: [{{name: user-agent, value: {agent}}}]");
        match liveness(&format!("{{httpGet: {{path: /healthz, port: 8080, {headers}}}}}")).0.handler {
            ProbeHandler::Http { client, .. } => client,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(with("curl"), Client::Other);
    assert_eq!(with("kube-probe/1.36"), Client::Kubelet);
}

#[test]
fn the_admin_listener_is_never_faulted() {
    for (handler, aim) in [
        ("httpGet: {path: /healthz, port: 8081}", ProbeHandler::Healthy),
        ("httpGet: {path: /metrics, port: 8081}", ProbeHandler::Healthy),
        ("tcpSocket: {port: 8081}", ProbeHandler::Healthy),
        ("httpGet: {path: /readyz, port: 8081}", http(ProbeEndpoint::Status(404))),
    ] {
        assert_eq!(liveness(&format!("{{{handler}}}")).0.handler, aim, "{handler}");
    }
    // It still probes this program.
    assert!(workload(&pod("livenessProbe: {tcpSocket: {port: 8081}}")).assumptions.is_empty());
}

#[test]
fn a_host_leads_away_and_says_so() {
    let (probe, web) = liveness("{httpGet: {path: /healthz, port: 8080, host: example.com}}");
    assert_eq!(probe.handler, ProbeHandler::Healthy);
    assert!(web.assumptions[0].contains("host \"example.com\" is not modelled"), "{:?}", web.assumptions);
}

#[test]
fn the_own_probe_as_a_command_is_known() {
    let exec = |words: &str| {
        liveness(&format!("{{exec: {{command: [/kube-probesim, probe{words}]}}, timeoutSeconds: 5}}"))
    };
    let called = |target| ProbeHandler::Assumed { server: 0, target, transport: Transport::Grpc };
    let own = |target| ProbeHandler::Exec { server: 0, endpoint: ProbeEndpoint::Target(target) };
    for (words, handler, timeout) in [
        ("", own(Target::Readiness), 1),
        (", liveness", own(Target::Liveness), 1),
        (", --timeout, 3s, startup", own(Target::Startup), 3),
        (", startup, --timeout=9s", own(Target::Startup), 5),
        (", 'http://127.0.0.1:8080/healthz'", own(Target::Liveness), 1),
        (
            ", 'http://[::1]:8080/nothing'",
            ProbeHandler::Exec { server: 0, endpoint: ProbeEndpoint::Status(404) },
            1,
        ),
        (", 'tcp://localhost:8080'", ProbeHandler::Tcp { server: 0 }, 1),
        (", 'http://localhost:8081/healthz'", ProbeHandler::Healthy, 1),
        (", 'http://other:8080/healthz'", ProbeHandler::Healthy, 1),
        (", 'grpc://localhost:8080/startup'", called(Target::Startup), 1),
        (", --until, success", ProbeHandler::Healthy, 5),
    ] {
        let (probe, _) = exec(words);
        assert_eq!((probe.handler, probe.timeout), (handler, timeout), "{words}");
    }
    let wrong = |words: &str| {
        refusal(&probed(&format!("livenessProbe: {{exec: {{command: [/kube-probesim, probe, {words}]}}}}")))
    };
    assert!(wrong("'grpc://localhost:8080/orders'").contains("the service \"orders\" is not one of"));
    assert!(wrong("'grpcs://localhost:8080'").contains("port 8080 does not speak TLS"));
    assert!(wrong("'ftp://localhost:8080'").contains("grpc or grpcs"));
    assert!(wrong("livenes").contains("is \"livenes\", not a target or a URL"));
}

#[test]
fn another_command_is_assumed_to_succeed() {
    let (probe, web) = liveness("{exec: {command: [cat, /tmp/healthy]}}");
    assert_eq!(probe.handler, ProbeHandler::Healthy);
    assert_eq!(
        web.assumptions,
        ["container probesim, livenessProbe: the command \"cat\" is assumed to succeed"]
    );
}

/// A Pod whose application is probed through our port.
const SIDECAR: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers:
  - name: app
    image: example/app
    ports: [{name: app, containerPort: 80}]
    livenessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 2}
    readinessProbe: {httpGet: {path: /, port: app}}
  - name: probesim
    image: kube-probesim
    startupProbe: {tcpSocket: {port: 80}}
";

#[test]
fn another_containers_probe_of_our_port_is_answered_by_us() {
    let web = workload(SIDECAR);
    let [app, probesim] = web.pod.containers.as_slice() else { panic!("{:?}", web.pod) };
    let aim = ProbeEndpoint::Target(Target::Liveness);
    let handler = ProbeHandler::Http { server: 1, endpoint: aim, client: Client::Kubelet };
    assert_eq!(app.liveness.as_ref().unwrap().handler, handler);
    assert_eq!(app.readiness.as_ref().unwrap().handler, ProbeHandler::Healthy);
    assert!(app.program.is_none() && probesim.program.is_some());
    assert_eq!(probesim.startup.as_ref().unwrap().handler, ProbeHandler::Healthy);
    assert_eq!(web.probesim[0].position, 1);
    assert_eq!(
        web.assumptions,
        [
            "container app, readinessProbe: port 80 does not belong to kube-probesim; it is assumed to be healthy",
            "container probesim, startupProbe: port 80 does not belong to kube-probesim; it is assumed to be healthy",
        ]
    );
}

#[test]
fn another_container_need_not_declare_the_port_that_it_is_probed_on() {
    let web = workload(&SIDECAR.replace("port: app", "port: 3000"));
    assert_eq!(readiness(&web, 0).handler, ProbeHandler::Healthy);
}

#[test]
fn probes_of_others_alone_are_no_probe_of_ours() {
    let web = workload(&SIDECAR.replace("path: /healthz, port: 8080", "port: 80"));
    assert!(web.warnings[0].contains("no probe asks kube-probesim"), "{web:?}");
}

#[test]
fn a_named_port_is_that_of_the_same_container() {
    let text = SIDECAR.replace(
        "image: kube-probesim",
        "image: kube-probesim\n    ports: [{name: http, containerPort: 8080}]",
    );
    let web = workload(&text.replace("path: /healthz, port: 8080", "path: /healthz, port: http"));
    let line = web.warnings.join("\n");
    assert!(
        line.contains("port \"http\" does not exist in the Pod; known ports: app in this container"),
        "{line}"
    );
}

/// A Pod with a proxy beside our container, as a mesh's injection leaves it.
fn beside_a_proxy(probesim: &str) -> String {
    let proxy =
        "  - name: proxy\n    image: example/proxy:1\n    ports: [{containerPort: 15090, name: prom}]\n";
    pod(probesim).replace("  containers:\n", &format!("  containers:\n{proxy}"))
}

#[test]
fn a_probe_of_a_port_of_another_container_is_assumed_to_be_healthy() {
    let web = workload(&beside_a_proxy(
        "ports: [{containerPort: 8080}]\nreadinessProbe: {httpGet: {path: /app-health/app/readyz, port: 15020}}\nlivenessProbe: {httpGet: {path: /healthz, port: 8080}}\nstartupProbe: {tcpSocket: {port: 15090}}",
    ));
    assert_eq!(readiness(&web, 1).handler, ProbeHandler::Healthy);
    for wanted in [
        "container probesim, readinessProbe: port 15020 does not belong to kube-probesim; it is assumed to be healthy",
        "container probesim, startupProbe: port 15090 does not belong to kube-probesim; it is assumed to be healthy",
    ] {
        assert!(web.assumptions.iter().any(|line| line == wanted), "{:?}", web.assumptions);
    }
}

#[test]
fn the_loopback_address_of_the_nodes_network_is_the_pods_own() {
    let probe = "env: [{name: HOST, value: 127.0.0.1}]\nlivenessProbe: {httpGet: {host: 127.0.0.1, path: /healthz, port: 8080}}";
    let on_host = |text: &str| text.replace("spec:\n", "spec:\n  hostNetwork: true\n");
    for host in ["127.0.0.1", "localhost", "127.8.0.1"] {
        let web = workload(&on_host(&pod(probe)).replace("host: 127.0.0.1", &format!("host: {host}")));
        let liveness = web.pod.containers[0].liveness.as_ref().unwrap();
        assert_eq!(liveness.handler.server(), Some(0), "{host}");
    }
    // Without the node's network the address is that of another host.
    for text in [pod(probe), on_host(&pod(probe)).replace("host: 127.0.0.1", "host: 10.0.0.1")] {
        let web = workload(&text);
        assert!(web.warnings[0].contains("no probe asks kube-probesim"), "{web:?}");
    }
}
