//! HTTP/2: hyper and the tasks of its streams, all polled by the connection's task.
//!
//! hyper spawns a task for each stream. Here, the tasks stay with the connection: a partition freezes them, closing
//! the connection drops them at once, and each knows its stream.

mod handler;
mod spare;
mod tasks;

use std::error::Error as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream as _;
use futures_util::stream::FuturesUnordered;
use hyper::server::conn::http2;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use super::ListenerService;
use super::state::ConnectionState;
use super::stream::HyperStream;
use handler::StreamHandler;
pub use spare::SpareMaps;
use tasks::{StreamExecutor, StreamTask};

/// Limit of concurrent requests per connection.
const MAX_STREAMS: u32 = 100;

/// Flow-control window for request bodies, per stream and per connection.
const WINDOW: u32 = 65_535;

/// Limit of the answer bytes that hyper buffers per stream.
const SEND_BUFFER: usize = 16 << 10;

type Http2Connection = http2::Connection<TokioIo<HyperStream>, StreamHandler, StreamExecutor>;

/// HTTP/2 on one connection.
pub(super) struct Http2 {
    connection: Pin<Box<Http2Connection>>,
    /// Streams that were not answered at once.
    tasks: FuturesUnordered<StreamTask>,
    executor: StreamExecutor,
    state: Arc<ConnectionState>,
}

/// How HTTP/2 on a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finished {
    /// The client left, or the connection was done.
    Normally,
    /// The client violated the protocol, and was notified.
    WithError,
    /// The client caused useless work.
    ByFlood,
}

impl Http2 {
    pub(super) fn new(
        stream: HyperStream,
        service: &Arc<ListenerService>,
        state: &Arc<ConnectionState>,
    ) -> Self {
        let executor = StreamExecutor::default();
        let handler =
            StreamHandler { service: service.clone(), state: state.clone(), executor: executor.clone() };
        let connection = http2::Builder::new(executor.clone())
            .max_concurrent_streams(MAX_STREAMS)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            // Twice our limit: the handler answers and counts field lists that are slightly too large.
            .max_header_list_size(u32::try_from(2 * service.limits.head_size).unwrap_or(u32::MAX))
            .serve_connection(TokioIo::new(stream), handler);
        Self {
            connection: Box::pin(connection),
            tasks: FuturesUnordered::new(),
            executor,
            state: state.clone(),
        }
    }

    /// Reads, polls the handlers, and writes. Ready when the connection is done.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Finished> {
        loop {
            // Without the hold, hyper would write the answer to each stream before it accepts the next one.
            self.state.hold_output();
            let result = self.connection.as_mut().poll(cx);
            let must_write = self.state.release_output();
            let has_ended = self.poll_tasks(cx);
            if let Poll::Ready(result) = result {
                return Poll::Ready(finished(result.err().as_ref()));
            }
            if !must_write && !has_ended {
                // Output of the handlers wakes this task.
                return Poll::Pending;
            }
            if let Poll::Ready(result) = self.connection.as_mut().poll(cx) {
                return Poll::Ready(finished(result.err().as_ref()));
            }
            if !self.poll_tasks(cx) {
                return Poll::Pending;
            }
        }
    }

    /// Polls streams that were not answered at once. Returns whether one has ended.
    fn poll_tasks(&mut self, cx: &mut Context<'_>) -> bool {
        self.tasks.extend(self.executor.take_tasks());
        let mut has_ended = false;
        while let Poll::Ready(Some(())) = Pin::new(&mut self.tasks).poll_next(cx) {
            has_ended = true;
        }
        has_ended
    }

    /// Accepts no further request and notifies the client (GOAWAY).
    pub(super) fn drain(&mut self) {
        self.connection.as_mut().graceful_shutdown();
    }

    /// Resets streams whose clients have read nothing since `instant`.
    pub(super) fn reset_stalled(&mut self, instant: Instant) {
        let tasks = std::mem::take(&mut self.tasks);
        self.tasks = tasks.into_iter().filter(|task| !task.is_stalled_since(instant)).collect();
    }
}

fn finished(error: Option<&hyper::Error>) -> Finished {
    let Some(error) = error else { return Finished::Normally };
    let Some(error) = error.source().and_then(|source| source.downcast_ref::<h2::Error>()) else {
        return Finished::Normally;
    };
    match error.reason() {
        Some(h2::Reason::ENHANCE_YOUR_CALM) if error.is_library() => Finished::ByFlood,
        _ if error.is_library() && error.is_go_away() => Finished::WithError,
        _ => Finished::Normally,
    }
}
