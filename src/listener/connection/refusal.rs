//! Refusing clients.

use std::io::{self, ErrorKind};

use rustls::AlertDescription;
use tracing::debug;

use super::{Connection, Disposition};
use crate::telemetry::metrics::HandshakeResult;
use crate::tls::session::alert;

/// The answer to a client if no memory is left for its request.
const UNAVAILABLE: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n";

/// The same over HTTP/2: SETTINGS, in case none were sent, and GOAWAY with `ENHANCE_YOUR_CALM`.
const ENHANCE_YOUR_CALM: &[u8] = b"\0\0\0\x04\0\0\0\0\0\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0b";

/// The answer to a client without TLS on a listener that requires it.
const PLAIN_REFUSED: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain; charset=utf-8\r\n\
    content-length: 37\r\n\r\nthis port requires TLS; use https://\n";

/// The same over HTTP/2: SETTINGS, and GOAWAY with `INADEQUATE_SECURITY`.
const INADEQUATE_SECURITY: &[u8] = b"\0\0\0\x04\0\0\0\0\0\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0c";

/// Why a client is refused.
pub(super) enum ConnectionRefusal {
    /// No memory is left for its request.
    Memory { is_http2: bool },
    /// The listener requires TLS, and the client does not use it.
    Plain { is_http2: bool },
    /// Its handshake is not made.
    Handshake(AlertDescription),
    /// Its handshake failed; an alert was sent.
    HandshakeFailed(io::Error),
}

impl Connection {
    /// Notifies the client and ends the connection.
    pub(super) async fn refuses(&mut self, refusal: ConnectionRefusal) -> Disposition {
        self.state.end_by_server();
        match refusal {
            ConnectionRefusal::Memory { is_http2 } => {
                self.socket.try_write(if is_http2 { ENHANCE_YOUR_CALM } else { UNAVAILABLE });
            }
            ConnectionRefusal::Plain { is_http2 } => {
                self.socket.try_write(if is_http2 { INADEQUATE_SECURITY } else { PLAIN_REFUSED });
            }
            ConnectionRefusal::Handshake(why) => {
                self.service.metrics.tls().handshake(HandshakeResult::Refused);
                // The client may miss it; the connection ends in any case.
                let _ = self.socket.tcp().try_write(&alert(why.into()));
                self.socket.silence();
            }
            ConnectionRefusal::HandshakeFailed(error) => {
                let is_gone = matches!(
                    error.kind(),
                    ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
                );
                let result = if is_gone { HandshakeResult::Gone } else { HandshakeResult::Failed };
                self.service.metrics.tls().handshake(result);
                debug!(peer = %self.state.peer(), listener = %self.service.name, %error, "TLS handshake failed");
                self.socket.silence();
            }
        }
        self.lingers().await
    }
}
