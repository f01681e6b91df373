//! Both directions of a connection.

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::TcpStream;

use super::TcpProxy;
use super::pipe::{Pipe, Stopped};
use crate::fault::Stream;
use crate::listener;
use crate::proxy::stream::UpstreamStream;
use crate::telemetry::metrics::ConnectionResult;

/// A client, its upstream, and both directions between them.
pub(super) struct Relay {
    pub(super) client: UpstreamStream,
    upstream: UpstreamStream,
    pipes: [Pipe; 2],
}

/// How a relay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Without a rule.
    Result(ConnectionResult),
    /// A rule truncated this stream.
    Truncated(Stream),
    /// A rule closed it.
    Closed,
}

impl Relay {
    pub(super) fn new(client: UpstreamStream, upstream: UpstreamStream) -> Self {
        Self { client, upstream, pipes: Stream::ALL.map(Pipe::new) }
    }

    /// One of its directions.
    pub(super) fn pipe(&mut self, stream: Stream) -> &mut Pipe {
        &mut self.pipes[stream as usize]
    }

    /// When the next bytes are due, on the engine's clock.
    pub(super) fn wakes_at(&self) -> Option<Duration> {
        self.pipes.iter().filter_map(Pipe::wakes_at).min()
    }

    /// Relays bytes in both directions until both have ended or one has stopped.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, proxy: &TcpProxy) -> Poll<Ended> {
        let Self { client, upstream, pipes: [up, down] } = self;
        for (stream, polled, source, sink) in [
            (
                Stream::Upstream,
                up.poll(cx, client, upstream, proxy),
                ConnectionResult::ClientReset,
                ConnectionResult::UpstreamReset,
            ),
            (
                Stream::Downstream,
                down.poll(cx, upstream, client, proxy),
                ConnectionResult::UpstreamReset,
                ConnectionResult::ClientReset,
            ),
        ] {
            if let Poll::Ready(Err(stopped)) = polled {
                return Poll::Ready(match stopped {
                    Stopped::Source => Ended::Result(source),
                    Stopped::Sink => Ended::Result(sink),
                    Stopped::Memory => Ended::Result(ConnectionResult::Limit),
                    Stopped::Truncated => Ended::Truncated(stream),
                });
            }
        }
        let is_done = self.pipes.iter().all(Pipe::is_done);
        if is_done { Poll::Ready(Ended::Result(ConnectionResult::Completed)) } else { Poll::Pending }
    }

    /// Whether one of the peers has failed. For hanging streams, which are not read.
    pub(super) fn is_broken(&self) -> bool {
        let is_broken = |tcp: &TcpStream| matches!(tcp.take_error(), Ok(Some(_)) | Err(_));
        [&self.client, &self.upstream].into_iter().any(|stream| stream.tcp().is_some_and(is_broken))
    }

    /// Makes both connections close with a reset.
    pub(super) fn reset(&self) {
        [&self.client, &self.upstream]
            .into_iter()
            .filter_map(UpstreamStream::tcp)
            .for_each(listener::reset_on_close);
    }
}
