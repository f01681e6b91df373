//! One connection: a request goes out, an answer comes in.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

/// A connection that does not block, with at most one request under way.
pub struct Connection {
    /// For the poller.
    pub socket: TcpStream,
    /// When the last request began to go out.
    pub sent: Instant,
    partial: Vec<u8>,
}

/// What one reading came to.
#[derive(PartialEq, Eq)]
pub enum Received {
    /// Not all of an answer.
    Part,
    /// An answer with this status.
    Answer(u16),
    /// The server has closed.
    End,
}

impl Connection {
    /// Connects, which on the loopback device takes no time worth overlapping.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, sent: Instant::now(), partial: Vec::new() })
    }

    /// Sends a request. Its time is taken before its first byte, so that no answer can look early which is not.
    pub fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.sent = Instant::now();
        self.socket.write_all(request)
    }

    /// Reads what has come in.
    pub fn receive(&mut self) -> io::Result<Received> {
        let mut buffer = [0; 4096];
        match self.socket.read(&mut buffer) {
            Ok(0) => Ok(Received::End),
            Ok(count) if self.partial.is_empty() => {
                let bytes = &buffer[..count];
                if let Some(status) = status(bytes)? {
                    return Ok(Received::Answer(status));
                }
                self.partial.extend_from_slice(bytes);
                Ok(Received::Part)
            }
            Ok(count) => {
                self.partial.extend_from_slice(&buffer[..count]);
                let status = status(&self.partial)?;
                Ok(status.map_or(Received::Part, |status| {
                    self.partial.clear();
                    Received::Answer(status)
                }))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Received::Part),
            Err(error) => Err(error),
        }
    }
}

/// The status of a complete answer.
fn status(bytes: &[u8]) -> io::Result<Option<u16>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let (head, body) = (&bytes[..end], &bytes[end + 4..]);
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, String::from_utf8_lossy(head));
    let status =
        head.get(9..12).and_then(|code| std::str::from_utf8(code).ok()?.parse().ok()).ok_or_else(wrong)?;
    let complete = match header(head, b"content-length:") {
        Some(length) => {
            let length: usize = std::str::from_utf8(length)
                .ok()
                .and_then(|text| text.trim().parse().ok())
                .ok_or_else(wrong)?;
            body.len() >= length
        }
        None if header(head, b"transfer-encoding:").is_some() => body.ends_with(b"0\r\n\r\n"),
        None => return Err(wrong()),
    };
    Ok(complete.then_some(status))
}

fn header<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    head.split(|byte| *byte == b'\n')
        .find(|line| line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)))
        .map(|line| &line[name.len()..])
}

#[cfg(test)]
mod tests {
    use super::status;

    #[test]
    fn an_answer_is_complete_with_its_last_byte() {
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ] {
            assert_eq!(status(answer.as_bytes()).ok(), Some(Some(200)), "{answer:?}");
            for end in 0..answer.len() {
                assert_eq!(status(&answer.as_bytes()[..end]).ok(), Some(None), "{:?}", &answer[..end]);
            }
        }
    }

    #[test]
    fn an_answer_whose_end_cannot_be_told_is_an_error() {
        assert!(status(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(status(b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n").is_err());
        assert!(status(b"hello\r\n\r\n").is_err());
    }
}
