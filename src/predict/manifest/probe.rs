//! Probes, and who answers them.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::Value;

use super::command::{Command, CommandError};
use super::container::is_own_binary;
use super::error::Problem;
use super::node::{Node, Report, shown, wrong};
use super::ports::{Listener, Ports};
use crate::fault::{Client, Target};
use crate::kubelet::{Address, Endpoint, Handler, Probe, ProbeKind};

/// The longest time that the API takes, in seconds.
const MAX_SECONDS: u32 = i32::MAX as u32;

/// Rounds up to whole seconds.
const ALMOST_A_SECOND: Duration = Duration::from_nanos(999_999_999);

/// Where `probe` looks without `PORT`.
const DEFAULT_PORT: u16 = 8080;

/// The container whose probes are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner<'a> {
    pub(super) container: &'a Node<'a>,
    pub(super) name: &'a str,
    /// Its position, if it runs this program.
    pub(super) ours: Option<usize>,
}

/// A probe, and whether it asks this program.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) probe: Probe,
    pub(super) asks: bool,
}

/// What a handler comes to: with whom, if it asks this program.
struct Asked {
    handler: Handler,
    asks: bool,
    address: Address,
}

impl Asked {
    /// Somebody else answers.
    const HEALTHY: Self = Self { handler: Handler::Healthy, asks: false, address: Address::DEFAULT };
}

/// The field of a probe.
pub(super) const fn field(kind: ProbeKind) -> &'static str {
    match kind {
        ProbeKind::Startup => "startupProbe",
        ProbeKind::Liveness => "livenessProbe",
        ProbeKind::Readiness => "readinessProbe",
    }
}

/// Reads a container's probe of a kind.
pub(super) fn read(kind: ProbeKind, owner: Owner, ports: &Ports, report: &mut Report) -> Option<Found> {
    let node = owner.container.child(field(kind), report)?;
    let mut reader = Reader { owner, kind, ports, timeout: None, report };
    let asked = reader.handler(&node);
    let own_timeout = reader.timeout;
    // As the API server: 0 means the default.
    let mut number = |name, default| {
        node.number(name, 0, MAX_SECONDS, report).filter(|value| *value > 0).unwrap_or(default)
    };
    let mut probe = Probe {
        initial_delay: number("initialDelaySeconds", 0),
        timeout: number("timeoutSeconds", 1),
        period: number("periodSeconds", 10),
        success_threshold: number("successThreshold", 1),
        failure_threshold: number("failureThreshold", 3),
        address: asked.address,
        ..Probe::new(asked.handler)
    };
    if let Some(own) = own_timeout {
        probe.timeout = probe.timeout.min(own);
    }
    let grace = "terminationGracePeriodSeconds";
    if kind == ProbeKind::Readiness {
        if node.has(grace) {
            report
                .error(&node.field(grace), Problem::NotHere("a readiness probe kills nothing; leave it out"));
        }
    } else {
        probe.grace = node.number(grace, 1, MAX_SECONDS, report);
        if probe.success_threshold != 1 {
            let value = i64::from(probe.success_threshold);
            report.error(&node.field("successThreshold"), Problem::Range { value, least: 1, most: 1 });
        }
    }
    Some(Found { probe, asks: asked.asks })
}

struct Reader<'a, 'r> {
    owner: Owner<'a>,
    kind: ProbeKind,
    ports: &'a Ports,
    /// The timeout of an exec probe of our own, in whole seconds.
    timeout: Option<u32>,
    report: &'r mut Report,
}

impl Reader<'_, '_> {
    fn handler(&mut self, node: &Node) -> Asked {
        let kinds = ["httpGet", "tcpSocket", "grpc", "exec"];
        let given: Vec<&str> = kinds.into_iter().filter(|kind| node.has(kind)).collect();
        let [name] = given.as_slice() else {
            self.report.error(node.path(), Problem::Handlers(given.len()));
            return Asked::HEALTHY;
        };
        let Some(handler) = node.child(name, self.report) else { return Asked::HEALTHY };
        match *name {
            "httpGet" => self.http(&handler),
            "tcpSocket" => self.tcp(&handler),
            "grpc" => self.grpc(&handler),
            _ => self.exec(&handler),
        }
    }

    fn assume(&mut self, what: &str) {
        let (name, field) = (self.owner.name, field(self.kind));
        self.report.assume(format!("container {name}, {field}: {what}"));
    }

    fn http(&mut self, node: &Node) -> Asked {
        let path = node.text("path", self.report).unwrap_or("/");
        let scheme = node.word("scheme", &["HTTP", "HTTPS"], self.report).unwrap_or("HTTP");
        let mut client = Client::Kubelet;
        for header in node.items("httpHeaders", self.report) {
            let name = header.needed("name", self.report).unwrap_or_default();
            let value = header.text("value", self.report).unwrap_or_default();
            if name.eq_ignore_ascii_case("user-agent") {
                client = Client::from_user_agent(value.as_bytes());
            }
        }
        let Some(port) = self.port(node, true) else { return Asked::HEALTHY };
        if self.is_elsewhere(node) {
            return Asked::HEALTHY;
        }
        let Some(listener) = self.listener(node, port) else { return Asked::HEALTHY };
        if scheme == "HTTPS" {
            self.report.error(&node.field("scheme"), Problem::Protocol("TLS"));
        }
        let server = listener.container;
        let handler = match (listener.aim(path), &listener.paths) {
            // No fault reaches the admin listener, not even one of the network.
            (Endpoint::Status(200), None) => Handler::Healthy,
            (aim, _) => Handler::Http { server, endpoint: aim, client },
        };
        let host = node.text("host", self.report).unwrap_or_default().to_owned();
        let address = Address { https: scheme == "HTTPS", host, port, path: path.to_owned() };
        Asked { handler, asks: true, address }
    }

    fn tcp(&mut self, node: &Node) -> Asked {
        let Some(port) = self.port(node, true) else { return Asked::HEALTHY };
        if self.is_elsewhere(node) {
            return Asked::HEALTHY;
        }
        let Some(listener) = self.listener(node, port) else { return Asked::HEALTHY };
        let handler = match listener.paths {
            Some(_) => Handler::Tcp { server: listener.container },
            None => Handler::Healthy,
        };
        let host = node.text("host", self.report).unwrap_or_default().to_owned();
        Asked { handler, asks: true, address: Address { host, port, ..Address::DEFAULT } }
    }

    fn grpc(&mut self, node: &Node) -> Asked {
        if let Some(port) = self.port(node, false)
            && self.listener(node, port).is_some()
        {
            self.report.error(node.path(), Problem::Protocol("gRPC"));
        }
        Asked::HEALTHY
    }

    fn exec(&mut self, node: &Node) -> Asked {
        let words = node.words("command", self.report);
        match words.as_slice() {
            [] => {
                self.report.error(&node.field("command"), Problem::Missing);
                Asked::HEALTHY
            }
            [first, "probe", rest @ ..] if is_own_binary(first) => self.own(node, rest),
            [first, ..] => {
                self.assume(&format!("the command {first:?} is taken to succeed"));
                Asked::HEALTHY
            }
        }
    }

    /// This program's own `probe`.
    fn own(&mut self, node: &Node, words: &[&str]) -> Asked {
        let command = match Command::parse(words) {
            Ok(command) => command,
            Err(CommandError::Option(option)) => {
                self.assume(&format!("`probe` with {option:?} is not modelled; it is taken to succeed"));
                return Asked::HEALTHY;
            }
            Err(CommandError::Timeout(value)) => {
                return self.wrong_command(node, "a timeout such as 1s", &value);
            }
        };
        if command.timeout.subsec_nanos() > 0 {
            self.assume("its own timeout is taken in whole seconds, rounded up");
        }
        self.timeout = u32::try_from((command.timeout + ALMOST_A_SECOND).as_secs()).ok();
        let Some(target) = Target::from_name(command.address) else {
            return self.url(node, command.address);
        };
        // A target's name leads to the `PORT` of the same environment; elsewhere than with us that is not set.
        let server =
            self.owner.ours.or_else(|| self.ports.of(DEFAULT_PORT).map(|listener| listener.container));
        let Some(server) = server else { return self.somebody_else() };
        let listener = self.ports.listeners.iter().find(|it| it.container == server && it.paths.is_some());
        let port = listener.map_or(DEFAULT_PORT, |listener| listener.port);
        let address = Address { host: "127.0.0.1".to_owned(), port, ..Address::DEFAULT };
        Asked { handler: Handler::Exec { server, endpoint: Endpoint::Target(target) }, asks: true, address }
    }

    fn url(&mut self, node: &Node, address: &str) -> Asked {
        let Some((scheme, rest)) = address.split_once("://") else {
            return self.wrong_command(
                node,
                "a target or a URL such as http://127.0.0.1:8080/readyz",
                address,
            );
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
            _ => (authority, (scheme == "http").then_some(80)),
        };
        let Some(port) = port else {
            return self.wrong_command(node, "an address with a port", address);
        };
        let local = host == "localhost"
            || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let Some(listener) = self.ports.of(port).filter(|_| local) else {
            return self.somebody_else();
        };
        let server = listener.container;
        let handler = match (scheme, &listener.paths) {
            ("http", Some(_)) => Handler::Exec { server, endpoint: listener.aim(path) },
            ("tcp", Some(_)) => Handler::Tcp { server },
            ("http", None) => match listener.aim(path) {
                Endpoint::Status(200) => Handler::Healthy,
                aim => Handler::Exec { server, endpoint: aim },
            },
            ("tcp", None) => Handler::Healthy,
            _ => {
                let name = if scheme == "grpc" { "gRPC" } else { "TLS" };
                self.report.error(&node.field("command"), Problem::Protocol(name));
                Handler::Healthy
            }
        };
        let host = host.trim_matches(['[', ']']).to_owned();
        let address = Address { https: scheme == "https", host, port, path: path.to_owned() };
        Asked { handler, asks: true, address }
    }

    fn wrong_command(&mut self, node: &Node, expected: &'static str, value: &str) -> Asked {
        self.report.error(&node.field("command"), wrong(expected, &Value::from(value)));
        Asked::HEALTHY
    }

    fn somebody_else(&mut self) -> Asked {
        self.assume("what it asks is not this program, and is taken to succeed");
        Asked::HEALTHY
    }

    /// Whether a `host` leads away from the Pod.
    fn is_elsewhere(&mut self, node: &Node) -> bool {
        let host = node.text("host", self.report).unwrap_or_default();
        if !host.is_empty() {
            self.assume(&format!("the host {host:?} is not modelled; it is taken to be healthy"));
        }
        !host.is_empty()
    }

    /// The number of a port, given as such or by a name of the same container.
    fn port(&mut self, node: &Node, by_name: bool) -> Option<u16> {
        let field = node.field("port");
        match node.value("port") {
            None => self.report.error(&field, Problem::Missing),
            Some(Value::String(name)) if by_name && name.bytes().any(|c| c.is_ascii_alphabetic()) => {
                let ports = self.owner.container.items("ports", self.report);
                for port in &ports {
                    if port.text("name", self.report) == Some(name) {
                        let number = port.number("containerPort", 1, u32::from(u16::MAX), self.report)?;
                        return u16::try_from(number).ok();
                    }
                }
                let names = ports.iter().filter_map(|port| port.text("name", self.report).map(shown));
                let names: Vec<String> = names.collect();
                let known = if names.is_empty() {
                    "no named port in this container".to_owned()
                } else {
                    format!("{} in this container", names.join(", "))
                };
                self.report.error(&field, Problem::NoPort { port: format!("\"{}\"", shown(name)), known });
            }
            Some(value @ Value::String(_)) => {
                let expected = if by_name { "a number, or the name of a port" } else { "a number" };
                self.report.error(&field, wrong(expected, value));
            }
            Some(_) => {
                let number = node.number("port", 1, u32::from(u16::MAX), self.report)?;
                return u16::try_from(number).ok();
            }
        }
        None
    }

    /// The listener of ours on that port. None where somebody else is taken to answer there, or nobody can.
    fn listener(&mut self, node: &Node, port: u16) -> Option<Listener> {
        if let Some(listener) = self.ports.of(port).cloned() {
            if listener.ip.is_some_and(|ip| ip.is_loopback()) {
                self.report.error(&node.field("port"), Problem::Loopback(port));
            }
            return Some(listener);
        }
        if self.ports.incomplete {
            return None;
        }
        // A container need not declare what it listens on; of ours it is known.
        if self.owner.ours.is_some() && !self.ports.others.contains(&port) {
            let known = self.ports.list();
            self.report.error(&node.field("port"), Problem::NoPort { port: port.to_string(), known });
        } else {
            self.assume(&format!("port {port} is not this program's, and is taken to be healthy"));
        }
        None
    }
}
