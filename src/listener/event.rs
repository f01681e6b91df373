//! What the driver of a connection reports to the connection's task.

use std::io;

use bytes::Bytes;

use super::script::Takeover;
use crate::tls::session::Negotiated;

/// Events that the connection's task handles.
pub(super) enum DriverEvent {
    /// The client sends an HTTP/1 request, or leaves.
    Http1,
    /// The client starts to speak HTTP/2.
    Http2,
    /// The client begins a TLS handshake.
    Tls,
    /// The handshake has ended: the negotiated protocol, or an error.
    Handshake(io::Result<Negotiated>),
    /// hyper or the script has finished; `lingers` if the client may still be sending and has an answer to read.
    Done { lingers: bool },
    /// hyper has to answer a request, which begins with these bytes.
    NotPlain(Bytes),
    /// hyper has answered, and the next request may be plain again.
    Rests,
    /// A handler takes over the socket.
    Takeover(Takeover),
    /// The client has started but not finished a head.
    Head,
    /// The client closed its sending side while its request is pending. A half-closed connection looks like a closed
    /// one, so the client counts as gone.
    ClientGone,
    /// A request must know whether its client class is cut.
    Admission,
    /// An HTTP/2 client causes useless work.
    Flood,
    /// The budget rejected the head that the client is sending.
    OutOfMemory,
}
