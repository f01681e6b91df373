//! The handshake of TLS on a connection.

use rustls::AlertDescription;

use super::refusal::Refusal;
use super::{Connection, Share};
use crate::listener::driver::Driver;

/// Memory of TLS on a connection for as long as that lasts, in bytes: keys, and the buffer of what is read.
const TLS_MEMORY: usize = 8 << 10;

/// Memory of a handshake under way beyond that, in bytes.
const HANDSHAKE_MEMORY: usize = 16 << 10;

impl Connection {
    /// Whether its client speaks what is not allowed here without TLS.
    pub(super) fn lacks_tls(&self) -> bool {
        self.service.tls.as_ref().is_some_and(|tls| tls.is_required) && !self.socket.is_tls()
    }

    /// Expects the handshake that the client has begun.
    pub(super) fn begin_tls(&mut self) -> Result<Driver, Refusal> {
        let budget = self.state.budget();
        // The client may be the kubelet, which only its request shows.
        let reserve = |bytes| {
            budget.try_reserve(bytes, self.state.share()).or_else(|| budget.reserve(bytes, Share::Reserved))
        };
        let (tls, handshake) = (reserve(TLS_MEMORY), reserve(HANDSHAKE_MEMORY));
        let config = self.service.tls.as_ref().map(|encryption| encryption.tls.config());
        let (Some(_), Some(_), Some(config)) = (&tls, &handshake, config) else {
            return Err(Refusal::Handshake(AlertDescription::InternalError));
        };
        self.socket.begin_tls(config).map_err(|_| Refusal::Handshake(AlertDescription::InternalError))?;
        (self.tls, self.request) = (tls, handshake);
        self.state.head_begins();
        Ok(Driver::Handshake)
    }
}
