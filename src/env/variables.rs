//! The table of variables. Documentation and help are generated from it.

use crate::fault::Target;

/// An environment variable.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Its name, without a prefix.
    pub name: &'static str,
    /// The targets whose prefix (such as `LIVENESS_`) it supports.
    pub prefixes: &'static [Target],
    /// The unit of a bare number, or the kind of value.
    pub unit: &'static str,
    /// Its default; empty: none.
    pub default: &'static str,
    /// What it does.
    pub meaning: &'static str,
}

impl Variable {
    /// Whether it creates rules: the entries of the table up to `FAULTS`.
    pub(super) fn makes_rules(name: &str) -> bool {
        let last = VARIABLES.iter().position(|variable| variable.name == "FAULTS").unwrap_or(0);
        VARIABLES[..=last].iter().any(|variable| variable.names().any(|known| known == name))
    }

    /// All its names: its own, then those with a prefix.
    pub fn names(&self) -> impl Iterator<Item = String> {
        let prefixed = self.prefixes.iter().map(|target| [prefix(*target), self.name].concat());
        std::iter::once(self.name.to_owned()).chain(prefixed)
    }
}

/// The prefix of variables that act on one target.
pub(super) const fn prefix(target: Target) -> &'static str {
    match target {
        Target::Liveness => "LIVENESS_",
        Target::Readiness => "READINESS_",
        Target::Startup => "STARTUP_",
        Target::Dependency => "DEPENDENCY_",
        Target::Traffic => "TRAFFIC_",
    }
}

const EACH: &[Target] = &Target::ALL;
/// `STARTUP_STARTUP_DELAY` would mean the same as `STARTUP_DELAY`.
const BUT_STARTUP: &[Target] = &[Target::Liveness, Target::Readiness, Target::Dependency, Target::Traffic];

const fn each(
    name: &'static str,
    unit: &'static str,
    default: &'static str,
    meaning: &'static str,
) -> Variable {
    Variable { name, prefixes: EACH, unit, default, meaning }
}

const fn one(
    name: &'static str,
    unit: &'static str,
    default: &'static str,
    meaning: &'static str,
) -> Variable {
    Variable { name, prefixes: &[], unit, default, meaning }
}

/// Options of `serve` that set a variable: the option without its dashes, the variable, and the placeholder of its value.
pub const FLAGS: &[(&str, &str, &str)] = &[
    ("port", "PORT", "PORT"),
    ("bind", "BIND_ADDRESS", "ADDRESS"),
    ("admin", "ADMIN_ADDRESS", "ADDRESS:PORT"),
    ("faults", "FAULTS_FILE", "FILE"),
    ("seed", "SEED", "NUMBER"),
    ("log-format", "LOG_FORMAT", "json|text"),
];

/// Pairs of synonyms, of which only one may be set.
pub(super) const SYNONYMS: &[(&str, &str)] = &[
    ("FAIL_AFTER_REQUESTS", "FAIL_COUNT"),
    ("FAIL_REQUESTS", "RECOVERY_PERIOD"),
    ("PARTITION_AFTER", "DISCONNECT_AFTER"),
    ("PARTITION_FOR", "RECONNECT_AFTER"),
    ("ADMIN_TOKEN", "ADMIN_TOKEN_FILE"),
];

/// All variables. 0 and empty mean unset, except for `PORT`, `SEED`, `FAILURE_BODY`, `EXIT_CODE` and booleans.
pub const VARIABLES: &[Variable] = &[
    each(
        "FAILURE_RATE",
        "%",
        "",
        "share of the requests that fail; unprefixed: all targets except dependency",
    ),
    each("FAILURE_BURST", "requests", "", "mean run of consecutive failures of `FAILURE_RATE`"),
    each("FAIL_AFTER_TIME", "s", "", "time until requests fail; unprefixed: liveness, readiness"),
    each("FAIL_FOR", "s", "", "length of the failing window; by itself, from the start"),
    each("FAIL_EVERY", "s", "", "the window repeats with this period; needs `FAIL_FOR`"),
    each(
        "FAIL_AFTER_REQUESTS",
        "requests",
        "",
        "fails after this many requests; unprefixed: liveness, readiness",
    ),
    each(
        "FAIL_COUNT",
        "requests",
        "",
        "the original's name of `FAIL_AFTER_REQUESTS`; needs `RECOVERY_PERIOD`",
    ),
    each("FAIL_REQUESTS", "requests", "", "how many requests fail; by itself, the first ones"),
    each("RECOVERY_PERIOD", "requests", "", "the original's name of `FAIL_REQUESTS`"),
    each("LATENCY", "ms", "", "delay of each answer; unprefixed: all targets"),
    each("LATENCY_JITTER", "ms", "", "half width (uniform) or standard deviation (normal) of the delay"),
    each(
        "LATENCY_DISTRIBUTION",
        "word",
        "",
        "uniform, normal, lognormal (`LATENCY` is the median, with `LATENCY_P99`) or exponential (`LATENCY` is the mean)",
    ),
    each("LATENCY_P50", "ms", "", "50th percentile of the delay"),
    each("LATENCY_P90", "ms", "", "90th percentile of the delay"),
    each("LATENCY_P99", "ms", "", "99th percentile of the delay"),
    Variable {
        prefixes: BUT_STARTUP,
        ..each("STARTUP_DELAY", "s", "", "how long startup, readiness and liveness fail after the start")
    },
    one("FAIL_DEPENDENCY", "bool", "", "whether the dependency fails, and readiness with it"),
    each("FAILURE_MODE", "word", "status", "mode of every failure"),
    each("FAILURE_STATUS", "code", "500", "status code of every failure"),
    each("FAILURE_BODY", "size", "16B", "bytes of the body before a body fault; 0 means none"),
    each("FAILURE_DRIP", "s", "5s", "time to send the body in mode drip"),
    each("FAILURE_LOCATION", "URL", "http://probesim.invalid/", "target of mode redirect"),
    each("FAILURE_SPEED", "B/s", "1KiB", "body bytes per second in mode throttle"),
    each("FAILURE_SHARE", "%", "1%", "share of the body bytes that mode corrupt changes"),
    each("FAILURE_GRPC_STATUS", "word", "UNAVAILABLE", "status of mode grpc, by name or number"),
    each("FAILURE_GRPC_MESSAGE", "text", "", "message of mode grpc; without one, a line that names the rule"),
    one("PARTITION_AFTER", "min", "", "time until the network is cut"),
    one("DISCONNECT_AFTER", "min", "", "the original's name of `PARTITION_AFTER`; needs `RECONNECT_AFTER`"),
    one("PARTITION_FOR", "min", "", "length of the cut; by itself, from the start"),
    one("RECONNECT_AFTER", "min", "", "the original's name of `PARTITION_FOR`; needs a start"),
    one("PARTITION_MODE", "word", "status", "status (readiness fails), drop, refuse or reset"),
    one("LISTEN_DELAY", "s", "", "how long nothing listens on the probe address after the start"),
    one("EXIT_AFTER", "s", "", "the process exits this long after each start"),
    one("EXIT_CODE", "code", "1", "exit code of the process, 0 to 255; 0 is a value"),
    one("EXIT_RATE", "%", "", "share of the starts in which it exits; alone, right at the start"),
    one(
        "EXIT_STARTS",
        "starts",
        "",
        "it exits in this many first starts; alone, right at the start; needs `STATE_DIR`",
    ),
    one("MEMORY_SIZE", "size", "", "memory to hold; or a share of the container's limit, such as 80%"),
    one("MEMORY_AFTER", "s", "", "time from each start until it is allocated"),
    one("MEMORY_FOR", "s", "", "how long the memory is held; by itself, from the start"),
    one("MEMORY_EVERY", "s", "", "it is allocated again with this period; needs `MEMORY_FOR`"),
    one("MEMORY_RAMP", "s", "", "time in which the allocation grows to its size"),
    one("CPU_CORES", "cores", "", "CPU time to burn, such as 0.5"),
    one("CPU_AFTER", "s", "", "time from each start until it begins"),
    one("CPU_FOR", "s", "", "length of the CPU load; by itself, from the start"),
    one("CPU_EVERY", "s", "", "period of the CPU load; needs `CPU_FOR`"),
    one("IGNORE_TERM", "bool", "", "whether SIGTERM is ignored"),
    one("SLOW_TERM", "s", "", "delay before SIGTERM takes effect; not ready meanwhile"),
    one("FAULTS", "plan", "", "a whole plan, YAML or JSON; its rules come first"),
    one("FAULTS_FILE", "path", "", "a file with a plan, watched"),
    one(
        "ANNOTATION_FILE",
        "path",
        "/etc/downwardapi/faults",
        "a file with a plan from an annotation of the Pod, watched",
    ),
    one("STATE_DIR", "path", "", "directory in which origins and counts are kept across container restarts"),
    one("SEED", "number", "drawn at start", "seed of all draws; overrides that of the plan"),
    one("SEED_SCOPE", "word", "pod", "pod (the Pod's name is mixed in) or fleet"),
    one("PORT", "port", "8080", "port of the probe listener; 0 selects a free one"),
    one("BIND_ADDRESS", "address", "all", "address of the probe listener"),
    one("ADMIN_ADDRESS", "address", ":8081", "address and port of the admin listener"),
    one("ADMIN_TOKEN", "secret", "", "token that `/v1` requires"),
    one("ADMIN_TOKEN_FILE", "path", "", "a file with that token"),
    one("ADMIN_LOOPBACK", "bool", "true", "whether loopback callers may use `/v1` while no token is set"),
    one(
        "ADMIN_TLS_CERT_FILE",
        "path",
        "",
        "certificate chain of the admin listener (PEM), which then only accepts TLS",
    ),
    one("ADMIN_TLS_KEY_FILE", "path", "", "its private key (PEM)"),
    one(
        "TLS",
        "word",
        "",
        "self-signed: the probe listener and HTTP proxies speak TLS with a certificate generated at the start",
    ),
    one("TLS_CERT_FILE", "path", "", "their certificate chain (PEM), watched"),
    one("TLS_KEY_FILE", "path", "", "its private key (PEM), watched"),
    one(
        "TLS_CLIENT_CA_FILE",
        "path",
        "",
        "authorities (PEM), watched; TLS clients need a certificate of one of them",
    ),
    one("TLS_ONLY", "bool", "false", "whether clients without TLS are refused"),
    one(
        "TLS_NAMES",
        "names",
        "",
        "additional hosts and addresses for generated certificates, comma-separated",
    ),
    one(
        "REQUEST_FAULTS",
        "bool",
        "false",
        "whether requests may select their own fault, by a header or their query",
    ),
    one(
        "READINESS_CHECKS_DEPENDENCY",
        "bool",
        "true",
        "whether readiness fails while its dependency does; false by default with `UPSTREAM`",
    ),
    one(
        "LIVENESS_PATHS",
        "paths",
        "",
        "additional paths, comma-separated: /x, or /x/* for all paths below it",
    ),
    one("READINESS_PATHS", "paths", "", "the same for readiness"),
    one("STARTUP_PATHS", "paths", "", "the same for startup"),
    one("DEPENDENCY_PATHS", "paths", "", "the same for the dependency"),
    one("TRAFFIC_PATHS", "paths", "", "the same for traffic, which has no default paths"),
    one(
        "UPSTREAM",
        "address",
        "",
        "the application behind the probe listener: http://HOST:PORT, https://HOST:PORT, h2c://HOST:PORT (HTTP/2) or unix:/path",
    ),
    one(
        "PROXIES",
        "proxies",
        "",
        "named proxies, comma-separated: stock=:18090->http://stock:8080 for HTTP, db=:15432->postgres:5432 for TCP, cache=:16379->tls://redis:6380 for TCP with TLS to the upstream; without a host they listen on loopback",
    ),
    one(
        "UPSTREAM_CA_FILE",
        "path",
        "",
        "authorities (PEM) that may issue the certificates of https:// and tls:// upstreams in `UPSTREAM` and `PROXIES`, watched; default: those that the system trusts",
    ),
    one(
        "UPSTREAM_SERVER_NAME",
        "name",
        "",
        "the host that the certificate of `UPSTREAM` is issued for, if it is not the host of the address",
    ),
    one(
        "UPSTREAM_INSECURE",
        "bool",
        "false",
        "whether https:// and tls:// upstreams may have any certificate",
    ),
    one("ANNOTATION_PROXIES", "bool", "false", "whether the plan in an annotation may add proxies"),
    one("TOXIPROXY_ADDRESS", "address", "", "where toxiproxy's API listens; a port alone is one of loopback"),
    one(
        "TOXIPROXY_ALLOW",
        "networks",
        "",
        "networks that may use that API, comma-separated, beside loopback; needed where it listens elsewhere",
    ),
    one("TOXIPROXY_CONFIG", "path", "", "a file with proxies in the form of toxiproxy, added at the start"),
    one("UPSTREAM_PROBES", "bool", "true", "whether the application also answers the probe paths"),
    one(
        "UPSTREAM_SOURCE",
        "address",
        "reached",
        "source address of connections to a loopback upstream: reached (the address that the client connected to), system, or an address",
    ),
    one(
        "UPSTREAM_TIMEOUT",
        "s",
        "",
        "time limit from the end of a request to the head of the upstream's answer",
    ),
    one(
        "UPSTREAM_CONNECT_TIMEOUT",
        "s",
        "5s",
        "time limit for a connection to the upstream, including name resolution",
    ),
    one("UPSTREAM_CONNECTIONS", "number", "4096", "limit of open connections to the upstream"),
    one(
        "FORWARDED_HEADERS",
        "word",
        "append",
        "append (`X-Forwarded-For`, `-Proto` and `-Host` name the client) or off",
    ),
    one(
        "MAX_CONNECTIONS",
        "number",
        "4096",
        "limit of open connections to the probe listener; lower if the container's memory does not suffice",
    ),
    one("HEAD_TIMEOUT", "s", "10s", "time limit for a request's head"),
    one("IDLE_TIMEOUT", "s", "75s", "time limit between two requests of a connection"),
    one(
        "MAX_HEAD_SIZE",
        "size",
        "16KiB",
        "limit of a request's head, 1KiB to 1MiB; 64KiB by default with `UPSTREAM`",
    ),
    one(
        "SHUTDOWN_DELAY",
        "s",
        "0s",
        "how long the service keeps answering after a signal, without being ready",
    ),
    one("SHUTDOWN_GRACE", "s", "5s", "time for requests in progress after that"),
    one("WORKER_THREADS", "number", "1", "number of worker threads, 1 to 64"),
    one("STRICT", "bool", "false", "whether warnings about variables are errors that prevent the start"),
    one("LOG_FORMAT", "word", "text on a terminal, json elsewhere", "json or text"),
    one("LOG_LEVEL", "word", "info", "error, warn, info, debug or trace"),
    one("POD_NAME", "text", "", "name of this Pod, from the downward API"),
    one("POD_NAMESPACE", "text", "", "its namespace"),
    one("NODE_NAME", "text", "", "its node"),
];
