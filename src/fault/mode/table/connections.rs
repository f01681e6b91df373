//! Modes of connections to TCP proxies and to the probe listener.

use super::requests::NO_ANSWER;
use crate::fault::mode::info::{ActsOn, ModeInfo};
use crate::fault::mode::{Cut, HandshakeFault, Mode, ModeField, TlsAlert, WireMode};

/// Defaults of modes that only TCP proxies have.
const WIRE: ModeInfo =
    ModeInfo { is_whole: true, curl: "by the protocol", kubelet: "by the protocol", ..NO_ANSWER };

pub(in crate::fault::mode) const SLOW_CLOSE: ModeInfo = ModeInfo {
    name: "slow-close",
    acts_on: ActsOn::Connections(|_| Mode::Wire(WireMode::SlowClose)),
    tcp: "the end of `stream` is delayed by `after`",
    tcp_fields: &[ModeField::After, ModeField::Stream],
    ..WIRE
};

pub(in crate::fault::mode) const SLICE: ModeInfo = ModeInfo {
    name: "slice",
    acts_on: ActsOn::Connections(|parts| Mode::Wire(WireMode::Slice(parts.slices))),
    tcp: "`stream` in pieces of `piece` ± `piece_jitter` bytes, with a `pause` between them",
    tcp_fields: &[ModeField::Piece, ModeField::PieceJitter, ModeField::Pause, ModeField::Stream],
    ..WIRE
};

pub(in crate::fault::mode) const REFUSE: ModeInfo = ModeInfo {
    name: "refuse",
    acts_on: ActsOn::Connections(|_| Mode::Wire(WireMode::Refuse)),
    tcp: "with a `rate`: accepted, then reset; without one, new connections are refused",
    is_whole: false,
    ..WIRE
};

pub(in crate::fault::mode) const DROP: ModeInfo = ModeInfo {
    name: "drop",
    acts_on: ActsOn::Connections(|_| Mode::Wire(WireMode::Drop)),
    tcp: "with a `rate`: accepted, then no bytes in either direction; without one, new connections time out",
    is_whole: false,
    ..WIRE
};

pub(in crate::fault::mode) const CUT_DROP: ModeInfo = ModeInfo {
    name: "drop",
    acts_on: ActsOn::Listener(Cut::Drop),
    client: "new connections time out; open ones freeze, and continue when it heals",
    curl: "28",
    kubelet: "failure, after the timeout",
    ..NO_ANSWER
};

pub(in crate::fault::mode) const CUT_REFUSE: ModeInfo = ModeInfo {
    name: "refuse",
    acts_on: ActsOn::Listener(Cut::Refuse),
    client: "new connections are refused; open ones are reset",
    curl: "7",
    ..NO_ANSWER
};

pub(in crate::fault::mode) const CUT_RESET: ModeInfo = ModeInfo {
    name: "reset",
    acts_on: ActsOn::Listener(Cut::Reset),
    client: "new connections are accepted, then reset; open ones are reset",
    curl: "56, or 7 if the reset is faster than the client",
    ..NO_ANSWER
};

pub(in crate::fault::mode) const TLS_HANG: ModeInfo = ModeInfo {
    name: "tls-hang",
    acts_on: ActsOn::Handshake(HandshakeFault::Hang),
    client: "no answer to its ClientHello, until it gives up",
    curl: "28",
    kubelet: "failure, after the timeout",
    ..NO_ANSWER
};

pub(in crate::fault::mode) const TLS_CLOSE: ModeInfo = ModeInfo {
    name: "tls-close",
    acts_on: ActsOn::Handshake(HandshakeFault::Close),
    client: "FIN instead of the handshake",
    curl: "35",
    ..NO_ANSWER
};

pub(in crate::fault::mode) const TLS_ALERT: ModeInfo = ModeInfo {
    name: "tls-alert",
    acts_on: ActsOn::Handshake(HandshakeFault::Alert(TlsAlert::HANDSHAKE_FAILURE)),
    fields: &[ModeField::Alert],
    client: "the fatal alert `alert` (`handshake_failure`), then FIN",
    curl: "35",
    ..NO_ANSWER
};

pub(in crate::fault::mode) const TLS_EXPIRED: ModeInfo = ModeInfo {
    name: "tls-expired",
    acts_on: ActsOn::Handshake(HandshakeFault::Expired),
    client: "a certificate that expired yesterday",
    ..WRONG_CERTIFICATE
};

pub(in crate::fault::mode) const TLS_WRONG_NAME: ModeInfo = ModeInfo {
    name: "tls-wrong-name",
    acts_on: ActsOn::Handshake(HandshakeFault::WrongName),
    client: "a certificate for `wrong-name.invalid`",
    ..WRONG_CERTIFICATE
};

pub(in crate::fault::mode) const TLS_UNTRUSTED: ModeInfo = ModeInfo {
    name: "tls-untrusted",
    acts_on: ActsOn::Handshake(HandshakeFault::Untrusted),
    client: "a certificate of an unknown authority",
    ..WRONG_CERTIFICATE
};

/// Defaults of modes that send an invalid certificate.
const WRONG_CERTIFICATE: ModeInfo = ModeInfo {
    curl: "60 (0 with `-k`)",
    kubelet: "the ordinary answer: it does not verify certificates",
    ..NO_ANSWER
};
