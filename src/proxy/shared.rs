//! Connections to an upstream that carry many requests at a time (HTTP/2).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use axum::body::Body;
use hyper::client::conn::http2::SendRequest;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until};

use super::connect::Source;
use super::pool::{FRESH, IDLE, MAX_AGE};
use crate::task;

/// The most requests under way on one connection; an upstream may allow fewer.
pub(super) const MAX_STREAMS: u32 = 100;

/// The connections of one upstream. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Shared(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    open: Mutex<Open>,
    /// Held while a connection is made, so that requests at the same time share one.
    connecting: tokio::sync::Mutex<()>,
    /// Whether connections have a maximum age.
    ages: bool,
}

#[derive(Debug, Default)]
struct Open {
    connections: Vec<Connection>,
    /// Whether a task closes those that have been idle too long.
    watched: bool,
}

#[derive(Debug)]
struct Connection {
    sender: SendRequest<Body>,
    source: Source,
    born: Instant,
    /// How many streams its upstream allows.
    most: Arc<AtomicUsize>,
    usage: Arc<Usage>,
}

/// How a connection is used. The last holder releases its permit.
#[derive(Debug)]
struct Usage {
    streams: Mutex<Streams>,
    _place: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct Streams {
    under_way: usize,
    last_ended: Instant,
}

/// A request's share of a connection, until its answer has ended.
#[derive(Debug)]
pub(super) struct Stream(Arc<Usage>);

impl Usage {
    fn lock(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(self: &Arc<Self>) -> Stream {
        self.lock().under_way += 1;
        Stream(self.clone())
    }

    /// Since when there has been no request; `None` where there is one.
    fn idle_since(&self) -> Option<Instant> {
        let streams = self.lock();
        (streams.under_way == 0).then_some(streams.last_ended)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut streams = self.0.lock();
        streams.under_way -= 1;
        streams.last_ended = Instant::now();
    }
}

impl Connection {
    fn has_room(&self) -> bool {
        let most = self.most.load(Ordering::Relaxed).clamp(1, MAX_STREAMS as usize);
        self.usage.lock().under_way < most
    }
}

impl Shared {
    pub(super) fn new(ages: bool) -> Self {
        Self(Arc::new(Inner { open: Mutex::default(), connecting: tokio::sync::Mutex::default(), ages }))
    }

    /// A share of an open connection. A request that cannot be repeated gets none that has been idle for a while: its
    /// upstream may end it at that moment.
    pub(super) fn take(&self, source: Source, repeatable: bool) -> Option<(SendRequest<Body>, Stream)> {
        let mut open = self.0.lock();
        open.connections.retain(|connection| {
            let is_old = self.0.ages && connection.born.elapsed() > MAX_AGE;
            let idle = connection.usage.idle_since().map(|since| since.elapsed());
            let is_doubtful = !repeatable && connection.source == source && idle > Some(FRESH);
            // One with requests under way ends after the last of them.
            !connection.sender.is_closed() && !is_old && !is_doubtful
        });
        let connection = open
            .connections
            .iter()
            .find(|connection| connection.source == source && connection.has_room())?;
        Some((connection.sender.clone(), connection.usage.begin()))
    }

    /// Waits for one's turn to make a connection.
    pub(super) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.0.connecting.lock().await
    }

    /// Adds a connection, on which its upstream allows `most` streams, and takes a share of it.
    pub(super) fn add(
        &self,
        sender: SendRequest<Body>,
        source: Source,
        most: Arc<AtomicUsize>,
        place: OwnedSemaphorePermit,
    ) -> (SendRequest<Body>, Stream) {
        let now = Instant::now();
        let streams = Mutex::new(Streams { under_way: 0, last_ended: now });
        let usage = Arc::new(Usage { streams, _place: place });
        let stream = usage.begin();
        let mut open = self.0.lock();
        open.connections.push(Connection { sender: sender.clone(), source, born: now, most, usage });
        if !std::mem::replace(&mut open.watched, true) {
            task::spawn(watch(Arc::downgrade(&self.0)));
        }
        (sender, stream)
    }

    /// Gives the connection of `stream` no further request.
    pub(super) fn retire(&self, stream: &Stream) {
        self.0.lock().connections.retain(|connection| !Arc::ptr_eq(&connection.usage, &stream.0));
    }

    /// Ends the connection that has been idle the longest. Returns whether there was one.
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

/// Closes connections that have been idle too long, until none is left.
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
