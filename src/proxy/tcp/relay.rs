//! Both directions of a connection.

use std::task::{Context, Poll};

use super::TcpProxy;
use super::pipe::{Broken, Pipe};
use crate::fault::Stream;
use crate::listener;
use crate::proxy::stream::UpstreamStream;
use crate::telemetry::metrics::ConnectionResult;

/// A client, its upstream, and what goes between them.
pub(super) struct Relay {
    pub(super) client: UpstreamStream,
    pub(super) upstream: UpstreamStream,
    up: Pipe,
    down: Pipe,
}

impl Relay {
    pub(super) const fn new(client: UpstreamStream, upstream: UpstreamStream) -> Self {
        Self { client, upstream, up: Pipe::new(Stream::Upstream), down: Pipe::new(Stream::Downstream) }
    }

    /// Passes bytes on in both directions, until both have ended or one has broken.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, proxy: &TcpProxy) -> Poll<ConnectionResult> {
        let Self { client, upstream, up, down } = self;
        if let Poll::Ready(Err(broken)) = up.poll(cx, client, upstream, proxy) {
            return Poll::Ready(match broken {
                Broken::Source => ConnectionResult::ClientReset,
                Broken::Sink => ConnectionResult::UpstreamReset,
                Broken::Memory => ConnectionResult::Limit,
            });
        }
        if let Poll::Ready(Err(broken)) = down.poll(cx, upstream, client, proxy) {
            return Poll::Ready(match broken {
                Broken::Source => ConnectionResult::UpstreamReset,
                Broken::Sink => ConnectionResult::ClientReset,
                Broken::Memory => ConnectionResult::Limit,
            });
        }
        if up.is_done() && down.is_done() { Poll::Ready(ConnectionResult::Completed) } else { Poll::Pending }
    }

    /// Makes the close of both connections a reset.
    pub(super) fn reset(&self) {
        for stream in [&self.client, &self.upstream] {
            if let UpstreamStream::Tcp(stream) = stream {
                listener::reset_on_close(stream);
            }
        }
    }
}
