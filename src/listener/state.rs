//! The state of a connection, shared by its task, hyper's stream and the request handlers.

mod admission;
mod claim;
mod deadline;
mod memory;
mod multiplexed;
mod takeover;

use std::any::Any;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;

use super::budget::MemoryBudget;
use super::script::Takeover;
use super::streams::OpenStreams;
use super::tunnel::Tunnel;
use crate::engine::Injection;
use crate::fault::Client;
use admission::Admission;
pub(super) use claim::Claim;

/// A signal to the connection's task.
#[derive(Debug)]
pub(super) enum ConnectionSignal {
    /// A fault takes over the socket; earlier answers have been sent.
    Takeover(Takeover),
    /// A request must know whether its client class is cut.
    Admission,
    /// A head has started whose time is limited.
    HeadTime,
    /// A request has no answer yet; its client may give up.
    Answer,
}

/// State shared by hyper's stream, the handlers and the connection's task. All run in that task, one after the other,
/// so the lock is never contended.
#[derive(Debug)]
pub(super) struct ConnectionState {
    peer: SocketAddr,
    local: Option<SocketAddr>,
    /// Whether the peer is the operator, for whom memory is reserved.
    privileged: bool,
    budget: MemoryBudget,
    /// The largest head, in bytes.
    head_size: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "the flags are independent")]
struct Inner {
    phase: ClientPhase,
    head_noticed: bool,
    answering: bool,
    /// Since when the client reads nothing of what is sent, which may be the buffered rest of an answer that has
    /// ended.
    stalled: Option<Instant>,
    end_deferred: Option<Waker>,
    waits_until: Option<Instant>,
    takeover: Option<Takeover>,
    /// The decision on the current request, if it was made before the request was routed.
    injection: Option<Box<Injection>>,
    /// What was begun for the current request before it was routed.
    begun: Option<Box<dyn Any + Send>>,
    /// Whether a takeover was requested: the current request ends with the connection.
    handed_over: bool,
    /// Whether a reset follows what is sent.
    expects_reset: bool,
    flushed: bool,
    client: Option<Client>,
    admission: Admission,
    unread_body: bool,
    ended_by_server: bool,
    /// Whether the budget rejected what the client sends.
    out_of_memory: bool,
    /// Whether it uses the share reserved for the kubelet.
    only_kubelet: bool,
    /// Whether it has sent a complete request.
    asked: bool,
    /// Whether a handshake of TLS is done.
    within_tls: bool,
    /// Whether the current answer's body is exempt from time limits.
    patient: bool,
    /// Whether the current request continues after a half-close by the client.
    survives_half_close: bool,
    /// What follows the current answer.
    tunnel: Option<Tunnel>,
    /// Whether it has switched protocols.
    tunnelled: bool,
    /// The streams of HTTP/2; `None` over HTTP/1.
    streams: Option<Box<OpenStreams>>,
}

impl Inner {
    fn write_goes_on(&mut self) {
        if self.stalled.take().is_none() {
            return;
        }
        if let ClientPhase::Idle(since) = &mut self.phase {
            // It was sending the rest of its answer.
            *since = Instant::now();
        }
        if let Some(streams) = &self.streams {
            streams.go_on();
        }
    }
}

/// The phase of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientPhase {
    /// Idle since this instant.
    Idle(Instant),
    /// Sending a request head since this instant.
    Head(Instant),
    /// Waiting for us.
    Waiting,
    /// Nothing more is sent to it. What it still sends is discarded.
    Leaving,
}

impl ConnectionState {
    pub(super) fn new(
        peer: SocketAddr,
        local: Option<SocketAddr>,
        privileged: bool,
        budget: MemoryBudget,
        head_size: usize,
    ) -> Arc<Self> {
        let inner = Inner {
            phase: ClientPhase::Idle(Instant::now()),
            head_noticed: false,
            answering: false,
            stalled: None,
            end_deferred: None,
            waits_until: None,
            takeover: None,
            injection: None,
            begun: None,
            handed_over: false,
            expects_reset: false,
            flushed: false,
            client: None,
            admission: Admission::Free,
            unread_body: false,
            ended_by_server: false,
            out_of_memory: false,
            only_kubelet: false,
            asked: false,
            within_tls: false,
            patient: false,
            survives_half_close: false,
            tunnel: None,
            tunnelled: false,
            streams: None,
        };
        Arc::new(Self { peer, local, privileged, budget, head_size, inner: Mutex::new(inner) })
    }

    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }

    pub(super) fn local(&self) -> Option<SocketAddr> {
        self.local
    }

    pub(super) fn head_size(&self) -> usize {
        self.head_size
    }

    pub(super) fn budget(&self) -> &MemoryBudget {
        &self.budget
    }

    pub(super) fn is_sending_head(&self) -> bool {
        matches!(self.lock().phase, ClientPhase::Head(_))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that the client sends. Returns whether this starts a head.
    pub(super) fn head_begins(&self) -> bool {
        let mut inner = self.lock();
        let begins = matches!(inner.phase, ClientPhase::Idle(_));
        if begins {
            inner.phase = ClientPhase::Head(Instant::now());
            inner.head_noticed = false;
        }
        begins
    }

    pub(super) fn request_begins(&self, client: Client, unread_body: bool) {
        let mut inner = self.lock();
        inner.phase = ClientPhase::Waiting;
        inner.asked = true;
        inner.answering = false;
        inner.client = Some(client);
        inner.unread_body |= unread_body;
        inner.waits_until = None;
        inner.patient = false;
        inner.survives_half_close = false;
    }

    /// When the head began that is being received or was just received.
    pub(super) fn head_since(&self) -> Option<Instant> {
        match self.lock().phase {
            ClientPhase::Head(since) => Some(since),
            _ => None,
        }
    }

    /// Keeps the decision on the request that is about to be routed.
    pub(super) fn set_injection(&self, injection: Option<Box<Injection>>) {
        self.lock().injection = injection;
    }

    /// The decision on the current request, once.
    pub(super) fn take_injection(&self) -> Option<Box<Injection>> {
        self.lock().injection.take()
    }

    /// Keeps what was begun for the request that is about to be routed.
    pub(super) fn set_begun(&self, begun: Box<dyn Any + Send>) {
        self.lock().begun = Some(begun);
    }

    /// What was begun for the current request, once.
    pub(super) fn take_begun(&self) -> Option<Box<dyn Any + Send>> {
        self.lock().begun.take()
    }

    /// Whether it has a decision on a request that is not routed yet.
    pub(super) fn has_injection(&self) -> bool {
        self.lock().injection.is_some()
    }

    /// Records a complete request of `client` whose answer is ready.
    pub(super) fn is_answered_at_once(&self, client: Client) {
        let mut inner = self.lock();
        inner.phase = ClientPhase::Idle(Instant::now());
        inner.asked = true;
        inner.client = Some(client);
    }

    /// The handler has answered; the body is being sent.
    pub(super) fn answer_begins(&self) {
        self.lock().answering = true;
    }

    /// Whether to report the end of input only after the current request; `waker` is woken then.
    pub(super) fn defers_end(&self, waker: &Waker) -> bool {
        let mut inner = self.lock();
        let defers = inner.phase == ClientPhase::Waiting;
        if defers {
            inner.end_deferred = Some(waker.clone());
        }
        defers
    }

    pub(super) fn request_ends(&self) {
        let mut inner = self.lock();
        if inner.handed_over {
            // Its client still waits for the rest of the answer.
            return;
        }
        inner.phase = ClientPhase::Idle(Instant::now());
        inner.waits_until = None;
        inner.injection = None;
        inner.begun = None;
        if let Some(waker) = inner.end_deferred.take() {
            waker.wake();
        }
    }

    pub(super) fn write_waits(&self, waits: bool) {
        let mut inner = self.lock();
        if waits {
            inner.stalled.get_or_insert_with(Instant::now);
        } else {
            inner.write_goes_on();
        }
    }

    pub(super) fn flushed(&self) {
        let mut inner = self.lock();
        inner.write_goes_on();
        inner.flushed = true;
    }

    /// A fault takes the place of the handshake, and its client waits.
    pub(super) fn handshake_is_replaced(&self) {
        self.lock().phase = ClientPhase::Waiting;
    }

    /// The handshake is done; a request may come.
    pub(super) fn handshake_ends(&self) {
        let mut inner = self.lock();
        inner.phase = ClientPhase::Idle(Instant::now());
        inner.within_tls = true;
    }

    /// Whether the client speaks within TLS.
    pub(super) fn is_within_tls(&self) -> bool {
        self.lock().within_tls
    }

    /// The pending signal to the connection's task.
    pub(super) fn signal(&self) -> Option<ConnectionSignal> {
        let mut inner = self.lock();
        if inner.flushed
            && let Some(takeover) = inner.takeover.take()
        {
            return Some(ConnectionSignal::Takeover(takeover));
        }
        if inner.admission == Admission::Asked {
            return Some(ConnectionSignal::Admission);
        }
        match inner.phase {
            ClientPhase::Head(_) if !inner.head_noticed => {
                inner.head_noticed = true;
                Some(ConnectionSignal::HeadTime)
            }
            ClientPhase::Waiting if !inner.answering && inner.streams.is_none() => {
                Some(ConnectionSignal::Answer)
            }
            _ => None,
        }
    }

    /// Whether it has been idle since `instant` with nothing left to do.
    pub(super) fn rests_since(&self, instant: Instant) -> bool {
        let inner = self.lock();
        inner.stalled.is_none()
            && !inner.tunnelled
            && !inner.unread_body
            && matches!(inner.phase, ClientPhase::Idle(since) if since <= instant)
    }

    pub(super) fn client(&self) -> Option<Client> {
        self.lock().client
    }

    pub(super) fn has_unread_body(&self) -> bool {
        self.lock().unread_body
    }

    pub(super) fn end_by_server(&self) {
        self.lock().ended_by_server = true;
    }

    pub(super) fn was_ended_by_server(&self) -> bool {
        self.lock().ended_by_server
    }

    pub(super) fn waits_until(&self, instant: Instant) {
        self.lock().waits_until = Some(instant);
    }

    pub(super) fn waits_beyond(&self, instant: Instant) -> bool {
        let inner = self.lock();
        inner.streams.as_ref().map_or_else(
            || inner.waits_until.is_some_and(|until| until > instant),
            |streams| streams.wait_beyond(instant),
        )
    }

    /// Extends the client's time limits by a silence.
    pub(super) fn forgive(&self, silence: Duration) {
        let mut inner = self.lock();
        if let Some(since) = &mut inner.stalled {
            *since += silence;
        }
        if let Some(streams) = &inner.streams {
            streams.forgive(silence);
        }
        match &mut inner.phase {
            ClientPhase::Idle(since) | ClientPhase::Head(since) => *since += silence,
            ClientPhase::Waiting | ClientPhase::Leaving => {}
        }
    }

    /// Whether the client reads nothing of what is sent.
    pub(super) fn is_stalled(&self) -> bool {
        self.lock().stalled.is_some()
    }
}
