//! The handler of a probe, and who answers it.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::Value;

use crate::fault::{Client, Target};
use crate::grpc;
use crate::kubelet::{ProbeAddress, ProbeEndpoint, ProbeHandler, ProbeKind, Transport};
use crate::predict::manifest::command::{Command, CommandError};
use crate::predict::manifest::container::is_own_binary;
use crate::predict::manifest::error::Problem;
use crate::predict::manifest::findings::{Findings, Reading};
use crate::predict::manifest::mapping::{Mapping, shown, wrong};
use crate::predict::manifest::ports::{Listener, Ports, Tls};

/// Added to round up to whole seconds.
const ALMOST_A_SECOND: Duration = Duration::from_nanos(999_999_999);

/// The port that `probe` asks without `PORT`.
const DEFAULT_PORT: u16 = 8080;

/// The container whose probes are read.
#[derive(Clone, Copy, Debug)]
pub(in crate::predict::manifest) struct Owner<'a> {
    pub(in crate::predict::manifest) container: &'a Mapping<'a>,
    pub(in crate::predict::manifest) name: &'a str,
    /// Its position, if it runs this program.
    pub(in crate::predict::manifest) ours: Option<usize>,
    /// Whether the Pod is on the node's own network.
    pub(in crate::predict::manifest) host_network: bool,
    /// Whether a controller that is not Kubernetes' own fills in ports.
    pub(in crate::predict::manifest) is_foreign: bool,
}

/// The field of a probe.
pub(in crate::predict::manifest) const fn field(kind: ProbeKind) -> &'static str {
    match kind {
        ProbeKind::Startup => "startupProbe",
        ProbeKind::Liveness => "livenessProbe",
        ProbeKind::Readiness => "readinessProbe",
    }
}

/// A handler, and whether this program answers it.
pub(super) struct Answerer {
    pub(super) handler: ProbeHandler,
    pub(super) asks_us: bool,
    /// Where the requests go.
    pub(super) address: ProbeAddress,
    /// How it is asked.
    pub(super) transport: Transport,
    /// The timeout of our own `probe` command, in whole seconds.
    pub(super) timeout: Option<u32>,
}

impl Answerer {
    /// Another program answers.
    const HEALTHY: Self = Self {
        handler: ProbeHandler::Healthy,
        asks_us: false,
        address: ProbeAddress::DEFAULT,
        transport: Transport::Http,
        timeout: None,
    };
}

/// What a probe of a port asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Host {
    /// The Pod's address.
    Pod,
    /// The loopback address of the Pod's network.
    Loopback,
}

/// Reads the handler of a probe.
pub(super) struct HandlerReader<'a> {
    owner: Owner<'a>,
    kind: ProbeKind,
    ports: &'a Ports,
    /// The timeout of our own `probe` command, in whole seconds.
    timeout: Option<u32>,
    found: Findings,
}

impl<'a> HandlerReader<'a> {
    /// Reads the handler of a probe with these fields.
    pub(super) fn read(
        kind: ProbeKind,
        owner: Owner<'a>,
        ports: &'a Ports,
        fields: &Mapping,
    ) -> Reading<Answerer> {
        let mut reader = Self { owner, kind, ports, timeout: None, found: Findings::default() };
        let asked = reader.handler(fields);
        reader.found.with(Answerer { timeout: reader.timeout, ..asked })
    }

    fn handler(&mut self, fields: &Mapping) -> Answerer {
        let kinds = ["httpGet", "tcpSocket", "grpc", "exec"];
        let given: Vec<&str> = kinds.into_iter().filter(|kind| fields.contains(kind)).collect();
        let [name] = given.as_slice() else {
            self.found.error(fields.path(), Problem::Handlers(given.len()));
            return Answerer::HEALTHY;
        };
        let Some(handler) = self.found.take(fields.mapping(name)) else { return Answerer::HEALTHY };
        let (transport, asked) = match *name {
            "httpGet" => (Transport::Http, self.http(&handler)),
            "tcpSocket" => (Transport::Tcp, self.tcp(&handler)),
            "grpc" => (Transport::Grpc, self.grpc(&handler)),
            _ => (Transport::Exec, self.exec(&handler)),
        };
        Answerer { transport, ..asked }
    }

    fn assume(&mut self, what: &str) {
        // Nothing is assumed of a Pod that this program is not in.
        if self.ports.listeners.is_empty() {
            return;
        }
        let (name, field) = (self.owner.name, field(self.kind));
        self.found.assume(format!("container {name}, {field}: {what}"));
    }

    fn http(&mut self, fields: &Mapping) -> Answerer {
        let path = self.found.take(fields.string("path")).unwrap_or("/");
        let scheme = self.found.take(fields.one_of("scheme", &["HTTP", "HTTPS"])).unwrap_or("HTTP");
        let mut client = Client::Kubelet;
        for header in self.found.take(fields.mappings("httpHeaders")) {
            let name = self.found.take(header.required_string("name")).unwrap_or_default();
            let value = self.found.take(header.string("value")).unwrap_or_default();
            if name.eq_ignore_ascii_case("user-agent") {
                client = Client::from_user_agent(value.as_bytes());
            }
        }
        let Some(port) = self.port(fields, true) else { return Answerer::HEALTHY };
        let https = scheme == "HTTPS";
        let address = ProbeAddress { https, path: path.to_owned(), ..port_address(fields, port) };
        let Some(listener) = self.asked_listener(fields, port) else {
            return Answerer { address, ..Answerer::HEALTHY };
        };
        self.check_tls(fields.field("scheme"), &listener, https);
        let server = listener.container;
        let handler = match (listener.endpoint(path), &listener.paths) {
            // No fault acts on the admin listener, not even a partition.
            (ProbeEndpoint::Status(200), None) => ProbeHandler::Healthy,
            (endpoint, _) => ProbeHandler::Http { server, endpoint, client },
        };
        Answerer { handler, asks_us: true, address, ..Answerer::HEALTHY }
    }

    fn tcp(&mut self, fields: &Mapping) -> Answerer {
        let Some(port) = self.port(fields, true) else { return Answerer::HEALTHY };
        let address = port_address(fields, port);
        let Some(listener) = self.asked_listener(fields, port) else {
            return Answerer { address, ..Answerer::HEALTHY };
        };
        let handler = match listener.paths {
            Some(_) => ProbeHandler::Tcp { server: listener.container },
            None => ProbeHandler::Healthy,
        };
        Answerer { handler, asks_us: true, address, ..Answerer::HEALTHY }
    }

    fn grpc(&mut self, fields: &Mapping) -> Answerer {
        let Some(port) = self.port(fields, false) else { return Answerer::HEALTHY };
        let service = self.found.take(fields.string("service")).unwrap_or_default();
        let address = port_address(fields, port);
        let Some(listener) = self.listener(fields, port, Host::Pod) else {
            return Answerer { address, ..Answerer::HEALTHY };
        };
        // The kubelet's gRPC probes know no TLS.
        self.check_tls(fields.field("port"), &listener, false);
        let handler = self.called(fields.field("service"), &listener, service);
        Answerer { handler, asks_us: true, address, ..Answerer::HEALTHY }
    }

    /// A call of the health service of `listener` about `service`.
    fn called(&mut self, field: String, listener: &Listener, service: &str) -> ProbeHandler {
        if listener.paths.is_none() {
            self.found.error(field, Problem::Protocol("gRPC"));
            return ProbeHandler::Healthy;
        }
        let behind = listener.forwards.then_some(Target::Traffic);
        if let Some(target) = grpc::target(service).or(behind) {
            return ProbeHandler::Assumed { server: listener.container, target, transport: Transport::Grpc };
        }
        self.found.error(field, Problem::NoService(service.to_owned()));
        ProbeHandler::Healthy
    }

    fn check_tls(&mut self, field: String, listener: &Listener, is_wanted: bool) {
        match (listener.tls, is_wanted) {
            (Tls::Off, true) => self.found.error(field, Problem::NoTls(listener.port)),
            (Tls::Only, false) => self.found.error(field, Problem::OnlyTls(listener.port)),
            _ => {}
        }
    }

    fn exec(&mut self, fields: &Mapping) -> Answerer {
        let words = self.found.take(fields.strings("command"));
        match words.as_slice() {
            [] => {
                self.found.error(fields.field("command"), Problem::Missing);
                Answerer::HEALTHY
            }
            [first, "probe", rest @ ..] if is_own_binary(first) => self.own_probe(fields, rest),
            [first, ..] => {
                self.assume(&format!("the command {first:?} is taken to succeed"));
                Answerer::HEALTHY
            }
        }
    }

    /// Our own `probe` as the command.
    fn own_probe(&mut self, fields: &Mapping, words: &[&str]) -> Answerer {
        let command = match Command::parse(words) {
            Ok(command) => command,
            Err(CommandError::Option(option)) => {
                self.assume(&format!("`probe` with {option:?} is not modelled; it is taken to succeed"));
                return Answerer::HEALTHY;
            }
            Err(CommandError::Timeout(value)) => {
                return self.wrong_command(fields, "a timeout such as 1s", &value);
            }
        };
        if command.timeout.subsec_nanos() > 0 {
            self.assume("its own timeout is taken in whole seconds, rounded up");
        }
        self.timeout = u32::try_from((command.timeout + ALMOST_A_SECOND).as_secs()).ok();
        let Some(target) = Target::from_name(command.address) else {
            return self.url(fields, command.address);
        };
        // A target's name stands for the `PORT` of the container's own environment, which other containers do not set.
        let server =
            self.owner.ours.or_else(|| self.ports.at(DEFAULT_PORT).map(|listener| listener.container));
        let Some(server) = server else { return self.another_program() };
        let probed = self.ports.listeners.iter().find(|it| it.container == server && it.paths.is_some());
        let port = probed.map_or(DEFAULT_PORT, |listener| listener.port);
        let address = ProbeAddress { host: "127.0.0.1".to_owned(), port, ..ProbeAddress::DEFAULT };
        let handler = ProbeHandler::Exec { server, endpoint: ProbeEndpoint::Target(target) };
        Answerer { handler, asks_us: true, address, ..Answerer::HEALTHY }
    }

    fn url(&mut self, fields: &Mapping, address: &str) -> Answerer {
        let Some((scheme, rest)) = address.split_once("://") else {
            return self.wrong_command(
                fields,
                "a target or a URL such as http://127.0.0.1:8080/readyz",
                address,
            );
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
            _ => (
                authority,
                match scheme {
                    "http" => Some(80),
                    "https" => Some(443),
                    _ => None,
                },
            ),
        };
        let Some(port) = port else {
            return self.wrong_command(fields, "an address with a port", address);
        };
        let local = host == "localhost"
            || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let Some(listener) = self.ports.at(port).filter(|_| local).cloned() else {
            return self.another_program();
        };
        let server = listener.container;
        if scheme != "tcp" {
            self.check_tls(fields.field("command"), &listener, matches!(scheme, "https" | "grpcs"));
        }
        let handler = match (scheme, &listener.paths) {
            ("http" | "https", Some(_)) => ProbeHandler::Exec { server, endpoint: listener.endpoint(path) },
            ("tcp", Some(_)) => ProbeHandler::Tcp { server },
            ("http" | "https", None) => match listener.endpoint(path) {
                ProbeEndpoint::Status(200) => ProbeHandler::Healthy,
                endpoint => ProbeHandler::Exec { server, endpoint },
            },
            ("tcp", None) => ProbeHandler::Healthy,
            ("grpc" | "grpcs", _) => {
                self.called(fields.field("command"), &listener, path.trim_start_matches('/'))
            }
            _ => {
                return self.wrong_command(
                    fields,
                    "an address with http, https, tcp, grpc or grpcs",
                    address,
                );
            }
        };
        let host = host.trim_matches(['[', ']']).to_owned();
        let address = ProbeAddress { https: scheme == "https", host, port, path: path.to_owned() };
        Answerer { handler, asks_us: true, address, ..Answerer::HEALTHY }
    }

    fn wrong_command(&mut self, fields: &Mapping, expected: &'static str, value: &str) -> Answerer {
        self.found.error(fields.field("command"), wrong(expected, &Value::from(value)));
        Answerer::HEALTHY
    }

    fn another_program(&mut self) -> Answerer {
        self.assume("what it asks is not this program, and is taken to succeed");
        Answerer::HEALTHY
    }

    /// Our listener at `host` and `port`.
    fn asked_listener(&mut self, fields: &Mapping, port: u16) -> Option<Listener> {
        let host = self.host(fields)?;
        self.listener(fields, port, host)
    }

    /// What a `host` means, if it is the Pod. On the node's network, the node's loopback address is the Pod's as well.
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
            format!("the host {host:?} is the node, not the Pod; what it asks there is taken to be healthy")
        } else {
            format!("the host {host:?} is not modelled; it is taken to be healthy")
        });
        None
    }

    /// A port, by its number or by a name in the same container.
    fn port(&mut self, fields: &Mapping, by_name: bool) -> Option<u16> {
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
                    "no named port in this container".to_owned()
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

    /// The port that a controller such as Knative's puts into a probe without one.
    fn default_port(&mut self) -> u16 {
        let declared = self.found.take(self.owner.container.mappings("ports"));
        let first = declared
            .first()
            .and_then(|port| self.found.take(port.number("containerPort", 1, u32::from(u16::MAX))));
        let port = first.and_then(|port| u16::try_from(port).ok()).unwrap_or(DEFAULT_PORT);
        self.assume(&format!("it has no port; its controller is taken to fill in {port}"));
        port
    }

    /// Our listener on a port. `None` if another program is assumed to answer, or if none can.
    fn listener(&mut self, fields: &Mapping, port: u16, host: Host) -> Option<Listener> {
        if let Some(listener) = self.ports.at(port).cloned() {
            if host == Host::Pod && listener.ip.is_some_and(|ip| ip.is_loopback()) {
                self.found.error(fields.field("port"), Problem::Loopback(port));
            }
            return Some(listener);
        }
        if self.ports.incomplete {
            return None;
        }
        // Containers need not declare the ports that they listen on; only ours are known.
        if !self.ports.has_others && !self.owner.host_network {
            let known = self.ports.list();
            self.found.error(fields.field("port"), Problem::NoPort { port: port.to_string(), known });
        } else {
            self.assume(&format!("port {port} is not this program's, and is taken to be healthy"));
        }
        None
    }
}

/// The address of a probe's `host` and this port.
fn port_address(fields: &Mapping, port: u16) -> ProbeAddress {
    let host = fields.get("host").and_then(Value::as_str).unwrap_or_default().to_owned();
    ProbeAddress { host, port, ..ProbeAddress::DEFAULT }
}
