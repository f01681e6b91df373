//! The first bytes of a connection: HTTP/1.1, HTTP/2 or TLS.

use std::net::SocketAddr;
use std::sync::LazyLock;

use super::service::{Connection, start};

/// The preface of HTTP/2 (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The first bytes of TLS records: an alert, and a message of a handshake.
const ALERT: u8 = 0x15;
const HANDSHAKE: u8 = 0x16;

/// The types of the HTTP/2 frames that a server sends.
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

/// The service answers in the protocol of the first bytes, and the same whether they come at once or in two parts.
pub fn opening(data: &[u8]) {
    let whole = answer(&[data]);
    let (first, second) = data.split_at(data.len() / 2);
    let parts = answer(&[first, second]);
    assert_eq!(whole, parts, "{:?}", String::from_utf8_lossy(data));
    let is_expected = match whole {
        Answer::Nothing => true,
        Answer::Tls { .. } => data[0] == HANDSHAKE,
        Answer::Http2 { .. } => data.starts_with(PREFACE),
        Answer::Http1 { .. } => data[0] != HANDSHAKE && !data.starts_with(PREFACE),
    };
    assert!(is_expected, "{whole:?} to {:?}", String::from_utf8_lossy(data));
}

static SERVICE: LazyLock<SocketAddr> = LazyLock::new(|| start(&[("TLS", "self-signed")]));

/// What came back, without what is random or depends on time.
#[derive(Debug, PartialEq)]
enum Answer {
    Nothing,
    /// The type of the first record, and the description of an alert.
    Tls {
        record: u8,
        alert: Option<u8>,
    },
    /// The error code of the last GOAWAY.
    Http2 {
        error: Option<u32>,
    },
    Http1 {
        status: Vec<u8>,
    },
}

fn answer(parts: &[&[u8]]) -> Answer {
    let mut connection = Connection::to(*SERVICE);
    for part in parts {
        connection.send(part);
    }
    let got = connection.finish();
    match got.as_slice() {
        [] => Answer::Nothing,
        [ALERT, _, _, 0, 2, _, description, ..] => Answer::Tls { record: ALERT, alert: Some(*description) },
        [HANDSHAKE, ..] => Answer::Tls { record: HANDSHAKE, alert: None },
        [_, _, _, SETTINGS, 0, 0, 0, 0, 0, ..] => Answer::Http2 { error: last_goaway(&got) },
        _ => {
            let rest = got.strip_prefix(b"HTTP/1.1 ").or_else(|| got.strip_prefix(b"HTTP/1.0 "));
            let status = rest.and_then(|rest| rest.get(..3));
            let status = status.unwrap_or_else(|| panic!("{:?}", String::from_utf8_lossy(&got)));
            Answer::Http1 { status: status.to_owned() }
        }
    }
}

/// Reads all frames; the last one may break off.
fn last_goaway(mut frames: &[u8]) -> Option<u32> {
    let mut error = None;
    while let [a, b, c, kind, _, stream @ ..] = frames
        && let Some((_, rest)) = stream.split_at_checked(4)
    {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        assert!(length <= 16384 && *kind < 10, "a frame of type {kind} and {length} bytes");
        let Some((payload, rest)) = rest.split_at_checked(length) else { break };
        if *kind == GOAWAY {
            error = payload.get(4..8).map(|code| u32::from_be_bytes(code.try_into().expect("four bytes")));
        }
        frames = rest;
    }
    error
}
