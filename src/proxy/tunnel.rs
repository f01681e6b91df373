//! Connections that have changed their protocol, such as those of WebSocket.

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional_with_sizes;
use tracing::debug;

use crate::listener::Tunnel;
use crate::listener::budget::Reservation;

/// What is copied at once in each direction.
const BUFFER: usize = 8 << 10;

/// Copies between client and upstream until both have ended, or one breaks off.
pub(super) fn between(upstream: OnUpgrade, memory: Option<Reservation>) -> Tunnel {
    Tunnel::new(move |mut client| async move {
        let _memory = memory;
        match upstream.await {
            Ok(upstream) => {
                let mut upstream = TokioIo::new(upstream);
                let copied = copy_bidirectional_with_sizes(&mut client, &mut upstream, BUFFER, BUFFER).await;
                debug!(?copied, "a connection of another protocol has ended");
            }
            Err(error) => debug!(%error, "the upstream did not change the protocol"),
        }
    })
}
