//! How a request's handler affects the rest of its connection.

use super::ConnectionState;
use crate::fault::Client;
use crate::listener::script::Takeover;
use crate::listener::tunnel::Tunnel;

impl ConnectionState {
    pub(in crate::listener) fn hand_over(&self, takeover: Takeover) {
        let mut inner = self.lock();
        inner.takeover = Some(takeover);
        inner.handed_over = true;
        inner.flushed = false;
    }

    pub(in crate::listener) fn expects_reset(&self) {
        self.lock().expects_reset = true;
    }

    /// Whether a reset follows what is sent; returns true once.
    pub(in crate::listener) fn take_expects_reset(&self) -> bool {
        std::mem::take(&mut self.lock().expects_reset)
    }

    pub(in crate::listener) fn is_patient(&self) {
        self.lock().patient = true;
    }

    pub(in crate::listener) fn survives_half_close(&self) {
        let mut inner = self.lock();
        inner.survives_half_close = inner.client != Some(Client::Kubelet);
    }

    /// Whether the client may half-close while its request is pending.
    pub(in crate::listener) fn may_half_close(&self) -> bool {
        self.lock().survives_half_close
    }

    pub(in crate::listener) fn tunnel(&self, tunnel: Tunnel) {
        self.lock().tunnel = Some(tunnel);
    }

    /// The tunnel that follows the last answer, which switched protocols. HTTP limits no longer apply.
    pub(in crate::listener) fn take_tunnel(&self) -> Option<Tunnel> {
        let mut inner = self.lock();
        let tunnel = inner.tunnel.take();
        inner.tunnelled |= tunnel.is_some();
        tunnel
    }
}
