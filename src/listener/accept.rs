//! The accept loop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{debug, error, warn};

use super::budget::{Reservation, Share};
use super::counted::Counted;
use super::partitioned::{PartitionedListener, reset_on_close};
use super::places::{Places, is_loopback};
use super::state::ConnectionState;
use super::{Service, Stage, connection};
use crate::telemetry::metrics::{Limit, Metrics};

/// How long to wait before accepting again after the process ran out of file descriptors or memory for sockets.
const REST: Duration = Duration::from_millis(100);

/// How long connections may take to end after the drain's end.
const SLACK: Duration = Duration::from_millis(200);

/// Memory of an idle connection, in bytes: its task and state, and the kernel's socket.
const IDLE_MEMORY: usize = 6 << 10;

/// Serves connections until the stage is [`Stage::Draining`], then waits for those that are open, at most until the
/// drain's end.
pub async fn serve(mut listener: PartitionedListener, service: Service) {
    let mut watched = service.conditions.clone();
    let service = Arc::new(service);
    let mut connections = JoinSet::new();
    let mut places = Places::default();
    let until = loop {
        let conditions = *watched.borrow_and_update();
        if let Stage::Draining(until) = conditions.stage {
            break until;
        }
        let is_applied = apply(&mut listener, &service, conditions.link.whole.map(|cut| cut.cut));
        tokio::select! {
            biased;
            changed = watched.changed() => {
                if changed.is_err() {
                    break Instant::now();
                }
            }
            Some(ended) = connections.join_next() => report(ended),
            () = sleep(REST), if !is_applied => {}
            accepted = listener.accept(), if connections.len() < service.files && !conditions.is_starved => match accepted {
                Ok((socket, peer)) => {
                    if !has_place(&mut places, connections.len(), peer, &service) {
                        service.metrics.limit(Limit::Connections);
                        refuse(&socket, peer, "a connection above the limit is reset");
                    } else if let Some((state, idle)) = reserve(&socket, peer, &service) {
                        let counted = Counted::new(service.listener_metrics.clone());
                        let serving = connection::serve(socket, state.clone(), service.clone(), idle, counted);
                        let task = connections.spawn(serving);
                        if service.fairness.is_some() {
                            places.add(state, task);
                        }
                        if connections.len() == service.files {
                            service.metrics.limit(Limit::Descriptors);
                            warn!(listener = %service.name, connections = service.files, "no file descriptors are left; waiting");
                        }
                    } else {
                        refuse(&socket, peer, "no memory is left for the connection");
                    }
                }
                Err(error) => rest(&error, &service.metrics, &mut connections).await,
            }
        }
    };
    service.listener_metrics.set_up(false);
    drop(listener);
    while let Ok(Some(ended)) = timeout_at(until + SLACK, connections.join_next()).await {
        report(ended);
    }
}

/// Applies the partition, if any, to the listening socket. Where that fails, it is to be tried again.
fn apply(listener: &mut PartitionedListener, service: &Service, cut: Option<crate::fault::Cut>) -> bool {
    let result = listener.set(cut);
    if let Err(error) = &result {
        let (name, address) = (&service.name, listener.local_addr());
        error!(%error, listener = %name, %address, "the partition cannot be applied to the listening socket; trying again");
    }
    service.listener_metrics.set_up(cut.is_none() && listener.is_open());
    result.is_ok()
}

/// Whether the limits allow one more connection from `peer`.
fn has_place(places: &mut Places, open: usize, peer: SocketAddr, service: &Service) -> bool {
    match service.fairness {
        Some(fairness) => places.admit(peer.ip(), service.limits.connections, fairness),
        None => open < service.limits.connections,
    }
}

/// The state of a connection and a reservation of the memory that it takes while idle; `None` where no memory is left.
fn reserve(
    socket: &TcpStream,
    peer: SocketAddr,
    service: &Service,
) -> Option<(Arc<ConnectionState>, Reservation)> {
    let privileged = service.fairness.is_some() && is_loopback(peer.ip());
    let state = ConnectionState::new(peer, socket.local_addr().ok(), privileged, service.budget.clone());
    let idle = service.budget.try_reserve(IDLE_MEMORY, state.share());
    // The client may be the kubelet, which only its request shows.
    let idle = idle.or_else(|| service.budget.reserve(IDLE_MEMORY, Share::Reserved))?;
    Some((state, idle))
}

fn refuse(socket: &TcpStream, peer: SocketAddr, why: &str) {
    debug!(%peer, "{why}");
    reset_on_close(socket);
}

/// Waits after a failed accept, until the next one may succeed.
async fn rest(error: &io::Error, metrics: &Metrics, connections: &mut JoinSet<()>) {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    // The client has left before it was accepted.
    if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
        return;
    }
    metrics.limit(Limit::Descriptors);
    warn!(%error, "cannot accept; waiting");
    tokio::select! {
        () = sleep(REST) => {}
        Some(ended) = connections.join_next() => report(ended),
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && !error.is_cancelled()
    {
        error!(%error, "a connection's task failed");
    }
}
