//! Which container and port of a Pod is taken over, and what forbids it.

use serde_json::Value;

use super::ephemeral::current;
use super::error::InjectError;
use super::stage::{self, Stage};
use crate::cli::kubectl::fields::{list, text};
use crate::cli::kubectl::selector::selects;
use crate::cli::kubectl::sidecar::error::SidecarError;
use crate::cli::kubectl::sidecar::patch::{application_port, number, target as service_target};
use crate::fault::Protocol;

/// What is taken over in a Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The application's container.
    pub(super) container: String,
    pub(super) port: u16,
    pub(super) protocol: Protocol,
    /// The name of the port that says so, if its protocol was not given.
    pub(super) named: Option<String>,
}

/// The container that declares the port, else the default one of the Pod.
///
/// # Errors
///
/// The Pod cannot be injected into, or has no such container or port.
pub(super) fn find(
    pod: &Value,
    container: Option<&str>,
    (port, protocol): (Option<&str>, Option<Protocol>),
    services: &[Value],
) -> Result<Place, InjectError> {
    check(pod)?;
    let containers = list(&pod["spec"]["containers"]);
    let named = |name: &str| containers.iter().find(|each| each["name"] == name);
    let declares = |wanted: &str| {
        let ports = |each: &&Value| list(&each["ports"]).iter().any(|port| is_port(port, wanted));
        containers.iter().find(ports)
    };
    let default = pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"].as_str();
    let default = default.and_then(named).or(containers.first()).unwrap_or(&Value::Null);
    let port_of = |container: &Value, port: Option<&str>| {
        application_port(container, pod, services, port).map_err(|error| match error {
            SidecarError::Port(name) => InjectError::PortName(name),
            other => InjectError::Port(other),
        })
    };
    let (found, port) = if let Some(name) = container {
        let found = named(name).ok_or_else(|| {
            let known: Vec<&str> = containers.iter().filter_map(|each| each["name"].as_str()).collect();
            InjectError::NoContainer(name.to_owned(), known.join(", "))
        })?;
        (found, port_of(found, port)?)
    } else {
        let port = if let Some(port) = port {
            port_of(declares(port).unwrap_or(default), Some(port))?
        } else {
            // The container with a port may be another than the default one.
            let others = || containers.iter().find_map(|each| port_of(each, None).ok());
            port_of(default, None).or_else(|error| others().ok_or(error))?
        };
        (declares(&port.to_string()).unwrap_or(default), port)
    };
    let name = text(&found["name"]);
    let entries = || list(&found["ports"]).iter().filter(|each| each["containerPort"] == port);
    let protocols: Vec<&str> = entries().map(|each| each["protocol"].as_str().unwrap_or("TCP")).collect();
    if let Some(first) = protocols.first().filter(|_| !protocols.contains(&"TCP")) {
        return Err(InjectError::Protocol(port, (*first).to_owned()));
    }
    let of_services = services.iter().filter(|service| selects(service, pod));
    let of_services = of_services
        .flat_map(|service| list(&service["spec"]["ports"]))
        .filter(|entry| number(service_target(entry), found) == Some(port));
    let words = entries().map(|each| each["name"].as_str());
    let words =
        words.chain(of_services.flat_map(|entry| ["appProtocol", "name"].map(|field| entry[field].as_str())));
    let other = words.flatten().find(|word| is_no_http(word)).map(str::to_owned);
    let other = other.filter(|_| protocol.is_none());
    let protocol = protocol.unwrap_or(if other.is_some() { Protocol::Tcp } else { Protocol::Http });
    let statuses = list(&pod["status"]["containerStatuses"]);
    let state = statuses.iter().find(|status| status["name"] == name.as_str()).map(|status| &status["state"]);
    if let Some(state) = state.filter(|state| state.get("running").is_none()) {
        let reason = ["waiting", "terminated"].iter().find_map(|field| state[*field]["reason"].as_str());
        return Err(InjectError::ContainerNotRunning(name, reason.unwrap_or("no state").to_owned()));
    }
    check_free(pod, port)?;
    Ok(Place { container: name, port, protocol, named: other })
}

/// Checks that no container of ours has the port, or may still take it.
///
/// # Errors
///
/// The port is taken, or a container of ours waits to take it.
pub(super) fn check_free(pod: &Value, port: u16) -> Result<(), InjectError> {
    let Some((by, _)) = current(pod).into_iter().find(|(_, taken)| *taken == port) else { return Ok(()) };
    Err(match stage::of(pod, &by) {
        Stage::Waiting { reason, is_hopeless: true } => InjectError::Waiting(port, by, reason),
        _ => InjectError::Taken(port, by),
    })
}

/// What forbids it for the whole Pod.
fn check(pod: &Value) -> Result<(), InjectError> {
    let (metadata, spec) = (&pod["metadata"], &pod["spec"]);
    let is_mirror = metadata["annotations"].get("kubernetes.io/config.mirror").is_some()
        || list(&metadata["ownerReferences"]).iter().any(|owner| owner["kind"] == "Node");
    if is_mirror {
        return Err(InjectError::Mirror);
    }
    if spec["hostNetwork"] == true {
        return Err(InjectError::HostNetwork);
    }
    if spec["os"]["name"] == "windows" || spec["nodeSelector"]["kubernetes.io/os"] == "windows" {
        return Err(InjectError::Windows);
    }
    let phase = text(&pod["status"]["phase"]);
    if metadata.get("deletionTimestamp").is_some() {
        return Err(InjectError::NotRunning("Terminating".to_owned()));
    }
    if phase != "Running" {
        return Err(InjectError::NotRunning(phase));
    }
    Ok(())
}

/// Other protocols than HTTP, as ports are named after them.
const NO_HTTP: [&str; 15] = [
    "amqp",
    "ftp",
    "kafka",
    "ldap",
    "memcached",
    "mongo",
    "mongodb",
    "mqtt",
    "mysql",
    "nats",
    "postgres",
    "postgresql",
    "redis",
    "smtp",
    "tcp",
];

/// Whether a port's name, such as `redis` or `redis-main`, says that it is not of HTTP.
fn is_no_http(name: &str) -> bool {
    name.split('-').next().is_some_and(|first| NO_HTTP.contains(&first))
}

fn is_port(port: &Value, wanted: &str) -> bool {
    port["name"] == wanted || wanted.parse::<u16>().is_ok_and(|number| port["containerPort"] == number)
}
