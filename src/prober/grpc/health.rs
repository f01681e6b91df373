//! The messages of `grpc.health.v1`, in gRPC's framing.

use super::status::{Status, code};
use crate::prober::quote::quoted;
use crate::rpc::{self, Value};

/// A `HealthCheckRequest`.
pub(super) fn request(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        rpc::write_bytes(&mut message, 1, service.as_bytes());
    }
    rpc::framed(&message)
}

/// grpc-go's message for a response with status OK but without a message.
pub(super) const NO_MESSAGE: &str =
    "cardinality violation: received no response message from non-server-streaming RPC";
/// grpc-go's message for a second message.
pub(super) const ANOTHER_MESSAGE: &str =
    "cardinality violation: expected <EOF> for non server-streaming RPCs, but received another message";

/// Checks the compressed flag of a message.
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

/// Field 1 of a `HealthCheckResponse`, or 0 if it is absent. `None`: the message is malformed.
pub(super) fn serving_status(message: &[u8]) -> Option<u64> {
    let mut status = 0;
    for field in rpc::fields(message) {
        if let (1, Value::Varint(value)) = field.ok()? {
            status = value;
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
