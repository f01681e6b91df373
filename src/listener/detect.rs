//! Detects the protocol from the first bytes that a client sends.

use std::future::Future as _;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::frames::PREFACE;

/// The first byte of a record with a handshake (RFC 8446, section 5.1). No method of HTTP begins with it.
const HANDSHAKE: u8 = 0x16;

/// What the first bytes of a client say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detected {
    /// HTTP/1, or nothing that is known, or the end of the connection: hyper finds out.
    Http1,
    /// The whole preface of HTTP/2.
    Http2,
    /// A handshake of TLS begins.
    Tls,
    /// A part of that preface; more has to come.
    Partial,
}

/// Looks at the first bytes and leaves them in the socket. `seen` has how many bytes of the preface were there before.
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
                // Woken without more to read.
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

/// The first bytes, at most as many as the preface has. Where they are fewer, the next wait is for more of them.
fn peek(socket: &TcpStream) -> io::Result<(usize, [u8; PREFACE.len()])> {
    let mut result = Err(io::ErrorKind::WouldBlock.into());
    // What the closure returns says whether the socket stays ready.
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
