//! A handler's view of the connection and the HTTP/2 stream of its request.

use std::any::Any;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::futures::TaskLocalFuture;
use tokio::task_local;
use tokio::time::Instant;

use super::budget::{BudgetShare, Reservation};
use super::script::{StreamReset, Takeover};
use super::state::ConnectionState;
use super::streams::StreamState;
use super::tunnel::Tunnel;
use crate::engine::Injection;
use crate::fault::Client;

/// Answers up to this size are covered by the memory that each connection reserves.
const SMALL_ANSWER: usize = 4096;

/// Longer than the lifetime of any process.
const FOREVER: Duration = Duration::from_secs(1 << 32);

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

impl ConnectionHandle {
    /// The connection of the current request; `None` without one, as in tests of a router.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Self::clone).ok()
    }

    /// Makes this the current connection whenever `connection`, or a task for one of its requests, is polled.
    pub fn serves<F: Future>(self, connection: F) -> TaskLocalFuture<Self, F> {
        CURRENT.scope(self, connection)
    }

    /// Makes this the current connection during one poll.
    pub(super) fn enter<T>(&self, poll: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self.clone(), poll)
    }

    /// The class of the client that sent the current request.
    pub fn client(&self) -> Client {
        match &self.stream {
            Some(stream) => stream.client(),
            None => self.connection.client().unwrap_or(Client::Other),
        }
    }

    /// Keeps the decision on the current request until it is routed.
    pub fn set_injection(&self, injection: Option<Box<Injection>>) {
        match &self.stream {
            Some(stream) => stream.set_injection(injection),
            None => self.connection.set_injection(injection),
        }
    }

    /// The decision on the current request if it was made before routing; `None` if it was taken already.
    pub fn take_injection(&self) -> Option<Box<Injection>> {
        match &self.stream {
            Some(stream) => stream.take_injection(),
            None => self.connection.take_injection(),
        }
    }

    /// Keeps what was begun for a request that hyper is about to receive.
    pub fn set_begun(&self, begun: Box<dyn Any + Send>) {
        self.connection.set_begun(begun);
    }

    /// What was begun for the current request, once.
    pub fn take_begun(&self) -> Option<Box<dyn Any + Send>> {
        if self.stream.is_none() { self.connection.take_begun() } else { None }
    }

    /// The address of the client.
    pub fn peer(&self) -> SocketAddr {
        self.connection.peer()
    }

    /// Whether the client speaks within TLS.
    pub fn is_within_tls(&self) -> bool {
        self.connection.is_within_tls()
    }

    /// Whether the connection carries concurrent requests (HTTP/2), so that a fault can affect a single stream.
    pub fn is_multiplexed(&self) -> bool {
        self.stream.is_some()
    }

    /// The address that the client connected to; `None` if the system does not provide it.
    pub fn local(&self) -> Option<SocketAddr> {
        self.connection.local()
    }

    /// Announces that the request waits at least until `instant`, so that a drain with an earlier deadline need not
    /// wait for it.
    pub fn waits_until(&self, instant: Instant) {
        match &self.stream {
            Some(stream) => stream.waits_until(instant),
            None => self.connection.waits_until(instant),
        }
    }

    /// Announces that the request waits until its client gives up.
    pub fn waits_forever(&self) {
        self.waits_until(Instant::now() + FOREVER);
    }

    /// Hands the connection over. Earlier answers are sent first. The handler never continues, and other streams of
    /// the connection are lost.
    pub async fn take_over(&self, takeover: Takeover) -> Infallible {
        self.hand_over(takeover);
        std::future::pending().await
    }

    /// Hands the connection over from within an answer's body, which must not yield anything more. Bytes it has
    /// yielded are sent first.
    pub fn hand_over(&self, takeover: Takeover) {
        self.connection.hand_over(takeover);
    }

    /// Announces that the answer ends in a reset, which discards unsent bytes: from now on, the kernel's send buffer
    /// is kept small. HTTP/2 streams have no such buffer.
    pub fn expects_reset(&self) {
        if self.stream.is_none() {
            self.connection.expects_reset();
        }
    }

    /// Resets the request's stream instead of answering. The handler never continues. Only if the connection [is
    /// multiplexed](Self::is_multiplexed).
    pub async fn reset_stream(&self, reset: StreamReset) -> Infallible {
        if let Some(stream) = &self.stream {
            stream.reset(reset);
        }
        std::future::pending().await
    }

    /// Reserves memory for an answer or a body. Counts a rejection if it does not fit.
    pub fn reserve(&self, bytes: usize) -> Option<Reservation> {
        self.connection.budget().reserve(bytes, self.connection.bulk_share())
    }

    /// The text with memory reserved until it is sent; `None` when no memory is left.
    pub fn reserved(text: String) -> Option<Bytes> {
        match Self::current() {
            Some(connection) if text.len() > SMALL_ANSWER => {
                Some(connection.reserve(text.capacity())?.attach(text))
            }
            _ => Some(text.into()),
        }
    }

    /// Reserves memory for the current request beyond the connection's own reservation, for example for an upstream
    /// connection. Kubelet requests use the share reserved for them.
    pub fn reserve_for_request(&self, bytes: usize) -> Option<Reservation> {
        let is_kubelet = self.connection.client() == Some(Client::Kubelet);
        let share = if is_kubelet { BudgetShare::Reserved } else { self.connection.share() };
        self.connection.budget().reserve(bytes, share)
    }

    /// Limit of body bytes that hyper buffers per direction, in addition to the current frame.
    pub fn body_buffer(&self) -> usize {
        self.connection.head_size().max(super::MIN_BUFFER)
    }

    /// Whether this is the same connection.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.connection, &other.connection)
    }

    /// Exempts the current answer from time limits: its body may last forever.
    pub fn is_patient(&self) {
        match &self.stream {
            Some(stream) => stream.is_patient(),
            None => self.connection.is_patient(),
        }
    }

    /// Treats the end of the client's side as a half-close: the request waits for its answer until the connection
    /// breaks. This excludes kubelets, which close the whole connection at their timeout.
    pub fn survives_half_close(&self) {
        if self.stream.is_none() {
            self.connection.survives_half_close();
        }
    }

    /// Starts the tunnel after the current answer, `101 Switching Protocols`, is sent. Not available over HTTP/2.
    pub fn tunnel(&self, tunnel: Tunnel) {
        if self.stream.is_none() {
            self.connection.tunnel(tunnel);
        }
    }

    /// Whether the server, not the client, ended the connection.
    pub fn ended_by_server(&self) -> bool {
        self.connection.was_ended_by_server()
    }
}
