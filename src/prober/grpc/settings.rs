//! Whether a peer begins as a server of HTTP/2 does.

use tokio::sync::oneshot::{Receiver, Sender, channel};

use crate::prober::stream::Stream;
use crate::prober::tap::{Look, Tap};

/// The head of a frame (RFC 9113, 4.1), in bytes.
const HEAD: usize = 9;
/// The type of the frame with which each peer begins.
const SETTINGS: u8 = 4;

/// Tells when the first frame comes, and whether it has settings: grpc-go calls a connection ready then, and tries another
/// one otherwise.
#[derive(Debug)]
pub(super) struct FirstFrame {
    head: Vec<u8>,
    told: Option<Sender<bool>>,
}

impl FirstFrame {
    /// Looks at what comes over `stream`.
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
            // Nobody waits any more where the attempt has ended.
            let _ = told.send(kind == SETTINGS && flags & 1 == 0);
        }
    }
}
