//! Detects floods of HTTP/2 frames that make no request progress.

use std::time::Duration;

use tokio::time::Instant;

/// Limit of such frames that a client may send in excess of its allowance.
const BURST: u64 = 2000;

/// Allowance per second, far above what keep-alives and flow control of a client need.
const PER_SECOND: u64 = 1000;

/// Allowance per stream: its priority, its window updates and its reset.
const PER_STREAM: u64 = 4;

/// Answer bytes that justify one frame more, such as a window update. The acknowledgement of a PING is smaller.
const BYTES_PER_FRAME: u64 = 64;

/// The frames of a connection that only cause work: control frames, frames of unknown types, and empty DATA frames.
///
/// A token bucket: time, streams and answers fill it, and each such frame takes one token.
#[derive(Debug)]
pub(super) struct FloodGuard {
    tokens: u64,
    /// Answer bytes that did not make up a token yet.
    written: u64,
    refilled: Instant,
}

impl FloodGuard {
    pub(super) fn new() -> Self {
        Self { tokens: BURST, written: 0, refilled: Instant::now() }
    }

    /// Records answer bytes.
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.written += bytes as u64;
        self.refill(self.written / BYTES_PER_FRAME);
        self.written %= BYTES_PER_FRAME;
    }

    /// Records frames that the client has sent: `useless` ones, and those that begin streams. False if it is a flood.
    pub(super) fn received(&mut self, useless: u64, streams: u64) -> bool {
        self.refill(streams * PER_STREAM);
        if useless > self.tokens {
            let since = self.refilled.elapsed();
            self.refilled += since;
            self.refill(since.min(Duration::from_secs(60)).as_millis() as u64 * PER_SECOND / 1000);
        }
        let rest = self.tokens.checked_sub(useless);
        self.tokens = rest.unwrap_or(0);
        rest.is_some()
    }

    fn refill(&mut self, tokens: u64) {
        self.tokens = (self.tokens + tokens).min(BURST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn frames_in_excess_of_the_allowance_are_a_flood() {
        let mut guard = FloodGuard::new();
        assert!(guard.received(BURST, 0) && !guard.received(1, 0));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(guard.received(PER_SECOND, 0) && !guard.received(1, 0));
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert!(guard.received(BURST, 0) && !guard.received(1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn streams_and_answers_allow_for_their_control_frames() {
        let mut guard = FloodGuard::new();
        for _ in 0..10 * BURST {
            assert!(guard.received(PER_STREAM, 1));
            guard.wrote(16 << 10);
            assert!(guard.received(2, 0), "a window update for the stream and for the connection");
        }
        let mut guard = FloodGuard::new();
        let mut pings = 0;
        while guard.received(1, 0) {
            guard.wrote(17);
            pings += 1;
        }
        assert!(pings < 2 * BURST, "the acknowledgements of {pings} PING frames allowed for more");
    }
}
