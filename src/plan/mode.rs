//! Modes of requests and the fields that go with each.

use std::time::Duration;

use super::reader::{Fields, Reader};
use super::{choice, request_modes, whole};
use crate::fault::{Cut, Mode, Partial, Rate};
use crate::plan::error::Reason;
use crate::units;

/// The status of every mode that sends one, unless given.
pub const DEFAULT_STATUS: u16 = 500;
/// The bytes of the body before a body fault strikes, unless given.
pub const DEFAULT_BODY: u64 = 16;
/// The time a drip takes, unless given.
pub const DEFAULT_DRIP: Duration = Duration::from_secs(5);
/// Where a redirect leads, unless given: to another host, one that never exists (RFC 2606).
pub const DEFAULT_LOCATION: &str = "http://probesim.invalid/";

/// The fields that go with some modes only.
pub(crate) const FIELDS: [&str; 4] = ["status", "location", "body", "drip"];

/// The ones of [`FIELDS`] that go with a mode.
pub(crate) fn fields_of(mode: &str) -> &'static [&'static str] {
    match mode {
        "status" => &["status"],
        "redirect" => &["location"],
        "truncate" | "body-hang" | "body-reset" | "malformed" => &["status", "body"],
        "drip" => &["status", "body", "drip"],
        _ => &[],
    }
}

/// What the modes are made of; each takes what it needs.
#[derive(Clone, Debug)]
pub(crate) struct ModeParts {
    pub(crate) status: u16,
    pub(crate) body: u64,
    pub(crate) drip: Duration,
    pub(crate) location: String,
}

impl Default for ModeParts {
    fn default() -> Self {
        Self {
            status: DEFAULT_STATUS,
            body: DEFAULT_BODY,
            drip: DEFAULT_DRIP,
            location: DEFAULT_LOCATION.to_owned(),
        }
    }
}

/// The mode of that name.
pub(crate) fn build(name: &str, parts: ModeParts) -> Option<Mode> {
    let ModeParts { status, body, drip, location } = parts;
    let partial = Partial { status, body };
    Some(match name {
        "status" => Mode::Status(status),
        "redirect" => Mode::Redirect(location),
        "hang" => Mode::Hang,
        "close" => Mode::Close,
        "reset" => Mode::Reset,
        "garbage" => Mode::Garbage,
        "truncate" => Mode::Truncate(partial),
        "body-hang" => Mode::BodyHang(partial),
        "body-reset" => Mode::BodyReset(partial),
        "malformed" => Mode::Malformed(partial),
        "drip" => Mode::Drip { partial, over: drip },
        _ => return None,
    })
}

/// A status code that a final answer may have.
pub(crate) fn status(text: &str) -> Result<u16, Reason> {
    Ok(whole(text, 200, 599)? as u16)
}

/// The rate in percent, as it was written: 29 rather than 28.999999999999996.
pub(crate) fn percent_of(rate: Rate) -> f64 {
    (rate.percent() * 1e9).round() / 1e9
}

/// The mode of a rule for requests, and its fields.
pub(super) fn read(reader: &mut Reader, fields: &Fields<'_>) -> Option<Mode> {
    let Some(value) = fields.get("mode") else {
        for field in FIELDS {
            if let Some(value) = fields.get(field) {
                reader.fail_value(field, value, Reason::Needs("a `mode` that sends it".to_owned()));
            }
        }
        return None;
    };
    let Some(name) = value.as_str().filter(|name| Mode::NAMES.contains(name)) else {
        let reason = match value.as_str() {
            Some(name) if Cut::from_name(name).is_some() => Reason::ModeOfTarget {
                target: "requests (only target listener has it)",
                modes: request_modes(),
            },
            Some(name) => choice(name, request_modes()),
            None => Reason::Expected("text"),
        };
        reader.fail_value("mode", value, reason);
        return None;
    };
    for field in FIELDS {
        if let Some(value) = fields.get(field).filter(|_| !fields_of(name).contains(&field)) {
            reader.fail_value(field, value, Reason::NotWith(format!("mode {name}")));
        }
    }
    let default = ModeParts::default();
    let parts = ModeParts {
        status: reader.parsed(fields, "status", "a number", status).unwrap_or(default.status),
        body: reader.parsed(fields, "body", "a size", units::size).unwrap_or(default.body),
        drip: reader.duration(fields, "drip").unwrap_or(default.drip),
        location: reader
            .parsed(fields, "location", "a URL", |text| Ok::<_, Reason>(text.to_owned()))
            .unwrap_or(default.location),
    };
    build(name, parts)
}
