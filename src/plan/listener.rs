//! Actions of listener rules.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use serde_json::Value;

use super::mode::alert;
use super::reader::{FieldReader, Fields};
use crate::fault::{Action, Cut, HandshakeFault, ListenerName, ModeField, Networks};
use crate::plan::error::Reason;

/// Reads `mode`, `from` and `alert`; fields that only request rules have are errors.
pub(super) fn read(reader: &mut FieldReader, fields: &Fields<'_>, listener: ListenerName) -> Option<Action> {
    let what = match &listener {
        ListenerName::Probe => "target listener, which has no requests, only time",
        ListenerName::Proxy(_) => "a partition of a proxy, which has only time and peers",
    };
    let fault = fields.get("mode").and_then(Value::as_str).and_then(HandshakeFault::from_name);
    // Draws apply to handshakes; a partition cuts all connections.
    let of_draws = ["rate", "burst", "ramp"].into_iter().filter(|_| fault.is_none());
    let of_requests =
        ModeField::ALL.into_iter().chain(ModeField::OF_TCP).filter(|field| *field != ModeField::Alert);
    for field in of_draws.chain(["delay"]).chain(of_requests.map(ModeField::name)) {
        if fields.get(field).is_some() {
            reader.fail(field, Reason::NotWith(what.into()));
        }
    }
    if fault.is_none() && fields.get("when").is_some_and(|when| when.get("requests").is_some()) {
        reader.fail("when.requests", Reason::NotWith(what.into()));
    }
    let from = fields.get("from").map_or_else(|| Some(Networks::default()), |value| networks(reader, value));
    reader.required(fields, "mode");
    let mode = reader.parsed(fields, "mode", "text", |text| {
        let cut = Cut::from_name(text).map(ListenerEffect::Cut);
        cut.or_else(|| HandshakeFault::from_name(text).map(ListenerEffect::Handshake))
            .ok_or_else(|| Reason::ModeOfTarget { target: "target listener", modes: super::listener_modes() })
    });
    let alert = reader.parsed(fields, "alert", "an alert of TLS", alert);
    if let (Some(value), Some(mode)) = (fields.get("alert"), &mode)
        && !matches!(mode, ListenerEffect::Handshake(HandshakeFault::Alert(_)))
    {
        let name = match mode {
            ListenerEffect::Cut(cut) => cut.name(),
            ListenerEffect::Handshake(fault) => fault.name(),
        };
        reader.fail_value("alert", value, Reason::NotWith(format!("mode {name}")));
    }
    Some(match (mode?, alert) {
        (ListenerEffect::Cut(cut), _) => Action::Listener { listener, cut, from: from? },
        (ListenerEffect::Handshake(HandshakeFault::Alert(_)), Some(alert)) => {
            Action::Handshake { fault: HandshakeFault::Alert(alert), from: from? }
        }
        (ListenerEffect::Handshake(fault), _) => Action::Handshake { fault, from: from? },
    })
}

/// The effect of a listener mode.
enum ListenerEffect {
    Cut(Cut),
    Handshake(HandshakeFault),
}

fn networks(reader: &mut FieldReader, value: &Value) -> Option<Networks> {
    let mut networks = Networks::default();
    let texts = reader.texts(value, "from")?;
    if texts.is_empty() {
        reader.fail("from", Reason::Expected("a network; omit it for all"));
    }
    for text in texts {
        let (list, address) = match text.strip_prefix('!') {
            Some(address) => (&mut networks.except, address),
            None => (&mut networks.within, text.as_str()),
        };
        match network(address.trim()) {
            Some(network) => list.push(network),
            None => reader.errors.push(reader.error("from", Reason::Network).value(&text)),
        }
    }
    Some(networks)
}

/// A network or a single address. IPv4 in IPv6 form becomes IPv4, as the addresses of peers do.
pub(crate) fn network(text: &str) -> Option<IpNet> {
    let network = match text.parse::<IpNet>() {
        Ok(network) => network.trunc(),
        Err(_) => IpNet::from(text.parse::<IpAddr>().ok()?),
    };
    match network {
        IpNet::V6(v6) if v6.prefix_len() >= 96 => match v6.addr().to_ipv4_mapped() {
            Some(v4) => Ipv4Net::new(v4, v6.prefix_len() - 96).ok().map(IpNet::from),
            None => Some(network),
        },
        _ => Some(network),
    }
}
