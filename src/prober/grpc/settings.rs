//! Checks that a server starts HTTP/2 with its settings.

use tokio::sync::oneshot::{Receiver, Sender, channel};

use crate::prober::stream::Stream;
use crate::prober::tap::{Look, Tap};

/// The length of a frame header (RFC 9113, 4.1), in bytes.
const HEAD: usize = 9;
/// The type of a SETTINGS frame, with which each peer starts.
const SETTINGS: u8 = 4;

/// Reports when the first frame comes, and whether it is SETTINGS: only then does grpc-go use a connection; otherwise it
/// opens another one.
#[derive(Debug)]
pub(super) struct FirstFrame {
    head: Vec<u8>,
    told: Option<Sender<bool>>,
}

impl FirstFrame {
    /// Watches the received bytes of `stream`.
    pub(super) fn of(stream: Stream) -> (Tap<Stream, Self>, Receiver<bool>) {
        let (told, begun) = channel();
        (Tap { stream, look: Self { head: Vec::with_capacity(HEAD), told: Some(told) } }, begun)
    }
}

impl Look for FirstFrame {
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
            // The receiver is gone if the attempt has ended.
            let _ = told.send(kind == SETTINGS && flags & 1 == 0);
        }
    }
}
