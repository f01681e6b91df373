//! Resolves hosts and ports of probes to listeners.

use std::net::IpAddr;

use serde_json::Value;

use super::HandlerReader;
use crate::kubelet::ProbeAddress;
use crate::predict::manifest::error::Problem;
use crate::predict::manifest::mapping::{Mapping, shown, wrong};
use crate::predict::manifest::ports::Listener;

/// The default of `PORT`.
pub(super) const DEFAULT_PORT: u16 = 8080;

/// The address that a probe connects to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// The Pod's address.
    Pod,
    /// The loopback address of the Pod's network.
    Loopback,
}

impl HandlerReader<'_> {
    /// The kube-probesim listener at `host` and `port`.
    pub(super) fn asked_listener(&mut self, fields: &Mapping, port: u16) -> Option<Listener> {
        let host = self.host(fields)?;
        self.listener(fields, port, host)
    }

    /// The meaning of `host`; `None`: it is not the Pod. With `hostNetwork`, the node's loopback address is also the Pod's.
    fn host(&mut self, fields: &Mapping) -> Option<Host> {
        let host = self.found.take(fields.string("host")).unwrap_or_default();
        if host.is_empty() {
            return Some(Host::Pod);
        }
        let is_loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        if is_loopback && self.owner.host_network {
            return Some(Host::Loopback);
        }
        self.assume(&if is_loopback {
            format!("the host {host:?} is the node, not the Pod; it is assumed to be healthy")
        } else {
            format!("the host {host:?} is not modelled; it is assumed to be healthy")
        });
        None
    }

    /// A port, by number or by a name in the same container.
    pub(super) fn port(&mut self, fields: &Mapping, by_name: bool) -> Option<u16> {
        let field = fields.field("port");
        match fields.get("port") {
            None if self.owner.is_foreign => return Some(self.default_port()),
            Some(Value::Number(number)) if self.owner.is_foreign && number.as_u64() == Some(0) => {
                return Some(self.default_port());
            }
            None => self.found.error(field, Problem::Missing),
            Some(Value::String(name)) if by_name && name.bytes().any(|c| c.is_ascii_alphabetic()) => {
                let ports = self.found.take(self.owner.container.mappings("ports"));
                for port in &ports {
                    if self.found.take(port.string("name")) == Some(name) {
                        let number = self.found.take(port.number("containerPort", 1, u32::from(u16::MAX)))?;
                        return u16::try_from(number).ok();
                    }
                }
                let names = ports.iter().filter_map(|port| self.found.take(port.string("name")).map(shown));
                let names: Vec<String> = names.collect();
                let known = if names.is_empty() {
                    "none with a name in this container".to_owned()
                } else {
                    format!("{} in this container", names.join(", "))
                };
                self.found.error(field, Problem::NoPort { port: format!("\"{}\"", shown(name)), known });
            }
            Some(value @ Value::String(_)) => {
                let expected = if by_name { "a number, or the name of a port" } else { "a number" };
                self.found.error(field, wrong(expected, value));
            }
            Some(_) => {
                let number = self.found.take(fields.number("port", 1, u32::from(u16::MAX)))?;
                return u16::try_from(number).ok();
            }
        }
        None
    }

    /// The port that a controller such as Knative's sets in a probe without one.
    fn default_port(&mut self) -> u16 {
        let declared = self.found.take(self.owner.container.mappings("ports"));
        let first = declared
            .first()
            .and_then(|port| self.found.take(port.number("containerPort", 1, u32::from(u16::MAX))));
        let port = first.and_then(|port| u16::try_from(port).ok()).unwrap_or(DEFAULT_PORT);
        self.assume(&format!("it has no port; its controller is assumed to set {port}"));
        port
    }

    /// The kube-probesim listener on a port. `None` if another program is assumed to answer, or if none can.
    pub(super) fn listener(&mut self, fields: &Mapping, port: u16, host: Host) -> Option<Listener> {
        if let Some(listener) = self.ports.at(port).cloned() {
            if host == Host::Pod && listener.ip.is_some_and(|ip| ip.is_loopback()) {
                self.found.error(fields.field("port"), Problem::Loopback(port));
            }
            return Some(listener);
        }
        if let Some((_, name)) = self.ports.proxies.iter().find(|(known, _)| *known == port) {
            self.assume(&format!(
                "port {port} is that of proxy {name}; its upstream is assumed to be healthy, and rules for the proxy are assumed not to act \
                 on the probe"
            ));
            return None;
        }
        if self.ports.incomplete {
            return None;
        }
        // Containers need not declare their ports; only those of kube-probesim are known.
        if !self.ports.has_others && !self.owner.host_network {
            let known = self.ports.list();
            self.found.error(fields.field("port"), Problem::NoPort { port: port.to_string(), known });
        } else {
            self.assume(&format!(
                "port {port} does not belong to kube-probesim; it is assumed to be healthy"
            ));
        }
        None
    }
}

/// The address of a probe's `host` and this port.
pub(super) fn port_address(fields: &Mapping, port: u16) -> ProbeAddress {
    let host = fields.get("host").and_then(Value::as_str).unwrap_or_default().to_owned();
    ProbeAddress { host, port, ..ProbeAddress::DEFAULT }
}
