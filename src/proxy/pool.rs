//! Idle HTTP/1.1 connections to an upstream.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use axum::body::Body;
use hyper::client::conn::http1::SendRequest;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until};

use super::connect::Source;
use super::stream::UpstreamStream;
use crate::listener::ConnectionHandle;
use crate::listener::budget::Reservation;
use crate::task;

/// How long an idle connection is kept. Many applications close idle connections after five seconds or more, and a new
/// connection is cheap.
pub(super) const IDLE: Duration = Duration::from_secs(10);

/// How often idle connections are checked. One that the upstream has closed holds its descriptor and memory until then.
const CHECK: Duration = Duration::from_secs(1);

/// Limit of the idle time of a connection for a request that must not be sent twice. The upstream is unlikely to close
/// such a connection at that moment.
pub(super) const FRESH: Duration = Duration::from_secs(1);

/// Maximum age of a connection to a host name or a Unix socket, so that a change of its address takes effect.
pub(super) const MAX_AGE: Duration = Duration::from_secs(60);

/// A connection without a request in progress.
#[derive(Debug)]
pub(super) struct Pooled {
    pub(super) link: PooledLink,
    pub(super) source: Source,
    /// The only client that has used it; `None` if several have.
    pub(super) owner: Option<ConnectionHandle>,
    pub(super) created: Instant,
    /// Memory reserved while it is idle.
    pub(super) memory: Option<Reservation>,
}

/// Who drives a connection.
#[derive(Debug)]
pub(super) enum PooledLink {
    /// hyper, in a task.
    Hyper(SendRequest<Body>),
    /// Nobody: it has carried only plain requests. It counts as open while it has its permit.
    Bare(UpstreamStream, OwnedSemaphorePermit),
}

impl Pooled {
    fn is_bare(&self) -> bool {
        matches!(self.link, PooledLink::Bare(..))
    }

    /// Whether the upstream has closed it, or sent something that nobody has asked for.
    fn is_closed(&self) -> bool {
        match &self.link {
            PooledLink::Hyper(sender) => sender.is_closed(),
            PooledLink::Bare(stream, _) => !stream.is_quiet(),
        }
    }
}

/// What was found for a plain request.
pub(super) enum Taken {
    /// A connection that nobody drives.
    Bare(Pooled),
    /// All idle connections are driven by hyper.
    OnlyHyper,
    None,
}

/// The idle connections to one upstream.
#[derive(Clone, Debug)]
pub(super) struct Pool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    idle: Mutex<Idle>,
    /// Whether connections have a maximum age.
    limits_age: bool,
}

#[derive(Debug, Default)]
struct Idle {
    /// The most recently used one is last.
    connections: Vec<(Instant, Pooled)>,
    /// Whether a task is running that closes connections.
    watched: bool,
}

impl Pool {
    pub(super) fn new(limits_age: bool) -> Self {
        Self(Arc::new(Inner { idle: Mutex::default(), limits_age }))
    }

    /// Takes a connection for a request of `client`. If the request is not repeatable, another client must not have used the
    /// connection.
    pub(super) fn take(
        &self,
        source: Source,
        client: Option<&ConnectionHandle>,
        repeatable: bool,
    ) -> Option<Pooled> {
        let mut idle = self.0.lock();
        // Plain requests need the bare ones.
        idle.take(source, client, repeatable, |pooled| !pooled.is_bare())
            .or_else(|| idle.take(source, client, repeatable, Pooled::is_bare))
    }

    /// Takes a connection that nobody drives for a plain request of `client`.
    pub(super) fn take_bare(&self, source: Source, client: &ConnectionHandle) -> Taken {
        let mut idle = self.0.lock();
        while let Some(pooled) = idle.take(source, Some(client), true, Pooled::is_bare) {
            if !pooled.is_closed() {
                return Taken::Bare(pooled);
            }
        }
        let has_hyper =
            idle.connections.iter().any(|(_, pooled)| pooled.source == source && !pooled.is_closed());
        if has_hyper { Taken::OnlyHyper } else { Taken::None }
    }

    /// Returns a connection whose request has ended.
    pub(super) fn put(&self, pooled: Pooled) {
        if pooled.is_closed() || (self.0.limits_age && pooled.created.elapsed() > MAX_AGE) {
            return;
        }
        let mut idle = self.0.lock();
        if idle.connections.len() == idle.connections.capacity() {
            idle.connections.retain(|(_, pooled)| !pooled.is_closed());
        }
        idle.connections.push((Instant::now(), pooled));
        if !std::mem::replace(&mut idle.watched, true) {
            task::spawn(watch(Arc::downgrade(&self.0)));
        }
    }

    /// Closes the connection that has been idle the longest. Returns whether there was one.
    pub(super) fn evict(&self) -> bool {
        let mut idle = self.0.lock();
        let is_there = !idle.connections.is_empty();
        if is_there {
            idle.connections.remove(0);
        }
        is_there
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.lock().connections.len()
    }
}

impl Idle {
    /// Takes the connection for which `suits` that was used last, one of `client` if there is one.
    fn take(
        &mut self,
        source: Source,
        client: Option<&ConnectionHandle>,
        repeatable: bool,
        suits: impl Fn(&Pooled) -> bool,
    ) -> Option<Pooled> {
        let connections = &mut self.connections;
        let is_own = |pooled: &Pooled| {
            pooled.owner.as_ref().zip(client).is_some_and(|(owner, client)| owner.is_same(client))
        };
        let own = connections.iter().rposition(|(since, pooled)| {
            is_own(pooled)
                && pooled.source == source
                && suits(pooled)
                && (repeatable || since.elapsed() < FRESH)
        });
        let any = || {
            connections.iter().rposition(|(_, pooled)| repeatable && pooled.source == source && suits(pooled))
        };
        let position = own.or_else(any)?;
        let (_, mut pooled) = connections.remove(position);
        if own.is_none() {
            pooled.owner = None;
        }
        // The request has its own reservation.
        pooled.memory = None;
        Some(pooled)
    }
}

impl Inner {
    fn lock(&self) -> std::sync::MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes connections that have been idle too long or that the upstream has closed. Returns when none is left.
async fn watch(pool: Weak<Inner>) {
    loop {
        let next = {
            let Some(pool) = pool.upgrade() else { return };
            let mut idle = pool.lock();
            let now = Instant::now();
            idle.connections.retain(|(since, pooled)| *since + IDLE > now && !pooled.is_closed());
            let Some((since, _)) = idle.connections.first() else {
                *idle = Idle::default();
                return;
            };
            (*since + IDLE).min(now + CHECK)
        };
        sleep_until(next).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper_util::rt::TokioIo;

    async fn pooled(source: Source) -> (Pooled, tokio::io::DuplexStream) {
        let (near, far) = tokio::io::duplex(64);
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(near)).await.unwrap();
        tokio::spawn(connection);
        (
            Pooled {
                link: PooledLink::Hyper(sender),
                source,
                owner: None,
                created: Instant::now(),
                memory: None,
            },
            far,
        )
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_not_repeatable_gets_no_connection_that_others_have_used() {
        let pool = Pool::new(false);
        let (one, _far) = pooled(None).await;
        pool.put(one);
        assert!(pool.take(None, None, false).is_none());
        assert!(pool.take(Some([10, 0, 0, 1].into()), None, true).is_none(), "another source");
        assert!(pool.take(None, None, true).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn idle_connections_are_closed_and_the_pool_releases_its_memory() {
        let pool = Pool::new(false);
        let (one, _far) = pooled(None).await;
        pool.put(one);
        tokio::time::sleep(IDLE / 2).await;
        let (two, _other) = pooled(None).await;
        pool.put(two);
        tokio::time::sleep(IDLE / 2 + Duration::from_millis(1)).await;
        assert_eq!(pool.len(), 1);
        tokio::time::sleep(IDLE).await;
        assert_eq!((pool.len(), pool.0.lock().watched), (0, false));
    }

    #[tokio::test(start_paused = true)]
    async fn connections_that_the_upstream_has_closed_are_soon_removed() {
        let pool = Pool::new(false);
        let (one, far) = pooled(None).await;
        let (two, _other) = pooled(None).await;
        pool.put(one);
        pool.put(two);
        drop(far);
        tokio::time::sleep(CHECK + Duration::from_millis(1)).await;
        assert_eq!(pool.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_to_a_host_name_is_dropped_after_a_minute() {
        let pool = Pool::new(true);
        let (one, _far) = pooled(None).await;
        tokio::time::sleep(MAX_AGE + Duration::from_secs(1)).await;
        pool.put(one);
        assert_eq!(pool.len(), 0);
    }
}
