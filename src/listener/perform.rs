//! Performs a script on the socket, within TLS if used.

use std::future::poll_fn;
use std::io;
use std::task::{Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::task::yield_now;

use super::script::ScriptOutcome;
use super::script::{FILLING, Script, ScriptEnding};
use super::socket::Socket;
use super::state::ConnectionState;

/// Time for the last bytes to reach the client before a reset, which would discard them.
const LAST_BYTES: Duration = Duration::from_millis(20);

/// How long, and how many bytes, to read from a client that still sends when its connection is closed. The kernel
/// answers unread input with a reset, which could discard what was sent before.
const LINGER_TIME: Duration = Duration::from_millis(500);
const LINGER_BYTES: usize = 1 << 20;

impl Script {
    /// Runs the script to the end of the connection; `sent` is called with the outcome of the request.
    pub(super) async fn perform(
        self,
        socket: &Socket,
        state: &ConnectionState,
        sent: impl FnOnce(ScriptOutcome),
    ) {
        if self.ending == ScriptEnding::Rst && self.has_head {
            // This keeps written and sent bytes close together: a reset discards the rest.
            let _ = SockRef::from(socket.tcp()).set_send_buffer_size(FILLING.len());
        }
        let opened = write_all(socket, state, &self.opening).await;
        let ended = match (&opened, self.ending) {
            (Err(_), _) => ScriptOutcome::ClientGone,
            (Ok(()), _) if self.has_head => ScriptOutcome::HeadSent,
            (Ok(()), ScriptEnding::Never) => {
                discard(socket.tcp(), usize::MAX).await;
                ScriptOutcome::ClientGone
            }
            (Ok(()), _) => ScriptOutcome::NoHead,
        };
        // Before the body: a client that leaves in the middle of it has received the head.
        sent(ended);
        if ended == ScriptOutcome::ClientGone || self.write_body(socket, state).await.is_err() {
            return;
        }
        match self.ending {
            ScriptEnding::Fin => linger(socket).await,
            ScriptEnding::BareFin => {
                socket.silence();
                linger(socket).await;
            }
            ScriptEnding::Rst => {
                if self.has_head {
                    tokio::time::sleep(LAST_BYTES).await;
                }
                socket.reset_on_close();
            }
            ScriptEnding::Never => discard(socket.tcp(), usize::MAX).await,
        }
    }

    async fn write_body(&self, socket: &Socket, state: &ConnectionState) -> io::Result<()> {
        let mut left = self.filling;
        while left > 0 {
            let piece = usize::try_from(left).unwrap_or(usize::MAX).min(FILLING.len());
            write_all(socket, state, &FILLING[..piece]).await?;
            left -= piece as u64;
        }
        write_all(socket, state, self.closing).await
    }
}

async fn write_all(socket: &Socket, state: &ConnectionState, mut bytes: &[u8]) -> io::Result<()> {
    poll_fn(|cx| {
        let mut write = || {
            while !bytes.is_empty() {
                let written = ready!(socket.poll_write(cx, &[io::IoSlice::new(bytes)]))?;
                bytes = &bytes[written..];
            }
            socket.poll_flush(cx)
        };
        let written: Poll<io::Result<()>> = write();
        state.write_waits(written.is_pending());
        written
    })
    .await
}

/// Sends FIN and gives the client time to read what was sent before.
pub(super) async fn linger(socket: &Socket) {
    socket.shutdown();
    give_time(socket.tcp()).await;
}

/// The same on a bare socket.
pub(crate) async fn linger_bare(socket: &TcpStream) {
    let _ = SockRef::from(socket).shutdown(std::net::Shutdown::Write);
    give_time(socket).await;
}

async fn give_time(socket: &TcpStream) {
    let _ = tokio::time::timeout(LINGER_TIME, discard(socket, LINGER_BYTES)).await;
}

/// Reads and discards until the client closes the connection or has sent `most` bytes.
async fn discard(socket: &TcpStream, most: usize) {
    // A separate function keeps the buffer out of the future, whose size every connection pays for.
    let mut buffer = vec![0; 1024];
    let mut read = 0;
    while read < most {
        if socket.readable().await.is_err() {
            return;
        }
        match socket.try_read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => {
                read = read.saturating_add(count);
                // Others come first: a client that sends without a pause would take many turns at once.
                yield_now().await;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}
