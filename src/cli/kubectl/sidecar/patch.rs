//! The patches that add a sidecar to a workload, and those that take it away again. Nothing is asked or changed here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::error::SidecarError;
use crate::cli::kubectl::IMAGE;
use crate::cli::kubectl::fields::{list, text};
use crate::cli::kubectl::selector::selects;

/// The sidecar's ports, which applications seldom use.
const PORT: u16 = 18080;
const ADMIN_PORT: u16 = 18081;

/// What is common to every sidecar: as `manifests/components/sidecar` has it.
const CONTAINER: &str = include_str!("container.json");
/// What a proxy has of its own: as `manifests/components/sidecar-proxy` has it.
const PROXY: &str = include_str!("proxy.json");

const PROBES: [&str; 3] = ["livenessProbe", "readinessProbe", "startupProbe"];
const HANDLERS: [&str; 4] = ["exec", "grpc", "httpGet", "tcpSocket"];

/// Where the workload keeps what the patch replaced.
const ORIGINAL: &str = "probesim.io/original";
const LABELS: [&str; 3] = ["probesim.io/sidecar", "probesim.io/proxy", "probesim.io/scrape"];

/// What the sidecar shall be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cli::kubectl) struct Choice {
    /// It stands in front of the application, instead of beside it.
    pub(in crate::cli::kubectl) is_proxy: bool,
    /// An ordinary container, for clusters before Kubernetes 1.29.
    pub(in crate::cli::kubectl) is_plain: bool,
    /// The application's container; the first if absent.
    pub(in crate::cli::kubectl) container: Option<String>,
    /// The application's port, by number or name.
    pub(in crate::cli::kubectl) port: Option<String>,
    pub(in crate::cli::kubectl) image: Option<String>,
    /// Variables of the sidecar.
    pub(in crate::cli::kubectl) env: Vec<(String, String)>,
}

/// A patch of one object.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Patch {
    /// As kubectl takes it: `service/web`.
    pub(super) object: String,
    /// As `kubectl patch --type` takes it.
    pub(super) kind: &'static str,
    pub(super) content: Value,
}

/// What to do, in the order in which no call is lost.
#[derive(Debug, PartialEq)]
pub(super) struct Change {
    pub(super) workload: Patch,
    pub(super) services: Vec<Patch>,
    /// What the user should know.
    pub(super) notes: Vec<String>,
}

/// What the patch replaced. It is kept in an annotation of the workload.
#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
struct Original {
    container: String,
    list: String,
    /// The probes that were changed; null where there was none.
    probes: BTreeMap<String, Value>,
    /// For each Service, the target of each port that was changed.
    services: BTreeMap<String, BTreeMap<String, Value>>,
}

/// Adds a sidecar to `workload`. `services` are all of its namespace.
pub(super) fn add(
    object: &str,
    workload: &Value,
    services: &[Value],
    choice: &Choice,
) -> Result<Change, SidecarError> {
    let pod = pod(object, workload)?;
    let application = application(pod, choice.container.as_deref())?;
    let name = text(&application["name"]);
    let (mark, field) = if choice.is_plain { ("plain", "containers") } else { ("native", "initContainers") };
    let mut original = Original { container: name.clone(), list: field.to_owned(), ..Original::default() };
    let mut sidecar: Value = serde_json::from_str(CONTAINER).unwrap_or_default();
    let image = choice.image.clone();
    sidecar["image"] = image.unwrap_or_else(|| IMAGE.to_owned()).into();
    if !choice.is_plain {
        sidecar["restartPolicy"] = "Always".into();
    }
    let mut variables = Vec::new();
    let mut notes = Vec::new();
    let mut patches = Vec::new();
    let mut probes = Map::new();
    if choice.is_proxy {
        let port = application_port(application, workload, services, choice.port.as_deref())?;
        let scheme = if speaks_http2(application, workload, services, port) { "h2c" } else { "http" };
        variables.push(("UPSTREAM".to_owned(), format!("{scheme}://127.0.0.1:{port}")));
        if choice.is_plain {
            // Both containers get SIGTERM at the same moment, and callers still come until the endpoints have followed.
            variables.push(("SHUTDOWN_DELAY".to_owned(), "10s".to_owned()));
        }
        let own: Map<String, Value> = serde_json::from_str(PROXY).unwrap_or_default();
        for (field, value) in own {
            // A plain container starts beside the application: nothing waits for its startup probe.
            if !(choice.is_plain && field == "startupProbe") {
                sidecar[field] = value;
            }
        }
        for probe in PROBES {
            if let Some(handler) = through_proxy(&application[probe], application, port) {
                original.probes.insert(probe.to_owned(), application[probe].clone());
                probes.insert(probe.to_owned(), handler);
            }
        }
        for service in services.iter().filter(|service| selects(service, workload)) {
            redirect(service, application, port, &mut original, &mut patches, &mut notes);
        }
        if patches.is_empty() {
            notes.push(format!("no Service sends requests to port {port}: only probes go through the proxy"));
        }
    } else {
        for (probe, path) in PROBES.into_iter().zip(["/healthz", "/readyz"]) {
            original.probes.insert(probe.to_owned(), application[probe].clone());
            let mut asks = Map::new();
            if let Some(before) = application[probe].as_object() {
                // Its timings stay. Merged into another handler, ours would make two, which the API server refuses.
                asks.extend(before.clone());
                asks.retain(|field, _| !HANDLERS.contains(&field.as_str()));
                // Without something to replace, the directive would lose the field.
                asks.insert("$patch".to_owned(), "replace".into());
            }
            asks.insert("httpGet".to_owned(), json!({"path": path, "port": PORT}));
            probes.insert(probe.to_owned(), asks.into());
        }
    }
    let variables = variables.iter().chain(&choice.env);
    let variables = variables.map(|(name, value)| json!({"name": name, "value": value}));
    if let Some(env) = sidecar["env"].as_array_mut() {
        // A later variable of the same name wins in Kubernetes, but a patch merges by name and refuses two.
        env.retain(|known| !choice.env.iter().any(|(name, _)| known["name"] == *name));
        env.extend(variables);
    }
    probes.insert("name".to_owned(), name.clone().into());
    let mut spec = json!({"containers": [probes]});
    match field {
        "containers" => {
            if let Some(containers) = spec["containers"].as_array_mut() {
                containers.push(sidecar);
            }
            // The application's container stays the first.
            let order = list(&pod["containers"]).iter();
            let order = order.map(|container| text(&container["name"])).chain(["probesim".to_owned()]);
            spec["$setElementOrder/containers"] = order.map(|name| json!({ "name": name })).collect();
        }
        field => spec[field] = json!([sidecar]),
    }
    let mut labels = json!({"probesim.io/sidecar": mark, "probesim.io/scrape": "true"});
    if choice.is_proxy {
        labels["probesim.io/proxy"] = "true".into();
    }
    let kept = serde_json::to_string(&original).unwrap_or_default();
    let patch = json!({
        "metadata": {"annotations": {"probesim.io/sidecar": mark, ORIGINAL: kept}},
        "spec": {"template": {"metadata": {"labels": labels}, "spec": spec}},
    });
    let workload = Patch { object: object.to_owned(), kind: "strategic", content: patch };
    Ok(Change { workload, services: patches, notes })
}

/// Takes away what [`add`] added.
pub(super) fn remove(object: &str, workload: &Value, services: &[Value]) -> Result<Change, SidecarError> {
    let kept = workload["metadata"]["annotations"][ORIGINAL].as_str().unwrap_or_default();
    let original: Original = serde_json::from_str(kept).map_err(|_| SidecarError::NotOurs)?;
    let mut application = json!({"name": original.container});
    for (probe, before) in &original.probes {
        application[probe.as_str()] = match before.as_object() {
            None => Value::Null,
            Some(before) => {
                let mut back = Map::from_iter([("$patch".to_owned(), "replace".into())]);
                back.extend(before.clone());
                Value::Object(back)
            }
        };
    }
    let gone = json!({"name": "probesim", "$patch": "delete"});
    let spec = if original.list == "containers" {
        json!({"containers": [application, gone]})
    } else {
        json!({"containers": [application], "initContainers": [gone]})
    };
    let labels: Map<String, Value> = LABELS.iter().map(|label| ((*label).to_owned(), Value::Null)).collect();
    let patch = json!({
        "metadata": {"annotations": {"probesim.io/sidecar": null, ORIGINAL: null}},
        "spec": {"template": {"metadata": {"labels": labels}, "spec": spec}},
    });
    let mut patches = Vec::new();
    let mut notes = Vec::new();
    for (name, ports) in original.services {
        let Some(service) = services.iter().find(|service| text(&service["metadata"]["name"]) == name) else {
            notes.push(format!("service/{name} is gone"));
            continue;
        };
        let mut operations = Vec::new();
        for (index, port) in list(&service["spec"]["ports"]).iter().enumerate() {
            let target = &port["targetPort"];
            match ports.get(&port["port"].to_string()) {
                Some(before) if *target == PORT => operations.extend(retarget(index, target, before)),
                Some(_) => notes.push(format!(
                    "service/{name} sends port {} to {target}, not to the proxy: it stays as it is",
                    port["port"]
                )),
                None => {}
            }
        }
        if !operations.is_empty() {
            patches.push(Patch {
                object: format!("service/{name}"),
                kind: "json",
                content: operations.into(),
            });
        }
    }
    let workload = Patch { object: object.to_owned(), kind: "strategic", content: patch };
    Ok(Change { workload, services: patches, notes })
}

/// How many Pods a change of the template restarts, where that is known.
pub(super) fn replicas(workload: &Value) -> Option<u64> {
    workload["spec"]["replicas"].as_u64().or_else(|| workload["status"]["desiredNumberScheduled"].as_u64())
}

/// The Pod's specification of a workload that may have a sidecar of ours.
fn pod<'a>(object: &str, workload: &'a Value) -> Result<&'a Value, SidecarError> {
    let kind = text(&workload["kind"]);
    if !matches!(kind.as_str(), "Deployment" | "StatefulSet" | "DaemonSet") {
        return Err(SidecarError::Kind(object.to_owned(), kind));
    }
    let pod = &workload["spec"]["template"]["spec"];
    let containers = || ["containers", "initContainers"].iter().flat_map(|field| list(&pod[*field]));
    if containers().any(|container| container["name"] == "probesim") {
        return Err(SidecarError::Exists);
    }
    if pod["hostNetwork"] == true {
        return Err(SidecarError::HostNetwork(PORT));
    }
    for container in containers() {
        for port in list(&container["ports"]) {
            if let Some(taken) = [PORT, ADMIN_PORT].into_iter().find(|taken| port["containerPort"] == *taken)
            {
                return Err(SidecarError::PortTaken(text(&container["name"]), taken));
            }
        }
    }
    Ok(pod)
}

fn application<'a>(pod: &'a Value, name: Option<&str>) -> Result<&'a Value, SidecarError> {
    let containers = list(&pod["containers"]);
    let wanted = |container: &&Value| name.is_none_or(|name| container["name"] == name);
    containers.iter().find(wanted).ok_or_else(|| {
        let names: Vec<String> = containers.iter().map(|container| text(&container["name"])).collect();
        SidecarError::NoContainer(name.unwrap_or_default().to_owned(), names.join(", "))
    })
}

/// The port that the proxy stands in front of: the one given, or the only one there is. `workload` may be a Pod.
pub(in crate::cli::kubectl) fn application_port(
    application: &Value,
    workload: &Value,
    services: &[Value],
    given: Option<&str>,
) -> Result<u16, SidecarError> {
    if let Some(given) = given {
        let value = given.parse::<u16>().map_or_else(|_| given.into(), Value::from);
        return number(&value, application).ok_or_else(|| SidecarError::Port(given.to_owned()));
    }
    let declared = list(&application["ports"]).iter();
    let declared = declared.filter(|port| port["protocol"].as_str().is_none_or(|protocol| protocol == "TCP"));
    let probed =
        PROBES.iter().flat_map(|probe| [&application[*probe]["httpGet"], &application[*probe]["grpc"]]);
    let served = services.iter().filter(|service| selects(service, workload));
    let served = served.flat_map(|service| list(&service["spec"]["ports"])).map(target);
    // What Services send requests to says most, then what probes ask, then what is declared.
    let mut sorts = [
        served.filter_map(|port| number(port, application)).collect::<Vec<_>>(),
        probed.filter_map(|handler| number(&handler["port"], application)).collect(),
        declared.filter_map(|port| number(&port["containerPort"], application)).collect(),
    ];
    let Some(ports) = sorts.iter_mut().find(|ports| !ports.is_empty()) else {
        return Err(SidecarError::NoPort);
    };
    ports.sort_unstable();
    ports.dedup();
    match ports.as_slice() {
        [port] => Ok(*port),
        ports => {
            let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
            Err(SidecarError::Ports(ports.join(", ")))
        }
    }
}

/// Whether a probe or a Service says that the application speaks HTTP/2 alone, as gRPC servers do.
fn speaks_http2(application: &Value, workload: &Value, services: &[Value], port: u16) -> bool {
    let is_probed =
        PROBES.iter().any(|probe| number(&application[*probe]["grpc"]["port"], application) == Some(port));
    let served = services.iter().filter(|service| selects(service, workload));
    let mut served = served.flat_map(|service| list(&service["spec"]["ports"]));
    is_probed
        || served.any(|entry| {
            number(target(entry), application) == Some(port)
                && matches!(entry["appProtocol"].as_str(), Some("kubernetes.io/h2c" | "grpc"))
        })
}

/// A probe whose handler asks the application's port, as a patch that sends it through the proxy.
fn through_proxy(probe: &Value, application: &Value, port: u16) -> Option<Value> {
    let handler = ["httpGet", "grpc"].into_iter().find(|handler| {
        let handler = &probe[*handler];
        // The proxy asks the application in plain HTTP.
        number(&handler["port"], application) == Some(port) && handler["scheme"] != "HTTPS"
    })?;
    // Another host is not this Pod.
    if probe[handler]["host"].as_str().is_some_and(|host| !host.is_empty()) {
        return None;
    }
    Some(json!({handler: {"port": PORT}}))
}

/// Patches the ports of a Service that lead to the application's.
fn redirect(
    service: &Value,
    application: &Value,
    port: u16,
    original: &mut Original,
    patches: &mut Vec<Patch>,
    notes: &mut Vec<String>,
) {
    let name = text(&service["metadata"]["name"]);
    let leads = |entry: &&Value| number(target(entry), application) == Some(port);
    if service["spec"]["clusterIP"] == "None" {
        if list(&service["spec"]["ports"]).iter().any(|entry| leads(&entry)) {
            notes.push(format!(
                "service/{name} is headless: its callers use the application's port, around the proxy"
            ));
        }
        return;
    }
    let mut operations = Vec::new();
    let mut before = BTreeMap::new();
    for (index, entry) in list(&service["spec"]["ports"]).iter().enumerate() {
        if leads(&entry) {
            before.insert(entry["port"].to_string(), target(entry).clone());
            operations.extend(retarget(index, &entry["targetPort"], &PORT.into()));
        }
    }
    if !operations.is_empty() {
        original.services.insert(name.clone(), before);
        patches.push(Patch { object: format!("service/{name}"), kind: "json", content: operations.into() });
    }
}

/// Operations that change a port's target, unless somebody else has changed it meanwhile.
fn retarget(index: usize, from: &Value, to: &Value) -> [Value; 2] {
    let path = format!("/spec/ports/{index}/targetPort");
    [json!({"op": "test", "path": path, "value": from}), json!({"op": "replace", "path": path, "value": to})]
}

/// Where a Service's port leads to.
pub(in crate::cli::kubectl) fn target(port: &Value) -> &Value {
    port.get("targetPort").unwrap_or(&port["port"])
}

/// A port by its number, or by its name in a container.
pub(in crate::cli::kubectl) fn number(port: &Value, container: &Value) -> Option<u16> {
    let by_name = || {
        let named =
            list(&container["ports"]).iter().find(|each| each["name"] == *port && port.is_string())?;
        named["containerPort"].as_u64()
    };
    let number = port.as_u64().or_else(by_name)?;
    u16::try_from(number).ok().filter(|number| *number > 0)
}
