//! The handshake of TLS, with Go's words for what goes wrong.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use rustls::pki_types::{ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::connection::name_of;
use super::quote::os_error;
use super::stream::Stream;
use super::tap::{Look, Tap};
use crate::tls::{Trust, client_config};

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
    let connect = connector.connect(server_name(host)?, Tap { stream: socket, look: FirstBytes::default() });
    match timeout(HANDSHAKE_TIMEOUT, connect.into_fallible()).await {
        Ok(Ok(stream)) => Ok(Stream::Tls(Box::new(stream))),
        Ok(Err((error, tap))) => Err(tap.look.wrong_peer().unwrap_or_else(|| message(&error, &name, host))),
        Err(_) => Err("net/http: TLS handshake timeout".to_owned()),
    }
}

/// The name that the server is asked for. An address is not sent.
fn server_name(host: &str) -> Result<ServerName<'static>, String> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(ip.into());
    }
    ServerName::try_from(host.trim_end_matches('.').to_owned())
        .map_err(|_| format!("tls: {host:?} is not a name that a certificate could have"))
}

/// An error of reading or writing within TLS, in Go's words. `name` is that of the connection.
pub(super) fn message(error: &io::Error, name: &str, host: &str) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(error) => tls_message(error, host),
        None if error.kind() == io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
        None => format!("read tcp {name}: read: {}", os_error(error)),
    }
}

fn tls_message(error: &Error, host: &str) -> String {
    match error {
        Error::AlertReceived(alert) => format!("remote error: tls: {}", alert_text(*alert)),
        Error::General(reason) => format!("tls: {reason}"),
        Error::InvalidCertificate(reason) => {
            format!("tls: failed to verify certificate: x509: {}", certificate_text(reason, host))
        }
        Error::DecryptError => "local error: tls: bad record MAC".to_owned(),
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) => "tls: received record with an unknown version or type".to_owned(),
        Error::InvalidMessage(_) => "local error: tls: error decoding message".to_owned(),
        Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13) => {
            "tls: server selected unsupported protocol version".to_owned()
        }
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            "local error: tls: unexpected message".to_owned()
        }
        other => format!("tls: {other}"),
    }
}

fn certificate_text(reason: &CertificateError, host: &str) -> String {
    use CertificateError as C;
    let outdated = |now: &UnixTime, is: &str, then: &UnixTime| {
        let (now, then) = (rfc3339(*now), rfc3339(*then));
        format!("certificate has expired or is not yet valid: current time {now} is {is} {then}")
    };
    match reason {
        C::UnknownIssuer | C::BadSignature => "certificate signed by unknown authority".to_owned(),
        C::ExpiredContext { time, not_after } => outdated(time, "after", not_after),
        C::NotValidYetContext { time, not_before } => outdated(time, "before", not_before),
        C::NotValidForNameContext { presented, .. } if presented.is_empty() => {
            format!("certificate is not valid for any names, but wanted to match {host}")
        }
        C::NotValidForNameContext { presented, .. } => {
            let names: Vec<&str> = presented.iter().map(|name| bare(name)).collect();
            format!("certificate is valid for {}, not {host}", names.join(", "))
        }
        other => other.to_string(),
    }
}

/// `a` of `DnsName("a")` and `IpAddress(a)`.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
    inner.trim_matches('"')
}

fn rfc3339(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let time = OffsetDateTime::from_unix_timestamp(seconds).ok().and_then(|time| time.format(&Rfc3339).ok());
    time.unwrap_or_else(|| format!("{seconds} s after 1970"))
}

fn alert_text(alert: AlertDescription) -> String {
    use AlertDescription as A;
    let text = match alert {
        A::CloseNotify => "close notify",
        A::UnexpectedMessage => "unexpected message",
        A::BadRecordMac => "bad record MAC",
        A::DecryptionFailed => "decryption failed",
        A::RecordOverflow => "record overflow",
        A::DecompressionFailure => "decompression failure",
        A::HandshakeFailure => "handshake failure",
        A::BadCertificate => "bad certificate",
        A::UnsupportedCertificate => "unsupported certificate",
        A::CertificateRevoked => "revoked certificate",
        A::CertificateExpired => "expired certificate",
        A::CertificateUnknown => "unknown certificate",
        A::IllegalParameter => "illegal parameter",
        A::UnknownCA => "unknown certificate authority",
        A::AccessDenied => "access denied",
        A::DecodeError => "error decoding message",
        A::DecryptError => "error decrypting message",
        A::ExportRestriction => "export restriction",
        A::ProtocolVersion => "protocol version not supported",
        A::InsufficientSecurity => "insufficient security level",
        A::InternalError => "internal error",
        A::InappropriateFallback => "inappropriate fallback",
        A::UserCanceled => "user canceled",
        A::NoRenegotiation => "no renegotiation",
        A::MissingExtension => "missing extension",
        A::UnsupportedExtension => "unsupported extension",
        A::CertificateUnobtainable => "certificate unobtainable",
        A::UnrecognisedName => "unrecognized name",
        A::BadCertificateStatusResponse => "bad certificate status response",
        A::BadCertificateHashValue => "bad certificate hash value",
        A::UnknownPSKIdentity => "unknown PSK identity",
        A::CertificateRequired => "certificate required",
        A::NoApplicationProtocol => "no application protocol",
        A::EncryptedClientHelloRequired => "encrypted client hello required",
        other => return format!("alert({})", u8::from(other)),
    };
    text.to_owned()
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
