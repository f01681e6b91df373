//! Opening a connection, and the TCP probe, which does no more.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};

use super::address::Endpoint;
use super::outcome::{AttemptEnd, Phase};
use super::quote::os_error;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct DialError {
    /// [`Phase::Resolve`] or [`Phase::Connect`].
    pub(super) phase: Phase,
    /// In Go's words, from `dial tcp` on.
    pub(super) message: String,
}

/// Connects to the first address of the host that accepts. `phase` is kept up to date.
///
/// Go tries a second address family while the first is silent; here they take turns.
pub(super) async fn dial(endpoint: &Endpoint, phase: &mut Phase) -> Result<TcpStream, DialError> {
    *phase = Phase::Resolve;
    let addresses = match endpoint.host.parse::<IpAddr>() {
        Ok(ip) => vec![SocketAddr::new(ip, endpoint.port)],
        Err(_) => match lookup_host((endpoint.host.as_str(), endpoint.port)).await {
            Ok(found) => found.collect(),
            Err(error) => return Err(unresolved(endpoint, &lookup_message(&error))),
        },
    };
    *phase = Phase::Connect;
    let mut first = None;
    for address in addresses {
        match connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => first = first.or(Some((address, error))),
        }
    }
    Err(match first {
        Some((address, error)) => DialError {
            phase: Phase::Connect,
            message: format!("dial tcp {address}: connect: {}", os_error(&error)),
        },
        None => unresolved(endpoint, "no such host"),
    })
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    // The kubelet sets SO_LINGER to 1 s here: its close() then waits for the server to acknowledge the FIN. No server can
    // tell, and here the only thread would wait.
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn unresolved(endpoint: &Endpoint, reason: &str) -> DialError {
    let message = format!("dial tcp: lookup {}: {reason}", endpoint.host);
    DialError { phase: Phase::Resolve, message }
}

fn lookup_message(error: &io::Error) -> String {
    let text = error.to_string();
    let reason = text.rsplit(": ").next().unwrap_or(&text).to_lowercase();
    // glibc and musl say it differently.
    if ["not known", "does not resolve", "no address"].iter().any(|known| reason.contains(known)) {
        return "no such host".to_owned();
    }
    reason
}

/// A TCP probe: connected is success.
pub(super) async fn attempt(endpoint: &Endpoint, deadline: Instant) -> AttemptEnd {
    let mut phase = Phase::Resolve;
    match timeout_at(deadline, dial(endpoint, &mut phase)).await {
        Ok(Ok(_closed_at_once)) => AttemptEnd::success(None),
        Ok(Err(error)) => AttemptEnd::failure(error.phase, error.message),
        Err(_) => {
            let message = match phase {
                Phase::Resolve => format!("dial tcp: lookup {}: i/o timeout", endpoint.host),
                _ => format!("dial tcp {endpoint}: i/o timeout"),
            };
            AttemptEnd::failure(phase, message)
        }
    }
}
