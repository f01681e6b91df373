//! What the command was asked for.

use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use lexopt::{Arg, Parser};

use crate::fault::Target;
use crate::prober::{AddressError, DEFAULT_TIMEOUT, Header, HeaderError, Probe};
use crate::units::{self, Bare, UnitError};

use super::report::Output;

const DEFAULT_EVERY: Duration = Duration::from_secs(1);
const DEFAULT_PORT: u16 = 8080;

/// What to do.
#[derive(Debug)]
pub(super) enum Request {
    /// Print the help.
    Help,
    /// Probe.
    Probe(Box<Arguments>),
}

/// A checked command line.
#[derive(Debug)]
pub(super) struct Arguments {
    /// What is probed, as it is printed.
    pub(super) address: String,
    pub(super) probe: Probe,
    pub(super) timeout: Duration,
    pub(super) schedule: Schedule,
    pub(super) output: Output,
}

/// When to probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Schedule {
    /// One attempt.
    Once,
    /// Until a success, or until a failure.
    Until { success: bool, every: Duration, limit: Option<Duration> },
    /// Until the limit.
    Observe { every: Duration, limit: Option<Duration> },
}

/// What is wrong with the command line or with the environment that it leans on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum UsageError {
    Option(String),
    Extra(String),
    NoValue(String),
    Parser(String),
    Unicode(String),
    Duration(&'static str, String, UnitError),
    Zero(&'static str, String),
    Choice(&'static str, String, &'static str),
    Header(String, HeaderError),
    Address(String, AddressError),
    Lonely(&'static str),
    Port(String),
    BindAddress(String),
    NoTrafficPath,
    Path(String),
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option(name) => write!(
                f,
                "{name} is not an option; there are --timeout, --header, --until, --every, --for, --output and --help"
            ),
            Self::Extra(value) => write!(f, "{value:?} is one argument too many; give one address"),
            Self::NoValue(option) => write!(f, "{option} needs a value"),
            Self::Parser(message) => f.write_str(message),
            Self::Unicode(name) => write!(f, "{name} is not valid UTF-8"),
            Self::Duration(option, value, error) => write!(f, "{option} {value:?} {error}"),
            Self::Zero(option, value) => write!(f, "{option} {value:?} has to be above 0"),
            Self::Choice(option, value, choices) => write!(f, "{option} {value:?} is not one of {choices}"),
            Self::Header(value, error) => write!(f, "--header {value:?} {error}"),
            Self::Address(value, error) => write!(f, "{value:?} {error}"),
            Self::Lonely(option) => write!(f, "{option} needs --until or --every beside it"),
            Self::Port(value) => {
                write!(f, "PORT={value:?} is not a port from 1 to 65535 that could be probed")
            }
            Self::BindAddress(value) => write!(f, "BIND_ADDRESS={value:?} is not an IP address"),
            Self::NoTrafficPath => {
                f.write_str("traffic has no path of its own; set TRAFFIC_PATHS, such as /api/*")
            }
            Self::Path(value) => {
                write!(f, "TRAFFIC_PATHS={value:?} does not begin with a path such as /api/*")
            }
        }
    }
}

impl std::error::Error for UsageError {}

/// Options as they were written.
#[derive(Default)]
struct Raw {
    address: Option<String>,
    timeout: Option<Duration>,
    headers: Vec<Header>,
    until: Option<bool>,
    every: Option<Duration>,
    limit: Option<Duration>,
    output: Output,
    help: bool,
}

/// Reads the arguments after the command's name. Without an address the environment tells which.
pub(super) fn parse(
    args: impl IntoIterator<Item = OsString>,
    env: &[(OsString, OsString)],
) -> Result<Request, Vec<UsageError>> {
    let mut errors = Vec::new();
    let raw = read(args, &mut errors);
    if raw.help {
        return Ok(Request::Help);
    }
    let schedule = match (raw.until, raw.every) {
        (Some(success), every) => {
            Schedule::Until { success, every: every.unwrap_or(DEFAULT_EVERY), limit: raw.limit }
        }
        (None, Some(every)) => Schedule::Observe { every, limit: raw.limit },
        (None, None) => {
            // A value that was refused is not also a value that is missing.
            if raw.limit.is_some() && errors.is_empty() {
                errors.push(UsageError::Lonely("--for"));
            }
            Schedule::Once
        }
    };
    let address = match raw.address.as_deref().map_or(Some(Target::Readiness), Target::from_name) {
        Some(target) => own_address(target, env, &mut errors),
        None => raw.address,
    };
    let probe = address.as_ref().and_then(|address| {
        Probe::parse(address, raw.headers)
            .map_err(|error| errors.push(UsageError::Address(address.clone(), error)))
            .ok()
    });
    match (address, probe) {
        (Some(address), Some(probe)) if errors.is_empty() => Ok(Request::Probe(Box::new(Arguments {
            address,
            probe,
            timeout: raw.timeout.unwrap_or(DEFAULT_TIMEOUT),
            schedule,
            output: raw.output,
        }))),
        _ => Err(errors),
    }
}

fn read(args: impl IntoIterator<Item = OsString>, errors: &mut Vec<UsageError>) -> Raw {
    let mut parser = Parser::from_args(args);
    let mut raw = Raw::default();
    loop {
        let option = match parser.next() {
            Ok(Some(Arg::Value(value))) => {
                match (text("the address", value, errors), &raw.address) {
                    (Some(value), Some(_)) => errors.push(UsageError::Extra(value)),
                    (value, _) => raw.address = value,
                }
                continue;
            }
            Ok(Some(Arg::Short('h') | Arg::Long("help"))) => {
                raw.help = true;
                continue;
            }
            Ok(Some(Arg::Short(short))) => format!("-{short}"),
            Ok(Some(Arg::Long(long))) => format!("--{long}"),
            Ok(None) => return raw,
            Err(error) => {
                errors.push(UsageError::Parser(error.to_string()));
                continue;
            }
        };
        let known = ["--timeout", "--header", "--until", "--every", "--for", "--output"];
        let Some(option) = known.into_iter().find(|known| *known == option) else {
            // A value of an unknown option is no error of its own.
            let _ = parser.optional_value();
            errors.push(UsageError::Option(option));
            continue;
        };
        let Ok(value) = parser.value() else {
            errors.push(UsageError::NoValue(option.to_owned()));
            continue;
        };
        if let Some(value) = text(option, value, errors) {
            raw.take(option, value, errors);
        }
    }
}

impl Raw {
    fn take(&mut self, option: &'static str, value: String, errors: &mut Vec<UsageError>) {
        match option {
            "--header" => match value.parse() {
                Ok(header) => self.headers.push(header),
                Err(error) => errors.push(UsageError::Header(value, error)),
            },
            "--until" => match value.as_str() {
                "success" => self.until = Some(true),
                "failure" => self.until = Some(false),
                _ => errors.push(UsageError::Choice(option, value, "success, failure")),
            },
            "--output" => match value.as_str() {
                "text" => self.output = Output::Text,
                "json" => self.output = Output::Json,
                _ => errors.push(UsageError::Choice(option, value, "text, json")),
            },
            _ => match units::duration(&value, Bare::Seconds) {
                Err(error) => errors.push(UsageError::Duration(option, value, error)),
                Ok(Duration::ZERO) => errors.push(UsageError::Zero(option, value)),
                Ok(duration) => {
                    *match option {
                        "--timeout" => &mut self.timeout,
                        "--every" => &mut self.every,
                        _ => &mut self.limit,
                    } = Some(duration);
                }
            },
        }
    }
}

fn text(name: &str, value: OsString, errors: &mut Vec<UsageError>) -> Option<String> {
    value.into_string().map_err(|_| errors.push(UsageError::Unicode(name.to_owned()))).ok()
}

/// The address of a target of the service that runs with the same environment.
fn own_address(target: Target, env: &[(OsString, OsString)], errors: &mut Vec<UsageError>) -> Option<String> {
    let mut get = |wanted: &str| {
        let (_, value) = env.iter().find(|(name, _)| name == wanted)?;
        let value = text(wanted, value.clone(), errors)?.trim().to_owned();
        (!value.is_empty()).then_some(value)
    };
    let (port, ip, paths) = (get("PORT"), get("BIND_ADDRESS"), get("TRAFFIC_PATHS"));
    let before = errors.len();
    let port = port.map_or(DEFAULT_PORT, |value| {
        let port = value.parse().ok().filter(|port| *port > 0);
        port.unwrap_or_else(|| {
            errors.push(UsageError::Port(value));
            DEFAULT_PORT
        })
    });
    let ip = match ip.map(|value| value.parse::<IpAddr>().map_err(|_| value)) {
        None => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Some(Ok(IpAddr::V4(ip))) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Some(Ok(IpAddr::V6(ip))) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        Some(Ok(ip)) => ip,
        Some(Err(value)) => {
            errors.push(UsageError::BindAddress(value));
            IpAddr::V4(Ipv4Addr::LOCALHOST)
        }
    };
    let path = match target {
        Target::Liveness => "/healthz".to_owned(),
        Target::Readiness => "/readyz".to_owned(),
        Target::Startup => "/startupz".to_owned(),
        Target::Dependency => "/dependency".to_owned(),
        Target::Traffic => traffic_path(paths).unwrap_or_else(|error| {
            errors.push(error);
            String::new()
        }),
    };
    (errors.len() == before).then(|| format!("http://{}{path}", SocketAddr::new(ip, port)))
}

fn traffic_path(paths: Option<String>) -> Result<String, UsageError> {
    let paths = paths.ok_or(UsageError::NoTrafficPath)?;
    match paths.split(',').next().map(str::trim) {
        // The prefix itself is one of its paths.
        Some(path) if path.starts_with('/') => Ok(path.strip_suffix('*').unwrap_or(path).to_owned()),
        _ => Err(UsageError::Path(paths)),
    }
}
