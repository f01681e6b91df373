//! A handler's view of the connection, and of the stream of HTTP/2, that its request came in on.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::futures::TaskLocalFuture;
use tokio::task_local;
use tokio::time::Instant;

use super::budget::{Reservation, Share};
use super::script::{Script, StreamReset};
use super::state::ConnectionState;
use super::streams::StreamState;
use super::tunnel::Tunnel;
use crate::fault::Client;

/// Longer than any process lives.
const FOR_EVER: Duration = Duration::from_secs(1 << 32);

task_local! {
    /// The connection that the task serves. An extension would cost each request an allocation and a hash.
    static CURRENT: ConnectionHandle;
}

/// A handler's view of the connection that its request came in on.
#[derive(Clone, Debug)]
pub struct ConnectionHandle {
    pub(super) connection: Arc<ConnectionState>,
    /// The stream of the request; `None` over HTTP/1.
    pub(super) stream: Option<Arc<StreamState>>,
}

/// How a request ended that a [`Script`] answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The head was sent.
    HeadSent,
    /// The connection was ended without a head.
    NoHead,
    /// The client left before a head.
    ClientGone,
}

/// A fault that HTTP cannot express: the script replaces the answer, and the connection ends with it.
pub struct Takeover {
    /// What is done on the socket.
    pub script: Script,
    /// Told once what became of the request.
    pub report: Box<dyn FnOnce(Ended) + Send>,
}

impl fmt::Debug for Takeover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Takeover").field("script", &self.script).finish_non_exhaustive()
    }
}

impl ConnectionHandle {
    /// That of the request under way; `None` where it came in on no connection, as in a test of a router.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Self::clone).ok()
    }

    /// Makes this the current connection for the time that `connection`, or a task for one of its requests, is polled.
    pub fn serves<F: Future>(self, connection: F) -> TaskLocalFuture<Self, F> {
        CURRENT.scope(self, connection)
    }

    /// Makes this the current connection for the time of one poll.
    pub(super) fn enter<T>(&self, poll: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self.clone(), poll)
    }

    /// The address of the client.
    pub fn peer(&self) -> SocketAddr {
        self.connection.peer()
    }

    /// Whether the connection carries several requests at a time (HTTP/2), so that a fault may strike the stream of one.
    pub fn is_multiplexed(&self) -> bool {
        self.stream.is_some()
    }

    /// The address that the client reached; `None` where the system does not say.
    pub fn local(&self) -> Option<SocketAddr> {
        self.connection.local()
    }

    /// Says that the request waits at least until then, so that a drain that ends earlier need not wait for it.
    pub fn waits_until(&self, instant: Instant) {
        match &self.stream {
            Some(stream) => stream.waits_until(instant),
            None => self.connection.waits_until(instant),
        }
    }

    /// Says that the request waits until its client gives up.
    pub fn waits_for_ever(&self) {
        self.waits_until(Instant::now() + FOR_EVER);
    }

    /// Hands the connection over. Earlier answers are sent first. The handler never continues, and other streams of the
    /// connection are lost.
    pub async fn take_over(&self, takeover: Takeover) -> Infallible {
        self.hand_over(takeover);
        std::future::pending().await
    }

    /// Hands the connection over, from within an answer's body, which yields nothing more. What it has yielded is sent
    /// first.
    pub fn hand_over(&self, takeover: Takeover) {
        self.connection.hand_over(takeover);
    }

    /// Says that the answer ends in a reset, which discards what has not been sent: from now on, little waits in the
    /// kernel. A stream of HTTP/2 has no such buffer of its own.
    pub fn expects_reset(&self) {
        if self.stream.is_none() {
            self.connection.expects_reset();
        }
    }

    /// Ends the request's stream in place of an answer. The handler never continues. Only where the connection
    /// [is multiplexed](Self::is_multiplexed).
    pub async fn reset_stream(&self, reset: StreamReset) -> Infallible {
        if let Some(stream) = &self.stream {
            stream.reset(reset);
        }
        std::future::pending().await
    }

    /// Reserves memory for an answer or a body of this connection's request. Where it does not fit, the refusal is
    /// counted.
    pub fn reserve(&self, bytes: usize) -> Option<Reservation> {
        self.connection.budget().reserve(bytes, self.connection.bulk_share())
    }

    /// Reserves memory for the request under way beyond what its connection has reserved for it, such as for a connection
    /// of its own to an upstream. Requests of the kubelet draw from the share that is kept for it.
    pub fn reserve_for_request(&self, bytes: usize) -> Option<Reservation> {
        let is_kubelet = self.connection.client() == Some(Client::Kubelet);
        let share = if is_kubelet { Share::Reserved } else { self.connection.share() };
        self.connection.budget().reserve(bytes, share)
    }

    /// Whether this is the same connection.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.connection, &other.connection)
    }

    /// Lets the client take its time over the answer of the request under way: its body may last for ever.
    pub fn is_patient(&self) {
        match &self.stream {
            Some(stream) => stream.is_patient(),
            None => self.connection.is_patient(),
        }
    }

    /// Takes the end of the client's side for half a close: the request is complete and waits for its answer until
    /// that is there, or the connection breaks. Not so for kubelets, which close the whole connection at their timeout.
    pub fn survives_half_close(&self) {
        if self.stream.is_none() {
            self.connection.survives_half_close();
        }
    }

    /// Hands the connection over once the answer under way, `101 Switching Protocols`, is out. HTTP/2 has no such answer.
    pub fn tunnel(&self, tunnel: Tunnel) {
        if self.stream.is_none() {
            self.connection.tunnel(tunnel);
        }
    }

    /// Whether the server, not the client, has ended the connection.
    pub fn ended_by_server(&self) -> bool {
        self.connection.was_ended_by_server()
    }
}
