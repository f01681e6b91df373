//! Detects the protocol from the first bytes that a client sends.

use std::future::Future as _;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::frames::PREFACE;

/// The first byte of a TLS handshake record (RFC 8446, section 5.1). No HTTP method begins with it.
const HANDSHAKE: u8 = 0x16;

/// The protocol of a client by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detected {
    /// HTTP/1, an unknown protocol, or the end of the connection: hyper decides.
    Http1,
    /// The complete HTTP/2 preface.
    Http2,
    /// The start of a TLS handshake.
    Tls,
    /// A part of the HTTP/2 preface; wait for more.
    Partial,
}

/// Peeks at the first bytes. `seen` is the number of preface bytes seen before.
pub(super) fn poll_detect(socket: &TcpStream, cx: &mut Context<'_>, seen: &mut usize) -> Poll<Detected> {
    loop {
        if ready!(socket.poll_read_ready(cx)).is_err() {
            return Poll::Ready(Detected::Http1);
        }
        match peek(socket) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok((count, bytes)) if count > 0 && bytes[..count] == PREFACE[..count] => {
                if count == PREFACE.len() {
                    return Poll::Ready(Detected::Http2);
                }
                if count > std::mem::replace(seen, count) {
                    return Poll::Ready(Detected::Partial);
                }
                // Woken without new input.
                if is_closed(socket, cx) {
                    return Poll::Ready(Detected::Http1);
                }
            }
            Ok((count, bytes)) if count > 0 && bytes[0] == HANDSHAKE => return Poll::Ready(Detected::Tls),
            _ => return Poll::Ready(Detected::Http1),
        }
    }
}

/// Whether the client has ended its side.
fn is_closed(socket: &TcpStream, cx: &mut Context<'_>) -> bool {
    let ready = pin!(socket.ready(Interest::READABLE));
    matches!(ready.poll(cx), Poll::Ready(Ok(ready)) if ready.is_read_closed())
}

/// Peeks at the first bytes, at most the length of the preface. If there are fewer, the next wait is for more.
fn peek(socket: &TcpStream) -> io::Result<(usize, [u8; PREFACE.len()])> {
    let mut result = Err(io::ErrorKind::WouldBlock.into());
    // The result of the closure determines whether the socket stays ready.
    let _ = socket.try_io(Interest::READABLE, || {
        let mut buffer = [0; PREFACE.len()];
        let peeked = recv(socket, &mut buffer[..], RecvFlags::PEEK);
        result = peeked.map(|(count, _)| (count, buffer)).map_err(io::Error::from);
        match &result {
            Ok((count, _)) if 0 < *count && *count < PREFACE.len() => Err(io::ErrorKind::WouldBlock.into()),
            Err(error) => Err(error.kind().into()),
            Ok(_) => Ok(()),
        }
    });
    result
}
