//! The checked configuration.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::{TlsOptions, ToxiproxyOptions};
use crate::fault::{Plan, ProxyName, Target, UpstreamAddress};
use crate::plan::Proxy;
use crate::tls::ClientTls;

/// The checked configuration of the service.
#[derive(Clone, Debug)]
pub struct Config {
    /// The rules of the environment: first those of `FAULTS`, then those of other variables.
    pub plan: Plan,
    /// The set variables that create rules, by name.
    pub rule_variables: Vec<String>,
    /// The seed of random draws.
    pub seed: SeedChoice,
    /// Whether readiness fails while the dependency fails.
    pub readiness_checks_dependency: bool,
    /// Address of the probe listener.
    pub probe_address: BindAddress,
    /// Address of the admin listener.
    pub admin_address: BindAddress,
    /// The target of each path of the probe listener: exact paths, or prefixes that end in `/*`.
    pub paths: Vec<(String, Target)>,
    /// Limits on clients of the probe listener.
    pub limits: Limits,
    /// Shutdown, threads and log.
    pub process: ProcessSettings,
    /// Identity of this replica.
    pub identity: Identity,
    /// The token that the admin API requires; absent: only loopback clients may use it.
    pub admin_token: Option<Token>,
    /// Whether loopback callers may use `/v1` while there is no token.
    pub admin_loopback: bool,
    /// Whether requests may select their own faults.
    pub request_faults: bool,
    /// TLS of the listeners.
    pub tls: TlsOptions,
    /// toxiproxy's API; absent: it is not served.
    pub toxiproxy: Option<ToxiproxyOptions>,
    /// Files of plans, and the state directory.
    pub files: Files,
    /// The application behind the probe listener.
    pub upstream: Option<UpstreamSettings>,
    /// The proxies of `PROXIES` and of `FAULTS`.
    pub proxies: Vec<Proxy>,
    /// How requests are forwarded, to the application and by named proxies.
    pub forwarding: ForwardOptions,
    /// The one of `proxies` that serves a port which `attach` has taken over.
    pub attached: Option<AttachedProxy>,
}

/// The application behind the probe listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// `UPSTREAM`: its address.
    pub address: UpstreamAddress,
    /// `UPSTREAM_PROBES`: whether it also answers the probe paths.
    pub answers_probes: bool,
    /// Whether `attach` has taken the port over from it: each request is `traffic`, and what clients send within TLS is for
    /// the application.
    pub is_attached: bool,
    /// `UPSTREAM_CA_FILE`, `UPSTREAM_SERVER_NAME` and `UPSTREAM_INSECURE`: how it is reached where it is `https://`.
    pub tls: ClientTls,
}

/// The TCP proxy of a port that `attach` has taken over from an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachedProxy {
    /// Its name.
    pub name: ProxyName,
    /// Peers that no rule acts on: the node, from which the kubelet probes.
    pub spared: Vec<IpAddr>,
}

/// How requests are forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForwardOptions {
    /// `UPSTREAM_SOURCE`: source address of connections to loopback upstreams.
    pub source: SourceAddress,
    /// `UPSTREAM_TIMEOUT`: time limit from the end of a request to the head of its answer; absent: none.
    pub timeout: Option<Duration>,
    /// `UPSTREAM_CONNECT_TIMEOUT`: time limit for name resolution and connecting together.
    pub connect_timeout: Duration,
    /// `UPSTREAM_CONNECTIONS`: limit of open connections to one upstream.
    pub connections: usize,
    /// `FORWARDED_HEADERS`: whether requests carry the client's address to the upstream.
    pub tells_client: bool,
    /// Whether requests carry the proxy's name in `CDN-Loop`, by which it finds those that come back. No variable.
    pub finds_loops: bool,
}

/// The source address of a connection to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceAddress {
    /// The address that the client reached, if the upstream is a loopback address.
    Reached,
    /// The address that the system selects.
    System,
    /// This one.
    Ip(IpAddr),
}

/// Files of plans, and the directory of state that outlives the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// `FAULTS_FILE`: a plan, watched.
    pub faults: Option<PathBuf>,
    /// `ANNOTATION_FILE`: a plan from an annotation of the Pod, watched.
    pub annotation: PathBuf,
    /// Whether `ANNOTATION_FILE` is set; the default file is read only if its directory exists.
    pub annotation_is_set: bool,
    /// `ANNOTATION_PROXIES`: whether the plan in an annotation may add proxies.
    pub annotation_adds_proxies: bool,
    /// `STATE_DIR`: keeps origins and counts across restarts of the container.
    pub state: Option<PathBuf>,
}

/// The token required by the admin API.
#[derive(Clone, PartialEq, Eq)]
pub enum Token {
    /// `ADMIN_TOKEN`.
    Text(String),
    /// `ADMIN_TOKEN_FILE`, read for each request, so that it can be changed.
    File(PathBuf),
}

impl Token {
    /// What is wrong with a token: requests cannot contain control characters.
    pub fn fault(token: &str) -> Option<&'static str> {
        token
            .trim()
            .contains(char::is_control)
            .then_some("contains a line break or another control character, which no request can send")
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text(…)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// The seed as it is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeedChoice {
    /// `SEED`, or the `seed` of the plan; absent: drawn at start.
    pub seed: Option<u64>,
    /// Whether the Pod's name is mixed in.
    pub scope: SeedScope,
}

/// Which replicas share a seed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SeedScope {
    /// Each Pod draws independently.
    #[default]
    Pod,
    /// All replicas draw the same.
    Fleet,
}

/// An address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindAddress {
    /// The address; absent: all addresses, both IPv6 and IPv4, or only IPv4 if there is no IPv6.
    pub ip: Option<IpAddr>,
    /// The port; 0 selects a free one.
    pub port: u16,
}

/// Limits on the clients of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections of all clients.
    pub connections: usize,
    /// Time from the first byte of a request's head to its last.
    pub head_time: Duration,
    /// Time between two requests of a connection, and before its first.
    pub idle_time: Duration,
    /// Bytes of a request's head.
    pub head_size: usize,
}

/// Shutdown, threads and log of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessSettings {
    /// How long the service keeps serving after a signal while it is not ready.
    pub shutdown_delay: Duration,
    /// How long requests in progress may take after that.
    pub shutdown_grace: Duration,
    /// Worker threads.
    pub worker_threads: usize,
    /// Memory that the process may use where its container has no limit, in bytes.
    pub memory: Option<u64>,
    /// Format of the log; absent: text on a terminal, JSON elsewhere.
    pub log_format: Option<LogFormat>,
    /// Least severe level that is logged.
    pub log_level: tracing::Level,
}

/// Format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// Lines of text for people.
    Text,
}

/// Identity of this replica, from the downward API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// `POD_NAME`.
    pub pod: Option<String>,
    /// `POD_NAMESPACE`.
    pub namespace: Option<String>,
    /// `NODE_NAME`.
    pub node: Option<String>,
}

/// The seed of this replica's draws.
pub fn effective_seed(
    choice: SeedChoice,
    pod: Option<&str>,
    draw: impl FnOnce() -> u64,
) -> crate::fault::Seed {
    let seed = crate::fault::Seed(choice.seed.unwrap_or_else(draw));
    match (choice.scope, pod) {
        (SeedScope::Pod, Some(pod)) => seed.for_pod(pod),
        _ => seed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Seed;

    #[test]
    fn a_token_is_not_shown() {
        assert_eq!(format!("{:?}", Token::Text("hunter2".to_owned())), "Text(…)");
    }

    #[test]
    fn replicas_share_a_seed_only_in_a_fleet_or_without_a_name() {
        let seed = |scope, seed, pod| effective_seed(SeedChoice { seed, scope }, pod, || 7);
        assert_eq!(seed(SeedScope::Fleet, Some(42), Some("web-0")), Seed(42));
        assert_eq!(seed(SeedScope::Pod, Some(42), None), Seed(42));
        assert_eq!(seed(SeedScope::Pod, None, None), Seed(7));
        assert_eq!(seed(SeedScope::Pod, Some(42), Some("web-0")), Seed(42).for_pod("web-0"));
        assert_ne!(
            seed(SeedScope::Pod, Some(42), Some("web-0")),
            seed(SeedScope::Pod, Some(42), Some("web-1"))
        );
    }
}
