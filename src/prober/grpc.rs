//! The gRPC probe: one unary call over plaintext HTTP/2.
//!
//! One call on one stream needs a few kinds of frames; the general implementation would cost far more than it.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};

use super::address::Endpoint;
use super::dial::dial;
use super::quote::{os_error, quoted};
use super::{Ended, KUBERNETES_VERSION, Phase, ProbeResult, hpack};
use crate::units::Show;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// No dynamic table of headers, no pushes.
const SETTINGS: [u8; 12] = [0, 1, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0];
/// The largest frame that our settings grant.
const MAX_FRAME: usize = 16 << 10;
/// The largest answer that is kept: far above any health check's.
const MAX_ANSWER: usize = 64 << 10;
/// Only stream of the connection.
const STREAM: u32 = 1;

/// Pause after the first failed connection, and its growth, as in gRPC's back-off (without its jitter).
const BACKOFF: Duration = Duration::from_secs(1);
const BACKOFF_FACTOR: f64 = 1.6;

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

mod code {
    pub(super) const UNKNOWN: u16 = 2;
    pub(super) const DEADLINE_EXCEEDED: u16 = 4;
    pub(super) const UNIMPLEMENTED: u16 = 12;
    pub(super) const INTERNAL: u16 = 13;
    pub(super) const UNAVAILABLE: u16 = 14;
}

const CODE_NAMES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// A gRPC probe: `grpc.health.v1.Health/Check`.
#[derive(Clone, Debug)]
pub struct Check {
    endpoint: Endpoint,
    service: String,
}

/// A call that ended without an answer.
#[derive(Debug)]
struct Status {
    code: u16,
    message: String,
}

impl Status {
    fn new(code: u16, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

struct Connection(TcpStream);

/// How far an attempt is, for the case that its time runs out.
struct Progress {
    phase: Phase,
    connected: bool,
}

impl Check {
    pub(super) const fn new(endpoint: Endpoint, service: String) -> Self {
        Self { endpoint, service }
    }

    pub(super) async fn attempt(&self, deadline: Instant, timeout: Duration) -> Ended {
        let mut progress = Progress { phase: Phase::Connect, connected: false };
        let ended = timeout_at(deadline, self.run(&mut progress, deadline)).await;
        let (message, status) = match ended {
            Ok(Ok(1)) => return Ended::success(Some(0)),
            Ok(Ok(serving)) => {
                progress.phase = Phase::Complete;
                (
                    format!(
                        "service unhealthy (responded with {})",
                        quoted(serving_name(serving).as_bytes())
                    ),
                    0,
                )
            }
            Err(_) if !progress.connected => {
                let address = quoted(self.endpoint.to_string().as_bytes());
                let within = Show(timeout);
                let message = format!(
                    "timeout: failed to connect service {address} within {within}: context deadline exceeded"
                );
                return Ended::failure(progress.phase, message);
            }
            Err(_) => (late(timeout), code::DEADLINE_EXCEEDED),
            Ok(Err(Status { code, message })) => (
                match code {
                    code::UNIMPLEMENTED => format!(
                        "error: this server does not implement the grpc health protocol \
                         (grpc.health.v1.Health): {message}"
                    ),
                    code::DEADLINE_EXCEEDED => late(timeout),
                    code => {
                        let name = CODE_NAMES.get(usize::from(code));
                        let name = name.map_or_else(|| format!("Code({code})"), |name| (*name).to_owned());
                        format!("error: health rpc probe failed: rpc error: code = {name} desc = {message}")
                    }
                },
                code,
            ),
        };
        Ended { result: ProbeResult::Failure, phase: progress.phase, status: Some(status), message }
    }

    /// The serving status that the server gave.
    async fn run(&self, progress: &mut Progress, deadline: Instant) -> Result<u64, Status> {
        let mut connection = self.connect(progress).await;
        progress.connected = true;
        progress.phase = Phase::Head;
        let left = deadline.saturating_duration_since(Instant::now());
        connection
            .call(&self.endpoint.to_string(), &self.service, left)
            .await
            .map_err(|error| cannot_write(&error))?;
        let answer = connection.answer(&mut progress.phase).await?;
        serving_status(&answer)
            .ok_or_else(|| Status::new(code::INTERNAL, "grpc: failed to unmarshal the received message"))
    }

    /// A connection whose other side has sent its settings; tries until there is one.
    async fn connect(&self, progress: &mut Progress) -> Connection {
        let mut pause = BACKOFF;
        loop {
            if let Ok(stream) = dial(&self.endpoint, &mut progress.phase).await {
                let mut connection = Connection(stream);
                if connection.greet().await.is_ok() {
                    return connection;
                }
            }
            progress.phase = Phase::Connect;
            sleep(pause).await;
            pause = pause.mul_f64(BACKOFF_FACTOR);
        }
    }
}

impl Connection {
    async fn greet(&mut self) -> Result<(), Status> {
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

    async fn call(&mut self, authority: &str, service: &str, left: Duration) -> std::io::Result<()> {
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
        let mut request = Vec::new();
        if !service.is_empty() {
            request.push(0x0a);
            varint_into(&mut request, service.len());
            request.extend_from_slice(service.as_bytes());
        }
        let mut data = vec![0];
        data.extend_from_slice(&(request.len() as u32).to_be_bytes());
        data.extend_from_slice(&request);
        let mut bytes = Vec::new();
        frame_into(&mut bytes, kind::HEADERS, flag::END_HEADERS, STREAM, &block);
        frame_into(&mut bytes, kind::DATA, flag::END_STREAM, STREAM, &data);
        self.0.write_all(&bytes).await
    }

    /// The message of the answer, if its status is OK.
    async fn answer(&mut self, phase: &mut Phase) -> Result<Vec<u8>, Status> {
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
                            return message(&data);
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

fn late(timeout: Duration) -> String {
    format!("timeout: health rpc did not complete within {}", Show(timeout))
}

fn last_stream(payload: &[u8]) -> u32 {
    payload.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes) & 0x7fff_ffff)
}

fn reset(payload: &[u8]) -> Status {
    let error = payload.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
    Status::new(code::INTERNAL, format!("stream terminated by RST_STREAM with error code: {error}"))
}

/// Whether headers, or trailers, tell of no failure. `last` ones must bring the status.
fn check(headers: &[(String, String)], last: bool) -> Result<(), Status> {
    let get = |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    if let Some(http) = get(":status").filter(|http| *http != "200" && get("grpc-status").is_none()) {
        let content = quoted(get("content-type").unwrap_or_default().as_bytes());
        let code =
            if matches!(http, "429" | "502" | "503" | "504") { code::UNAVAILABLE } else { code_of(http) };
        return Err(Status::new(
            code,
            format!(
                "unexpected HTTP status code received from server: {http}; transport: received unexpected \
                 content-type {content}"
            ),
        ));
    }
    match get("grpc-status").map(str::parse::<u16>) {
        Some(Ok(0)) => Ok(()),
        Some(Ok(code)) => Err(Status::new(code, unescaped(get("grpc-message").unwrap_or_default()))),
        Some(Err(_)) => Err(Status::new(code::UNKNOWN, "malformed grpc-status")),
        None if last => Err(Status::new(code::UNKNOWN, "no grpc-status")),
        None => Ok(()),
    }
}

/// gRPC's code for an HTTP status.
fn code_of(http: &str) -> u16 {
    match http {
        "400" => code::INTERNAL,
        "401" => 16,
        "403" => 7,
        "404" => code::UNIMPLEMENTED,
        _ => code::UNKNOWN,
    }
}

/// A `grpc-message` without its percent escapes.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escape = after.first_chunk::<2>().filter(|_| *first == b'%');
        let byte = escape.and_then(|digits| {
            std::str::from_utf8(digits).ok().and_then(|digits| u8::from_str_radix(digits, 16).ok())
        });
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The only message of a stream.
fn message(data: &[u8]) -> Result<Vec<u8>, Status> {
    match data {
        [0, a, b, c, d, message @ ..] if u32::from_be_bytes([*a, *b, *c, *d]) as usize == message.len() => {
            Ok(message.to_owned())
        }
        [1, ..] => Err(Status::new(code::INTERNAL, "a compressed message, which was not asked for")),
        [] => Err(Status::new(code::INTERNAL, "EOF")),
        _ => Err(Status::new(code::INTERNAL, "unexpected EOF")),
    }
}

/// Field 1 of a `HealthCheckResponse`, 0 where it is absent; `None` if the message is malformed.
fn serving_status(mut message: &[u8]) -> Option<u64> {
    let mut status = 0;
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        match (tag, tag & 7) {
            (0x08, _) => status = varint(&mut message)?,
            (_, 0) => drop(varint(&mut message)?),
            (_, 1) => message = message.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            (_, 5) => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn serving_name(status: u64) -> String {
    match status {
        0 => "UNKNOWN".to_owned(),
        1 => "SERVING".to_owned(),
        2 => "NOT_SERVING".to_owned(),
        3 => "SERVICE_UNKNOWN".to_owned(),
        other => other.to_string(),
    }
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 127) << shift;
        if *first < 128 {
            return Some(value);
        }
    }
    None
}

fn varint_into(bytes: &mut Vec<u8>, mut value: usize) {
    while value >= 128 {
        bytes.push(value as u8 | 128);
        value >>= 7;
    }
    bytes.push(value as u8);
}
