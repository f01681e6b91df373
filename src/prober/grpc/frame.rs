//! The part of HTTP/2 (RFC 9113) that one unary call needs.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::status::{Status, check, code, reset};
use super::{health, hpack};
use crate::prober::outcome::Phase;
use crate::prober::quote::os_error;
use crate::prober::stream::Stream;
use crate::prober::version::KUBERNETES_VERSION;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Settings: no dynamic table of headers, no pushes.
const SETTINGS: [u8; 12] = [0, 1, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0];
/// The largest frame that our settings allow.
const MAX_FRAME: usize = 16 << 10;
/// The largest answer that is accepted: far above that of any health check.
const MAX_ANSWER: usize = 64 << 10;
/// The only stream of the connection.
const STREAM: u32 = 1;

mod kind {
    pub(super) const DATA: u8 = 0;
    pub(super) const HEADERS: u8 = 1;
    pub(super) const RST_STREAM: u8 = 3;
    pub(super) const SETTINGS: u8 = 4;
    pub(super) const PING: u8 = 6;
    pub(super) const GOAWAY: u8 = 7;
    pub(super) const CONTINUATION: u8 = 9;
}

mod flag {
    pub(super) const END_STREAM: u8 = 1;
    pub(super) const ACK: u8 = 1;
    pub(super) const END_HEADERS: u8 = 4;
    pub(super) const PADDED: u8 = 8;
    pub(super) const PRIORITY: u8 = 32;
}

/// One connection, for one call.
pub(super) struct Connection(Stream);

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Connection {
    pub(super) const fn new(stream: Stream) -> Self {
        Self(stream)
    }

    /// Sends preface and settings, and waits for the settings of the peer.
    pub(super) async fn handshake(&mut self) -> Result<(), Status> {
        let mut hello = PREFACE.to_vec();
        frame_into(&mut hello, kind::SETTINGS, 0, 0, &SETTINGS);
        self.0.write_all(&hello).await.map_err(|error| cannot_write(&error))?;
        let frame = self.frame().await?;
        if frame.kind != kind::SETTINGS || frame.flags & flag::ACK != 0 {
            return Err(Status::new(code::UNAVAILABLE, "no settings"));
        }
        self.acknowledge(kind::SETTINGS, &[]).await
    }

    async fn acknowledge(&mut self, kind: u8, payload: &[u8]) -> Result<(), Status> {
        let mut bytes = Vec::new();
        frame_into(&mut bytes, kind, flag::ACK, 0, payload);
        self.0.write_all(&bytes).await.map_err(|error| cannot_write(&error))
    }

    /// Asks for the health of a service; the call says how much time is left.
    pub(super) async fn call(
        &mut self,
        authority: &str,
        service: &str,
        left: Duration,
    ) -> Result<(), Status> {
        let mut block = Vec::new();
        for (name, value) in [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/grpc.health.v1.Health/Check"),
            (":authority", authority),
            ("content-type", "application/grpc"),
            ("user-agent", &format!("kube-probe/{KUBERNETES_VERSION}")),
            ("te", "trailers"),
            // At most eight digits.
            ("grpc-timeout", &format!("{}m", left.as_millis().min(99_999_999))),
        ] {
            hpack::encode(&mut block, name, value);
        }
        let data = health::request(service);
        let mut bytes = Vec::new();
        frame_into(&mut bytes, kind::HEADERS, flag::END_HEADERS, STREAM, &block);
        frame_into(&mut bytes, kind::DATA, flag::END_STREAM, STREAM, &data);
        self.0.write_all(&bytes).await.map_err(|error| cannot_write(&error))
    }

    /// Reads the answer and returns its message if the status is OK.
    pub(super) async fn answer(&mut self, phase: &mut Phase) -> Result<Vec<u8>, Status> {
        let (mut block, mut data, mut last) = (Vec::new(), Vec::new(), false);
        loop {
            let frame = self.frame().await?;
            match frame.kind {
                kind::SETTINGS | kind::PING if frame.flags & flag::ACK == 0 => {
                    let payload = if frame.kind == kind::PING { frame.payload.as_slice() } else { &[] };
                    self.acknowledge(frame.kind, payload).await?;
                }
                kind::GOAWAY if last_stream(&frame.payload) < STREAM => {
                    return Err(Status::new(code::UNAVAILABLE, "the connection is draining"));
                }
                kind::RST_STREAM if frame.stream == STREAM => return Err(reset(&frame.payload)),
                kind::HEADERS | kind::CONTINUATION if frame.stream == STREAM => {
                    if frame.kind == kind::HEADERS {
                        last = frame.flags & flag::END_STREAM != 0;
                    }
                    block.extend_from_slice(frame.content()?);
                    if frame.flags & flag::END_HEADERS != 0 {
                        *phase = if last { Phase::Complete } else { Phase::Body };
                        let headers = hpack::decode(&std::mem::take(&mut block))
                            .map_err(|_| Status::new(code::INTERNAL, "malformed block of headers"))?;
                        check(&headers, last)?;
                        if last {
                            return health::message(&data);
                        }
                    }
                }
                kind::DATA if frame.stream == STREAM => {
                    data.extend_from_slice(frame.content()?);
                    if frame.flags & flag::END_STREAM != 0 {
                        let text = "server closed the stream without sending trailers";
                        return Err(Status::new(code::INTERNAL, text));
                    }
                }
                _ => {}
            }
            if block.len() + data.len() > MAX_ANSWER {
                return Err(Status::new(code::INTERNAL, format!("an answer above {MAX_ANSWER} bytes")));
            }
        }
    }

    async fn frame(&mut self) -> Result<Frame, Status> {
        let mut head = [0; 9];
        self.read(&mut head).await?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        if length > MAX_FRAME {
            return Err(Status::new(code::UNAVAILABLE, "error reading from server: http2: frame too large"));
        }
        let mut payload = vec![0; length];
        self.read(&mut payload).await?;
        Ok(Frame { kind, flags, stream: u32::from_be_bytes(stream) & 0x7fff_ffff, payload })
    }

    async fn read(&mut self, bytes: &mut [u8]) -> Result<(), Status> {
        match self.0.read_exact(bytes).await {
            Ok(_) => Ok(()),
            Err(error) => {
                let reason = match error.kind() {
                    std::io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
                    _ => format!("read tcp: {}", os_error(&error)),
                };
                Err(Status::new(code::UNAVAILABLE, format!("error reading from server: {reason}")))
            }
        }
    }
}

impl Frame {
    /// The payload without padding and priority.
    fn content(&self) -> Result<&[u8], Status> {
        let mut content = self.payload.as_slice();
        let mut padding = 0;
        if self.kind != kind::CONTINUATION && self.flags & flag::PADDED != 0 {
            padding = usize::from(content.first().copied().unwrap_or_default());
            content = content.get(1..).unwrap_or_default();
        }
        if self.kind == kind::HEADERS && self.flags & flag::PRIORITY != 0 {
            content = content.get(5..).unwrap_or_default();
        }
        let length = content.len().checked_sub(padding);
        let length = length.ok_or_else(|| Status::new(code::UNAVAILABLE, "a frame of padding alone"))?;
        Ok(&content[..length])
    }
}

fn frame_into(bytes: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
}

fn cannot_write(error: &std::io::Error) -> Status {
    Status::new(code::UNAVAILABLE, format!("error writing to server: {}", os_error(error)))
}

fn last_stream(payload: &[u8]) -> u32 {
    payload.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes) & 0x7fff_ffff)
}
