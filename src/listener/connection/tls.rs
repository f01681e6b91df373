//! The TLS handshake of a connection.

use std::sync::Arc;

use bytes::Bytes;
use rustls::{AlertDescription, ServerConfig};

use super::refusal::ConnectionRefusal;
use super::{BudgetShare, Connection};
use crate::fault::{HandshakeFault, ListenerId};
use crate::listener::ListenerFaults;
use crate::listener::driver::Driver;
use crate::listener::script::Takeover;
use crate::listener::script::{Script, ScriptEnding};
use crate::telemetry::metrics::HandshakeResult;
use crate::tls::Flaw;
use crate::tls::session::alert;

/// Memory of a TLS session, in bytes: keys and the read buffer.
const TLS_MEMORY: usize = 8 << 10;

/// Additional memory during the handshake, in bytes.
const HANDSHAKE_MEMORY: usize = 16 << 10;

impl Connection {
    /// Whether the client violates `TLS_ONLY`.
    pub(super) fn lacks_tls(&self) -> bool {
        self.service.tls.as_ref().is_some_and(|tls| tls.is_required) && !self.socket.is_tls()
    }

    /// Starts the handshake, or performs the fault of a rule.
    pub(super) fn begin_handshake(&mut self) -> Result<Driver, ConnectionRefusal> {
        let internal = || ConnectionRefusal::Handshake(AlertDescription::InternalError);
        let tls = &self.service.tls.as_ref().ok_or_else(internal)?.tls;
        let config = match self.handshake_fault() {
            None => Ok(tls.config()),
            Some(HandshakeFault::Expired) => tls.flawed(Flaw::Expired),
            Some(HandshakeFault::WrongName) => tls.flawed(Flaw::WrongName),
            Some(HandshakeFault::Untrusted) => tls.flawed(Flaw::Untrusted),
            Some(HandshakeFault::Hang) => {
                return Ok(self.replaces_handshake(Bytes::new(), ScriptEnding::Never));
            }
            Some(HandshakeFault::Close) => {
                return Ok(self.replaces_handshake(Bytes::new(), ScriptEnding::Fin));
            }
            Some(HandshakeFault::Alert(why)) => {
                let alert = Bytes::copy_from_slice(&alert(why.code()));
                return Ok(self.replaces_handshake(alert, ScriptEnding::Fin));
            }
        };
        self.begin_tls(config.map_err(|_| internal())?)
    }

    fn handshake_fault(&self) -> Option<HandshakeFault> {
        let ListenerFaults { engine, listener } = self.service.faulted.as_ref()?;
        (*listener == ListenerId::Probe).then(|| engine.decide_handshake(self.state.peer().ip()))?
    }

    /// Writes to the TCP socket instead of a handshake.
    fn replaces_handshake(&mut self, opening: Bytes, ending: ScriptEnding) -> Driver {
        self.service.metrics.tls().handshake(HandshakeResult::Fault);
        self.state.handshake_is_replaced();
        let script = Script { opening, filling: 0, closing: b"", ending, has_head: false };
        self.taken_over(Driver::Handshake, Takeover { script, report: Box::new(|_| {}) })
    }

    /// Starts a handshake with these settings.
    fn begin_tls(&mut self, config: Arc<ServerConfig>) -> Result<Driver, ConnectionRefusal> {
        let budget = self.state.budget();
        // The client may be the kubelet; only its request shows that.
        let reserve = |bytes| {
            budget
                .try_reserve(bytes, self.state.share())
                .or_else(|| budget.reserve(bytes, BudgetShare::Unknown))
        };
        let (tls, handshake) = (reserve(TLS_MEMORY), reserve(HANDSHAKE_MEMORY));
        let refusal = || ConnectionRefusal::Handshake(AlertDescription::InternalError);
        let (Some(tls), Some(handshake)) = (tls, handshake) else { return Err(refusal()) };
        self.socket.begin_tls(config, handshake).map_err(|_| refusal())?;
        self.tls = Some(tls);
        self.state.head_begins();
        Ok(Driver::Handshake)
    }
}
