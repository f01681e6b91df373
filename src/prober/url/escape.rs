//! Percent-encoding of the parts of a URL.

use super::error::UrlError;

/// A part of a URL with its own escaping rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Path,
    Fragment,
    Host,
    /// The zone of an IPv6 address.
    Zone,
    /// The user or password.
    User,
}

impl Part {
    /// Whether a byte is allowed unescaped.
    const fn allows(self, byte: u8) -> bool {
        match byte {
            b'-' | b'.' | b'_' | b'~' | b'$' | b'&' | b'+' | b',' | b';' | b'=' => true,
            b'/' | b'@' => matches!(self, Self::Path | Self::Fragment),
            b':' => !matches!(self, Self::User),
            b'!' | b'(' | b')' | b'*' => matches!(self, Self::Fragment | Self::Host | Self::Zone),
            b'?' => matches!(self, Self::Fragment),
            b'"' | b'\'' | b'<' | b'>' | b'[' | b']' => matches!(self, Self::Host | Self::Zone),
            _ => byte.is_ascii_alphanumeric(),
        }
    }
}

/// Escapes the bytes that are not allowed.
pub(super) fn escaped(bytes: &[u8], part: Part) -> String {
    const DIGITS: [u8; 16] = *b"0123456789ABCDEF";
    let mut text = String::new();
    for byte in bytes {
        if part.allows(*byte) {
            text.push(char::from(*byte));
        } else {
            text.push('%');
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
    text
}

/// Decodes the escapes.
pub(super) fn unescaped(text: &[u8], part: Part) -> Result<Vec<u8>, UrlError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            if matches!(part, Part::Host | Part::Zone) && first.is_ascii() && !part.allows(*first) {
                return Err(UrlError::HostCharacter(vec![*first]));
            }
            bytes.push(*first);
            continue;
        }
        let digits = after.first_chunk::<2>().and_then(|[high, low]| Some((digit(*high)?, digit(*low)?)));
        let escape = || UrlError::Escape([b"%", &after[..after.len().min(2)]].concat());
        let (high, low) = digits.ok_or_else(escape)?;
        let byte = high << 4 | low;
        let forbidden = match part {
            // In a host, only non-ASCII bytes and the percent sign before a zone may be escaped.
            Part::Host => byte.is_ascii() && byte != b'%',
            Part::Zone => byte != b'%' && byte != b' ' && !Part::Host.allows(byte),
            _ => false,
        };
        if forbidden {
            return Err(escape());
        }
        bytes.push(byte);
        rest = &after[2..];
    }
    Ok(bytes)
}

/// A path or fragment as Go sends it: as written if all its bytes are allowed, otherwise escaped again.
pub(super) fn normalized(text: &[u8], part: Part) -> Result<String, UrlError> {
    let bytes = unescaped(text, part)?;
    let stays = |c: &u8| part.allows(*c) || b"!'()*[]%".contains(c);
    match std::str::from_utf8(text) {
        Ok(text) if text.as_bytes().iter().all(stays) => Ok(text.to_owned()),
        _ => Ok(escaped(&bytes, part)),
    }
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}
