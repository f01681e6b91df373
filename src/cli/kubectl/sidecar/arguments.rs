//! The arguments of `kubectl probesim sidecar`.

use super::super::error::UsageError;
use super::patch::Choice;
use crate::cli::shared::ArgumentError;

/// The options of `add` that no other verb has, and those of both.
const OPTIONS: &str = "--proxy, --plain, --image, --env, --apply, --yes, --container, --port";

/// A checked call.
#[derive(Debug)]
pub(in crate::cli::kubectl) struct SidecarCall {
    /// As kubectl takes it: `deployment/web`.
    pub(super) object: String,
    /// What to add; nothing to take the sidecar away.
    pub(super) choice: Option<Choice>,
    /// Changes the cluster instead of printing the commands.
    pub(super) applies: bool,
    /// Does not ask first.
    pub(super) is_sure: bool,
}

/// Reads the words after `sidecar`. `container` and `port` are options that other verbs have, too.
pub(in crate::cli::kubectl) fn parse(
    words: Vec<String>,
    container: Option<String>,
    port: Option<String>,
    errors: &mut Vec<UsageError>,
) -> Option<SidecarCall> {
    let mut words = words.into_iter();
    let adds = match words.next().as_deref() {
        Some("add") => true,
        Some("remove") => false,
        _ => {
            errors.push(UsageError::Missing("sidecar", "add or remove"));
            return None;
        }
    };
    let mut choice = Choice { container, port, ..Choice::default() };
    let mut object = None;
    let (mut applies, mut is_sure) = (false, false);
    while let Some(word) = words.next() {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
            _ => (word.as_str(), None),
        };
        match name {
            "--proxy" => choice.is_proxy = true,
            "--plain" => choice.is_plain = true,
            "--apply" => applies = true,
            "--yes" | "-y" => is_sure = true,
            "--image" | "--env" => match value.or_else(|| words.next()) {
                None => errors.push(ArgumentError::NoValue(name.to_owned()).into()),
                Some(value) if name == "--image" => choice.image = Some(value),
                Some(value) => match value.split_once('=') {
                    Some((variable, value)) if !variable.is_empty() => {
                        choice.env.push((variable.to_owned(), value.to_owned()));
                    }
                    _ => errors.push(UsageError::Variable(value)),
                },
            },
            _ if name.starts_with('-') => errors.push(ArgumentError::Option(word, OPTIONS.to_owned()).into()),
            _ if object.is_none() => object = Some(word),
            _ => errors.push(ArgumentError::Extra(word).into()),
        }
    }
    if !adds && (choice != Choice::default()) {
        errors.push(UsageError::Removal);
    }
    if adds && choice.port.is_some() && !choice.is_proxy {
        errors.push(UsageError::Elsewhere("--port", "sidecar add --proxy"));
    }
    let Some(object) = object else {
        errors.push(UsageError::Missing("sidecar", "an object, such as deployment/web"));
        return None;
    };
    if !object.contains('/') {
        errors.push(UsageError::Object(object));
        return None;
    }
    Some(SidecarCall { object, choice: adds.then_some(choice), applies, is_sure })
}
