//! What the kubelet is expected to do while rules act on its probes.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::arguments::Injection;
use super::place::Place;
use super::target;
use crate::cli::exit;
use crate::cli::kubectl::fields::{list, text};
use crate::cli::predict::{self, Terminal};
use crate::fault::Protocol;
use crate::units::Show;

/// When the rules begin in the simulation: the application runs and is Ready then.
const BEGIN: Duration = Duration::from_secs(300);

/// How much longer than the rules the simulation goes on.
const AFTER: Duration = Duration::from_secs(60);

/// Probes and the targets of rules that stand for them.
const PROBES: [(&str, &str); 3] =
    [("livenessProbe", "liveness"), ("readinessProbe", "readiness"), ("startupProbe", "startup")];

/// Fields of a rule that mean nothing to a simulated probe.
const FIELDS: [&str; 6] = ["match", "client", "from", "pods", "stagger", "ttl"];

/// A line about the Pod.
pub(super) fn forecast(pod: &Value, place: &Place, injection: &Injection) -> String {
    if place.protocol == Protocol::Tcp {
        return if injection.acts_on_kubelet() {
            "Not predicted: rules on connections act on probes, too."
        } else {
            "Connections from the node are spared, the kubelet's among them: nothing restarts because of it."
        }
        .to_owned();
    }
    if !injection.acts_on_kubelet() {
        return "The kubelet is spared: nothing restarts, and no Pod leaves its Services because of it."
            .to_owned();
    }
    let containers = list(&pod["spec"]["containers"]);
    let container = containers.iter().find(|each| each["name"] == place.container.as_str());
    let faults: Vec<Value> = injection
        .plan
        .iter()
        .filter_map(|rule| fault(rule, container.unwrap_or(&Value::Null), place.port, injection.time))
        .collect();
    if faults.is_empty() {
        return "No probe of this port meets a rule that can be predicted.".to_owned();
    }
    let profile = format!("{}={}", place.container, json!({ "faults": faults }));
    let time = Show(BEGIN + injection.time + AFTER).to_string();
    let args = ["-", "--assume-healthy", "--output=json", "--for", &time, "--profile", &profile];
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let manifest = pod.to_string();
    let args = args.iter().map(Into::into);
    let code = predict::run(args, &mut manifest.as_bytes(), &Terminal::default(), &mut out, &mut err);
    if code != exit::OK {
        let reason = String::from_utf8_lossy(&err);
        return format!("Not predicted: {}", reason.lines().next().unwrap_or_default());
    }
    told(target::name(pod), &String::from_utf8_lossy(&out))
}

/// The rule as one for the probes that meet it; none if there are none, or if it has windows of its own.
fn fault(rule: &Value, container: &Value, port: u16, time: Duration) -> Option<Value> {
    let of_rule = rule.as_object()?;
    let matches = of_rule.get("match").and_then(Value::as_object).cloned().unwrap_or_default();
    let meets = |probe: &Value| {
        let handler = ["httpGet", "grpc"].into_iter().find_map(|handler| probe.get(handler))?;
        let by_name = || list(&container["ports"]).iter().find(|each| each["name"] == handler["port"]);
        let asked = handler["port"].as_u64().or_else(|| by_name()?["containerPort"].as_u64());
        let path = handler["path"].as_str().unwrap_or("/");
        (asked == Some(port.into()) && is_met(&matches, path)).then_some(())
    };
    let targets: Vec<&str> = PROBES
        .into_iter()
        .filter(|(probe, _)| meets(&container[*probe]).is_some())
        .map(|(_, target)| target)
        .collect();
    if targets.is_empty() || of_rule.contains_key("when") {
        return None;
    }
    let mut fault: Map<String, Value> = of_rule.clone();
    fault.retain(|field, _| !FIELDS.contains(&field.as_str()));
    fault.insert("target".to_owned(), json!(targets));
    let when = json!({"after": Show(BEGIN).to_string(), "for": Show(time).to_string()});
    fault.insert("when".to_owned(), when);
    Some(fault.into())
}

/// Whether a match of path and method alone holds for a probe.
fn is_met(matches: &Map<String, Value>, path: &str) -> bool {
    matches.iter().all(|(field, value)| match field.as_str() {
        "path" => {
            let pattern = text(value);
            match pattern.strip_suffix('*') {
                Some(below) => path.starts_with(below),
                None => path == pattern,
            }
        }
        "method" => *value == "GET" || list(value).contains(&"GET".into()),
        _ => false,
    })
}

/// What happens after the rules begin, from the events of `predict`.
fn told(pod: &str, events: &str) -> String {
    let mut unready = None;
    for event in events.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let Some(after) = event["elapsed_seconds"].as_f64().map(|at| at - BEGIN.as_secs_f64()) else {
            continue;
        };
        if after < 0.0 {
            continue;
        }
        match event["event"].as_str() {
            Some("Killing") if event["restart"] == true => {
                let ready = unready.map(|at| format!("not Ready after {at:.0}s, and ")).unwrap_or_default();
                return format!(
                    "Predicted for {pod}: {ready}its container is restarted after {after:.0}s, which ends the injection."
                );
            }
            Some("PodReady") if event["ready"] == false => unready = unready.or(Some(after)),
            _ => {}
        }
    }
    match unready {
        Some(at) => format!("Predicted for {pod}: not Ready after {at:.0}s; nothing restarts."),
        None => format!("Predicted for {pod}: it stays Ready, and nothing restarts."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn injection(rule: Value, flags: &[&str]) -> Injection {
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        Injection { time: Duration::from_secs(120), flags, plan: vec![rule], ..Injection::default() }
    }

    #[test]
    fn the_kubelet_acts_on_the_probes_that_meet_a_rule() {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-0"}, "spec": {"containers": [{
            "name": "web", "image": "shop", "ports": [{"name": "http", "containerPort": 8080}],
            "livenessProbe": {"httpGet": {"path": "/live", "port": "http"}, "periodSeconds": 30},
            "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}},
        }]}});
        let place = Place { container: "web".to_owned(), port: 8080, protocol: Protocol::Http, named: None };
        let rule = |path: &str| json!({"name": "inject", "target": "traffic", "mode": "status", "status": 503, "match": {"path": path}});
        let of = |rule: Value, flags: &[&str]| forecast(&pod, &place, &injection(rule, flags));
        let probes = ["--include-probes"];
        assert!(of(rule("/*"), &[]).starts_with("The kubelet is spared"));
        let both = of(rule("/*"), &probes);
        assert!(both.contains("not Ready after 2") && both.contains("restarted after"), "{both}");
        assert!(both.contains("which ends the injection"), "{both}");
        let ready = of(rule("/ready"), &probes);
        assert!(ready.contains("not Ready after 2") && ready.ends_with("nothing restarts."), "{ready}");
        assert!(of(rule("/other"), &probes).starts_with("No probe of this port"));
        let slow = json!({"name": "inject", "target": "traffic", "delay": "10ms"});
        let slow = of(slow, &probes);
        assert!(slow.contains("it stays Ready"), "{slow}");
    }
}
