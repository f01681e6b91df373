//! The messages of `grpc.health.v1`, in gRPC's framing.

use super::status::{Status, code};
use crate::prober::quote::quoted;

/// A `HealthCheckRequest`.
pub(super) fn request(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        varint_into(&mut message, service.len());
        message.extend_from_slice(service.as_bytes());
    }
    let mut framed = vec![0];
    framed.extend_from_slice(&(message.len() as u32).to_be_bytes());
    framed.extend_from_slice(&message);
    framed
}

/// What grpc-go says of an answer whose status is OK and that has no message.
pub(super) const NO_MESSAGE: &str =
    "cardinality violation: received no response message from non-server-streaming RPC";
/// What grpc-go says of a second message.
pub(super) const ANOTHER_MESSAGE: &str =
    "cardinality violation: expected <EOF> for non server-streaming RPCs, but received another message";

/// Checks the byte before the length of a message, which says whether it is compressed.
pub(super) fn check_kind(kind: u8, encoding: Option<&[u8]>) -> Result<(), Status> {
    let text = match (kind, encoding) {
        (0, _) => return Ok(()),
        (1, None | Some(b"" | b"identity")) => {
            "grpc: compressed flag set with identity or empty encoding".to_owned()
        }
        (1, Some(encoding)) => {
            let encoding = quoted(encoding);
            format!("grpc: Decompressor is not installed for grpc-encoding {encoding}")
        }
        (kind, _) => format!("grpc: received unexpected payload format {kind}"),
    };
    Err(Status::new(code::INTERNAL, text))
}

/// Field 1 of a `HealthCheckResponse`, 0 where it is absent; `None` if the message is malformed.
pub(super) fn serving_status(mut message: &[u8]) -> Option<u64> {
    let mut status = 0;
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        match (tag, tag & 7) {
            (0x08, _) => status = varint(&mut message)?,
            (_, 0) => drop(varint(&mut message)?),
            (_, 1) => message = message.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            (_, 5) => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

/// The name of a serving status.
pub(super) fn serving_name(status: u64) -> String {
    match status {
        0 => "UNKNOWN".to_owned(),
        1 => "SERVING".to_owned(),
        2 => "NOT_SERVING".to_owned(),
        3 => "SERVICE_UNKNOWN".to_owned(),
        other => other.to_string(),
    }
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

fn varint_into(bytes: &mut Vec<u8>, mut value: usize) {
    while value >= 128 {
        bytes.push(value as u8 | 128);
        value >>= 7;
    }
    bytes.push(value as u8);
}
