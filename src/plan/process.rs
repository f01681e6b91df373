//! Actions of process rules.

use serde_json::{Map, Value};

use super::reader::{FieldReader, Fields};
use super::value::{decimal, duration};
use super::{RULE, choice, whole};
use crate::fault::{
    Action, MAX_SIZE_PERCENT, PROCESS_MODES, ProcessField, ProcessMode, ProcessModeInfo, ProcessParts,
    RuleError, Size,
};
use crate::plan::error::Reason;
use crate::units::{self, Bare};

/// The name of the target.
pub(super) const PROCESS: &str = "process";

/// The fields of a process rule, in addition to those of its mode.
const FIELDS: &[&str] = &[
    "name", "disabled", "target", "client", "pods", "when", "start", "until", "stagger", "rate", "burst",
    "mode",
];

/// Reads `mode` and its fields; fields that only other targets have are errors.
pub(super) fn read(reader: &mut FieldReader, fields: &Fields<'_>) -> Option<Action> {
    reader.required(fields, "mode");
    let info = reader.parsed(fields, "mode", "text", mode_info)?;
    let before = reader.errors.len();
    for field in fields.names() {
        let own = ProcessField::ALL.into_iter().find(|own| own.name() == field);
        match own {
            Some(own) if info.takes(own) => {}
            Some(_) => reader.fail(field, Reason::NotWith(format!("mode {}", info.name))),
            // Unknown fields are reported already.
            None if FIELDS.contains(&field) || !RULE.contains(&field) => {}
            None => reader.fail(field, Reason::NotWith("target process".to_owned())),
        }
    }
    for field in info.required {
        if fields.get(field.name()).is_none() {
            reader.fail("", Reason::Missing(field.name()));
        }
    }
    let parts = ProcessParts {
        code: reader.parsed(fields, "code", "an exit code", exit_code),
        size: reader.parsed(fields, "size", "a size", |text| {
            if info.takes(ProcessField::Path) { Ok(Size::Bytes(units::size(text)?)) } else { size(text) }
        }),
        cores: reader.parsed(fields, "cores", "a number of cores", cores),
        delay: reader.duration(fields, "delay", Bare::Seconds),
        path: reader.parsed(fields, "path", "a path", |text| Ok::<_, Reason>(text.to_owned())),
    };
    let allow_node_pressure = match fields.get("allow_node_pressure") {
        None | Some(Value::Bool(false)) => false,
        Some(Value::Bool(true)) => true,
        Some(other) => {
            reader.fail_value("allow_node_pressure", other, Reason::Expected("true or false"));
            false
        }
    };
    if reader.errors.len() > before {
        return None;
    }
    Some(Action::Process { mode: info.mode(parts)?, allow_node_pressure })
}

/// Reports fields that only process rules have.
pub(super) fn refuse_fields(reader: &mut FieldReader, fields: &Fields<'_>) {
    let only = |field: &ProcessField| !matches!(field, ProcessField::Delay | ProcessField::Ramp);
    for field in ProcessField::ALL.into_iter().filter(only) {
        if let Some(value) = fields.get(field.name()) {
            let reason = Reason::NotWith("this target; it is for target process".to_owned());
            reader.fail_value(field.name(), value, reason);
        }
    }
}

fn mode_info(text: &str) -> Result<&'static ProcessModeInfo, Reason> {
    ProcessModeInfo::from_name(text)
        .ok_or_else(|| choice(text, PROCESS_MODES.iter().map(|info| info.name).collect()))
}

/// An exit code.
pub(crate) fn exit_code(text: &str) -> Result<u8, Reason> {
    Ok(whole(text, 0, u64::from(u8::MAX))? as u8)
}

/// A size of memory in bytes, or in percent of the container's limit.
pub(crate) fn size(text: &str) -> Result<Size, Reason> {
    let size = match text.strip_suffix('%') {
        Some(number) => Size::Percent(units::decimal(number).ok_or(Reason::SizeOrPercent)?),
        None => Size::Bytes(units::size(text).map_err(|_| Reason::SizeOrPercent)?),
    };
    match size {
        Size::Percent(percent) if !(percent > 0.0 && percent <= MAX_SIZE_PERCENT) => {
            Err(RuleError::SizePercent(percent).into())
        }
        size => Ok(size),
    }
}

/// A number of cores such as `0.5` or `500m`.
pub(crate) fn cores(text: &str) -> Result<f64, Reason> {
    let expected = Reason::Expected("a number of cores such as 0.5 or 500m");
    match text.strip_suffix('m') {
        Some(number) => Ok(whole(number, 1, 1_024_000).map_err(|_| expected)? as f64 / 1000.0),
        None => units::decimal(text).ok_or(expected),
    }
}

/// Writes `mode` and its fields.
pub(super) fn write(mode: &ProcessMode, allow_node_pressure: bool, fields: &mut Map<String, Value>) {
    fields.insert("mode".to_owned(), mode.name().into());
    let ProcessParts { code, size, cores, delay, path } = mode.parts();
    let parts = [
        ("code", code.filter(|code| *code != crate::fault::DEFAULT_CODE).map(Value::from)),
        ("path", path.map(Value::from)),
        ("size", size.map(write_size)),
        ("cores", cores.map(decimal)),
        ("delay", delay.map(duration)),
        ("allow_node_pressure", allow_node_pressure.then_some(true.into())),
    ];
    fields.extend(parts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
}

fn write_size(size: Size) -> Value {
    match size {
        Size::Bytes(bytes) => bytes.into(),
        Size::Percent(percent) => format!("{percent}%").into(),
    }
}
