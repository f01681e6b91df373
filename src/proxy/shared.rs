//! HTTP/2 connections to an upstream, which carry many requests at a time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use axum::body::Body;
use hyper::client::conn::http2::SendRequest;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until};

use super::connect::Source;
use super::pool::{FRESH, IDLE, MAX_AGE};
use crate::task;

/// Limit of requests in progress on one connection; an upstream may allow fewer.
pub(super) const MAX_STREAMS: u32 = 100;

/// The connections of one upstream. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Shared(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    open: Mutex<Open>,
    /// Held while connecting, so that simultaneous requests share one connection.
    connecting: tokio::sync::Mutex<()>,
    /// Whether connections have a maximum age.
    limits_age: bool,
}

#[derive(Debug, Default)]
struct Open {
    connections: Vec<Connection>,
    /// Whether a task is running that closes connections which have been idle too long.
    watched: bool,
}

#[derive(Debug)]
struct Connection {
    sender: SendRequest<Body>,
    source: Source,
    created: Instant,
    /// How many streams its upstream allows.
    max_streams: Arc<AtomicUsize>,
    usage: Arc<Usage>,
}

/// The use of a connection. Dropping the last reference releases the permit.
#[derive(Debug)]
struct Usage {
    streams: Mutex<Streams>,
    _permit: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct Streams {
    in_progress: usize,
    last_ended: Instant,
}

/// A stream of a connection, held by a request until its answer has ended.
#[derive(Debug)]
pub(super) struct Stream(Arc<Usage>);

impl Usage {
    fn lock(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(self: &Arc<Self>) -> Stream {
        self.lock().in_progress += 1;
        Stream(self.clone())
    }

    /// When the last request ended; `None` if one is in progress.
    fn idle_since(&self) -> Option<Instant> {
        let streams = self.lock();
        (streams.in_progress == 0).then_some(streams.last_ended)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut streams = self.0.lock();
        streams.in_progress -= 1;
        streams.last_ended = Instant::now();
    }
}

impl Connection {
    fn has_room(&self) -> bool {
        let limit = self.max_streams.load(Ordering::Relaxed).clamp(1, MAX_STREAMS as usize);
        self.usage.lock().in_progress < limit
    }
}

impl Shared {
    pub(super) fn new(limits_age: bool) -> Self {
        let connecting = tokio::sync::Mutex::default();
        Self(Arc::new(Inner { open: Mutex::default(), connecting, limits_age }))
    }

    /// Takes a stream of an open connection. A request that is not repeatable does not get a connection that has been idle
    /// for a while, because its upstream may close it at that moment.
    pub(super) fn take(&self, source: Source, repeatable: bool) -> Option<(SendRequest<Body>, Stream)> {
        let mut open = self.0.lock();
        open.connections.retain(|connection| {
            let is_old = self.0.limits_age && connection.created.elapsed() > MAX_AGE;
            let idle = connection.usage.idle_since().map(|since| since.elapsed());
            let is_doubtful = !repeatable && connection.source == source && idle > Some(FRESH);
            // A removed connection closes after its last request.
            !connection.sender.is_closed() && !is_old && !is_doubtful
        });
        let connection = open
            .connections
            .iter()
            .find(|connection| connection.source == source && connection.has_room())?;
        Some((connection.sender.clone(), connection.usage.begin()))
    }

    /// Waits until no other request is connecting.
    pub(super) async fn connecting(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.0.connecting.lock().await
    }

    /// Adds a connection, on which the upstream allows `max_streams` streams, and takes a stream of it.
    pub(super) fn add(
        &self,
        sender: SendRequest<Body>,
        source: Source,
        max_streams: Arc<AtomicUsize>,
        permit: OwnedSemaphorePermit,
    ) -> (SendRequest<Body>, Stream) {
        let now = Instant::now();
        let streams = Mutex::new(Streams { in_progress: 0, last_ended: now });
        let usage = Arc::new(Usage { streams, _permit: permit });
        let stream = usage.begin();
        let mut open = self.0.lock();
        let connection = Connection { sender: sender.clone(), source, created: now, max_streams, usage };
        open.connections.push(connection);
        if !std::mem::replace(&mut open.watched, true) {
            task::spawn(watch(Arc::downgrade(&self.0)));
        }
        (sender, stream)
    }

    /// Sends no more requests on the connection of `stream`.
    pub(super) fn retire(&self, stream: &Stream) {
        self.0.lock().connections.retain(|connection| !Arc::ptr_eq(&connection.usage, &stream.0));
    }

    /// Closes the connection that has been idle the longest. Returns whether there was one.
    pub(super) fn evict(&self) -> bool {
        let mut open = self.0.lock();
        let idle = open.connections.iter().enumerate().filter_map(|(position, connection)| {
            connection.usage.idle_since().map(|since| (since, position))
        });
        let Some((_, position)) = idle.min() else { return false };
        open.connections.swap_remove(position);
        true
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes connections that have been idle too long. Returns when none is left.
async fn watch(shared: Weak<Inner>) {
    loop {
        let next = {
            let Some(shared) = shared.upgrade() else { return };
            let mut open = shared.lock();
            let now = Instant::now();
            let ends = |connection: &Connection| {
                connection.usage.idle_since().map_or(now + IDLE, |since| since + IDLE)
            };
            open.connections.retain(|connection| !connection.sender.is_closed() && ends(connection) > now);
            let Some(next) = open.connections.iter().map(ends).min() else {
                *open = Open::default();
                return;
            };
            next
        };
        sleep_until(next).await;
    }
}
