//! Whether a peer begins as a server of HTTP/2 does.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot::{Receiver, Sender, channel};

use crate::prober::stream::Stream;

/// The head of a frame (RFC 9113, 4.1), in bytes.
const HEAD: usize = 9;
/// The type of the frame with which each peer begins.
const SETTINGS: u8 = 4;

/// A stream that tells when the first frame comes, and whether it has settings: grpc-go calls a connection ready then, and
/// tries another one otherwise.
#[derive(Debug)]
pub(super) struct Begun {
    stream: Stream,
    head: Vec<u8>,
    told: Option<Sender<bool>>,
}

impl Begun {
    pub(super) fn new(stream: Stream) -> (Self, Receiver<bool>) {
        let (told, begun) = channel();
        (Self { stream, head: Vec::with_capacity(HEAD), told: Some(told) }, begun)
    }

    fn look(&mut self, bytes: &[u8]) {
        if self.told.is_none() {
            return;
        }
        let missing = HEAD - self.head.len();
        self.head.extend_from_slice(&bytes[..missing.min(bytes.len())]);
        if let [_, _, _, kind, flags, ..] = self.head[..]
            && self.head.len() == HEAD
            && let Some(told) = self.told.take()
        {
            // Nobody waits any more where the attempt has ended.
            let _ = told.send(kind == SETTINGS && flags & 1 == 0);
        }
    }
}

impl AsyncRead for Begun {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = into.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(context, into);
        this.look(&into.filled()[before..]);
        polled
    }
}

impl AsyncWrite for Begun {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
