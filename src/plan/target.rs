//! Targets of rules.

use super::error::{self, ConfigError, Errors, Reason};
use super::process::PROCESS;
use super::reader::{FieldReader, Fields};
use crate::fault::{MAX_PROXIES, Protocol, ProxyName, Rule, RuleError, Target, Targets};

pub(super) const LISTENER: &str = "listener";

/// The subject of a rule.
pub(super) enum RuleSubject {
    Requests(Targets),
    Listener,
    Process,
}

/// Reads `target`.
pub(super) fn target(reader: &mut FieldReader, fields: &Fields<'_>) -> Option<RuleSubject> {
    let names = {
        let value = reader.required(fields, "target")?;
        reader.texts(value, "target")?
    };
    let mut targets = Targets::NONE;
    let (mut listener, mut process) = (false, false);
    let before = reader.errors.len();
    for name in &names {
        let lower = name.to_ascii_lowercase();
        match Target::from_name(&lower) {
            Some(target) => targets = targets.with(target),
            None if lower == LISTENER => listener = true,
            None if lower == PROCESS => process = true,
            // Whether the proxy exists is checked once all sources are known.
            None => {
                if let Ok(proxy) = ProxyName::new(&lower) {
                    targets = targets.with_proxy(proxy);
                } else {
                    let error = unknown_target(name, known_targets(&[]));
                    reader.errors.push(reader.error("target", error).value(name));
                }
            }
        }
    }
    if targets.proxies().len() > MAX_PROXIES {
        let reason = Reason::TooManyItems { count: targets.proxies().len(), most: MAX_PROXIES };
        reader.fail("target", reason);
    }
    match (listener, targets.is_empty()) {
        _ if reader.errors.len() > before => None,
        (false, true) if process => Some(RuleSubject::Process),
        _ if process => {
            reader.fail("target", Reason::ProcessWithOthers);
            None
        }
        (true, true) => Some(RuleSubject::Listener),
        (false, false) => Some(RuleSubject::Requests(targets)),
        (true, false) => {
            reader.fail("target", Reason::ListenerWithOthers);
            None
        }
        (false, true) => {
            reader.fail("target", RuleError::NoTarget);
            None
        }
    }
}

/// Errors of rules on proxies that do not exist or have another protocol. Each rule comes with its place.
pub fn check_targets<'a>(
    rules: impl IntoIterator<Item = (&'a Rule, String)>,
    proxies: &[(&ProxyName, Protocol)],
) -> Errors {
    let mut errors = Errors::new();
    for (rule, place) in rules {
        for name in rule.proxies() {
            let known = proxies.iter().find(|(known, _)| *known == name);
            if let Some((_, protocol)) = known {
                if let Err(error) = rule.check_protocol(*protocol) {
                    let field = super::field_of(&error);
                    errors.push(ConfigError::new(place.clone(), error).field(field));
                }
                continue;
            }
            let reason = unknown_target(name.as_str(), known_targets(proxies));
            errors.push(ConfigError::new(place.clone(), reason).field("target").value(name.as_str()));
        }
    }
    errors
}

fn known_targets(proxies: &[(&ProxyName, Protocol)]) -> Vec<String> {
    let classes = Target::ALL.iter().map(|target| target.name()).chain([LISTENER, PROCESS]);
    classes.chain(proxies.iter().map(|(name, _)| name.as_str())).map(str::to_owned).collect()
}

fn unknown_target(name: &str, known: Vec<String>) -> Reason {
    let words: Vec<&str> = known.iter().map(String::as_str).collect();
    let nearest = error::nearest_of(name, &words).map(str::to_owned);
    Reason::UnknownTarget { known, nearest }
}
