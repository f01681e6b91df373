//! Bodies on their way, and what hangs on their ends.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::oneshot;
use tracing::debug;

use super::pool::{Pool, Pooled};
use super::shared::Stream;
use crate::listener::ConnectionHandle;
use crate::listener::budget::Reservation;
use crate::telemetry::metrics::{UpstreamFault, UpstreamMetrics};

/// The body of a request on its way to the upstream. At its end the request is complete.
pub(super) struct Upload {
    pub(super) body: Body,
    pub(super) client: Option<ConnectionHandle>,
    pub(super) ended: Arc<AtomicBool>,
    /// Told of the end, where the time of the upstream begins with it.
    pub(super) tells: Option<oneshot::Sender<()>>,
}

impl Upload {
    fn end(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(client) = self.client.take() {
            client.survives_half_close();
        }
        if let Some(tells) = self.tells.take() {
            let _ = tells.send(());
        }
    }
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None)) || (polled.is_ready() && self.body.is_end_stream()) {
            self.end();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What a request under way has of a connection to an upstream.
pub(super) enum Lease {
    /// All of it.
    Whole {
        pooled: Pooled,
        pool: Pool,
        /// Whether the request's body has ended; `None`: it had none.
        sent: Option<Arc<AtomicBool>>,
    },
    /// A stream.
    Stream { _stream: Stream },
}

impl Lease {
    /// Gives the connection back after the end of an answer. A whole one ends with a request that is not wholly sent.
    pub(super) fn end(self) {
        if let Self::Whole { pooled, pool, sent } = self
            && sent.is_none_or(|sent| sent.load(Ordering::Relaxed))
        {
            pool.put(pooled);
        }
    }
}

/// The body of an answer on its way to the client.
pub(super) struct Download {
    pub(super) body: Incoming,
    /// Until the answer has ended.
    pub(super) lease: Option<Lease>,
    pub(super) metrics: Arc<UpstreamMetrics>,
    /// Memory of the request.
    pub(super) memory: Option<Reservation>,
}

/// What a body takes up at most while its client reads nothing: in the buffers that it is read into and written from, and
/// in the kernel's.
const FLOW: usize = 8 * super::forward::MAX_BUFFER;

/// A frame up to this size is part of an ordinary answer.
const ORDINARY_FRAME: usize = 8 << 10;

impl Download {
    /// The answer has come through: its connection is free for others.
    fn end(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.end();
        }
    }

    /// Reserves memory for a stream of large frames; `Err` where there is none.
    fn account(&mut self, frame: &Frame<Bytes>) -> Result<(), axum::Error> {
        let length = frame.data_ref().map_or(0, Bytes::len);
        if length <= ORDINARY_FRAME || self.memory.as_mut().is_none_or(|memory| memory.grow_to(FLOW)) {
            return Ok(());
        }
        self.metrics.fault(UpstreamFault::Memory);
        self.lease = None;
        Err(axum::Error::new("no memory is left for the body of an answer"))
    }
}

impl http_body::Body for Download {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match polled {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => {
                self.end();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Ok(frame))) => {
                if let Err(error) = self.account(&frame) {
                    return Poll::Ready(Some(Err(error)));
                }
                if self.body.is_end_stream() {
                    self.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                debug!(proxy = self.metrics.proxy(), %error, "the upstream broke off its answer");
                self.metrics.fault(UpstreamFault::Body);
                self.lease = None;
                Poll::Ready(Some(Err(axum::Error::new(error))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
