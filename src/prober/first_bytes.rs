//! Detects servers that do not answer a TLS handshake with TLS.

use super::tap::Look;

/// The length of a TLS record header, in bytes.
const RECORD_HEAD: usize = 5;

/// The first bytes from the server.
#[derive(Debug, Default)]
pub(super) struct FirstBytes {
    first: [u8; RECORD_HEAD],
    count: usize,
}

impl FirstBytes {
    /// Go's message for a server that does not speak TLS; `None`: it does.
    pub(super) fn wrong_peer(&self) -> Option<String> {
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
