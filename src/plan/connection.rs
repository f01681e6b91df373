//! Fields of rules on TCP proxies.

use serde_json::{Map, Value};

use super::choice;
use super::reader::{FieldReader, Fields};
use super::value::duration;
use crate::fault::{Cut, ModeField, OnConnection, Slices, Streams, Targets};
use crate::units::Bare;

/// Whether the rule is a partition of its proxies: it refuses, drops or resets, and acts on some peers or on all of them.
pub(super) fn is_partition(fields: &Fields<'_>, targets: &Targets) -> bool {
    let of_proxies = targets.iter().next().is_none();
    let cut = fields.get("mode").and_then(Value::as_str).and_then(Cut::from_name);
    let has_from = fields.get("from").is_some();
    let draws = ["rate", "burst", "ramp", "delay"].into_iter().any(|field| fields.get(field).is_some());
    let counts = fields.get("when").is_some_and(|when| when.get("requests").is_some());
    match cut {
        Some(Cut::Reset) => of_proxies && has_from,
        Some(Cut::Drop | Cut::Refuse) => of_proxies && (has_from || !(draws || counts)),
        None => false,
    }
}

/// Reads `stream`, `after` and `close_after`.
pub(super) fn read(reader: &mut FieldReader, fields: &Fields<'_>) -> OnConnection {
    let streams = |text: &str| {
        Streams::from_name(text).ok_or_else(|| choice(text, Streams::ALL.map(Streams::name).to_vec()))
    };
    OnConnection {
        streams: reader.parsed(fields, ModeField::Stream.name(), "text", streams),
        after: reader.duration(fields, ModeField::After.name(), Bare::Seconds),
        close_after: reader.duration(fields, ModeField::CloseAfter.name(), Bare::Seconds),
    }
}

/// Writes the fields of [`read`].
pub(super) fn write(on_connection: OnConnection, fields: &mut Map<String, Value>) {
    let OnConnection { streams, after, close_after } = on_connection;
    let streams = streams.map(|streams| Value::from(streams.name()));
    for (field, value) in [
        (ModeField::Stream, streams),
        (ModeField::After, after.map(duration)),
        (ModeField::CloseAfter, close_after.map(duration)),
    ] {
        if let Some(value) = value {
            fields.insert(field.name().to_owned(), value);
        }
    }
}

/// Reads how a stream is sliced.
pub(super) fn slices(reader: &mut FieldReader, fields: &Fields<'_>, default: Slices) -> Slices {
    let mut size = |field: ModeField| reader.parsed(fields, field.name(), "a size", crate::units::size);
    let (piece, jitter) = (size(ModeField::Piece), size(ModeField::PieceJitter));
    let pause = reader.duration(fields, ModeField::Pause.name(), Bare::Milliseconds);
    Slices {
        piece: piece.unwrap_or(default.piece),
        jitter: jitter.unwrap_or(default.jitter),
        pause: pause.unwrap_or(default.pause),
    }
}

/// A field of [`slices`], unless it has its default.
pub(super) fn write_slices(field: ModeField, slices: Slices, default: Slices) -> Option<Value> {
    match field {
        ModeField::Piece => (slices.piece != default.piece).then(|| slices.piece.into()),
        ModeField::PieceJitter => (slices.jitter != default.jitter).then(|| slices.jitter.into()),
        ModeField::Pause => (slices.pause != default.pause).then(|| duration(slices.pause)),
        _ => None,
    }
}
