//! The handler of a probe, and the container that answers it.

mod address;
mod exec;

use crate::fault::{Client, Target};
use crate::grpc;
use crate::kubelet::{ProbeAddress, ProbeEndpoint, ProbeHandler, ProbeKind, Transport};
use crate::plan::error::nearest;
use crate::predict::manifest::error::Problem;
use crate::predict::manifest::findings::{Findings, Reading};
use crate::predict::manifest::mapping::{Mapping, shown};
use crate::predict::manifest::ports::{Listener, Ports, Tls};
use address::{Host, port_address};

/// The fields of a probe that are handlers.
const HANDLERS: [&str; 4] = ["httpGet", "tcpSocket", "grpc", "exec"];

/// The header that sets the class of a request, independently of its path.
const TARGET_HEADER: &str = "x-probesim-target";

/// The container with the probes.
#[derive(Clone, Copy, Debug)]
pub(in crate::predict::manifest) struct Owner<'a> {
    pub(in crate::predict::manifest) container: &'a Mapping<'a>,
    pub(in crate::predict::manifest) name: &'a str,
    /// Its position, if it runs this program.
    pub(in crate::predict::manifest) probesim: Option<usize>,
    /// Whether the Pod uses the node's network (`hostNetwork`).
    pub(in crate::predict::manifest) host_network: bool,
    /// Whether a controller outside of Kubernetes itself may set missing ports.
    pub(in crate::predict::manifest) is_foreign: bool,
}

/// The field of a probe in a container.
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
    /// The address of the requests.
    pub(super) address: ProbeAddress,
    /// The protocol.
    pub(super) transport: Transport,
    /// `httpHeaders`, with names in lower case.
    pub(super) headers: Vec<(String, String)>,
    /// The timeout of our own `probe` command, in whole seconds.
    pub(super) timeout: Option<u32>,
}

impl Answerer {
    /// Another program answers; it is assumed to be healthy.
    const HEALTHY: Self = Self {
        handler: ProbeHandler::Healthy,
        asks_us: false,
        address: ProbeAddress::DEFAULT,
        transport: Transport::Http,
        headers: Vec::new(),
        timeout: None,
    };
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
        let given: Vec<&str> = HANDLERS.into_iter().filter(|kind| fields.contains(kind)).collect();
        let [name] = given.as_slice() else {
            let problem = if given.is_empty() {
                Problem::NoHandler(misspelt_handler(fields))
            } else {
                Problem::Handlers(given.len())
            };
            self.found.error(fields.path(), problem);
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
        // A Pod without kube-probesim needs no assumptions about single probes.
        if self.ports.listeners.is_empty() {
            return;
        }
        let (name, field) = (self.owner.name, field(self.kind));
        self.found.assume(format!("container {name}, {field}: {what}"));
    }

    fn http(&mut self, fields: &Mapping) -> Answerer {
        let path = self.found.take(fields.string("path")).unwrap_or("/");
        let scheme = self.found.take(fields.one_of("scheme", &["HTTP", "HTTPS"])).unwrap_or("HTTP");
        let mut headers = Vec::new();
        for header in self.found.take(fields.mappings("httpHeaders")) {
            let name = self.found.take(header.required_string("name")).unwrap_or_default();
            let value = self.found.take(header.string("value")).unwrap_or_default();
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let given =
            |wanted: &str| headers.iter().rfind(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
        let client = given("user-agent").map_or(Client::Kubelet, |it| Client::from_user_agent(it.as_bytes()));
        let class = given(TARGET_HEADER).map(|name| Target::from_name(&name.to_ascii_lowercase()));
        let Some(port) = self.port(fields, true) else { return Answerer::HEALTHY };
        let https = scheme == "HTTPS";
        let address = ProbeAddress { https, path: path.to_owned(), ..port_address(fields, port) };
        let Some(listener) = self.asked_listener(fields, port) else {
            return Answerer { address, ..Answerer::HEALTHY };
        };
        self.check_tls(fields.field("scheme"), &listener, https);
        let server = listener.container;
        // The header counts only if the listener forwards to an application.
        let endpoint = match class.filter(|_| listener.forwards && listener.paths.is_some()) {
            None => listener.endpoint(path),
            Some(Some(target)) => ProbeEndpoint::Target(target),
            Some(None) => ProbeEndpoint::Status(400),
        };
        let handler = match (endpoint, &listener.paths) {
            // No fault acts on the admin listener, and neither does a partition.
            (ProbeEndpoint::Status(200), None) => ProbeHandler::Healthy,
            (endpoint, _) => ProbeHandler::Http { server, endpoint, client },
        };
        Answerer { handler, asks_us: true, address, headers, ..Answerer::HEALTHY }
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
        // The kubelet's gRPC probes do not support TLS.
        self.check_tls(fields.field("port"), &listener, false);
        let handler = self.called(fields.field("service"), &listener, service);
        Answerer { handler, asks_us: true, address, ..Answerer::HEALTHY }
    }

    /// A call of the health service of `listener` for `service`.
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
}

/// A field that may be a misspelt handler, and the handler.
fn misspelt_handler(fields: &Mapping) -> Option<(String, &'static str)> {
    fields.entries().find_map(|(name, _)| Some((shown(name), nearest(name, &HANDLERS)?)))
}
