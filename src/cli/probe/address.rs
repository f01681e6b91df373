//! The address of a target of the service with the same environment.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;

use crate::fault::Target;

/// The service's `PORT` unless set.
const DEFAULT_PORT: u16 = 8080;

/// Why the environment does not determine an address.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum EnvironmentError {
    #[error("{0} is not valid UTF-8")]
    Unicode(&'static str),
    #[error("PORT={0:?} is not a port from 1 to 65535")]
    Port(String),
    #[error("BIND_ADDRESS={0:?} is not an IP address")]
    BindAddress(String),
    #[error("traffic has no default path; set TRAFFIC_PATHS, for example to /api/*")]
    NoTrafficPath,
    #[error("TRAFFIC_PATHS={0:?} does not begin with a path such as /api/*")]
    TrafficPath(String),
}

/// The URL of a target, from the variables of the service.
pub(super) fn of_target(
    target: Target,
    env: &[(OsString, OsString)],
) -> Result<String, Vec<EnvironmentError>> {
    let get = |wanted: &'static str| {
        let Some((_, value)) = env.iter().find(|(name, _)| name == wanted) else { return Ok(None) };
        let value = value.to_str().ok_or(EnvironmentError::Unicode(wanted))?.trim();
        Ok(Some(value.to_owned()).filter(|value| !value.is_empty()))
    };
    let mut errors = Vec::new();
    let port = get("PORT").and_then(port).map_err(|error| errors.push(error));
    let ip = get("BIND_ADDRESS").and_then(ip).map_err(|error| errors.push(error));
    let path = match target {
        Target::Liveness => Ok("/healthz".to_owned()),
        Target::Readiness => Ok("/readyz".to_owned()),
        Target::Startup => Ok("/startupz".to_owned()),
        Target::Dependency => Ok("/dependency".to_owned()),
        Target::Traffic => get("TRAFFIC_PATHS").and_then(traffic_path).map_err(|error| errors.push(error)),
    };
    match (port, ip, path) {
        (Ok(port), Ok(ip), Ok(path)) => Ok(format!("http://{}{path}", SocketAddr::new(ip, port))),
        _ => Err(errors),
    }
}

fn port(value: Option<String>) -> Result<u16, EnvironmentError> {
    let Some(value) = value else { return Ok(DEFAULT_PORT) };
    value.parse().ok().filter(|port| *port > 0).ok_or(EnvironmentError::Port(value))
}

/// An address to connect to: loopback if the service is bound to all addresses.
fn ip(value: Option<String>) -> Result<IpAddr, EnvironmentError> {
    let Some(value) = value else { return Ok(Ipv4Addr::LOCALHOST.into()) };
    Ok(match value.parse().map_err(|_| EnvironmentError::BindAddress(value))? {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    })
}

fn traffic_path(paths: Option<String>) -> Result<String, EnvironmentError> {
    let paths = paths.ok_or(EnvironmentError::NoTrafficPath)?;
    match paths.split(',').next().map(str::trim) {
        // A pattern such as /api/* includes /api/ itself.
        Some(path) if path.starts_with('/') => Ok(path.strip_suffix('*').unwrap_or(path).to_owned()),
        _ => Err(EnvironmentError::TrafficPath(paths)),
    }
}
