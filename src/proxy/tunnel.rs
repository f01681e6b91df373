//! Connections whose bytes pass through: upgraded to another protocol, such as WebSocket, or with TLS that ends in the
//! upstream.

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional_with_sizes};
use tracing::debug;

use crate::listener::budget::Reservation;
use crate::listener::{ClientEnd, Tunnel};

/// Buffer size for each direction, in bytes.
const BUFFER: usize = 8 << 10;

/// Copies bytes between client and upstream until both have ended or one fails.
pub(super) fn between(upstream: OnUpgrade, memory: Option<Reservation>) -> Tunnel {
    Tunnel::new(move |client| async move {
        let _memory = memory;
        match upstream.await {
            Ok(upstream) => {
                copy(client, TokioIo::new(upstream)).await;
            }
            Err(error) => debug!(%error, "the upstream did not upgrade the connection"),
        }
    })
}

/// Copies bytes until both sides have ended or one fails.
pub(super) async fn copy(mut client: ClientEnd, mut upstream: impl AsyncRead + AsyncWrite + Unpin) {
    let copied = copy_bidirectional_with_sizes(&mut client, &mut upstream, BUFFER, BUFFER).await;
    debug!(?copied, "a connection that passes through has ended");
}
