//! The TLS handshake, with Go's error messages.

use std::io;
use std::time::Duration;

use rustls::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::first_bytes::FirstBytes;
use super::quote::os_error;
use super::stream::{Stream, name_of};
use super::tap::Tap;
use crate::tls::{Trust, client_config, reason, server_name};

/// The timeout of a handshake in the kubelet's client, independently of the probe's timeout.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes a TLS handshake. `host` is the requested name or IP address; a name is sent to the server. Errors have Go's
/// messages.
pub(super) async fn handshake(
    socket: TcpStream,
    host: &str,
    trust: &Trust,
    alpn: &[&str],
) -> Result<Stream, String> {
    let connector = TlsConnector::from(client_config(trust, alpn));
    let name = name_of(&socket);
    let server =
        server_name(host).ok_or_else(|| format!("tls: {host:?} is not a valid host name for TLS"))?;
    let connect = connector.connect(server, Tap { stream: socket, look: FirstBytes::default() });
    match timeout(HANDSHAKE_TIMEOUT, connect.into_fallible()).await {
        Ok(Ok(stream)) => Ok(Stream::Tls(Box::new(stream))),
        Ok(Err((error, tap))) => Err(tap.look.wrong_peer().unwrap_or_else(|| message(&error, &name, host))),
        Err(_) => Err("net/http: TLS handshake timeout".to_owned()),
    }
}

/// Go's message for an error of reading or writing with TLS. `name` is the name of the connection.
pub(super) fn message(error: &io::Error, name: &str, host: &str) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(error) => reason(error, host),
        None if error.kind() == io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
        None => format!("read tcp {name}: read: {}", os_error(error)),
    }
}
