//! Forwards plain requests without hyper. A request that turns out to need it is continued by hyper, and not sent again.

use std::future::Future;
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::whole::{Received, pass_on};
use super::{Forwarder, Inner};
use crate::fault::UpstreamProtocol;
use crate::listener::budget::Reservation;
use crate::listener::{ConnectionHandle, PlainHead};
use crate::proxy::connect::{self, Source};
use crate::proxy::error::ForwardError;
use crate::proxy::headers;
use crate::proxy::pool::{Pooled, PooledLink, Taken};
use crate::proxy::stream::UpstreamStream;

/// The largest answer that is received without hyper, in bytes.
pub(super) const LARGEST_ANSWER: usize = 8 << 10;

/// A plain request that is being forwarded.
pub struct PlainForwarding {
    forwarder: Forwarder,
    link: Link,
    source: Source,
    /// The only client that has used the connection; `None` if several have.
    owner: Option<ConnectionHandle>,
    /// The owner of a connection that takes its place.
    client: Option<ConnectionHandle>,
    memory: Option<Reservation>,
    request: Vec<u8>,
    sent: usize,
    received: Vec<u8>,
    began: Instant,
    /// Whether the upstream has answered, or hyper continues.
    ended: bool,
}

/// A connection to the upstream, without hyper.
pub(super) struct Bare {
    pub(super) stream: UpstreamStream,
    pub(super) permit: OwnedSemaphorePermit,
    pub(super) created: Instant,
}

type Opening = Pin<Box<dyn Future<Output = Result<Bare, ForwardError>> + Send>>;

/// The connection of a plain request.
enum Link {
    Opening(Opening),
    Open {
        bare: Bare,
        /// Whether it was idle before, so that the upstream may have closed it.
        is_reused: bool,
    },
    /// There is none.
    Failed(ForwardError),
    /// It was given away.
    Gone,
}

/// What was begun for a request that hyper continues.
pub(super) struct Begun {
    pub(super) forwarder: Forwarder,
    pub(super) stage: Stage,
}

/// How far a request has come.
pub(super) enum Stage {
    /// The connection is being opened.
    Opening(Opening),
    /// The request was sent, and these bytes of the answer have arrived.
    Sent { bare: Bare, received: Bytes, is_reused: bool },
    /// Nothing was sent.
    Unsent,
    /// There is no connection.
    Failed(ForwardError),
}

/// How a plain request ended.
pub enum Forwarded {
    /// The answer was written, with this status.
    Answered(u16),
    /// Only hyper can continue.
    HandOver,
}

impl Forwarder {
    /// Whether a request can be forwarded without hyper: no field of it concerns proxies.
    pub fn takes_plain(&self, head: &PlainHead<'_>) -> bool {
        let inner = &*self.0;
        inner.address.protocol() == UpstreamProtocol::Http1
            && inner.options.timeout.is_none()
            && head.fields.iter().all(|field| headers::is_plain(field.name))
    }

    /// Begins to forward a request that it [takes](Self::takes_plain). `None` if no memory is left for it, or if hyper
    /// drives all idle connections and another one is not worth it.
    pub fn begin_plain(&self, head: &PlainHead<'_>, client: &ConnectionHandle) -> Option<PlainForwarding> {
        let inner = &*self.0;
        let reached: Option<IpAddr> = client.local().map(|local| local.ip());
        let source = connect::source(inner.options.source, inner.address.place(), reached);
        let memory = inner.memory(client)?;
        let (link, owner) = match inner.pool.take_bare(source, client) {
            Taken::Bare(Pooled { link: PooledLink::Bare(stream, permit), owner, created, .. }) => {
                (Link::Open { bare: Bare { stream, permit, created }, is_reused: true }, owner)
            }
            Taken::Bare(_) => return None,
            Taken::OnlyHyper if !inner.may_open_another() => return None,
            // If hyper's connections were always preferred, a few requests that need hyper would slow down all later ones.
            Taken::OnlyHyper | Taken::None => (Link::Opening(self.opening(source)), Some(client.clone())),
        };
        let tells = inner.options.tells_client.then(|| (client.peer().ip(), client.is_within_tls()));
        Some(PlainForwarding {
            forwarder: self.clone(),
            link,
            source,
            owner,
            client: Some(client.clone()),
            memory: Some(memory),
            request: headers::write_plain(head, tells, &inner.pseudonym),
            sent: 0,
            received: Vec::new(),
            began: Instant::now(),
            ended: false,
        })
    }

    fn opening(&self, source: Source) -> Opening {
        let inner = self.0.clone();
        Box::pin(async move {
            let (stream, permit, _) = inner.open(source, &[]).await?;
            Ok(Bare { stream, permit, created: Instant::now() })
        })
    }
}

impl Inner {
    /// Whether another connection is worth it for a plain request, although idle ones are there that hyper drives.
    fn may_open_another(&self) -> bool {
        self.answers_plainly.load(Ordering::Relaxed) && self.permits.available_permits() > 0
    }
}

impl PlainForwarding {
    /// Continues. Writes the bytes for the client to `answer`, which is empty; `closes` if its connection ends with them.
    pub fn poll(&mut self, cx: &mut Context<'_>, closes: bool, answer: &mut Vec<u8>) -> Poll<Forwarded> {
        loop {
            match &mut self.link {
                Link::Opening(opening) => {
                    self.link = match ready!(opening.as_mut().poll(cx)) {
                        Ok(bare) => Link::Open { bare, is_reused: false },
                        Err(error) => Link::Failed(error),
                    };
                }
                Link::Open { .. } => match ready!(self.poll_open(cx, closes, answer)) {
                    Received::Whole(status) => {
                        self.answered(status);
                        return Poll::Ready(Forwarded::Answered(status));
                    }
                    Received::Partly => {}
                    Received::Other => {
                        self.forwarder.0.answers_plainly.store(false, Ordering::Relaxed);
                        return Poll::Ready(Forwarded::HandOver);
                    }
                },
                Link::Failed(_) | Link::Gone => return Poll::Ready(Forwarded::HandOver),
            }
        }
    }

    /// Sends the request, and reads once.
    fn poll_open(&mut self, cx: &mut Context<'_>, closes: bool, answer: &mut Vec<u8>) -> Poll<Received> {
        let Link::Open { bare, .. } = &mut self.link else { return Poll::Ready(Received::Other) };
        let mut stream = Pin::new(&mut bare.stream);
        while self.sent < self.request.len() {
            match ready!(stream.as_mut().poll_write(cx, &self.request[self.sent..])) {
                Ok(count @ 1..) => self.sent += count,
                // The upstream may have answered before it closed the connection.
                _ => break,
            }
        }
        let mut space = [const { MaybeUninit::uninit() }; LARGEST_ANSWER];
        let mut buffer = ReadBuf::uninit(&mut space[self.received.len()..]);
        let is_read = ready!(stream.poll_read(cx, &mut buffer)).is_ok();
        let bytes = buffer.filled();
        if !is_read || bytes.is_empty() {
            return Poll::Ready(self.lost());
        }
        // Most answers arrive in one piece, which needs no memory of its own.
        if self.received.is_empty() {
            let received = pass_on(bytes, closes, answer);
            if !matches!(received, Received::Whole(_)) {
                self.received = bytes.to_vec();
            }
            return Poll::Ready(received);
        }
        self.received.extend_from_slice(bytes);
        Poll::Ready(match pass_on(&self.received, closes, answer) {
            Received::Partly if self.received.len() == LARGEST_ANSWER => Received::Other,
            received => received,
        })
    }

    /// The connection has ended. A request whose answer has not begun is sent once more if the connection was idle before:
    /// the upstream may have closed it then.
    fn lost(&mut self) -> Received {
        let Link::Open { is_reused, .. } = &self.link else { return Received::Other };
        if !self.received.is_empty() {
            return Received::Other;
        }
        self.link = if *is_reused {
            Link::Opening(self.forwarder.opening(self.source))
        } else {
            Link::Failed(ForwardError::Closed)
        };
        self.sent = 0;
        self.owner = self.client.take();
        Received::Partly
    }

    fn answered(&mut self, status: u16) {
        self.ended = true;
        let inner = &self.forwarder.0;
        inner.answers_plainly.store(true, Ordering::Relaxed);
        inner.metrics.answered(status, self.began.elapsed());
        if let Link::Open { bare, .. } = std::mem::replace(&mut self.link, Link::Gone) {
            let Bare { stream, permit, created } = bare;
            let (owner, memory) = (self.owner.take(), self.memory.take());
            inner.pool.put(Pooled {
                link: PooledLink::Bare(stream, permit),
                source: self.source,
                owner,
                created,
                memory,
            });
        }
    }

    /// Leaves the rest to the handler that hyper calls for the same request.
    pub fn hand_over(mut self, client: &ConnectionHandle) {
        self.ended = true;
        let stage = match std::mem::replace(&mut self.link, Link::Gone) {
            Link::Opening(opening) => Stage::Opening(opening),
            Link::Open { bare, is_reused } if self.sent == self.request.len() => {
                Stage::Sent { bare, received: std::mem::take(&mut self.received).into(), is_reused }
            }
            Link::Failed(error) => Stage::Failed(error),
            // The upstream has no whole request, which it does not answer.
            Link::Open { .. } | Link::Gone => Stage::Unsent,
        };
        // The handler reserves its own.
        self.memory = None;
        client.set_begun(Box::new(Begun { forwarder: self.forwarder.clone(), stage }));
    }
}

impl Drop for PlainForwarding {
    fn drop(&mut self) {
        if !self.ended {
            self.forwarder.0.metrics.unanswered();
        }
    }
}
