//! What the command was asked for.
//!
//! A rule is put together from its options and sent as it is: what is wrong with its values the service says.

use std::ffi::OsString;
use std::fmt;
use std::path::Path;

use lexopt::{Arg, Parser, ValueExt};
use serde_json::{Map, Value};

use crate::plan::document;
use crate::sources::file;
use crate::units::{self, Bare, UnitError};

/// How long a rule is in force, unless told otherwise: a drill whose operator has left ends.
const DEFAULT_TTL: &str = "15m";

/// Options of `add` and the place of their value in a rule.
const FIELDS: [(&str, &[&str]); 34] = [
    ("name", &["name"]),
    ("mode", &["mode"]),
    ("status", &["status"]),
    ("location", &["location"]),
    ("body", &["body"]),
    ("drip", &["drip"]),
    ("delay", &["delay", "fixed"]),
    ("jitter", &["delay", "jitter"]),
    ("distribution", &["delay", "distribution"]),
    ("median", &["delay", "median"]),
    ("mean", &["delay", "mean"]),
    ("p50", &["delay", "p50"]),
    ("p90", &["delay", "p90"]),
    ("p99", &["delay", "p99"]),
    ("rate", &["rate"]),
    ("burst", &["burst"]),
    ("ramp", &["ramp"]),
    ("after", &["when", "after"]),
    ("window", &["when", "for"]),
    ("every", &["when", "every"]),
    ("after-requests", &["when", "requests", "after"]),
    ("requests", &["when", "requests", "for"]),
    ("every-requests", &["when", "requests", "every"]),
    ("after-starts", &["when", "starts", "after"]),
    ("starts", &["when", "starts", "for"]),
    ("every-starts", &["when", "starts", "every"]),
    ("start", &["start"]),
    ("until", &["until"]),
    ("client", &["client"]),
    ("from", &["from"]),
    ("pods", &["pods"]),
    ("stagger", &["stagger"]),
    ("for", &["ttl"]),
    ("file", &[]),
];

/// A checked command line.
#[derive(Debug, PartialEq)]
pub(super) struct Request {
    pub(super) verb: Verb,
    pub(super) admin: Option<String>,
    pub(super) output: Output,
}

/// What to do.
#[derive(Debug, PartialEq)]
pub(super) enum Verb {
    /// Rules; one without a name gets one.
    Add(Vec<Value>),
    List,
    Remove(Vec<String>),
    Stop,
    Resume,
    Reset {
        renew: bool,
    },
    Watch,
}

/// For whom to print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Output {
    #[default]
    Text,
    Json,
}

/// What is wrong with the command line.
#[derive(Debug, PartialEq)]
pub(super) enum UsageError {
    NoVerb,
    Verb(String),
    Option(String, &'static str),
    Extra(String),
    NoValue(String),
    Parser(String),
    Unicode,
    Output(String),
    For(String, UnitError),
    NoTarget,
    NoName,
    File(String, String),
    WithFile(String),
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoVerb => f.write_str("say what to do: add, list, rm, stop, resume, reset or watch"),
            Self::Verb(verb) => {
                write!(f, "{verb:?} is not one of add, list, rm, stop, resume, reset and watch")
            }
            Self::Option(option, verb) => write!(f, "{option} is not an option of fault {verb}"),
            Self::Extra(value) => write!(f, "{value:?} is one argument too many"),
            Self::NoValue(option) => write!(f, "{option} needs a value"),
            Self::Parser(message) => f.write_str(message),
            Self::Unicode => f.write_str("an argument is not valid UTF-8"),
            Self::Output(value) => write!(f, "--output {value:?} is not one of text and json"),
            Self::For(value, error) => write!(f, "--for {value:?} {error}; ever is for ever"),
            Self::NoTarget => f.write_str(
                "add needs a target: liveness, readiness, startup, dependency, traffic or listener",
            ),
            Self::NoName => f.write_str("rm needs the name of a rule; fault list shows them"),
            Self::File(path, reason) => write!(f, "--file {path:?} {reason}"),
            Self::WithFile(option) => write!(f, "{option} does not go with --file, which has whole rules"),
        }
    }
}

impl std::error::Error for UsageError {}

#[derive(Default)]
struct Raw {
    words: Vec<String>,
    rule: Map<String, Value>,
    /// Options of a rule that were given, but for `--for`.
    given: Vec<String>,
    forever: bool,
    file: Option<String>,
    keeps_origins: bool,
    admin: Option<String>,
    output: Output,
    help: bool,
}

/// Reads the arguments after the command's name; `None` asks for help.
pub(super) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Option<Request>, Vec<UsageError>> {
    let mut parser = Parser::from_args(args);
    let (mut raw, mut errors) = (Raw::default(), Vec::new());
    loop {
        match parser.next() {
            Ok(None) => break,
            Ok(Some(Arg::Value(value))) => match value.string() {
                Ok(word) => raw.words.push(word),
                Err(_) => errors.push(UsageError::Unicode),
            },
            Ok(Some(Arg::Short('h') | Arg::Long("help"))) => raw.help = true,
            Ok(Some(Arg::Short(short))) => errors.push(option(&raw, format!("-{short}"))),
            Ok(Some(Arg::Long(long))) => {
                let long = long.to_owned();
                if let Err(error) = raw.take(&long, &mut parser) {
                    errors.push(error);
                }
            }
            Err(error) => errors.push(UsageError::Parser(error.to_string())),
        }
    }
    if raw.help || raw.words.first().is_some_and(|word| word == "help") {
        return Ok(None);
    }
    match raw.verb() {
        Ok(verb) if errors.is_empty() => Ok(Some(Request { verb, admin: raw.admin, output: raw.output })),
        Ok(_) => Err(errors),
        Err(error) => {
            errors.push(error);
            Err(errors)
        }
    }
}

fn option(raw: &Raw, option: String) -> UsageError {
    let verb = ["add", "list", "rm", "stop", "resume", "reset", "watch"]
        .into_iter()
        .find(|verb| raw.words.first().is_some_and(|word| word == verb));
    UsageError::Option(option, verb.unwrap_or_default())
}

impl Raw {
    /// An option and its value.
    fn take(&mut self, long: &str, parser: &mut Parser) -> Result<(), UsageError> {
        let verb = self.words.first().cloned().unwrap_or_default();
        if long == "keep-origins" && verb == "reset" {
            self.keeps_origins = true;
            return Ok(());
        }
        let field =
            FIELDS.iter().find(|(name, _)| *name == long).filter(|_| verb == "add" || verb.is_empty());
        if field.is_none() && !matches!(long, "admin" | "output") {
            // Its value, if it has one, is no word of ours.
            let _ = parser.optional_value();
            return Err(option(self, format!("--{long}")));
        }
        let value = parser.value().map_err(|_| UsageError::NoValue(format!("--{long}")))?;
        let value = value.string().map_err(|_| UsageError::Unicode)?;
        match (long, field) {
            ("admin", _) => self.admin = Some(value),
            ("output", _) => {
                self.output = match value.as_str() {
                    "text" => Output::Text,
                    "json" => Output::Json,
                    _ => return Err(UsageError::Output(value)),
                };
            }
            ("file", _) => self.file = Some(value),
            ("for", _) if value == "ever" => self.forever = true,
            ("for", Some((_, path))) => {
                if let Err(error) = units::duration(&value, Bare::Refused) {
                    return Err(UsageError::For(value, error));
                }
                put(&mut self.rule, path, value.into());
            }
            (_, Some((name, path))) => {
                self.given.push(format!("--{name}"));
                let value = match *name {
                    "from" => {
                        let mut networks =
                            self.rule.get("from").and_then(Value::as_array).cloned().unwrap_or_default();
                        networks.push(value.into());
                        networks.into()
                    }
                    "pods" if !value.contains('%') => {
                        value.split(',').map(|item| number(item.trim())).collect()
                    }
                    "name" => value.into(),
                    _ => number(&value),
                };
                put(&mut self.rule, path, value);
            }
            (_, None) => {}
        }
        Ok(())
    }

    fn verb(&mut self) -> Result<Verb, UsageError> {
        let mut words = std::mem::take(&mut self.words).into_iter();
        let verb = words.next().ok_or(UsageError::NoVerb)?;
        let words: Vec<String> = words.collect();
        let alone = |verb| match words.first() {
            Some(extra) => Err(UsageError::Extra(extra.clone())),
            None => Ok(verb),
        };
        match verb.as_str() {
            "list" | "ls" => alone(Verb::List),
            "stop" => alone(Verb::Stop),
            "resume" => alone(Verb::Resume),
            "reset" => alone(Verb::Reset { renew: !self.keeps_origins }),
            "watch" => alone(Verb::Watch),
            "rm" if words.is_empty() => Err(UsageError::NoName),
            "rm" => Ok(Verb::Remove(words)),
            "add" => self.add(&words),
            _ => Err(UsageError::Verb(verb)),
        }
    }

    fn add(&mut self, targets: &[String]) -> Result<Verb, UsageError> {
        let mut rule = std::mem::take(&mut self.rule);
        let ttl = rule.remove("ttl").unwrap_or_else(|| DEFAULT_TTL.into());
        let ttl = (!self.forever).then_some(ttl);
        if let Some(path) = self.file.take() {
            if let Some(option) = self.given.first() {
                return Err(UsageError::WithFile(option.clone()));
            }
            if let Some(target) = targets.first() {
                return Err(UsageError::WithFile(target.clone()));
            }
            return Ok(Verb::Add(from_file(&path, ttl.as_ref())?));
        }
        if targets.is_empty() {
            return Err(UsageError::NoTarget);
        }
        rule.insert("target".to_owned(), targets.to_vec().into());
        let has_delay = rule.contains_key("delay");
        if !rule.contains_key("mode") && (rule.contains_key("status") || !has_delay) {
            rule.insert("mode".to_owned(), "status".into());
        }
        if let Some(ttl) = ttl {
            rule.insert("ttl".to_owned(), ttl);
        }
        Ok(Verb::Add(vec![rule.into()]))
    }
}

/// The rules of a plan, or the one that there is.
fn from_file(path: &str, ttl: Option<&Value>) -> Result<Vec<Value>, UsageError> {
    let wrong = |reason: String| UsageError::File(path.to_owned(), reason);
    let path = if path == "-" { "/dev/stdin" } else { path };
    let text =
        file::read_named(Path::new(path), document::MAX_PLAN).map_err(|error| wrong(error.to_string()))?;
    let value = document::parse(&text, document::MAX_PLAN).map_err(|error| wrong(error.to_string()))?;
    let rules = match value {
        Value::Object(mut plan) if plan.contains_key("faults") => match plan.remove("faults") {
            Some(Value::Array(rules)) => rules,
            _ => return Err(wrong("has `faults` that are no list of rules".to_owned())),
        },
        rule @ Value::Object(_) => vec![rule],
        _ => return Err(wrong("is neither a rule nor a plan".to_owned())),
    };
    let with_ttl = |mut rule: Value| {
        if let (Some(fields), Some(ttl)) = (rule.as_object_mut(), ttl) {
            fields.entry("ttl").or_insert_with(|| ttl.clone());
        }
        rule
    };
    Ok(rules.into_iter().map(with_ttl).collect())
}

/// A number where it is one, or the text.
fn number(text: &str) -> Value {
    let is_number = text.bytes().all(|c| c.is_ascii_digit() || c == b'.');
    serde_json::from_str(text).ok().filter(|_| is_number).unwrap_or_else(|| text.into())
}

fn put(rule: &mut Map<String, Value>, path: &[&str], value: Value) {
    let Some((last, before)) = path.split_last() else { return };
    let mut fields = rule;
    for name in before {
        let inner = fields.entry(*name).or_insert_with(|| Map::new().into());
        let Value::Object(inner) = inner else { return };
        fields = inner;
    }
    fields.insert((*last).to_owned(), value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parsed(line: &str) -> Result<Option<Request>, Vec<UsageError>> {
        parse(line.split_whitespace().map(OsString::from))
    }

    fn rule(line: &str) -> Value {
        match parsed(line).unwrap().unwrap().verb {
            Verb::Add(mut rules) => rules.remove(0),
            other => panic!("{other:?}"),
        }
    }

    fn errors(line: &str) -> Vec<String> {
        parsed(line).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_rule_is_made_of_its_options_and_ends_after_a_quarter_of_an_hour() {
        for (line, expected) in [
            ("add readiness", json!({"target": ["readiness"], "mode": "status", "ttl": "15m"})),
            (
                "add readiness --status 503 --for 2m",
                json!({"status": 503, "target": ["readiness"], "mode": "status", "ttl": "2m"}),
            ),
            (
                "add liveness traffic --mode hang --for ever",
                json!({"mode": "hang", "target": ["liveness", "traffic"]}),
            ),
            (
                "add traffic --delay 50ms --jitter 10ms --distribution normal",
                json!({"delay": {"fixed": "50ms", "jitter": "10ms", "distribution": "normal"}, "target": ["traffic"], "ttl": "15m"}),
            ),
            (
                "add --name x listener --mode drop --from 10.0.0.0/8 --from !10.1.2.3 --after 5s --window 1m --every 5m",
                json!({"name": "x", "mode": "drop", "from": ["10.0.0.0/8", "!10.1.2.3"], "when": {"after": "5s", "for": "1m", "every": "5m"}, "target": ["listener"], "ttl": "15m"}),
            ),
            (
                "add startup --rate 20% --burst 2.5 --requests 3 --after-starts 2 --pods 0,2 --stagger 60s",
                json!({"rate": "20%", "burst": 2.5, "when": {"requests": {"for": 3}, "starts": {"after": 2}}, "pods": [0, 2], "stagger": "60s", "target": ["startup"], "mode": "status", "ttl": "15m"}),
            ),
            (
                "add startup --pods 30%",
                json!({"pods": "30%", "target": ["startup"], "mode": "status", "ttl": "15m"}),
            ),
        ] {
            assert_eq!(rule(line), expected, "{line}");
        }
    }

    #[test]
    fn other_verbs_take_what_belongs_to_them() {
        let verb = |line| parsed(line).unwrap().map(|request| request.verb);
        assert_eq!(verb("list"), Some(Verb::List));
        assert_eq!(verb("rm a b"), Some(Verb::Remove(vec!["a".into(), "b".into()])));
        assert_eq!((verb("stop"), verb("resume")), (Some(Verb::Stop), Some(Verb::Resume)));
        assert_eq!(verb("reset"), Some(Verb::Reset { renew: true }));
        assert_eq!(verb("reset --keep-origins"), Some(Verb::Reset { renew: false }));
        assert_eq!(verb("watch --admin :9000 --output json"), Some(Verb::Watch));
        assert_eq!(verb("add --help"), None);
        assert_eq!(parsed("list --admin :1 --output json").unwrap().unwrap().admin.as_deref(), Some(":1"));
    }

    #[test]
    fn wrong_usage_is_named() {
        for (line, error) in [
            ("", "say what to do: add, list, rm, stop, resume, reset or watch"),
            ("remove x", "\"remove\" is not one of add, list, rm, stop, resume, reset and watch"),
            ("add", "add needs a target: liveness, readiness, startup, dependency, traffic or listener"),
            ("add readiness --code 5", "--code is not an option of fault add"),
            ("add readiness --status", "--status needs a value"),
            ("add readiness --for 5", "--for \"5\" has no unit; write 5s or 5ms; ever is for ever"),
            ("list --status 500", "--status is not an option of fault list"),
            ("list x", "\"x\" is one argument too many"),
            ("rm", "rm needs the name of a rule; fault list shows them"),
            ("list --output yaml", "--output \"yaml\" is not one of text and json"),
            ("add --file /x --status 5", "--status does not go with --file, which has whole rules"),
            ("add --file /no/such", "--file \"/no/such\" is not there"),
        ] {
            assert_eq!(errors(line)[0], error, "{line}");
        }
    }

    #[test]
    fn every_option_is_in_the_help() {
        for (option, _) in FIELDS {
            assert!(super::super::HELP.contains(&format!("--{option} ")), "{option}");
        }
    }
}
