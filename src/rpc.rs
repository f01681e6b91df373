//! Parts of gRPC that client and server share: content type, framing of messages, and protobuf fields.

use hyper::HeaderMap;
use hyper::header::CONTENT_TYPE;

/// Size of the prefix of a message: the compression flag, and the length.
pub(crate) const PREFIX: usize = 5;

/// Whether one of the content types is gRPC.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_TYPE).iter().any(|value| is_content_type(value.as_bytes()))
}

/// Whether a value is `application/grpc`, optionally with a subtype or parameters.
pub(crate) fn is_content_type(value: &[u8]) -> bool {
    value
        .strip_prefix(b"application/grpc")
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// Returns a message with its prefix, not compressed.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(PREFIX + message.len());
    framed.push(0);
    framed.extend_from_slice(&(message.len() as u32).to_be_bytes());
    framed.extend_from_slice(message);
    framed
}

/// Writes a length-delimited field: a string or an embedded message.
pub(crate) fn write_bytes(message: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    message.push(number << 3 | 2);
    let mut length = bytes.len();
    while length >= 128 {
        message.push(length as u8 | 128);
        length >>= 7;
    }
    message.push(length as u8);
    message.extend_from_slice(bytes);
}

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// A variable-length number.
    Varint(u64),
    /// Four or eight bytes. No message here uses them.
    Fixed,
    /// A string or an embedded message.
    Bytes(&'a [u8]),
}

/// The bytes are not a protobuf message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Iterates over the numbers and values of a message's fields, until the first error.
pub(crate) fn fields(message: &[u8]) -> impl Iterator<Item = Result<(u64, Value<'_>), Malformed>> {
    let mut rest = message;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let field = field(&mut rest).ok_or(Malformed);
        if field.is_err() {
            rest = &[];
        }
        Some(field)
    })
}

fn field<'a>(rest: &mut &'a [u8]) -> Option<(u64, Value<'a>)> {
    let tag = varint(rest)?;
    let value = match tag & 7 {
        0 => Value::Varint(varint(rest)?),
        1 => take(rest, 8).map(|_| Value::Fixed)?,
        2 => {
            let length = usize::try_from(varint(rest)?).ok()?;
            Value::Bytes(take(rest, length)?)
        }
        5 => take(rest, 4).map(|_| Value::Fixed)?,
        _ => return None,
    };
    let number = tag >> 3;
    (number > 0).then_some((number, value))
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_in_their_order_until_one_is_malformed() {
        let message = b"\x0a\x02hi\x10\xac\x02\x1d1234\x2112345678";
        let read: Vec<_> = fields(message).collect();
        let values = [Value::Bytes(b"hi"), Value::Varint(300), Value::Fixed, Value::Fixed];
        let expected: Vec<_> = (1..).zip(values).map(Ok).collect();
        assert_eq!(read, expected);
        for malformed in [
            &b"\x0a"[..],
            b"\x0a\x03hi",
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01hi",
            b"\x08\xff",
            b"\x00\x01",
            b"\x0b\x0c",
            b"\x0d123",
            b"\x091234567",
        ] {
            let read: Vec<_> = fields(malformed).collect();
            assert_eq!(read, [Err(Malformed)], "{malformed:?}");
        }
    }

    #[test]
    fn written_fields_can_be_read() {
        for length in [0, 1, 127, 128, 20_000] {
            let (mut message, bytes) = (Vec::new(), vec![b'x'; length]);
            write_bytes(&mut message, 1, &bytes);
            assert_eq!(fields(&message).collect::<Vec<_>>(), [Ok((1, Value::Bytes(&bytes)))]);
            let framed = framed(&message);
            assert_eq!(framed[1..PREFIX], (message.len() as u32).to_be_bytes());
            assert_eq!(framed[PREFIX..], message);
        }
    }

    #[test]
    fn the_content_type_is_grpc_with_an_optional_subtype_or_parameters() {
        for (value, is) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;charset=x", true),
            ("application/grpc-web", false),
            ("application/json", false),
            ("", false),
        ] {
            assert_eq!(is_content_type(value.as_bytes()), is, "{value}");
        }
    }
}
