//! The variables of the service itself, which create no rules.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::raw::ServiceVariables;
use super::reader::{ParseResult, Parsed, VariableReader, boolean, duration, ip, up_to, value_of, word};
use crate::env::{BindAddress, Files, Identity, Limits, LogFormat, ProcessSettings, Token};
use crate::fault::Target;
use crate::plan::error::{ConfigError, Reason};
use crate::plan::whole;
use crate::units::{self, Bare};

/// The default paths of targets.
const PATHS: &[(&str, Target)] = &[
    ("/healthz", Target::Liveness),
    ("/livez", Target::Liveness),
    ("/liveness", Target::Liveness),
    ("/readyz", Target::Readiness),
    ("/readiness", Target::Readiness),
    ("/startupz", Target::Startup),
    ("/dependency", Target::Dependency),
];

/// Paths that are never faulted.
const RESERVED: &[&str] = &["/", "/metrics"];

const LEVELS: &[(&str, tracing::Level)] = &[
    ("error", tracing::Level::ERROR),
    ("warn", tracing::Level::WARN),
    ("info", tracing::Level::INFO),
    ("debug", tracing::Level::DEBUG),
    ("trace", tracing::Level::TRACE),
];

/// Limits of `MAX_HEAD_SIZE`.
const HEAD_SIZES: std::ops::RangeInclusive<u64> = 1 << 10..=1 << 20;

/// Limits on clients. Requests to an upstream can have larger heads than probes, because of cookies.
pub(super) fn limits(reader: &mut VariableReader, raw: &mut ServiceVariables, behind: bool) -> Limits {
    let s = duration(Bare::Seconds);
    let head = if behind { 64 << 10 } else { 16 << 10 };
    Limits {
        connections: reader.read_or("MAX_CONNECTIONS", raw.max_connections.take(), 4096, up_to(1 << 20)),
        head_time: reader.read_or("HEAD_TIMEOUT", raw.head_timeout.take(), Duration::from_secs(10), &s),
        idle_time: reader.read_or("IDLE_TIMEOUT", raw.idle_timeout.take(), Duration::from_secs(75), &s),
        head_size: reader.read_or("MAX_HEAD_SIZE", raw.max_head_size.take(), head, head_size),
    }
}

fn head_size(text: &str) -> ParseResult<usize> {
    match units::size(text)? {
        0 => Ok((None, String::new())),
        bytes if HEAD_SIZES.contains(&bytes) => Ok((Some(bytes as usize), format!("{bytes}B"))),
        _ => Err(Reason::SizeRange("from 1KiB to 1MiB")),
    }
}

pub(super) fn process(reader: &mut VariableReader, raw: &mut ServiceVariables) -> ProcessSettings {
    let s = duration(Bare::Seconds);
    let formats = &[("json", LogFormat::Json), ("text", LogFormat::Text)];
    ProcessSettings {
        shutdown_delay: reader.read_or("SHUTDOWN_DELAY", raw.shutdown_delay.take(), Duration::ZERO, &s),
        shutdown_grace: reader.read_or(
            "SHUTDOWN_GRACE",
            raw.shutdown_grace.take(),
            Duration::from_secs(5),
            &s,
        ),
        memory: None,
        worker_threads: reader.read_or("WORKER_THREADS", raw.worker_threads.take(), 1, up_to(64)),
        log_format: value_of(reader.read("LOG_FORMAT", raw.log_format.take(), word(formats)).as_ref())
            .copied(),
        log_level: reader.read_or("LOG_LEVEL", raw.log_level.take(), tracing::Level::INFO, log_level),
    }
}

/// A log level, case-insensitive. Some loggers write `warning`.
fn log_level(text: &str) -> ParseResult<tracing::Level> {
    word(LEVELS)(if text.eq_ignore_ascii_case("warning") { "warn" } else { text })
}

pub(super) fn identity(reader: &mut VariableReader, raw: &mut ServiceVariables) -> Identity {
    let mut read = |name, raw| {
        let any = |text: &str| Ok((Some(text.to_owned()), crate::plan::error::shown(text)));
        reader.read(name, raw, any).and_then(|parsed| parsed.value().cloned())
    };
    Identity {
        pod: read("POD_NAME", raw.pod_name.take()),
        namespace: read("POD_NAMESPACE", raw.pod_namespace.take()),
        node: read("NODE_NAME", raw.node_name.take()),
    }
}

/// `ADMIN_TOKEN` or `ADMIN_TOKEN_FILE`, not both.
pub(super) fn admin_token(reader: &mut VariableReader, raw: &mut ServiceVariables) -> Option<Token> {
    let text = raw.admin_token.take().filter(|text| !text.trim().is_empty());
    let file = reader.read("ADMIN_TOKEN_FILE", raw.admin_token_file.take(), |text| {
        Ok((Some(PathBuf::from(text)), crate::plan::error::shown(text)))
    });
    let file = value_of(file.as_ref()).cloned();
    match (text, file) {
        (Some(_), Some(_)) => {
            let reason = Reason::NotWith("ADMIN_TOKEN_FILE, which is also set; keep one".to_owned());
            reader.fail(ConfigError::new("ADMIN_TOKEN", reason));
            None
        }
        (Some(text), None) => {
            let value = "a token".to_owned();
            reader.effective.push(super::Setting { name: "ADMIN_TOKEN".to_owned(), value });
            if let Some(fault) = Token::fault(&text) {
                reader.fail(ConfigError::new("ADMIN_TOKEN", Reason::File(fault.to_owned())));
            }
            Some(Token::Text(text.trim().to_owned()))
        }
        (None, file) => file.map(Token::File),
    }
}

/// `ADMIN_LOOPBACK`.
pub(super) fn admin_loopback(reader: &mut VariableReader, raw: &mut ServiceVariables) -> bool {
    reader.read_or("ADMIN_LOOPBACK", raw.admin_loopback.take(), true, boolean)
}

/// Default of `ANNOTATION_FILE`.
const ANNOTATION_FILE: &str = "/etc/downwardapi/faults";

pub(super) fn files(reader: &mut VariableReader, raw: &mut ServiceVariables) -> Files {
    let annotation_adds_proxies =
        reader.read_or("ANNOTATION_PROXIES", raw.annotation_proxies.take(), false, boolean);
    let mut read = |name, raw| {
        let path = |text: &str| Ok((Some(PathBuf::from(text)), crate::plan::error::shown(text)));
        reader.read(name, raw, path).and_then(|parsed| parsed.value().cloned())
    };
    let annotation = read("ANNOTATION_FILE", raw.annotation_file.take());
    Files {
        faults: read("FAULTS_FILE", raw.faults_file.take()),
        annotation_is_set: annotation.is_some(),
        annotation_adds_proxies,
        annotation: annotation.unwrap_or_else(|| ANNOTATION_FILE.into()),
        state: read(super::STATE_DIR, raw.state_dir.take()),
    }
}

pub(super) fn checks_dependency(
    reader: &mut VariableReader,
    raw: &mut ServiceVariables,
    default: bool,
) -> bool {
    reader.read_or("READINESS_CHECKS_DEPENDENCY", raw.readiness_checks_dependency.take(), default, boolean)
}

/// The addresses of the probe listener and of the admin listener.
pub(super) fn addresses(
    reader: &mut VariableReader,
    raw: &mut ServiceVariables,
) -> (BindAddress, BindAddress) {
    let port = reader.read("PORT", raw.port.take(), |text| {
        let port = whole(text, 0, u64::from(u16::MAX))? as u16;
        Ok((Some(port), if port == 0 { "a free one".to_owned() } else { port.to_string() }))
    });
    let bind = reader.read("BIND_ADDRESS", raw.bind_address.take(), ip);
    let admin = reader.read("ADMIN_ADDRESS", raw.admin_address.take(), socket_address);
    let probe_address = BindAddress {
        ip: value_of(bind.as_ref()).copied(),
        port: value_of(port.as_ref()).copied().unwrap_or(8080),
    };
    let admin_address = value_of(admin.as_ref()).copied().unwrap_or(BindAddress { ip: None, port: 8081 });
    let judged = [
        port.as_ref().is_some_and(Parsed::is_bad),
        bind.as_ref().is_some_and(Parsed::is_bad),
        admin.as_ref().is_some_and(Parsed::is_bad),
    ];
    if probe_address.port != 0
        && probe_address.port == admin_address.port
        && !judged.contains(&true)
        && overlap(probe_address.ip, admin_address.ip)
    {
        match (&port, &admin) {
            (Some(port), _) => {
                reader.fail(port.error(Reason::PortTaken("the admin listener (ADMIN_ADDRESS)".into())));
            }
            (None, Some(admin)) => {
                reader.fail(admin.error(Reason::PortTaken("the probe listener (PORT)".into())));
            }
            (None, None) => {}
        }
    }
    (probe_address, admin_address)
}

fn overlap(a: Option<IpAddr>, b: Option<IpAddr>) -> bool {
    let (Some(a), Some(b)) = (a, b) else { return true };
    let covers = |all: IpAddr, one: IpAddr| all.is_unspecified() && (all.is_ipv6() || one.is_ipv4());
    a == b || covers(a, b) || covers(b, a)
}

fn socket_address(text: &str) -> ParseResult<BindAddress> {
    let address = match text.strip_prefix(':') {
        Some(port) if port.bytes().all(|c| c.is_ascii_digit()) => {
            BindAddress { ip: None, port: port.parse().map_err(|_| Reason::SocketAddress)? }
        }
        _ => {
            let address: SocketAddr = text.parse().map_err(|_| Reason::SocketAddress)?;
            BindAddress { ip: Some(address.ip()), port: address.port() }
        }
    };
    Ok((Some(address), text.to_owned()))
}

/// All paths of targets. With an upstream (`behind`), no path is reserved.
pub(super) fn paths(
    reader: &mut VariableReader,
    raw: &mut ServiceVariables,
    behind: bool,
) -> Vec<(String, Target)> {
    let mut paths: Vec<(String, Target)> =
        PATHS.iter().map(|(path, target)| ((*path).to_owned(), *target)).collect();
    // The target of each route. A prefix includes its own path without the asterisk.
    let mut owners: HashMap<String, Target> = paths.iter().cloned().collect();
    for (name, parsed, target) in [
        ("LIVENESS_PATHS", raw.liveness_paths.take(), Target::Liveness),
        ("READINESS_PATHS", raw.readiness_paths.take(), Target::Readiness),
        ("STARTUP_PATHS", raw.startup_paths.take(), Target::Startup),
        ("DEPENDENCY_PATHS", raw.dependency_paths.take(), Target::Dependency),
        ("TRAFFIC_PATHS", raw.traffic_paths.take(), Target::Traffic),
    ] {
        // Invalid paths are not part of the effective value.
        let Some(list) = parsed.filter(|list| !list.trim().is_empty()) else { continue };
        let mut accepted = Vec::new();
        for path in list.split(',').map(str::trim) {
            let reserved = if behind { &[] } else { RESERVED };
            match claim(path, target, reserved, &mut owners) {
                Ok(is_new) => {
                    accepted.push(path);
                    if is_new {
                        paths.push((path.to_owned(), target));
                    }
                }
                Err(reason) => reader.fail(ConfigError::new(name, reason).value(path)),
            }
        }
        if !accepted.is_empty() {
            let value = crate::plan::error::shown(&accepted.join(", "));
            reader.effective.push(super::Setting { name: name.to_owned(), value });
        }
    }
    // A prefix includes the path without the asterisk: `/x/` beside `/x/*` would be the same route twice.
    let prefixes: Vec<String> =
        paths.iter().filter_map(|(path, _)| path.strip_suffix('*').map(str::to_owned)).collect();
    paths.retain(|(path, _)| !prefixes.contains(path));
    paths
}

/// Assigns a path to a target. Returns whether it had none before.
fn claim(
    path: &str,
    target: Target,
    reserved: &[&str],
    owners: &mut HashMap<String, Target>,
) -> Result<bool, Reason> {
    let exact = path.strip_suffix("/*").unwrap_or(path);
    let allowed = |c: u8| c.is_ascii_graphic() && !matches!(c, b'?' | b'#' | b'{' | b'}' | b'*');
    if !path.starts_with('/') || !exact.bytes().all(allowed) {
        return Err(Reason::Path);
    }
    if reserved.contains(&path) {
        return Err(Reason::ReservedPath);
    }
    let routes = match path.strip_suffix('*') {
        Some(prefix) => vec![path, prefix],
        None => vec![path],
    };
    if let Some(other) = routes.iter().filter_map(|route| owners.get(*route)).find(|owner| **owner != target)
    {
        return Err(Reason::PathTaken(other.name()));
    }
    let is_new = !owners.contains_key(path);
    owners.extend(routes.iter().map(|route| ((*route).to_owned(), target)));
    Ok(is_new)
}
