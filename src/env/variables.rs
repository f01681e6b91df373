//! The table of variables, which the documentation and the help are made of.

use crate::fault::Target;

/// A variable of the environment.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Its name, without a prefix.
    pub name: &'static str,
    /// The targets whose prefix (`LIVENESS_`) it takes.
    pub prefixes: &'static [Target],
    /// The unit of a bare number, or the kind of value.
    pub unit: &'static str,
    /// Its default; empty: none.
    pub default: &'static str,
    /// What it does.
    pub meaning: &'static str,
}

impl Variable {
    /// Whether rules come from it: the first of the table, up to `FAULTS`.
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

/// Options of `serve` that set a variable: the option without its dashes, the variable, what the help calls its value.
pub const FLAGS: &[(&str, &str, &str)] = &[
    ("port", "PORT", "PORT"),
    ("bind", "BIND_ADDRESS", "ADDRESS"),
    ("admin", "ADMIN_ADDRESS", "ADDRESS:PORT"),
    ("faults", "FAULTS_FILE", "FILE"),
    ("seed", "SEED", "NUMBER"),
    ("log-format", "LOG_FORMAT", "json|text"),
];

/// Pairs of names for the same thing, of which only one may be set.
pub(super) const SYNONYMS: &[(&str, &str)] = &[
    ("FAIL_AFTER_REQUESTS", "FAIL_COUNT"),
    ("FAIL_REQUESTS", "RECOVERY_PERIOD"),
    ("PARTITION_AFTER", "DISCONNECT_AFTER"),
    ("PARTITION_FOR", "RECONNECT_AFTER"),
    ("ADMIN_TOKEN", "ADMIN_TOKEN_FILE"),
];

/// All variables. 0 and empty mean unset, but for `PORT`, `SEED`, `FAILURE_BODY`, `EXIT_CODE` and booleans.
pub const VARIABLES: &[Variable] = &[
    each("FAILURE_RATE", "%", "", "share of the requests that fail; unprefixed: all targets but dependency"),
    each("FAILURE_BURST", "requests", "", "mean run of consecutive failures of `FAILURE_RATE`"),
    each("FAIL_AFTER_TIME", "s", "", "fails from then on; unprefixed: liveness, readiness"),
    each("FAIL_FOR", "s", "", "length of the failing window; alone, from the start"),
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
    each("FAIL_REQUESTS", "requests", "", "how many requests fail; alone, the first ones"),
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
        ..each("STARTUP_DELAY", "s", "", "startup, readiness and liveness fail until then")
    },
    one("FAIL_DEPENDENCY", "bool", "", "the dependency fails, and readiness with it"),
    each("FAILURE_MODE", "word", "status", "mode of every failure"),
    each("FAILURE_STATUS", "code", "500", "status code of every failure"),
    each("FAILURE_BODY", "size", "16B", "bytes of the body before a body fault strikes; 0 is none"),
    each("FAILURE_DRIP", "s", "5s", "how long a body takes in mode drip"),
    each("FAILURE_LOCATION", "URL", "http://probesim.invalid/", "where mode redirect leads"),
    each("FAILURE_SPEED", "B/s", "1KiB", "bytes of the body per second in mode throttle"),
    each("FAILURE_SHARE", "%", "1%", "share of the body's bytes that mode corrupt changes"),
    each("FAILURE_GRPC_STATUS", "word", "UNAVAILABLE", "status of mode grpc, by name or number"),
    each("FAILURE_GRPC_MESSAGE", "text", "", "message of mode grpc; without one, a line that names the rule"),
    one("PARTITION_AFTER", "min", "", "the network is cut from then on"),
    one("DISCONNECT_AFTER", "min", "", "the original's name of `PARTITION_AFTER`; needs `RECONNECT_AFTER`"),
    one("PARTITION_FOR", "min", "", "how long the cut lasts; alone, from the start"),
    one("RECONNECT_AFTER", "min", "", "the original's name of `PARTITION_FOR`; needs a beginning"),
    one("PARTITION_MODE", "word", "status", "status (readiness fails), drop, refuse or reset"),
    one("LISTEN_DELAY", "s", "", "nothing listens on the probe address until then"),
    one("EXIT_AFTER", "s", "", "the process exits this long after each start"),
    one("EXIT_CODE", "code", "1", "its exit code, 0 to 255; 0 is a value"),
    one("EXIT_RATE", "%", "", "share of the starts in which it exits; alone, right at the start"),
    one(
        "EXIT_STARTS",
        "starts",
        "",
        "it exits in this many first starts; alone, right at the start; needs `STATE_DIR`",
    ),
    one("MEMORY_SIZE", "size", "", "memory to hold; or a share of the container's limit, such as 80%"),
    one("MEMORY_AFTER", "s", "", "time from each start until it is allocated"),
    one("MEMORY_FOR", "s", "", "how long it is held; alone, from the start"),
    one("MEMORY_EVERY", "s", "", "it is allocated again with this period; needs `MEMORY_FOR`"),
    one("MEMORY_RAMP", "s", "", "how long it takes to grow"),
    one("CPU_CORES", "cores", "", "CPU time to burn, such as 0.5"),
    one("CPU_AFTER", "s", "", "time from each start until it begins"),
    one("CPU_FOR", "s", "", "how long it lasts; alone, from the start"),
    one("CPU_EVERY", "s", "", "it begins again with this period; needs `CPU_FOR`"),
    one("IGNORE_TERM", "bool", "", "SIGTERM does nothing"),
    one("SLOW_TERM", "s", "", "delay before SIGTERM takes effect; not ready meanwhile"),
    one("FAULTS", "plan", "", "a whole plan, YAML or JSON; its rules come first"),
    one("FAULTS_FILE", "path", "", "a file with a plan, watched"),
    one(
        "ANNOTATION_FILE",
        "path",
        "/etc/downwardapi/faults",
        "a file with a plan from an annotation of the Pod, watched",
    ),
    one("STATE_DIR", "path", "", "a directory in which origins and counts outlive the container"),
    one("SEED", "number", "drawn at start", "seed of all draws; wins over the plan's"),
    one("SEED_SCOPE", "word", "pod", "pod (the Pod's name is mixed in) or fleet"),
    one("PORT", "port", "8080", "port of the probe listener; 0 takes a free one"),
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
        "self-signed: the probe listener and HTTP proxies speak TLS with a certificate made at the start",
    ),
    one("TLS_CERT_FILE", "path", "", "their certificate chain (PEM), watched"),
    one("TLS_KEY_FILE", "path", "", "its private key (PEM), watched"),
    one("TLS_CLIENT_CA_FILE", "path", "", "authorities (PEM); TLS clients need a certificate of one of them"),
    one("TLS_ONLY", "bool", "false", "whether clients that do not speak TLS are refused"),
    one("TLS_NAMES", "names", "", "more hosts and addresses for certificates made here, comma-separated"),
    one("REQUEST_FAULTS", "bool", "false", "whether a request may ask for a fault, by a header or its query"),
    one(
        "READINESS_CHECKS_DEPENDENCY",
        "bool",
        "true",
        "whether readiness fails while its dependency does; false by default with `UPSTREAM`",
    ),
    one("LIVENESS_PATHS", "paths", "", "more paths, comma-separated: /x, or /x/* for all below"),
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
        "named proxies, comma-separated: stock=:18090->http://stock:8080 for HTTP, db=:15432->postgres:5432 for TCP; without a host they listen on loopback",
    ),
    one(
        "UPSTREAM_CA_FILE",
        "path",
        "",
        "authorities (PEM) of the certificates of https:// upstreams, that of `UPSTREAM` and those in `PROXIES`, watched; without it, those whom the system trusts",
    ),
    one(
        "UPSTREAM_SERVER_NAME",
        "name",
        "",
        "the host that the certificate of `UPSTREAM` is for, where it is another than the address has",
    ),
    one("UPSTREAM_INSECURE", "bool", "false", "whether https:// upstreams may have any certificate"),
    one("ANNOTATION_PROXIES", "bool", "false", "whether the plan in an annotation may add proxies"),
    one("TOXIPROXY_ADDRESS", "address", "", "where toxiproxy's API listens; a port alone is one of loopback"),
    one(
        "TOXIPROXY_ALLOW",
        "networks",
        "",
        "networks that may use that API, comma-separated, beside loopback; needed where it listens elsewhere",
    ),
    one("TOXIPROXY_CONFIG", "path", "", "a file with proxies in the form of toxiproxy, added at the start"),
    one("UPSTREAM_PROBES", "bool", "true", "whether the application answers the probe paths, too"),
    one(
        "UPSTREAM_SOURCE",
        "address",
        "reached",
        "source address of connections to a loopback upstream: reached (the address that the client connected to), system, or an address",
    ),
    one("UPSTREAM_TIMEOUT", "s", "", "time from the end of a request to the head of the upstream's answer"),
    one(
        "UPSTREAM_CONNECT_TIMEOUT",
        "s",
        "5s",
        "time for a connection to the upstream, with the look-up of its name",
    ),
    one("UPSTREAM_CONNECTIONS", "number", "4096", "open connections to the upstream"),
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
        "open connections of the probe listener; fewer where the container's memory has no room for them",
    ),
    one("HEAD_TIMEOUT", "s", "10s", "time for a request's head"),
    one("IDLE_TIMEOUT", "s", "75s", "time between two requests of a connection"),
    one(
        "MAX_HEAD_SIZE",
        "size",
        "16KiB",
        "size of a request's head, 1KiB to 1MiB; 64KiB by default with `UPSTREAM`",
    ),
    one(
        "SHUTDOWN_DELAY",
        "s",
        "0s",
        "how long the service keeps answering after a signal, without being ready",
    ),
    one("SHUTDOWN_GRACE", "s", "5s", "time for requests in progress after that"),
    one("WORKER_THREADS", "number", "1", "threads that serve, 1 to 64"),
    one("STRICT", "bool", "false", "whether a warning about a variable is an error, and nothing starts"),
    one("LOG_FORMAT", "word", "text on a terminal, json elsewhere", "json or text"),
    one("LOG_LEVEL", "word", "info", "error, warn, info, debug or trace"),
    one("POD_NAME", "text", "", "name of this Pod, from the downward API"),
    one("POD_NAMESPACE", "text", "", "its namespace"),
    one("NODE_NAME", "text", "", "its node"),
];
