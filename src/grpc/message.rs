//! The messages of the health service.

use hyper::StatusCode;

use crate::fault::GrpcStatus;
use crate::rpc::{self, PREFIX, Value};

/// The status of a service: `HealthCheckResponse.ServingStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Serving {
    /// `SERVING`.
    Yes,
    /// `NOT_SERVING`.
    No,
    /// `SERVICE_UNKNOWN`, only sent by `Watch`.
    Unknown,
}

impl Serving {
    /// The status that corresponds to an HTTP status.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        if status.as_u16() < 400 { Self::Yes } else { Self::No }
    }

    /// The `HealthCheckResponse` with its prefix.
    pub(super) const fn framed(self) -> &'static [u8] {
        match self {
            Self::Yes => b"\0\0\0\0\x02\x08\x01",
            Self::No => b"\0\0\0\0\x02\x08\x02",
            Self::Unknown => b"\0\0\0\0\x02\x08\x03",
        }
    }
}

/// Returns a `HealthListResponse` with its prefix.
pub(super) fn list<'a>(services: impl Iterator<Item = (&'a str, Serving)>) -> Vec<u8> {
    let (mut message, mut entry) = (Vec::new(), Vec::new());
    for (name, serving) in services {
        entry.clear();
        rpc::write_bytes(&mut entry, 1, name.as_bytes());
        rpc::write_bytes(&mut entry, 2, &serving.framed()[PREFIX..]);
        rpc::write_bytes(&mut message, 1, &entry);
    }
    rpc::framed(&message)
}

/// Why the message of a request is invalid.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MessageError {
    #[error("the request contains no message")]
    Missing,
    #[error("the request ends before its message does")]
    Short,
    #[error("the request has {0} bytes after its message")]
    Long(usize),
    #[error("the message is compressed, and only identity is supported")]
    Compressed,
    #[error("the first byte of the message is {0}, neither 0 nor 1")]
    Kind(u8),
    #[error("the message is not a HealthCheckRequest")]
    Malformed,
    #[error("the name of the service is not UTF-8")]
    NotUtf8,
}

impl MessageError {
    /// The status to end the call with.
    pub(crate) const fn status(&self) -> GrpcStatus {
        match self {
            Self::Compressed => GrpcStatus::UNIMPLEMENTED,
            _ => GrpcStatus::INTERNAL,
        }
    }
}

/// Returns the service in a `HealthCheckRequest` with its prefix.
pub(crate) fn service(body: &[u8]) -> Result<&str, MessageError> {
    let Some((&[kind, a, b, c, d], message)) = body.split_first_chunk::<PREFIX>() else {
        return Err(if body.is_empty() { MessageError::Missing } else { MessageError::Short });
    };
    match kind {
        0 => {}
        1 => return Err(MessageError::Compressed),
        kind => return Err(MessageError::Kind(kind)),
    }
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    match message.len().checked_sub(length) {
        None => return Err(MessageError::Short),
        Some(0) => {}
        Some(more) => return Err(MessageError::Long(more)),
    }
    let mut name = &b""[..];
    for field in rpc::fields(message) {
        if let (1, Value::Bytes(value)) = field.map_err(|_| MessageError::Malformed)? {
            name = value;
        }
    }
    std::str::from_utf8(name).map_err(|_| MessageError::NotUtf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_name_of_a_request_is_read_and_unknown_fields_are_ignored() {
        for (body, name) in [
            (&b"\0\0\0\0\0"[..], ""),
            (b"\0\0\0\0\x04\x0a\x02hi", "hi"),
            (b"\0\0\0\0\x08\x0a\x02hi\x0a\x02yo", "yo"),
            (b"\0\0\0\0\x0b\x10\x01\x0a\x02hi\x1d1234", "hi"),
        ] {
            assert_eq!(service(body), Ok(name), "{body:?}");
        }
    }

    #[test]
    fn an_invalid_message_is_rejected_with_the_reason() {
        for (body, error) in [
            (&b""[..], MessageError::Missing),
            (b"\0\0\0", MessageError::Short),
            (b"\0\0\0\0\x04\x0a\x02", MessageError::Short),
            (b"\0\xff\xff\xff\xff\x0a\x02hi", MessageError::Short),
            (b"\0\0\0\0\x02\x0a\x00\0\0\0\0\0", MessageError::Long(5)),
            (b"\x01\0\0\0\x04\x0a\x02hi", MessageError::Compressed),
            (b"\x02\0\0\0\x04\x0a\x02hi", MessageError::Kind(2)),
            (b"\0\0\0\0\x04\x0a\x09hi", MessageError::Malformed),
            (b"\0\0\0\0\x03\x0a\x01\xff", MessageError::NotUtf8),
        ] {
            assert_eq!(service(body), Err(error), "{body:?}");
        }
    }

    #[test]
    fn a_list_contains_each_service_with_its_status() {
        let list = list([("", Serving::Yes), ("startup", Serving::No)].into_iter());
        assert_eq!(
            list,
            b"\0\0\0\0\x17\x0a\x06\x0a\0\x12\x02\x08\x01\x0a\x0d\x0a\x07startup\x12\x02\x08\x02"
        );
    }
}
