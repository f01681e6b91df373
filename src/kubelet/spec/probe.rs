//! The probes of a container, as its manifest describes them.

use super::PodSpec;
use crate::fault::{Client, RequestView, Rule, Target};

/// The path of a gRPC health check.
const HEALTH_PATH: &str = "/grpc.health.v1.Health/Check";

/// The `User-Agent` of the kubelet.
const USER_AGENT: &str = "kube-probe/1.36";

/// The kind of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProbeKind {
    /// Gates the other two.
    Startup,
    /// Restarts the container.
    Liveness,
    /// Controls traffic.
    Readiness,
}

impl ProbeKind {
    /// Number of kinds.
    pub const COUNT: usize = 3;
    /// All kinds, in the order of their index.
    pub const ALL: [Self; Self::COUNT] = [Self::Startup, Self::Liveness, Self::Readiness];

    /// The name in events and in the label `probe_type`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }

    /// Its class of requests.
    pub const fn target(self) -> Target {
        match self {
            Self::Startup => Target::Startup,
            Self::Liveness => Target::Liveness,
            Self::Readiness => Target::Readiness,
        }
    }
}

/// The endpoint that a probe requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeEndpoint {
    /// A path of a target.
    Target(Target),
    /// A path that always answers with this status: the index, the metrics, an unknown path.
    Status(u16),
}

impl ProbeEndpoint {
    /// The default path.
    const fn default_path(self) -> &'static str {
        match self {
            Self::Target(Target::Liveness) => "/healthz",
            Self::Target(Target::Readiness) => "/readyz",
            Self::Target(Target::Startup) => "/startupz",
            _ => "/",
        }
    }
}

/// The handler of a probe. `server` is the position of the container that answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeHandler {
    /// `httpGet` to this program.
    Http {
        /// Who answers.
        server: usize,
        /// What is asked for.
        endpoint: ProbeEndpoint,
        /// The client class, which a `User-Agent` among `httpHeaders` changes.
        client: Client,
    },
    /// `tcpSocket` on the probe listener of this program.
    Tcp {
        /// Who answers.
        server: usize,
    },
    /// `exec` of this program's own `probe`: errors are failures there, since only the exit code counts.
    Exec {
        /// Who answers.
        server: usize,
        /// What is asked for.
        endpoint: ProbeEndpoint,
    },
    /// A `tcpSocket`, `grpc` or `exec` probe of a program whose behaviour is given by probe. Its errors are failures.
    Assumed {
        /// Who answers.
        server: usize,
        /// Which probe it is.
        target: Target,
        /// How it is made.
        transport: Transport,
    },
    /// A port or command of another program, assumed to be healthy.
    Healthy,
}

impl ProbeHandler {
    /// The position of the container that answers, if it runs this program.
    pub const fn server(&self) -> Option<usize> {
        match self {
            Self::Http { server, .. }
            | Self::Tcp { server }
            | Self::Exec { server, .. }
            | Self::Assumed { server, .. } => Some(*server),
            Self::Healthy => None,
        }
    }
}

/// The address of a probe's requests, as in the messages of its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeAddress {
    /// Whether the scheme is HTTPS.
    pub https: bool,
    /// The host; empty: the Pod's address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The path, with a query if there is one; empty: the default path of the endpoint.
    pub path: String,
}

impl ProbeAddress {
    /// The default port on the Pod's address.
    pub const DEFAULT: Self = Self { https: false, host: String::new(), port: 8080, path: String::new() };

    /// Host and port.
    pub(in crate::kubelet) fn authority(&self) -> String {
        let ipv6 = self.host.contains(':') && !self.host.starts_with('[');
        match self.host.as_str() {
            "" => format!("{}:{}", PodSpec::ADDRESS, self.port),
            host if ipv6 => format!("[{host}]:{}", self.port),
            host => format!("{host}:{}", self.port),
        }
    }

    pub(in crate::kubelet) fn url(&self, endpoint: ProbeEndpoint) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority(), self.path(endpoint))
    }

    pub(in crate::kubelet) fn path(&self, endpoint: ProbeEndpoint) -> String {
        let path = if self.path.is_empty() { endpoint.default_path() } else { &self.path };
        let slash = if path.starts_with('/') { "" } else { "/" };
        format!("{slash}{path}")
    }
}

/// A request of a probe, as the matches of rules see it.
#[derive(Debug)]
struct ProbeRequest<'a> {
    probe: &'a ProbeSpec,
    path: &'a str,
    query: Option<&'a str>,
    authority: String,
}

impl<'a> ProbeRequest<'a> {
    /// The request that each attempt of a probe makes.
    fn of(probe: &'a ProbeSpec) -> Self {
        let ProbeSpec { address, transport, .. } = probe;
        let target = match (transport, address.path.as_str()) {
            (Transport::Grpc, _) => HEALTH_PATH,
            (_, "") => match probe.handler {
                ProbeHandler::Http { endpoint, .. } | ProbeHandler::Exec { endpoint, .. } => {
                    endpoint.default_path()
                }
                _ => "/",
            },
            (_, path) => path,
        };
        let target = target.split('#').next().unwrap_or(target);
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        Self { probe, path, query, authority: address.authority() }
    }
}

impl RequestView for ProbeRequest<'_> {
    fn method(&self) -> &str {
        if self.probe.transport == Transport::Grpc { "POST" } else { "GET" }
    }

    fn path(&self) -> &str {
        self.path
    }

    fn query(&self) -> Option<&str> {
        self.query
    }

    fn host(&self) -> Option<&str> {
        let given = self.probe.headers.iter().find(|(name, _)| name == "host");
        Some(given.map_or(self.authority.as_str(), |(_, value)| value.as_str()))
    }

    fn header(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let given = self.probe.headers.iter().filter(move |(known, _)| known == name);
        let own = match name {
            "user-agent" => Some(USER_AGENT),
            "accept" => Some("*/*"),
            "connection" => Some("close"),
            _ => None,
        };
        let own = own.filter(|_| !self.probe.headers.iter().any(|(known, _)| known == name));
        given.map(|(_, value)| value.as_bytes()).chain(own.map(str::as_bytes))
    }
}

/// The transport of an attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// `httpGet`.
    #[default]
    Http,
    /// `tcpSocket`.
    Tcp,
    /// `grpc`.
    Grpc,
    /// `exec`.
    Exec,
}

impl Transport {
    /// The field of a probe.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "httpGet",
            Self::Tcp => "tcpSocket",
            Self::Grpc => "grpc",
            Self::Exec => "exec",
        }
    }
}

/// A probe, with the fields and defaults of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeSpec {
    /// Its handler.
    pub handler: ProbeHandler,
    /// Its transport in the manifest.
    pub transport: Transport,
    /// Its address.
    pub address: ProbeAddress,
    /// `httpHeaders`, their names in lower case.
    pub headers: Vec<(String, String)>,
    /// `initialDelaySeconds`.
    pub initial_delay: u32,
    /// `timeoutSeconds`.
    pub timeout: u32,
    /// `periodSeconds`, at least 1.
    pub period: u32,
    /// `successThreshold`.
    pub success_threshold: u32,
    /// `failureThreshold`.
    pub failure_threshold: u32,
    /// `terminationGracePeriodSeconds`; absent: the Pod's.
    pub grace: Option<u32>,
}

impl ProbeSpec {
    /// A probe with the defaults of the API.
    pub const fn new(handler: ProbeHandler) -> Self {
        Self {
            handler,
            transport: match handler {
                ProbeHandler::Tcp { .. } => Transport::Tcp,
                ProbeHandler::Exec { .. } => Transport::Exec,
                ProbeHandler::Assumed { transport, .. } => transport,
                ProbeHandler::Http { .. } | ProbeHandler::Healthy => Transport::Http,
            },
            address: ProbeAddress::DEFAULT,
            headers: Vec::new(),
            initial_delay: 0,
            timeout: 1,
            period: 10,
            success_threshold: 1,
            failure_threshold: 3,
            grace: None,
        }
    }

    /// Whether the match of a rule admits its requests. A rule without a match admits all.
    pub fn is_admitted(&self, rule: &Rule) -> bool {
        rule.request_match().is_none_or(|it| it.admits(&ProbeRequest::of(self)))
    }
}
