//! The listeners in a Pod.

use std::net::IpAddr;

use super::error::Problem;
use super::findings::Findings;
use crate::fault::Target;
use crate::kubelet::{ContainerSpec, ProbeEndpoint};
use crate::predict::workload::ProbesimContainer;

/// A listener of a kube-probesim container.
#[derive(Clone, Debug)]
pub(super) struct Listener {
    /// The container's position.
    pub(super) container: usize,
    /// The address that it is bound to; absent: all.
    pub(super) ip: Option<IpAddr>,
    pub(super) port: u16,
    /// The paths of a probe listener; absent: it is an admin listener.
    pub(super) paths: Option<Vec<(String, Target)>>,
    /// Whether requests with other paths are forwarded to an application, as traffic.
    pub(super) forwards: bool,
    /// Whether it speaks TLS.
    pub(super) tls: Tls,
}

/// Whether a listener speaks TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tls {
    Off,
    On,
    Only,
}

/// The listeners in the Pod.
#[derive(Clone, Debug, Default)]
pub(super) struct Ports {
    pub(super) listeners: Vec<Listener>,
    /// The named proxies, by port.
    pub(super) proxies: Vec<(u16, String)>,
    /// The ports that other containers declare.
    pub(super) others: Vec<u16>,
    /// Whether there are other containers.
    pub(super) has_others: bool,
    /// Whether a listener is missing above because of an invalid configuration; then unknown ports are no errors.
    pub(super) incomplete: bool,
}

impl Ports {
    /// Adds the listeners of a container. `before` are the containers that precede it.
    pub(super) fn add(&mut self, probesim: &ProbesimContainer, before: &[ContainerSpec]) -> Findings {
        let ProbesimContainer { position: container, config, merged, .. } = probesim;
        let proxies = merged.proxies.iter().map(|(proxy, _)| (proxy.listen.port(), proxy.name.to_string()));
        self.proxies.extend(proxies);
        Findings::collect(|found| {
            let of_probes = match (&config.tls.certificate, config.tls.is_required) {
                (None, _) => Tls::Off,
                (Some(_), false) => Tls::On,
                (Some(_), true) => Tls::Only,
            };
            let of_admin = if config.tls.admin.is_some() { Tls::Only } else { Tls::Off };
            for (address, paths, tls) in [
                (config.probe_address, Some(config.paths.clone()), of_probes),
                (config.admin_address, None, of_admin),
            ] {
                // Port 0 means any free port, which no probe can know.
                if address.port == 0 {
                    continue;
                }
                let taken = self.listeners.iter().find(|other| other.port == address.port);
                if let Some(by) = taken.and_then(|other| before.get(other.container)) {
                    found.error("env", Problem::PortTaken { port: address.port, by: by.name.clone() });
                }
                self.listeners.push(Listener {
                    container: *container,
                    ip: address.ip,
                    port: address.port,
                    paths,
                    forwards: config.upstream.is_some(),
                    tls,
                });
            }
        })
    }

    pub(super) fn at(&self, port: u16) -> Option<&Listener> {
        self.listeners.iter().find(|listener| listener.port == port)
    }

    /// All known ports, for an error.
    pub(super) fn list(&self) -> String {
        let probesim = self.listeners.iter().map(|listener| {
            let variable = if listener.paths.is_some() { "PORT" } else { "ADMIN_ADDRESS" };
            format!("{} ({variable})", listener.port)
        });
        let proxies = self.proxies.iter().map(|(port, name)| format!("{port} (proxy {name})"));
        let others = self.others.iter().map(|port| format!("{port} (another container)"));
        probesim.chain(proxies).chain(others).collect::<Vec<_>>().join(", ")
    }
}

impl Listener {
    /// The endpoint of a path.
    pub(super) fn endpoint(&self, path: &str) -> ProbeEndpoint {
        let path = path.split(['?', '#']).next().unwrap_or(path);
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        match &self.paths {
            Some(paths) => match endpoint(paths, &path) {
                ProbeEndpoint::Status(_) if self.forwards => ProbeEndpoint::Target(Target::Traffic),
                endpoint => endpoint,
            },
            None if matches!(path.as_str(), "/healthz" | "/metrics") => ProbeEndpoint::Status(200),
            None => ProbeEndpoint::Status(404),
        }
    }
}

/// The endpoint of a path of the probe listener: an exact path first, then the longest prefix.
pub(super) fn endpoint(paths: &[(String, Target)], path: &str) -> ProbeEndpoint {
    if matches!(path, "/" | "/metrics") {
        return ProbeEndpoint::Status(200);
    }
    let below = |pattern: &str| pattern.strip_suffix('*').is_some_and(|prefix| path.starts_with(prefix));
    let exact = paths.iter().find(|(pattern, _)| pattern == path);
    let found = exact.or_else(|| {
        paths.iter().filter(|(pattern, _)| below(pattern)).max_by_key(|(pattern, _)| pattern.len())
    });
    found.map_or(ProbeEndpoint::Status(404), |(_, target)| ProbeEndpoint::Target(*target))
}
