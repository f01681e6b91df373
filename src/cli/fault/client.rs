//! A client of the admin API, over one connection for each request.
//!
//! It speaks HTTP/1.0, so that the end of an answer is the end of the connection.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::EXIT_UNAVAILABLE;
use crate::cli::{EXIT_CONFIG, EXIT_USAGE};
use crate::sources::file::{self, FileError};

/// How long a connection, and each part of an answer, may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How long a stream may be silent: the service says every 15 s that it is alive.
const SILENCE: Duration = Duration::from_secs(60);

/// The largest token file, in bytes.
const MAX_TOKEN: usize = 64 << 10;

/// The largest answer, in bytes.
const MAX_ANSWER: u64 = 64 << 20;

/// Where the admin listener is, unless told otherwise.
const DEFAULT_ADDRESS: &str = ":8081";

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum ClientError {
    /// No address with a port.
    Address(String),
    /// A token file that cannot be read.
    Token(String, FileError),
    /// Nothing listens there, or it is silent.
    Unreachable(String, io::Error),
    /// What answers there is something else.
    NotOurs(String),
}

impl ClientError {
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Address(_) => EXIT_USAGE,
            Self::Token(..) => EXIT_CONFIG,
            Self::Unreachable(..) | Self::NotOurs(_) => EXIT_UNAVAILABLE,
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => {
                write!(f, "{address:?} is not an address with a port, such as 127.0.0.1:8081 or :8081")
            }
            Self::Token(path, error) => write!(f, "ADMIN_TOKEN_FILE={path:?} {error}"),
            Self::Unreachable(address, error) => {
                write!(f, "the admin listener at {address} does not answer: {error}")
            }
            Self::NotOurs(address) => {
                write!(f, "what answers at {address} is no admin listener of kube-probesim")
            }
        }
    }
}

/// Where to ask, and as whom.
#[derive(Debug)]
pub(super) struct Client {
    /// As it was given.
    shown: String,
    addresses: Vec<SocketAddr>,
    token: Option<String>,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: String,
}

impl Reply {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// What the service says is wrong, a line for each thing.
    pub(super) fn problem(&self) -> Vec<String> {
        let problem = self.json();
        let messages: Vec<String> = problem["errors"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|error| error["message"].as_str().map(str::to_owned))
            .collect();
        let more = problem["more"].as_u64().map(|more| format!("and {more} more"));
        if messages.is_empty() {
            vec![problem["detail"].as_str().map_or_else(|| format!("status {}", self.status), str::to_owned)]
        } else {
            messages.into_iter().chain(more).collect()
        }
    }
}

impl Client {
    /// The admin listener at `address`, or where the variables of the service say.
    pub(super) fn new(address: Option<&str>, env: &[(OsString, OsString)]) -> Result<Self, ClientError> {
        let get = |name: &str| {
            let value = env.iter().find(|(known, _)| known == name)?.1.to_string_lossy().trim().to_owned();
            (!value.is_empty()).then_some(value)
        };
        let of_service = || get("ADMIN_ADDRESS");
        let shown =
            address.map(str::to_owned).or_else(of_service).unwrap_or_else(|| DEFAULT_ADDRESS.to_owned());
        let token = match (get("ADMIN_TOKEN"), get("ADMIN_TOKEN_FILE")) {
            (Some(token), _) => Some(token),
            (None, Some(path)) => match file::read_text(Path::new(&path), MAX_TOKEN) {
                Ok(token) => Some(token.trim().to_owned()),
                Err(error) => return Err(ClientError::Token(path, error)),
            },
            (None, None) => None,
        };
        Ok(Self { addresses: addresses(&shown)?, shown, token })
    }

    /// One request and its answer.
    pub(super) fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&str>,
        headers: &[(&str, &str)],
    ) -> Result<Reply, ClientError> {
        let mut stream = self.send(method, path, body, headers)?;
        let mut answer = Vec::new();
        let read = Read::by_ref(&mut stream).take(MAX_ANSWER).read_to_end(&mut answer);
        read.map_err(|error| self.unreachable(error))?;
        let text = String::from_utf8_lossy(&answer);
        let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| self.not_ours())?;
        let status = status_of(head).ok_or_else(|| self.not_ours())?;
        Ok(Reply { status, body: body.to_owned() })
    }

    /// Server-sent events, each handed to `told` as its data, until that fails. A service that does not want to gives an
    /// answer instead.
    pub(super) fn stream(
        &self,
        path: &str,
        told: &mut dyn FnMut(&str) -> io::Result<()>,
    ) -> Result<Option<Reply>, ClientError> {
        let stream = self.send("GET", path, None, &[("Accept", "text/event-stream")])?;
        stream.set_read_timeout(Some(SILENCE)).map_err(|error| self.unreachable(error))?;
        let mut lines = BufReader::new(stream).lines();
        let mut line = || lines.next().transpose().map_err(|error| self.unreachable(error));
        let status = line()?.as_deref().and_then(status_of).ok_or_else(|| self.not_ours())?;
        while line()?.is_some_and(|header| !header.is_empty()) {}
        if status != 200 {
            let mut body = String::new();
            while let Some(text) = line()? {
                body.push_str(&text);
            }
            return Ok(Some(Reply { status, body }));
        }
        while let Some(text) = line()? {
            if let Some(data) = text.strip_prefix("data: ")
                && told(data).is_err()
            {
                return Ok(None);
            }
        }
        Err(self.unreachable(io::ErrorKind::UnexpectedEof.into()))
    }

    fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<&str>,
        headers: &[(&str, &str)],
    ) -> Result<TcpStream, ClientError> {
        let mut request = format!("{method} {path} HTTP/1.0\r\nHost: localhost\r\n");
        let authorization = self.token.as_ref().map(|token| format!("Bearer {token}"));
        let authorization = authorization.as_deref().map(|value| ("Authorization", value));
        for (name, value) in headers.iter().copied().chain(authorization) {
            request.extend([name, ": ", value, "\r\n"]);
        }
        if let Some(body) = body {
            let length = body.len().to_string();
            request.extend(["Content-Type: application/json\r\nContent-Length: ", &length, "\r\n"]);
        }
        request.push_str("\r\n");
        request.push_str(body.unwrap_or_default());
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in &self.addresses {
            let sent = TcpStream::connect_timeout(address, TIMEOUT).and_then(|mut stream| {
                stream.set_read_timeout(Some(TIMEOUT))?;
                stream.set_write_timeout(Some(TIMEOUT))?;
                stream.write_all(request.as_bytes())?;
                Ok(stream)
            });
            match sent {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(self.unreachable(last))
    }

    fn unreachable(&self, error: io::Error) -> ClientError {
        ClientError::Unreachable(self.shown.clone(), error)
    }

    fn not_ours(&self) -> ClientError {
        ClientError::NotOurs(self.shown.clone())
    }
}

fn status_of(head: &str) -> Option<u16> {
    head.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()
}

/// Where to connect to: what listens everywhere is asked on loopback.
fn addresses(text: &str) -> Result<Vec<SocketAddr>, ClientError> {
    let wrong = || ClientError::Address(text.to_owned());
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    if matches!(host, "" | "0.0.0.0" | "[::]") {
        let port: u16 = port.parse().map_err(|_| wrong())?;
        return Ok(vec![([127, 0, 0, 1], port).into(), ([0, 0, 0, 0, 0, 0, 0, 1], port).into()]);
    }
    let addresses: Vec<SocketAddr> = text.to_socket_addrs().map_err(|_| wrong())?.collect();
    if addresses.is_empty() { Err(wrong()) } else { Ok(addresses) }
}

/// A name as a segment of a path. The service says what is wrong with it.
pub(super) fn encoded(name: &str) -> String {
    name.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_listens_everywhere_is_asked_on_loopback() {
        for address in [":8081", "0.0.0.0:8081", "[::]:8081"] {
            let shown: Vec<String> = addresses(address).unwrap().iter().map(ToString::to_string).collect();
            assert_eq!(shown, ["127.0.0.1:8081", "[::1]:8081"], "{address}");
        }
        assert_eq!(addresses("10.0.0.1:80").unwrap(), ["10.0.0.1:80".parse().unwrap()]);
        for bad in ["", "8081", ":x", "127.0.0.1", "127.0.0.1:99999"] {
            assert!(matches!(addresses(bad), Err(ClientError::Address(_))), "{bad}");
        }
    }

    #[test]
    fn a_name_stays_one_segment() {
        assert_eq!(encoded("readiness-down"), "readiness-down");
        assert_eq!(encoded("a/b?c ä"), "a%2Fb%3Fc%20%C3%A4");
    }
}
