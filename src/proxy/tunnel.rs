//! Connections that were upgraded to another protocol, such as WebSocket.

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional_with_sizes;
use tracing::debug;

use crate::listener::Tunnel;
use crate::listener::budget::Reservation;

/// Buffer size for each direction, in bytes.
const BUFFER: usize = 8 << 10;

/// Copies bytes between client and upstream until both have ended or one fails.
pub(super) fn between(upstream: OnUpgrade, memory: Option<Reservation>) -> Tunnel {
    Tunnel::new(move |mut client| async move {
        let _memory = memory;
        match upstream.await {
            Ok(upstream) => {
                let mut upstream = TokioIo::new(upstream);
                let copied = copy_bidirectional_with_sizes(&mut client, &mut upstream, BUFFER, BUFFER).await;
                debug!(?copied, "an upgraded connection has ended");
            }
            Err(error) => debug!(%error, "the upstream did not upgrade the connection"),
        }
    })
}
