//! The handshake of TLS, with Go's words for what goes wrong.

use std::io;
use std::time::Duration;

use rustls::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::connection::name_of;
use super::quote::os_error;
use super::stream::Stream;
use super::tap::{Look, Tap};
use crate::tls::{Trust, client_config, reason, server_name};

/// A handshake of the kubelet's client takes at most this long, whatever the timeout of the probe.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Length of the head of a record, in bytes.
const RECORD_HEAD: usize = 5;

/// Begins TLS. `host` is the name or IP address that was asked for; a name is sent to the server. An error is in Go's
/// words.
pub(super) async fn handshake(
    socket: TcpStream,
    host: &str,
    trust: &Trust,
    alpn: &[&str],
) -> Result<Stream, String> {
    let connector = TlsConnector::from(client_config(trust, alpn));
    let name = name_of(&socket);
    let server = server_name(host)
        .ok_or_else(|| format!("tls: {host:?} is not a name that a certificate could have"))?;
    let connect = connector.connect(server, Tap { stream: socket, look: FirstBytes::default() });
    match timeout(HANDSHAKE_TIMEOUT, connect.into_fallible()).await {
        Ok(Ok(stream)) => Ok(Stream::Tls(Box::new(stream))),
        Ok(Err((error, tap))) => Err(tap.look.wrong_peer().unwrap_or_else(|| message(&error, &name, host))),
        Err(_) => Err("net/http: TLS handshake timeout".to_owned()),
    }
}

/// An error of reading or writing within TLS, in Go's words. `name` is that of the connection.
pub(super) fn message(error: &io::Error, name: &str, host: &str) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(error) => reason(error, host),
        None if error.kind() == io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
        None => format!("read tcp {name}: read: {}", os_error(error)),
    }
}

/// Remembers the first bytes that came: they tell who answers where TLS was expected.
#[derive(Debug, Default)]
pub(super) struct FirstBytes {
    first: [u8; RECORD_HEAD],
    count: usize,
}

impl FirstBytes {
    /// What Go says of a peer that does not speak TLS.
    fn wrong_peer(&self) -> Option<String> {
        const ALERT: u8 = 21;
        const HANDSHAKE: u8 = 22;
        let text = match self.first {
            _ if self.count == 0 => return None,
            _ if self.count < RECORD_HEAD => "unexpected EOF",
            [b'H', b'T', b'T', b'P', b'/'] => "http: server gave HTTP response to HTTPS client",
            [ALERT | HANDSHAKE, major, ..] if major < 0x10 => return None,
            _ => "tls: first record does not look like a TLS handshake",
        };
        Some(text.to_owned())
    }
}

impl Look for FirstBytes {
    fn look(&mut self, bytes: &[u8]) {
        let free = &mut self.first[self.count..];
        let count = free.len().min(bytes.len());
        free[..count].copy_from_slice(&bytes[..count]);
        self.count += count;
    }
}
