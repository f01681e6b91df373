//! The accept loop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet, yield_now};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{debug, error, warn};

use super::budget::{BudgetShare, Reservation};
use super::connection::REQUEST_MEMORY;
use super::counted::CountedConnection;
use super::partitioned::{PartitionedListener, reset_on_close};
use super::places::{Places, SOME, is_loopback};
use super::state::{Claim, ConnectionState};
use super::{Conditions, ListenerService, ProcessStage, connection};
use crate::fault::Client;
use crate::telemetry::metrics::{Limit, ListenerMetrics, Metrics, SocketState};

/// Pause before accepting again when the process is out of file descriptors or socket memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Time for connections to end after the drain deadline.
const DRAIN_SLACK: Duration = Duration::from_millis(200);

/// Memory of an idle connection, in bytes: its task and state, and the kernel's socket.
const IDLE_MEMORY: usize = 7 << 10;

/// How often an accepted connection is offered again while others give their memory back.
const OFFERS: usize = 3;

/// What became of an accepted connection.
#[derive(Debug)]
pub enum Taken {
    /// It is served or refused.
    Done,
    /// The same, and another connection was ended for it.
    InPlaceOfAnother,
    /// Another connection was ended for it, whose memory is not free yet: to be offered again.
    Later(TcpStream),
}

/// Limits, conditions and counters of an accept loop.
#[derive(Debug)]
pub struct AcceptControl {
    /// The listener's name in the log.
    pub name: Arc<str>,
    /// Limit of open connections, so that file descriptors remain for others.
    pub files: usize,
    /// The listener's own counters.
    pub listener_metrics: Arc<ListenerMetrics>,
    /// Counts how often a limit cut a client short.
    pub metrics: Arc<Metrics>,
    /// Partition and stage.
    pub conditions: watch::Receiver<Conditions>,
}

/// Serves connections until the stage is [`ProcessStage::Draining`], then waits for open connections until the drain
/// deadline at most.
pub async fn serve(listener: PartitionedListener, service: ListenerService) {
    let accept_control = AcceptControl {
        name: service.name.clone(),
        // One more, for which another connection gives up its place.
        files: service.files.saturating_add(1),
        listener_metrics: service.listener_metrics.clone(),
        metrics: service.metrics.clone(),
        conditions: service.conditions.clone(),
    };
    let service = Arc::new(service);
    let mut places = Places::default();
    accept(listener, accept_control, |connections, socket, peer| {
        let (has_place, mut has_ended_one) = place(&mut places, connections.len(), peer, &service);
        if !has_place {
            refuse(&socket, peer, "connection reset: the limit of connections is reached");
        } else if let Some((state, idle)) = reserve(&socket, peer, &service) {
            let counted = CountedConnection::new(service.listener_metrics.clone());
            let serving = connection::serve(socket, state.clone(), service.clone(), idle, counted);
            let lacks = || service.budget.try_reserve(REQUEST_MEMORY, BudgetShare::Ordinary).is_none();
            if service.fairness.is_none() && (state.refuses(Client::Other) || lacks()) {
                // Its request, and others, shall find more memory than what is kept for the kubelet.
                has_ended_one |= places.make_room(Claim::Silent, SOME, &service.metrics);
            }
            places.add(state, connections.spawn(serving));
        } else if places.make_room(Claim::Resting, usize::MAX, &service.metrics) {
            return Taken::Later(socket);
        } else {
            lacks_memory(&socket, peer, &service.metrics);
        }
        if has_ended_one { Taken::InPlaceOfAnother } else { Taken::Done }
    })
    .await;
}

/// Accepts connections until the stage is [`ProcessStage::Draining`], and hands each to `take`, which may spawn a task
/// for it. Then waits for the tasks, at most until the drain's end.
pub async fn accept(
    mut listener: PartitionedListener,
    mut accept_control: AcceptControl,
    mut take: impl FnMut(&mut JoinSet<()>, TcpStream, SocketAddr) -> Taken,
) {
    let mut connections = JoinSet::new();
    let mut socket_state = SocketState::new(accept_control.listener_metrics.clone());
    let until = loop {
        let conditions = *accept_control.conditions.borrow_and_update();
        if let ProcessStage::Draining(until) = conditions.stage {
            break until;
        }
        let is_handed_over = conditions.stage == ProcessStage::HandingOver;
        let cut = conditions.link.whole.map(|cut| cut.cut);
        let is_applied = is_handed_over || apply(&mut listener, &accept_control, cut);
        socket_state.set(cut.is_none() && listener.is_open());
        tokio::select! {
            biased;
            changed = accept_control.conditions.changed() => {
                if changed.is_err() {
                    break Instant::now();
                }
            }
            Some(ended) = connections.join_next() => report(ended),
            () = sleep(ACCEPT_PAUSE), if !is_applied => {}
            accepted = listener.accept(), if connections.len() < accept_control.files && !conditions.lacks_descriptors && !is_handed_over => match accepted {
                Ok((socket, peer)) => {
                    let mut taken = take(&mut connections, socket, peer);
                    for _ in 1..OFFERS {
                        let Taken::Later(socket) = taken else { break };
                        // The other connection gives its memory back.
                        yield_now().await;
                        taken = take(&mut connections, socket, peer);
                    }
                    if let Taken::Later(socket) = &taken {
                        lacks_memory(socket, peer, &accept_control.metrics);
                    }
                    if matches!(taken, Taken::Done) && connections.len() == accept_control.files {
                        accept_control.metrics.limit(Limit::Descriptors);
                        warn!(listener = %accept_control.name, connections = accept_control.files, "no file descriptors are left; waiting");
                    }
                }
                // Who has taken the socket from an application has shut it down. What is left would keep its port from one that
                // does not set SO_REUSEADDR.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => listener.close(),
                Err(error) => pause(&error, &accept_control.metrics, &mut connections).await,
            }
        }
    };
    drop((socket_state, listener));
    while let Ok(Some(ended)) = timeout_at(until + DRAIN_SLACK, connections.join_next()).await {
        report(ended);
    }
}

/// Applies the partition, if any, to the listening socket. Returns false if it must be retried.
fn apply(
    listener: &mut PartitionedListener,
    accept_control: &AcceptControl,
    cut: Option<crate::fault::Cut>,
) -> bool {
    let result = listener.set(cut);
    if let Err(error) = &result {
        let (name, address) = (&accept_control.name, listener.local_addr());
        error!(%error, listener = %name, %address, "the partition cannot be applied to the listening socket; trying again");
    }
    result.is_ok()
}

/// Whether the limits allow another connection from `peer` beside `open` ones, and whether one has ended for it. Counts
/// what they do not allow.
fn place(places: &mut Places, open: usize, peer: SocketAddr, service: &ListenerService) -> (bool, bool) {
    let total = service.limits.connections;
    if let Some(fairness) = service.fairness {
        let has_place = places.admit(peer.ip(), total, fairness, &service.metrics);
        return (has_place, has_place);
    }
    let has_ended_one =
        open >= total.min(service.files) && places.make_room(Claim::Resting, SOME, &service.metrics);
    // Without a file descriptor for another one, the next has to wait.
    let has_place = open < total || has_ended_one;
    if !has_place {
        service.metrics.limit(Limit::Connections);
    }
    (has_place, has_ended_one)
}

/// The state of a connection with memory reserved for its idle state; `None` if no memory is left.
fn reserve(
    socket: &TcpStream,
    peer: SocketAddr,
    service: &ListenerService,
) -> Option<(Arc<ConnectionState>, Reservation)> {
    let privileged = service.fairness.is_some() && is_loopback(peer.ip());
    let (local, budget) = (socket.local_addr().ok(), service.budget.clone());
    let state = ConnectionState::new(peer, local, privileged, budget, service.limits.head_size);
    let idle = service.budget.try_reserve(IDLE_MEMORY, state.share());
    // The client may be the kubelet; only its request shows that.
    state.set_only_kubelet(idle.is_none());
    let idle = idle.or_else(|| service.budget.try_reserve(IDLE_MEMORY, BudgetShare::Unknown))?;
    Some((state, idle))
}

/// Ends a connection that is not served with a reset.
pub(crate) fn refuse(socket: &TcpStream, peer: SocketAddr, why: &str) {
    debug!(%peer, "{why}");
    reset_on_close(socket);
}

fn lacks_memory(socket: &TcpStream, peer: SocketAddr, metrics: &Metrics) {
    metrics.limit(Limit::Memory);
    refuse(socket, peer, "connection reset: no memory is left for it");
}

/// Waits after a failed accept until the next may succeed.
async fn pause(error: &io::Error, metrics: &Metrics, connections: &mut JoinSet<()>) {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    // The client left before it was accepted.
    if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
        return;
    }
    metrics.limit(Limit::Descriptors);
    warn!(%error, "cannot accept; waiting");
    tokio::select! {
        () = sleep(ACCEPT_PAUSE) => {}
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
