//! Opens connections, which is all that a TCP probe does.

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
    /// Go's message, from `dial tcp` on.
    pub(super) message: String,
}

/// Connects to the first address of the host that accepts. Updates `phase`.
///
/// Go tries a second address family while the first does not answer; this function tries one after the other.
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
    // The kubelet sets SO_LINGER to 1 s, so that its close() waits until the server acknowledges the FIN. Servers cannot
    // observe that, and it would block the only thread here.
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
    // glibc and musl have different messages.
    if ["not known", "does not resolve", "no address"].iter().any(|known| reason.contains(known)) {
        return "no such host".to_owned();
    }
    reason
}

/// Makes a TCP probe, which succeeds with the connection.
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
