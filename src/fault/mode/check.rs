//! Limits of mode values.

use super::{Mode, Slices, WireMode};
use crate::fault::error::RuleError;
use crate::fault::limits::{MAX_BODY, MAX_DELAY, MAX_GRPC_MESSAGE, MAX_SPEED};

impl Mode {
    /// Checks that its values are valid.
    pub(in crate::fault) fn check(&self) -> Result<(), RuleError> {
        if let Some(status) = self.status()
            && !(200..=599).contains(&status)
        {
            return Err(RuleError::Status(status));
        }
        if let Some(status @ (204 | 304)) = self.status().filter(|_| self.info().needs_body) {
            return Err(RuleError::NoBody { mode: self.name(), status });
        }
        if let Some(partial) = self.partial().filter(|partial| partial.body > MAX_BODY) {
            return Err(RuleError::Body(partial.body));
        }
        match self {
            Mode::Throttle { speed, .. } if !(1..=MAX_SPEED).contains(speed) => Err(RuleError::Speed(*speed)),
            Mode::Corrupt { share, .. } if share.percent() == 0.0 => Err(RuleError::Share),
            Mode::Grpc { message, .. } if message.len() > MAX_GRPC_MESSAGE => {
                Err(RuleError::GrpcMessage(message.len()))
            }
            Mode::Drip { over, .. } if over.is_zero() || *over > MAX_DELAY => Err(RuleError::Drip(*over)),
            Mode::Wire(WireMode::Slice(Slices { piece, jitter, .. })) if *piece == 0 || jitter >= piece => {
                Err(RuleError::Piece)
            }
            Mode::Redirect(location)
                if location.is_empty() || !location.bytes().all(|c| c.is_ascii_graphic()) =>
            {
                Err(RuleError::Location(location.clone()))
            }
            _ => Ok(()),
        }
    }
}
