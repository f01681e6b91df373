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
use super::handle::ConnectionState;
use super::partitioned::{PartitionedListener, reset_on_close};
use super::places::{Places, is_loopback};
use super::{Service, Stage, connection};
use crate::telemetry::metrics::{Limit, Metrics};

/// How long accepting rests when the process has run out of file descriptors or memory for sockets.
const REST: Duration = Duration::from_millis(100);

/// How long after the end of a drain its connections may take to notice.
const SLACK: Duration = Duration::from_millis(200);

/// Memory of an idle connection, in bytes: its task and state, and the kernel's socket.
const IDLE_MEMORY: usize = 6 << 10;

/// Serves connections until the stage is [`Stage::Draining`], then waits for those that are open, at most until the
/// drain's end.
pub async fn serve(mut gate: PartitionedListener, mut service: Service) {
    let mut connections = JoinSet::new();
    let mut places = Places::default();
    let until = loop {
        let conditions = *service.conditions.borrow_and_update();
        if let Stage::Draining(until) = conditions.stage {
            break until;
        }
        let obeys = apply(&mut gate, &service, conditions.link.whole.map(|cut| cut.cut));
        tokio::select! {
            biased;
            changed = service.conditions.changed() => {
                if changed.is_err() {
                    break Instant::now();
                }
            }
            Some(ended) = connections.join_next() => report(ended),
            () = sleep(REST), if !obeys => {}
            accepted = gate.accept(), if connections.len() < service.files => match accepted {
                Ok((socket, peer)) => {
                    if !has_place(&mut places, connections.len(), peer, &service) {
                        service.metrics.limit(Limit::Connections);
                        refuse(&socket, peer, "a connection above the limit is reset");
                    } else if let Some((state, idle)) = reserve(&socket, peer, &service) {
                        let counted = service.faulted.is_some().then(|| Counted::new(service.metrics.clone()));
                        let serving = connection::serve(socket, state.clone(), service.clone(), idle, counted);
                        let task = connections.spawn(serving);
                        if service.fairness.is_some() {
                            places.add(state, task);
                        }
                        if connections.len() == service.files {
                            service.metrics.limit(Limit::Descriptors);
                            warn!(connections = service.files, "no file descriptors to spare; waiting");
                        }
                    } else {
                        refuse(&socket, peer, "no memory is left for a connection");
                    }
                }
                Err(error) => rest(&error, &service.metrics, &mut connections).await,
            }
        }
    };
    if service.faulted.is_some() {
        service.metrics.set_listener_up(false);
    }
    drop(gate);
    while let Ok(Some(ended)) = timeout_at(until + SLACK, connections.join_next()).await {
        report(ended);
    }
}

/// Whether the gate does what the partition says; otherwise it is to be tried again.
fn apply(gate: &mut PartitionedListener, service: &Service, cut: Option<crate::fault::Cut>) -> bool {
    let result = gate.set(cut);
    if let Err(error) = &result {
        error!(%error, address = %gate.local_addr(), "the listening socket does not obey");
    }
    if service.faulted.is_some() {
        service.metrics.set_listener_up(cut.is_none() && gate.is_open());
    }
    result.is_ok()
}

/// Whether the limits leave a place to a connection from `peer`.
fn has_place(places: &mut Places, open: usize, peer: SocketAddr, service: &Service) -> bool {
    match service.fairness {
        Some(fairness) => places.admit(peer.ip(), service.limits.connections, fairness),
        None => open < service.limits.connections,
    }
}

/// The state of a connection, with the memory that it takes while it is idle; `None` where none is left.
fn reserve(
    socket: &TcpStream,
    peer: SocketAddr,
    service: &Service,
) -> Option<(Arc<ConnectionState>, Reservation)> {
    let privileged = service.fairness.is_some() && is_loopback(peer.ip());
    let state = ConnectionState::new(peer, socket.local_addr().ok(), privileged, service.budget.clone());
    let idle = service.budget.try_reserve(IDLE_MEMORY, state.share());
    // The kubelet may be the next; whether it is, its request tells.
    let idle = idle.or_else(|| service.budget.reserve(IDLE_MEMORY, Share::Reserved))?;
    Some((state, idle))
}

fn refuse(socket: &TcpStream, peer: SocketAddr, why: &str) {
    debug!(%peer, "{why}");
    reset_on_close(socket);
}

/// Waits until accepting may work again.
async fn rest(error: &io::Error, metrics: &Metrics, connections: &mut JoinSet<()>) {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    // The client has left the queue again.
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
