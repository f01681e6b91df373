//! The accept loop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{debug, error, warn};

use super::partitioned::{PartitionedListener, reset_on_close};
use super::{Service, Stage, connection};
use crate::telemetry::metrics::{Limit, Metrics};

/// How long accepting rests when the process has run out of file descriptors or memory for sockets.
const REST: Duration = Duration::from_millis(100);

/// How long after the end of a drain its connections may take to notice.
const SLACK: Duration = Duration::from_millis(200);

/// Serves connections until the stage is [`Stage::Draining`], then waits for those that are open, at most until the
/// drain's end.
pub async fn serve(mut gate: PartitionedListener, mut service: Service) {
    let mut connections = JoinSet::new();
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
                    if connections.len() >= service.limits.connections {
                        refuse(&socket, peer, &service.metrics);
                    } else {
                        spawn(&mut connections, socket, peer, &service);
                        if connections.len() == service.files {
                            service.metrics.limit(Limit::Descriptors);
                            warn!(connections = service.files, "no file descriptors to spare; waiting");
                        }
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

fn spawn(connections: &mut JoinSet<()>, socket: TcpStream, peer: SocketAddr, service: &Service) {
    let counted = service.faulted.is_some().then(|| Counted::new(service.metrics.clone()));
    connections.spawn(connection::serve(socket, peer, service.clone(), counted));
}

fn refuse(socket: &TcpStream, peer: SocketAddr, metrics: &Metrics) {
    metrics.limit(Limit::Connections);
    debug!(%peer, "a connection above the limit is reset");
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
    if let Err(error) = ended {
        error!(%error, "a connection's task failed");
    }
}

/// One open connection in the metrics.
pub(super) struct Counted(Arc<Metrics>);

impl Counted {
    fn new(metrics: Arc<Metrics>) -> Self {
        metrics.connections(1);
        Self(metrics)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections(-1);
    }
}
