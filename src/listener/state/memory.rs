//! Whose memory a connection uses, and whether there was enough.

use super::{ClientPhase, ConnectionState};
use crate::fault::Client;
use crate::listener::budget::BudgetShare;

impl ConnectionState {
    /// The share for its connection and ordinary requests.
    pub(in crate::listener) fn share(&self) -> BudgetShare {
        if self.privileged { BudgetShare::Reserved } else { BudgetShare::Ordinary }
    }

    /// The share for its large heads, bodies and answers.
    pub(in crate::listener) fn bulk_share(&self) -> BudgetShare {
        if self.privileged { BudgetShare::Ordinary } else { BudgetShare::Bulk }
    }

    /// Records that the budget rejected what the client sends.
    pub(in crate::listener) fn run_out_of_memory(&self) {
        self.lock().out_of_memory = true;
    }

    /// Whether the budget rejected a head that is not answered yet, so that an answer can be sent.
    pub(in crate::listener) fn was_refused_memory(&self) -> bool {
        let inner = self.lock();
        inner.out_of_memory && matches!(inner.phase, ClientPhase::Head(_)) && inner.stalled.is_none()
    }

    /// Whether the budget rejected what the client sends.
    pub(in crate::listener) fn is_out_of_memory(&self) -> bool {
        self.lock().out_of_memory
    }

    pub(in crate::listener) fn set_only_kubelet(&self, only: bool) {
        self.lock().only_kubelet = only;
    }

    /// Whether a request of `client` is rejected because memory is left only for the kubelet.
    pub(in crate::listener) fn refuses(&self, client: Client) -> bool {
        client != Client::Kubelet && self.lock().only_kubelet
    }
}
