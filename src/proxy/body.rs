//! Bodies that are being forwarded, and what happens when they end.

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

use super::forward::Driven;
use super::headers;
use super::memory::Flow;
use super::pool::Pool;
use super::shared::Stream;
use crate::listener::ConnectionHandle;
use crate::listener::budget::Reservation;
use crate::telemetry::metrics::{UpstreamFault, UpstreamMetrics};

/// Progress of a request's body.
#[derive(Debug, Default)]
pub(super) struct Progress {
    ended: AtomicBool,
    refused: AtomicBool,
}

impl Progress {
    /// Whether the body was aborted because no memory was left.
    pub(super) fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }
}

/// A request body on its way to the upstream.
pub(super) struct Upload {
    pub(super) body: Body,
    pub(super) client: Option<ConnectionHandle>,
    pub(super) progress: Arc<Progress>,
    pub(super) flow: Flow,
    /// Signals the end of the body, if the upstream has a timeout.
    pub(super) ended: Option<oneshot::Sender<()>>,
}

impl Upload {
    fn end(&mut self) {
        self.progress.ended.store(true, Ordering::Relaxed);
        if let Some(client) = self.client.take() {
            client.survives_half_close();
        }
        if let Some(ended) = self.ended.take() {
            let _ = ended.send(());
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
        let mut polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &mut polled {
            if !self.flow.admits(frame) {
                self.progress.refused.store(true, Ordering::Relaxed);
                return Poll::Ready(Some(Err(axum::Error::new("no memory is left for the request body"))));
            }
            frame.trailers_mut().map(headers::apply_to_trailers);
        }
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

/// What a request occupies of a connection to the upstream.
pub(super) enum Lease {
    /// The whole connection.
    Whole {
        driven: Driven,
        pool: Pool,
        /// Progress of the request's body, if it has one.
        sent: Option<Arc<Progress>>,
    },
    /// One stream.
    Stream { _stream: Stream },
}

impl Lease {
    /// Returns the connection and its memory to the pool after the answer has ended. Closes the connection instead if the
    /// request was not sent completely.
    pub(super) fn end(self, memory: Option<Reservation>) {
        if let Self::Whole { driven, pool, sent } = self
            && sent.is_none_or(|sent| sent.ended.load(Ordering::Relaxed))
        {
            pool.put(driven.rest(memory));
        }
    }
}

/// An answer body on its way to the client.
pub(super) struct Download {
    pub(super) body: Incoming,
    /// Held until the answer has ended.
    pub(super) lease: Option<Lease>,
    pub(super) metrics: Arc<UpstreamMetrics>,
    /// Memory reserved for the request.
    pub(super) memory: Option<Reservation>,
    pub(super) flow: Flow,
}

impl Download {
    /// Releases the connection at the end of the answer.
    fn end(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.end(self.memory.take());
        }
    }

    /// Reserves memory for a frame; `Err` if there is none.
    fn account(&mut self, frame: &Frame<Bytes>) -> Result<(), axum::Error> {
        if self.flow.admits(frame) {
            return Ok(());
        }
        self.metrics.fault(UpstreamFault::Memory);
        self.lease = None;
        Err(axum::Error::new("no memory is left for the answer body"))
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
            Poll::Ready(Some(Ok(mut frame))) => {
                if let Err(error) = self.account(&frame) {
                    return Poll::Ready(Some(Err(error)));
                }
                frame.trailers_mut().map(headers::apply_to_trailers);
                if self.body.is_end_stream() {
                    self.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                debug!(proxy = self.metrics.proxy(), %error, "the upstream aborted its answer");
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
