//! The variables of the environment: names, units, defaults, meanings.

use serde::Deserialize;

use crate::fault::Target;
use crate::units::Bare;

/// One variable.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Its name; of a fault variable, without prefix.
    pub name: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// What holds where it is not set.
    pub default: &'static str,
    /// What it does.
    pub meaning: &'static str,
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A duration, with the unit of a bare number.
    Duration(Bare),
    /// A share in percent.
    Percent,
    /// A whole number, or a text.
    Plain,
    /// Never shown.
    Secret,
}

const fn variable(name: &'static str, kind: Kind, default: &'static str, meaning: &'static str) -> Variable {
    Variable { name, kind, default, meaning }
}

const MILLISECONDS: Kind = Kind::Duration(Bare::Milliseconds);
const SECONDS: Kind = Kind::Duration(Bare::Seconds);
const MINUTES: Kind = Kind::Duration(Bare::Minutes);

/// Variables that a prefix makes act on one target.
pub const FAULT_VARIABLES: [Variable; 20] = [
    variable(
        "FAILURE_RATE",
        Kind::Percent,
        "",
        "share of the requests that fail; unprefixed: liveness, readiness, startup, traffic",
    ),
    variable("FAILURE_BURST", Kind::Plain, "", "mean run of consecutive failures of that rate"),
    variable("FAIL_AFTER_TIME", SECONDS, "", "fails from then on; unprefixed: liveness, readiness"),
    variable("FAIL_FOR", SECONDS, "for ever", "how long it fails"),
    variable("FAIL_EVERY", SECONDS, "once", "period in which that repeats"),
    variable(
        "FAIL_AFTER_REQUESTS",
        Kind::Plain,
        "",
        "fails after so many requests; unprefixed: liveness, readiness",
    ),
    variable(
        "FAIL_COUNT",
        Kind::Plain,
        "",
        "the original's name of it; does nothing without `RECOVERY_PERIOD`",
    ),
    variable("FAIL_REQUESTS", Kind::Plain, "all", "how many requests fail then"),
    variable("RECOVERY_PERIOD", Kind::Plain, "", "the original's name of it"),
    variable("LATENCY", MILLISECONDS, "", "delay of each answer; unprefixed: all targets"),
    variable("LATENCY_JITTER", MILLISECONDS, "", "spread of the delay"),
    variable(
        "LATENCY_DISTRIBUTION",
        Kind::Plain,
        "uniform",
        "`uniform`, `normal`, `lognormal` (median `LATENCY`, and `LATENCY_P99`) or `exponential` (mean `LATENCY`)",
    ),
    variable("LATENCY_P50", MILLISECONDS, "", "median of a table of percentiles"),
    variable("LATENCY_P90", MILLISECONDS, "", "its 90th percentile"),
    variable("LATENCY_P99", MILLISECONDS, "", "its 99th percentile"),
    variable("FAILURE_MODE", Kind::Plain, "`status`", "what a failing request gets, see the table of modes"),
    variable("FAILURE_STATUS", Kind::Plain, "500", "its status code"),
    variable("FAILURE_BODY", Kind::Plain, "16", "bytes of a body before its fault, such as `11KiB`"),
    variable("FAILURE_DRIP", SECONDS, "5s", "how long a dripping body takes"),
    variable("FAILURE_LOCATION", Kind::Plain, "another host", "where a redirect leads"),
];

/// Variables of the service as a whole.
pub const SERVICE_VARIABLES: [Variable; 37] = [
    variable("STARTUP_DELAY", SECONDS, "", "startup, readiness and liveness fail until then"),
    variable("FAIL_DEPENDENCY", Kind::Plain, "false", "`/dependency` fails, and readiness with it"),
    variable("PARTITION_AFTER", MINUTES, "", "a partition begins then"),
    variable("DISCONNECT_AFTER", MINUTES, "", "the original's name of it"),
    variable("PARTITION_FOR", MINUTES, "for ever", "how long it lasts"),
    variable("RECONNECT_AFTER", MINUTES, "", "the original's name of it"),
    variable(
        "PARTITION_MODE",
        Kind::Plain,
        "`status`",
        "`status` (readiness fails), `drop`, `refuse` or `reset`",
    ),
    variable("LISTEN_DELAY", SECONDS, "", "nothing listens until then"),
    variable("FAULTS", Kind::Plain, "", "a plan in YAML or JSON, see Rules"),
    variable("SEED", Kind::Plain, "drawn", "seed of all draws"),
    variable("SEED_SCOPE", Kind::Plain, "`pod`", "`pod` mixes `POD_NAME` into the seed, `fleet` does not"),
    variable("READINESS_CHECKS_DEPENDENCY", Kind::Plain, "true", "readiness fails while its dependency does"),
    variable("PORT", Kind::Plain, "8080", "port of the probe listener; 0 takes a free one"),
    variable("BIND_ADDRESS", Kind::Plain, "all", "address of the probe listener"),
    variable("ADMIN_ADDRESS", Kind::Plain, "`:8081`", "address and port of the admin listener"),
    variable("LIVENESS_PATHS", Kind::Plain, "", "more paths, separated by commas; `/x/*` takes all below"),
    variable("READINESS_PATHS", Kind::Plain, "", "likewise"),
    variable("STARTUP_PATHS", Kind::Plain, "", "likewise"),
    variable("DEPENDENCY_PATHS", Kind::Plain, "", "likewise"),
    variable("TRAFFIC_PATHS", Kind::Plain, "", "likewise"),
    variable(
        "MAX_CONNECTIONS",
        Kind::Plain,
        "4096",
        "open connections to the probe listener; those above are reset",
    ),
    variable("HEAD_TIMEOUT", SECONDS, "10s", "time for a request's head"),
    variable("IDLE_TIMEOUT", SECONDS, "75s", "time between two requests of a connection"),
    variable("MAX_HEAD_SIZE", Kind::Plain, "16KiB", "size of a request's head"),
    variable("SHUTDOWN_DELAY", SECONDS, "0", "how long the service goes on after a signal, not ready"),
    variable("SHUTDOWN_GRACE", SECONDS, "5s", "how long requests under way may take after that"),
    variable("WORKER_THREADS", Kind::Plain, "1", "threads that serve"),
    variable("LOG_FORMAT", Kind::Plain, "`json`", "`json` or `text`"),
    variable(
        "LOG_LEVEL",
        Kind::Plain,
        "`info`",
        "`error`, `warn`, `info`, `debug` (each injection) or `trace`",
    ),
    variable("POD_NAME", Kind::Plain, "", "identity, from the downward API"),
    variable("POD_NAMESPACE", Kind::Plain, "", "likewise"),
    variable("NODE_NAME", Kind::Plain, "", "likewise"),
    // Known, so that nobody takes them for misspelt, and refused until they do something.
    variable("FAULTS_FILE", Kind::Plain, "", ""),
    variable("ADMIN_TOKEN", Kind::Secret, "", ""),
    variable("ADMIN_TOKEN_FILE", Kind::Plain, "", ""),
    variable("ANNOTATION_FILE", Kind::Plain, "", ""),
    variable("STATE_DIR", Kind::Plain, "", ""),
];

/// The variables that act on one target, with a prefix or without.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct RawFault {
    pub(super) failure_rate: Option<String>,
    pub(super) failure_burst: Option<String>,
    pub(super) fail_after_time: Option<String>,
    pub(super) fail_for: Option<String>,
    pub(super) fail_every: Option<String>,
    pub(super) fail_after_requests: Option<String>,
    pub(super) fail_count: Option<String>,
    pub(super) fail_requests: Option<String>,
    pub(super) recovery_period: Option<String>,
    pub(super) latency: Option<String>,
    pub(super) latency_jitter: Option<String>,
    pub(super) latency_distribution: Option<String>,
    pub(super) latency_p50: Option<String>,
    pub(super) latency_p90: Option<String>,
    pub(super) latency_p99: Option<String>,
    pub(super) failure_mode: Option<String>,
    pub(super) failure_status: Option<String>,
    pub(super) failure_body: Option<String>,
    pub(super) failure_drip: Option<String>,
    pub(super) failure_location: Option<String>,
}

/// The variables of the service as a whole.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct RawService {
    pub(super) startup_delay: Option<String>,
    pub(super) fail_dependency: Option<String>,
    pub(super) partition_after: Option<String>,
    pub(super) disconnect_after: Option<String>,
    pub(super) partition_for: Option<String>,
    pub(super) reconnect_after: Option<String>,
    pub(super) partition_mode: Option<String>,
    pub(super) listen_delay: Option<String>,
    pub(super) faults: Option<String>,
    pub(super) seed: Option<String>,
    pub(super) seed_scope: Option<String>,
    pub(super) readiness_checks_dependency: Option<String>,
    pub(super) port: Option<String>,
    pub(super) bind_address: Option<String>,
    pub(super) admin_address: Option<String>,
    pub(super) liveness_paths: Option<String>,
    pub(super) readiness_paths: Option<String>,
    pub(super) startup_paths: Option<String>,
    pub(super) dependency_paths: Option<String>,
    pub(super) traffic_paths: Option<String>,
    pub(super) max_connections: Option<String>,
    pub(super) head_timeout: Option<String>,
    pub(super) idle_timeout: Option<String>,
    pub(super) max_head_size: Option<String>,
    pub(super) shutdown_delay: Option<String>,
    pub(super) shutdown_grace: Option<String>,
    pub(super) worker_threads: Option<String>,
    pub(super) log_format: Option<String>,
    pub(super) log_level: Option<String>,
    pub(super) pod_name: Option<String>,
    pub(super) pod_namespace: Option<String>,
    pub(super) node_name: Option<String>,
    pub(super) faults_file: Option<String>,
    pub(super) admin_token: Option<String>,
    pub(super) admin_token_file: Option<String>,
    pub(super) annotation_file: Option<String>,
    pub(super) state_dir: Option<String>,
}

/// The prefix of a target's variables.
pub(super) fn prefix(target: Target) -> String {
    format!("{}_", target.name().to_ascii_uppercase())
}

/// All names of ours: those of the service, and the fault variables without and with each prefix.
pub(super) fn names() -> impl Iterator<Item = (String, Kind)> {
    let plain =
        SERVICE_VARIABLES.iter().chain(&FAULT_VARIABLES).map(|known| (known.name.to_owned(), known.kind));
    let prefixed = Target::ALL.into_iter().flat_map(|target| {
        FAULT_VARIABLES.iter().map(move |known| (prefix(target) + known.name, known.kind))
    });
    plain.chain(prefixed)
}
