//! How strong a connection's claim to its place is.

use std::time::Duration;

use tokio::time::Instant;

use super::{ClientPhase, ConnectionState};

/// The time in which a client that has just connected sends its request, on a machine that is not overloaded.
const GRACE: Duration = Duration::from_millis(20);

/// Why a connection should keep its place, from weak to strong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::listener) enum Claim {
    /// It is over, and only discards what its client still sends.
    Leaving,
    /// It has never sent a request, or it uses the memory kept for the kubelet and its request is not complete.
    Silent,
    /// It would be silent, but its client has hardly had time to send.
    Fresh,
    /// It is between two requests.
    Resting,
    /// A request is under way.
    Busy,
}

impl ConnectionState {
    /// Its claim at `now`.
    pub(in crate::listener) fn claim(&self, now: Instant) -> Claim {
        let rests = self.rests_since(now);
        let inner = self.lock();
        let is_owed = !inner.asked || (inner.only_kubelet && !rests);
        match inner.phase {
            ClientPhase::Leaving => Claim::Leaving,
            ClientPhase::Idle(since) | ClientPhase::Head(since) if is_owed => {
                if now.saturating_duration_since(since) < GRACE { Claim::Fresh } else { Claim::Silent }
            }
            _ if rests => Claim::Resting,
            _ => Claim::Busy,
        }
    }

    /// Nothing more is sent to the client; what it still sends is discarded.
    pub(in crate::listener) fn leaves(&self) {
        self.lock().phase = ClientPhase::Leaving;
    }
}
