//! Text as Go prints it.

use std::fmt::Write;
use std::io;

/// Bytes in quotes, as Go's `%q`.
pub(super) fn quoted(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => text.push_str("\\\""),
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                '\x07' => text.push_str("\\a"),
                '\x08' => text.push_str("\\b"),
                '\x0b' => text.push_str("\\v"),
                '\x0c' => text.push_str("\\f"),
                c if c.is_ascii_control() => hex(&mut text, c as u8),
                c if c.is_control() => drop(write!(text, "\\u{:04x}", c as u32)),
                c => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            hex(&mut text, *byte);
        }
    }
    text.push('"');
    text
}

fn hex(text: &mut String, byte: u8) {
    // Writing to a string cannot fail.
    let _ = write!(text, "\\x{byte:02x}");
}

/// An operating system's error without the number, in Go's words: those of musl differ from those of Linux.
pub(super) fn os_error(error: &io::Error) -> String {
    use io::ErrorKind as K;
    let known = match error.kind() {
        K::ConnectionRefused => "connection refused",
        K::ConnectionReset => "connection reset by peer",
        K::ConnectionAborted => "software caused connection abort",
        K::HostUnreachable => "no route to host",
        K::NetworkUnreachable => "network is unreachable",
        K::TimedOut => "connection timed out",
        K::BrokenPipe => "broken pipe",
        K::AddrNotAvailable => "cannot assign requested address",
        K::PermissionDenied => "permission denied",
        _ => {
            let text = error.to_string();
            return text.split(" (os error").next().unwrap_or(&text).to_lowercase();
        }
    };
    known.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_quoted_as_go_does() {
        assert_eq!(quoted(b"\x8f\x9a\x00abc"), r#""\x8f\x9a\x00abc""#);
        assert_eq!(quoted("a\"b\\c\r\n\té\u{85}".as_bytes()), r#""a\"b\\c\r\n\té\u0085""#);
    }
}
