//! The description of a mode: a row of the table of modes.

use super::{Cut, HandshakeFault, Mode, ModeField, ModeParts};

/// What a mode acts on, and its constructor.
#[derive(Clone, Copy, Debug)]
pub enum ActsOn {
    /// Requests to a target.
    Requests(fn(ModeParts) -> Mode),
    /// Connections to the listener.
    Listener(Cut),
    /// TLS handshakes on the listener.
    Handshake(HandshakeFault),
    /// Connections of a TCP proxy, but not requests.
    Connections(fn(ModeParts) -> Mode),
}

/// The effect of a mode on the status code of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusEffect {
    /// Replaced by the field `status` or its default.
    Given,
    /// Replaced by the field `status`, if set.
    Kept,
    /// Replaced by this one.
    Fixed(u16),
    /// No status is sent.
    None,
}

/// A row of the table of modes.
#[derive(Clone, Copy, Debug)]
pub struct ModeInfo {
    /// Name in plans, variables and metric labels.
    pub name: &'static str,
    /// What it acts on.
    pub acts_on: ActsOn,
    /// Its fields.
    pub fields: &'static [ModeField],
    /// Its effect on the status.
    pub status: StatusEffect,
    /// Whether it needs an answer with a body.
    pub needs_body: bool,
    /// Whether the client gets a complete answer, so that the status determines failure.
    pub is_whole: bool,
    /// What a client observes.
    pub client: &'static str,
    /// What an HTTP/2 client observes; empty if the same.
    pub http2: &'static str,
    /// The effect on a call of the gRPC health service, and the resulting status at the client.
    pub grpc: &'static str,
    /// What a client of a TCP proxy observes; empty if TCP proxies do not have the mode.
    pub tcp: &'static str,
    /// Its fields on a TCP proxy.
    pub tcp_fields: &'static [ModeField],
    /// Exit code of curl.
    pub curl: &'static str,
    /// How the kubelet interprets it.
    pub kubelet: &'static str,
    /// Number of requests that the kubelet makes for one probe.
    pub requests: &'static str,
}

impl ModeInfo {
    /// Whether it has a field.
    pub fn takes(&self, field: ModeField) -> bool {
        self.fields.contains(&field)
    }

    /// Whether it has a field on a TCP proxy.
    pub fn takes_on_tcp(&self, field: ModeField) -> bool {
        self.tcp_fields.contains(&field)
    }

    /// The mode, if it is one of requests or connections.
    pub fn mode(&self, parts: ModeParts) -> Option<Mode> {
        match self.acts_on {
            ActsOn::Requests(make) | ActsOn::Connections(make) => Some(make(parts)),
            ActsOn::Listener(_) | ActsOn::Handshake(_) => None,
        }
    }
}
