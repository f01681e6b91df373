//! Request modes and their fields.

use super::reader::{FieldReader, Fields};
use super::{choice, whole};
use crate::fault::{Cut, GrpcStatus, HandshakeFault, Mode, ModeField, ModeInfo, ModeParts, Rate, TlsAlert};
use crate::plan::error::Reason;
use crate::units::{self, Bare};

/// The names of request modes.
pub(crate) fn request_modes() -> Vec<&'static str> {
    ModeInfo::all_of_requests().map(|info| info.name).collect()
}

/// The names of listener modes.
pub(crate) fn listener_modes() -> Vec<&'static str> {
    ModeInfo::all_of_listener().map(|info| info.name).collect()
}

/// The row of a request mode. `elsewhere` completes the error for modes that only the listener has.
pub(crate) fn request_mode(text: &str, elsewhere: &'static str) -> Result<&'static ModeInfo, Reason> {
    ModeInfo::of_requests(text).ok_or_else(|| {
        if Cut::from_name(text).is_some() || HandshakeFault::from_name(text).is_some() {
            Reason::ModeOfTarget { target: elsewhere, modes: request_modes() }
        } else {
            choice(text, request_modes())
        }
    })
}

/// A status code that a final answer may have.
pub(crate) fn status(text: &str) -> Result<u16, Reason> {
    Ok(whole(text, 200, 599)? as u16)
}

/// Bytes per second.
pub(crate) fn speed(text: &str) -> Result<u64, Reason> {
    Ok(units::size(text.strip_suffix("/s").unwrap_or(text))?)
}

/// A share of bytes.
pub(crate) fn share(text: &str) -> Result<Rate, Reason> {
    Ok(Rate::from_percent(units::percent(text)?)?)
}

/// A gRPC status, by name or number.
pub(crate) fn grpc_status(text: &str) -> Result<GrpcStatus, Reason> {
    GrpcStatus::parse(text).ok_or_else(|| choice(text, GrpcStatus::names().to_vec()))
}

/// A TLS alert, by name or number.
pub(crate) fn alert(text: &str) -> Result<TlsAlert, Reason> {
    TlsAlert::parse(text).ok_or_else(|| choice(text, TlsAlert::names().to_vec()))
}

/// The rate in percent, rounded to what was written: 29 instead of 28.999999999999996.
pub(crate) fn percent_of(rate: Rate) -> f64 {
    (rate.percent() * 1e9).round() / 1e9
}

/// Reads the mode of a request rule, and its fields. With `has_proxies`, modes of TCP proxies are allowed.
pub(super) fn read(reader: &mut FieldReader, fields: &Fields<'_>, has_proxies: bool) -> Option<Mode> {
    let all = || ModeField::ALL.into_iter().chain(ModeField::OF_TCP);
    if fields.get("mode").is_none() {
        for field in all().filter(|field| *field != ModeField::Stream) {
            if let Some(value) = fields.get(field.name()) {
                reader.fail_value(
                    field.name(),
                    value,
                    Reason::Needs("a `mode` that has this field".to_owned()),
                );
            }
        }
        return None;
    }
    let info = reader.parsed(fields, "mode", "text", |text| match ModeInfo::of_proxies(text) {
        Some(info) if has_proxies => Ok(info),
        _ => request_mode(text, "requests (only target listener has it)"),
    })?;
    let takes = |field| info.takes(field) || (has_proxies && info.takes_on_tcp(field));
    // What a delay needs besides, a mode does not mind.
    let of_delay = |field| field == ModeField::Stream && has_proxies && fields.get("delay").is_some();
    for field in all() {
        if let Some(value) = fields.get(field.name()).filter(|_| !takes(field) && !of_delay(field)) {
            reader.fail_value(field.name(), value, Reason::NotWith(format!("mode {}", info.name)));
        }
    }
    let default = ModeParts::default();
    let slices = super::connection::slices(reader, fields, default.slices);
    info.mode(ModeParts {
        status: reader.parsed(fields, "status", "a number", status),
        body: reader.parsed(fields, "body", "a size", units::size).unwrap_or(default.body),
        drip: reader.duration(fields, "drip", Bare::Seconds).unwrap_or(default.drip),
        location: reader
            .parsed(fields, "location", "a URL", |text| Ok::<_, Reason>(text.to_owned()))
            .unwrap_or(default.location),
        speed: reader.parsed(fields, "speed", "a size", speed).unwrap_or(default.speed),
        share: reader.parsed(fields, "share", "a percentage", share).unwrap_or(default.share),
        grpc_status: reader
            .parsed(fields, "grpc_status", "a status of gRPC", grpc_status)
            .unwrap_or(default.grpc_status),
        grpc_message: reader
            .parsed(fields, "grpc_message", "text", |text| Ok::<_, Reason>(text.to_owned()))
            .unwrap_or(default.grpc_message),
        slices,
    })
}
