//! Prints text as Go does.

use std::fmt::Write;
use std::io;

/// Quotes bytes like Go's `%q`.
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
                c if is_printable(c) => text.push(c),
                c if c as u32 > 0xffff => drop(write!(text, "\\U{:08x}", c as u32)),
                c => drop(write!(text, "\\u{:04x}", c as u32)),
            }
        }
        for byte in chunk.invalid() {
            hex(&mut text, *byte);
        }
    }
    text.push('"');
    text
}

/// Whether a character is printed unescaped: a letter, mark, number, punctuation, symbol, or the space.
fn is_printable(c: char) -> bool {
    // Rust escapes a combining mark at the beginning of a text only.
    let text = format!("a{c}");
    c.is_ascii_graphic() || !text.escape_debug().any(|c| c == '\\')
}

fn hex(text: &mut String, byte: u8) {
    // Writing to a string cannot fail.
    let _ = write!(text, "\\x{byte:02x}");
}

/// Go's message for an error of the operating system, without its number. The messages of musl differ.
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
        assert_eq!(
            quoted("\u{feff}\u{a0}\u{e000}\u{10ffff} e\u{301}".as_bytes()),
            "\"\\ufeff\\u00a0\\ue000\\U0010ffff e\u{301}\""
        );
    }
}
