//! The command line of `kubectl probesim`.
//!
//! It is read by hand, since everything that is neither ours nor kubectl's goes on to another verb as it is.

use std::ffi::OsString;

use serde_json::{Value, json};

use super::error::UsageError;
use super::inject::{self, InjectCall};
use super::options::{Call, CallKind, Options};
use super::sidecar::{self, SidecarCall};
use crate::cli::fault;
use crate::cli::shared::{self, ArgumentError, OutputFormat, unicode};
use crate::{plan, units};

/// Options with a value that kubectl takes with each of its commands.
const GLOBAL_OPTIONS: [&str; 24] = [
    "--as",
    "--as-group",
    "--as-uid",
    "--as-user-extra",
    "--cache-dir",
    "--certificate-authority",
    "--client-certificate",
    "--client-key",
    "--cluster",
    "--context",
    "--kubeconfig",
    "--kuberc",
    "--log-flush-frequency",
    "--namespace",
    "--password",
    "--profile",
    "--profile-output",
    "--request-timeout",
    "--server",
    "--tls-server-name",
    "--token",
    "--user",
    "--username",
    "--vmodule",
];

/// Options without a value that kubectl takes with each of its commands.
const GLOBAL_FLAGS: [&str; 4] =
    ["--disable-compression", "--insecure-skip-tls-verify", "--match-server-version", "--warnings-as-errors"];

/// Our own options with a value.
const OPTIONS: [&str; 9] = [
    "--selector",
    "--pod",
    "--pods",
    "--seed",
    "--container",
    "--executable",
    "--output",
    "--file",
    "--port",
];

/// Our own options without a value.
const FLAGS: [&str; 3] = ["--all", "--dry-run", "--help"];

/// Short options and what they stand for.
const SHORT: [(&str, &str); 7] = [
    ("-n", "--namespace"),
    ("-s", "--server"),
    ("-l", "--selector"),
    ("-c", "--container"),
    ("-o", "--output"),
    ("-h", "--help"),
    ("-v", "--verbose"),
];

/// The verbs of `fault` that act in each Pod.
const FAULT_VERBS: [&str; 7] = ["add", "list", "rm", "stop", "resume", "reset", "watch"];

/// A checked command line.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) verb: Verb,
    pub(super) options: Options,
}

/// What to do.
#[derive(Debug)]
pub(super) enum Verb {
    /// Runs a verb of `fault` in each Pod.
    Steer(Call),
    Predict {
        object: String,
        options: Vec<OsString>,
    },
    Dashboard {
        pod: String,
        port: Option<u16>,
    },
    Inject(InjectCall),
    Sidecar(SidecarCall),
}

/// Options and words as they were written.
#[derive(Default)]
struct Raw {
    options: Options,
    /// The verb, its words, and what goes on to it, in their order.
    rest: Vec<String>,
    all: bool,
    help: bool,
    file: Option<String>,
    share: Option<String>,
    seed: Option<String>,
    port: Option<String>,
}

/// Reads the arguments; `None` asks for help.
pub(super) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Option<Command>, Vec<UsageError>> {
    let mut errors: Vec<UsageError> = Vec::new();
    let mut words = Vec::new();
    for arg in args {
        match unicode("an argument", arg) {
            Ok(word) => words.push(word),
            Err(error) => errors.push(error.into()),
        }
    }
    let raw = Raw::read(words, &mut errors);
    if raw.help || raw.rest.first().is_none_or(|word| word == "help") && errors.is_empty() {
        return Ok(None);
    }
    let command = raw.command(&mut errors);
    match command {
        Some(command) if errors.is_empty() => Ok(Some(command)),
        _ => Err(errors),
    }
}

/// An option by its long name, and its value where it follows in the same word.
fn option(word: &str) -> Option<(String, Option<String>)> {
    if let Some(long) = word.strip_prefix("--") {
        return Some(match long.split_once('=') {
            Some((name, value)) => (format!("--{name}"), Some(value.to_owned())),
            None => (word.to_owned(), None),
        });
    }
    let (_, long) = SHORT.iter().find(|(short, _)| word.starts_with(short))?;
    let value = word[2..].strip_prefix('=').unwrap_or(&word[2..]);
    Some(((*long).to_owned(), (!value.is_empty()).then(|| value.to_owned())))
}

impl Raw {
    fn read(words: Vec<String>, errors: &mut Vec<UsageError>) -> Self {
        let mut raw = Self::default();
        let mut words = words.into_iter().peekable();
        while let Some(word) = words.next() {
            if word == "--" {
                raw.rest.extend(words);
                break;
            }
            let Some((name, value)) = option(&word) else {
                raw.rest.push(word);
                continue;
            };
            if matches!(name.as_str(), "--verbose" | "--v") {
                // kubectl's option has a level; without one, ours shows all that kubectl says against a call.
                let level = value.or_else(|| words.next_if(|word| word.parse::<u8>().is_ok()));
                match level.map(|level| level.parse::<u8>().map_err(|_| level)) {
                    None => raw.options.is_verbose = true,
                    Some(Ok(level)) => raw.options.globals.push(format!("--v={level}")),
                    Some(Err(level)) => errors.push(UsageError::Level(level)),
                }
            } else if GLOBAL_FLAGS.contains(&name.as_str()) {
                raw.options.globals.push(word);
            } else if let Some(flag) = FLAGS.into_iter().find(|flag| *flag == name) {
                match (flag, value) {
                    (_, Some(_)) => errors.push(ArgumentError::Value(name).into()),
                    ("--all", None) => raw.all = true,
                    ("--dry-run", None) => raw.options.is_dry_run = true,
                    _ => raw.help = true,
                }
            } else if GLOBAL_OPTIONS.contains(&name.as_str()) || OPTIONS.contains(&name.as_str()) {
                match value.or_else(|| words.next()) {
                    Some(value) => raw.take(&name, value, errors),
                    None => errors.push(ArgumentError::NoValue(name).into()),
                }
            } else {
                raw.rest.push(word);
            }
        }
        raw
    }

    fn take(&mut self, name: &str, value: String, errors: &mut Vec<UsageError>) {
        match name {
            "--selector" => {
                if value.trim().is_empty() {
                    errors.push(UsageError::Selector);
                }
                self.options.selector = Some(value);
            }
            "--pod" => self.options.pods.push(value),
            "--pods" => self.share = Some(value),
            "--seed" => self.seed = Some(value),
            "--container" => self.options.container = Some(value),
            "--executable" => self.options.executable = Some(value),
            "--file" => self.file = Some(value),
            "--port" => self.port = Some(value),
            "--output" => match shared::output(value) {
                Ok(output) => self.options.output = output,
                Err(error) => errors.push(error.into()),
            },
            _ => self.options.globals.push(format!("{name}={value}")),
        }
    }

    fn command(mut self, errors: &mut Vec<UsageError>) -> Option<Command> {
        let verb = self.rest.first().cloned().unwrap_or_default();
        self.check_place(&verb, errors);
        if let Some(share) = &self.share {
            match units::percent(share) {
                Ok(percent) if percent > 0.0 => self.options.share = Some(percent),
                Ok(_) => errors.push(UsageError::NoShare(share.clone())),
                Err(error) => errors.push(UsageError::Share(share.clone(), error)),
            }
        }
        self.options.seed = number("--seed", self.seed.take(), u64::MAX, errors);
        if verb == "inject" {
            let words = std::mem::take(&mut self.rest).split_off(1);
            let call = inject::parse(words, self.port.take(), self.file.take(), &self.options, errors);
            if self.all {
                errors.push(UsageError::Elsewhere("--all", "verbs of fault"));
            }
            return Some(Command { verb: Verb::Inject(call), options: self.options });
        }
        if verb == "sidecar" {
            let words = std::mem::take(&mut self.rest).split_off(1);
            let call = sidecar::parse(words, self.options.container.take(), self.port.take(), errors)?;
            return Some(Command { verb: Verb::Sidecar(call), options: self.options });
        }
        let port = number("--port", self.port.take(), u64::from(u16::MAX), errors);
        if port == Some(0) {
            errors.push(UsageError::NoPort);
        }
        let verb = match verb.as_str() {
            "predict" => self.predict(errors)?,
            "dashboard" => {
                let Some(pod) = self.rest.get(1).cloned() else {
                    errors.push(UsageError::Missing("dashboard", "the name of a Pod"));
                    return None;
                };
                errors.extend(self.rest.get(2).map(|word| ArgumentError::Extra(word.clone()).into()));
                let port = port.and_then(|port| u16::try_from(port).ok());
                Verb::Dashboard { pod, port }
            }
            name if name == "top" || FAULT_VERBS.contains(&name) => {
                self.check_pods(errors);
                Verb::Steer(self.call(errors))
            }
            _ => {
                errors.push(UsageError::Verb(verb));
                return None;
            }
        };
        Some(Command { verb, options: self.options })
    }

    /// Options that only some verbs have.
    fn check_place(&self, verb: &str, errors: &mut Vec<UsageError>) {
        let is_inject = verb == "inject";
        let is_add = verb == "add" || is_inject;
        for (option, is_given, place, fits) in [
            ("--pods", self.share.is_some(), "add and inject", is_add),
            ("--seed", self.seed.is_some(), "add and inject", is_add || verb == "predict"),
            ("--file", self.file.is_some(), "add and inject", is_add),
            (
                "--port",
                self.port.is_some(),
                "inject, dashboard and sidecar add",
                is_inject || matches!(verb, "dashboard" | "sidecar"),
            ),
        ] {
            if is_given && !fits {
                errors.push(UsageError::Elsewhere(option, place));
            }
        }
    }

    fn check_pods(&self, errors: &mut Vec<UsageError>) {
        match (&self.options.selector, self.options.pods.is_empty(), self.all) {
            (None, true, false) => errors.push(UsageError::NoPods),
            (Some(_), false, _) => errors.push(UsageError::Both("--selector", "--pod")),
            (Some(_), _, true) => errors.push(UsageError::Both("--selector", "--all")),
            (None, false, true) => errors.push(UsageError::Both("--pod", "--all")),
            _ => {}
        }
    }

    /// The call of `fault` in each Pod, checked here as it is there, so that a mistake is found before any Pod is asked.
    fn call(&mut self, errors: &mut Vec<UsageError>) -> Call {
        let mut arguments = std::mem::take(&mut self.rest);
        let kind = match arguments[0].as_str() {
            "top" => CallKind::Top,
            "list" => CallKind::List,
            "watch" => CallKind::Watch,
            _ => CallKind::Change,
        };
        if kind == CallKind::Top {
            "list".clone_into(&mut arguments[0]);
        }
        let mut checked = arguments.clone();
        let file = self.file.take();
        checked.extend(file.iter().map(|file| format!("--file={file}")));
        let rules = fault::rules_to_add(checked.into_iter().map(OsString::from)).unwrap_or_else(|wrong| {
            errors.extend(wrong.into_iter().map(UsageError::Fault));
            Vec::new()
        });
        errors.extend(wrong_rules(&rules).into_iter().map(UsageError::Fault));
        // The file is here and not in the Pods. Each of its rules has its time already.
        let input = file.map(|_| {
            arguments.extend(["--file=-", "--for=ever"].map(str::to_owned));
            json!({ "faults": rules }).to_string().into_bytes()
        });
        if kind != CallKind::Change || self.options.output == OutputFormat::Json {
            arguments.push("--output=json".to_owned());
        }
        Call { kind, arguments, input }
    }

    /// The options of `predict`: a seed is its own there.
    fn predict(&mut self, errors: &mut Vec<UsageError>) -> Option<Verb> {
        let mut rest = std::mem::take(&mut self.rest).into_iter().skip(1);
        let Some(object) = rest.next().filter(|object| !object.starts_with('-')) else {
            errors.push(UsageError::Missing("predict", "an object, such as deployment/web"));
            return None;
        };
        if !object.contains('/') {
            errors.push(UsageError::Object(object.clone()));
        }
        let mut options: Vec<OsString> = rest.map(OsString::from).collect();
        options.extend(self.options.seed.map(|seed| format!("--seed={seed}").into()));
        if self.options.output == OutputFormat::Json {
            options.push("--output=json".into());
        }
        Some(Verb::Predict { object, options })
    }
}

/// What the Pods would say against these rules, except that a target is no proxy of theirs.
fn wrong_rules(rules: &[Value]) -> Vec<String> {
    let mut rules = rules.to_vec();
    for fields in rules.iter_mut().filter_map(Value::as_object_mut) {
        // A plan has no `ttl`, which has been read already, and needs names, which `fault add` makes.
        fields.remove("ttl");
        fields.entry("name").or_insert("rule".into());
    }
    plan::read_plan(&json!({ "faults": rules }), "").err().map(|wrong| wrong.lines()).unwrap_or_default()
}

fn number(
    option: &'static str,
    value: Option<String>,
    most: u64,
    errors: &mut Vec<UsageError>,
) -> Option<u64> {
    let value = value?;
    let number = value.parse().ok().filter(|number| *number <= most);
    if number.is_none() {
        errors.push(UsageError::Number(option, value, most));
    }
    number
}
