//! The command line of `fault`.
//!
//! Builds a rule from the options and sends it unchecked: the service validates the values.

mod error;
pub(in crate::cli) mod fields;
pub(in crate::cli) mod file;
mod process;
mod proxy;

use std::ffi::OsString;
use std::time::Duration;

use lexopt::{Arg, Parser};
use serde_json::{Map, Value};

use super::client::AdminPlace;
use crate::cli::shared::{self, ArgumentError, OutputFormat};
use crate::fault::{Cut, HandshakeFault};
use crate::units::{self, Bare};
pub(in crate::cli) use error::FaultUsageError;
use fields::RuleFields;
pub(super) use proxy::ProxyVerb;

/// Default lifetime of a rule: a drill ends even if its operator has left.
const DEFAULT_TTL: &str = "15m";

/// A checked command line.
#[derive(Debug, PartialEq)]
pub(super) struct FaultCommand {
    pub(super) verb: FaultVerb,
    pub(super) admin: AdminPlace,
    pub(super) output: OutputFormat,
}

/// The action to perform.
#[derive(Debug, PartialEq)]
pub(super) enum FaultVerb {
    /// Adds rules. A rule without a name gets a generated one.
    Add(Vec<Value>),
    List,
    Remove(Vec<String>),
    Stop,
    Resume,
    Reset {
        renew: bool,
    },
    Watch,
    Proxy(ProxyVerb),
}

/// Unchecked options and words.
#[derive(Default)]
struct Raw {
    words: Vec<String>,
    /// The options of the rule, except `--for`.
    rule: RuleFields,
    ttl: Option<String>,
    /// The fields of a proxy.
    proxy: Map<String, Value>,
    forever: bool,
    file: Option<String>,
    keeps_origins: bool,
    admin: AdminPlace,
    output: OutputFormat,
    help: bool,
}

/// Reads the arguments after the verb; `None` requests help.
pub(super) fn parse(
    args: impl IntoIterator<Item = OsString>,
) -> Result<Option<FaultCommand>, Vec<FaultUsageError>> {
    let mut parser = Parser::from_args(args);
    let (mut raw, mut errors) = (Raw::default(), Vec::new());
    loop {
        match parser.next() {
            Ok(None) => break,
            Ok(Some(Arg::Value(value))) => match shared::unicode("an argument", value) {
                Ok(word) => raw.words.push(word),
                Err(error) => errors.push(error.into()),
            },
            Ok(Some(Arg::Short('h') | Arg::Long("help"))) => raw.help = true,
            Ok(Some(Arg::Short(short))) => errors.push(option(&raw, format!("-{short}"))),
            Ok(Some(Arg::Long(long))) => {
                let long = long.to_owned();
                if let Err(error) = raw.take(&long, &mut parser) {
                    errors.push(error);
                }
            }
            Err(error) => errors.push(ArgumentError::Parser(error.to_string()).into()),
        }
    }
    if raw.help || raw.words.first().is_some_and(|word| word == "help") {
        return Ok(None);
    }
    match raw.verb() {
        Ok(verb) if errors.is_empty() => {
            Ok(Some(FaultCommand { verb, admin: raw.admin, output: raw.output }))
        }
        Ok(_) => Err(errors),
        Err(error) => {
            errors.push(error);
            Err(errors)
        }
    }
}

fn option(raw: &Raw, option: String) -> FaultUsageError {
    let verb = ["add", "list", "rm", "stop", "resume", "reset", "watch", "proxy"]
        .into_iter()
        .find(|verb| raw.words.first().is_some_and(|word| word == verb));
    FaultUsageError::Option(option, verb.unwrap_or_default())
}

impl Raw {
    /// An option and its value.
    fn take(&mut self, long: &str, parser: &mut Parser) -> Result<(), FaultUsageError> {
        let verb = self.words.first().cloned().unwrap_or_default();
        if long == "admin-insecure" {
            self.admin.insecure = true;
            return Ok(());
        }
        if long == "keep-origins" && verb == "reset" {
            self.keeps_origins = true;
            return Ok(());
        }
        if matches!(long, "tls" | "insecure") && verb == "proxy" {
            self.proxy.insert(long.to_owned(), true.into());
            return Ok(());
        }
        if proxy::OPTIONS.contains(&long) && verb == "proxy" {
            let value = parser.value().map_err(|_| ArgumentError::NoValue(format!("--{long}")))?;
            self.proxy.insert(long.replace('-', "_"), shared::unicode("an argument", value)?.into());
            return Ok(());
        }
        let adds = verb == "add" || verb.is_empty();
        if adds && self.rule.take(long, parser)? {
            return Ok(());
        }
        let is_known =
            matches!(long, "admin" | "admin-ca" | "output") || adds && matches!(long, "for" | "file");
        if !is_known {
            // Skip its value, if it has one.
            let _ = parser.optional_value();
            return Err(option(self, format!("--{long}")));
        }
        let value = parser.value().map_err(|_| ArgumentError::NoValue(format!("--{long}")))?;
        let value = shared::unicode("an argument", value)?;
        match long {
            "admin" => self.admin.address = Some(value),
            "admin-ca" => self.admin.ca = Some(value.into()),
            "output" => self.output = shared::output(value)?,
            "file" => self.file = Some(value),
            _ if value == "ever" => self.forever = true,
            _ => match units::duration(&value, Bare::Seconds) {
                Ok(Duration::ZERO) => return Err(FaultUsageError::NoTime(value)),
                Ok(_) => self.ttl = Some(value),
                Err(error) => return Err(FaultUsageError::For(value, error)),
            },
        }
        Ok(())
    }

    fn verb(&mut self) -> Result<FaultVerb, FaultUsageError> {
        let mut words = std::mem::take(&mut self.words).into_iter();
        let verb = words.next().ok_or(FaultUsageError::NoVerb)?;
        let words: Vec<String> = words.collect();
        let alone = |verb| match words.first() {
            Some(extra) => Err(ArgumentError::Extra(extra.clone()).into()),
            None => Ok(verb),
        };
        match verb.as_str() {
            "list" | "ls" => alone(FaultVerb::List),
            "stop" => alone(FaultVerb::Stop),
            "resume" => alone(FaultVerb::Resume),
            "reset" => alone(FaultVerb::Reset { renew: !self.keeps_origins }),
            "watch" => alone(FaultVerb::Watch),
            "proxy" => proxy::verb(&words, std::mem::take(&mut self.proxy)).map(FaultVerb::Proxy),
            "rm" if words.is_empty() => Err(FaultUsageError::NoName),
            "rm" => Ok(FaultVerb::Remove(words)),
            "add" => self.add(&words),
            _ => Err(FaultUsageError::Verb(verb)),
        }
    }

    fn add(&mut self, targets: &[String]) -> Result<FaultVerb, FaultUsageError> {
        let mut options = std::mem::take(&mut self.rule);
        let ttl = self.ttl.take().unwrap_or_else(|| DEFAULT_TTL.to_owned());
        let ttl = (!self.forever).then_some(Value::from(ttl));
        if let Some(path) = self.file.take() {
            if let Some(option) = options.given.first() {
                return Err(FaultUsageError::WithFile(option.clone()));
            }
            if let Some(target) = targets.first() {
                return Err(FaultUsageError::WithFile(target.clone()));
            }
            return Ok(FaultVerb::Add(file::rules(&path, ttl.as_ref())?));
        }
        if targets.is_empty() {
            return Err(FaultUsageError::NoTarget);
        }
        let rule = &mut options.fields;
        rule.insert("target".to_owned(), targets.to_vec().into());
        if targets.iter().any(|target| target == "process") {
            process::complete(rule)?;
        }
        let is_listener = targets.iter().any(|target| target == "listener");
        match rule.get("mode").and_then(Value::as_str) {
            None if is_listener => return Err(FaultUsageError::ListenerMode),
            Some(mode)
                if is_listener
                    && Cut::from_name(mode).is_none()
                    && HandshakeFault::from_name(mode).is_none() =>
            {
                return Err(FaultUsageError::NotOfListener(mode.to_owned()));
            }
            _ => {}
        }
        options.complete();
        if let Some(ttl) = ttl {
            options.fields.insert("ttl".to_owned(), ttl);
        }
        Ok(FaultVerb::Add(vec![options.fields.into()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parsed(line: &str) -> Result<Option<FaultCommand>, Vec<FaultUsageError>> {
        parse(line.split_whitespace().map(OsString::from))
    }

    fn rule(line: &str) -> Value {
        match parsed(line).unwrap().unwrap().verb {
            FaultVerb::Add(mut rules) => rules.remove(0),
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
                "add process --mode exit --code 3 --after 10s",
                json!({"mode": "exit", "code": 3, "when": {"after": "10s"}, "target": ["process"], "ttl": "15m"}),
            ),
            (
                "add process --mode disk --path /scratch --size 64MiB",
                json!({"mode": "disk", "path": "/scratch", "size": "64MiB", "target": ["process"], "ttl": "15m"}),
            ),
            (
                "add process --mode slow-term --delay 90s --allow-node-pressure --for ever",
                json!({"mode": "slow-term", "delay": "90s", "allow_node_pressure": true, "target": ["process"]}),
            ),
            (
                "add traffic --status 503 --answer-header Retry-After:5 --answer-header Set-Cookie:a --answer-header Set-Cookie:b --body-text 12 --forward",
                json!({"status": 503, "headers": {"Retry-After": ["5"], "Set-Cookie": ["a", "b"]}, "body_text": "12", "forward": true, "target": ["traffic"], "mode": "status", "ttl": "15m"}),
            ),
            (
                "add traffic --mode grpc --grpc-status ABORTED --grpc-message 7",
                json!({"mode": "grpc", "grpc_status": "ABORTED", "grpc_message": "7", "target": ["traffic"], "ttl": "15m"}),
            ),
            (
                "add traffic --path /orders/* --method POST,put --method GET --host shop --header X-Tenant:blue --header Accept --query user=42 --query q= --query debug",
                json!({"match": {"path": "/orders/*", "method": ["POST", "put", "GET"], "host": "shop", "headers": {"X-Tenant": "blue", "Accept": "*"}, "query": {"user": "42", "q": "", "debug": "*"}}, "target": ["traffic"], "mode": "status", "ttl": "15m"}),
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
        assert_eq!(verb("list"), Some(FaultVerb::List));
        assert_eq!(verb("rm a b"), Some(FaultVerb::Remove(vec!["a".into(), "b".into()])));
        assert_eq!((verb("stop"), verb("resume")), (Some(FaultVerb::Stop), Some(FaultVerb::Resume)));
        assert_eq!(verb("reset"), Some(FaultVerb::Reset { renew: true }));
        assert_eq!(verb("reset --keep-origins"), Some(FaultVerb::Reset { renew: false }));
        assert_eq!(verb("watch --admin :9000 --output json"), Some(FaultVerb::Watch));
        assert_eq!(verb("add --help"), None);
        assert_eq!(
            parsed("list --admin :1 --output json").unwrap().unwrap().admin.address.as_deref(),
            Some(":1")
        );
    }

    #[test]
    fn wrong_usage_is_named() {
        for (line, error) in [
            ("", "a command is missing: add, list, rm, stop, resume, reset, watch or proxy"),
            ("remove x", "\"remove\" is not one of add, list, rm, stop, resume, reset, watch and proxy"),
            (
                "add",
                "add needs a target: liveness, readiness, startup, dependency, traffic, listener or process",
            ),
            ("add readiness --colour 5", "--colour is not an option of fault add"),
            ("add readiness --status", "--status needs a value"),
            (
                "add readiness --for x",
                "--for \"x\" is not a duration such as 250ms, 30s or 1m30s (units: us, ms, s, m, h, d); a bare number is in s; use ever for no limit",
            ),
            ("list --status 500", "--status is not an option of fault list"),
            ("list x", "unexpected argument \"x\""),
            ("rm", "rm needs the name of a rule; fault list shows them"),
            ("list --output yaml", "--output \"yaml\" is not one of text, json"),
            (
                "add listener",
                "add listener needs --mode: drop (packets are lost), refuse or reset (connections are refused or reset)",
            ),
            (
                "add listener --delay 5ms",
                "add listener needs --mode: drop (packets are lost), refuse or reset (connections are refused or reset)",
            ),
            (
                "add listener --mode status",
                "--mode \"status\" is not a mode of target listener, which has drop, refuse and reset",
            ),
            (
                "add process --code 3",
                "add process needs --mode: exit, abort, memory, cpu, ignore-term, slow-term, fds, disk",
            ),
            (
                "add process --mode hang",
                "--mode \"hang\" is not a mode of target process, which has exit, abort, memory, cpu, ignore-term, slow-term, fds, disk",
            ),
            ("add --file /x --status 5", "--status cannot be combined with --file, whose rules are complete"),
            ("add --file /no/such", "--file \"/no/such\" is not there"),
        ] {
            assert_eq!(errors(line)[0], error, "{line}");
        }
    }

    #[test]
    fn every_option_is_in_the_help() {
        for (option, _) in fields::OPTIONS {
            assert!(super::super::HELP.contains(&format!("--{option} ")), "{option}");
        }
    }
}
