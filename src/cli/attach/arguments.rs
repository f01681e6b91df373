//! The command line of `attach`.

use std::ffi::OsString;
use std::time::Duration;

use lexopt::{Arg, Parser};
use serde_json::{Value, json};
use thiserror::Error;

use crate::attach::APPLICATION;
use crate::cli::fault::arguments::FaultUsageError;
use crate::cli::fault::arguments::fields::RuleFields;
use crate::cli::fault::arguments::file;
use crate::cli::shared::{self, ArgumentError};
use crate::fault::Protocol;

/// Time limit without `--for`.
const DEFAULT_TIME: Duration = Duration::from_secs(300);

/// Default address of the admin listener.
const DEFAULT_ADMIN: &str = "127.0.0.1:0";

/// The action to perform.
#[derive(Debug)]
pub(super) enum AttachCommand {
    Help,
    Stop,
    Attach(Box<AttachArguments>),
}

/// A checked command line.
#[derive(Debug, PartialEq)]
pub(super) struct AttachArguments {
    pub(super) port: u16,
    pub(super) protocol: Protocol,
    pub(super) time: Duration,
    pub(super) switches: Vec<Switch>,
    pub(super) admin: String,
    /// The rules, not checked, and what they are called in errors.
    pub(super) plan: Option<(Value, String)>,
}

/// An option without a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Switch {
    /// End the connections that are open.
    Existing,
    /// Rules act on the kubelet, too.
    IncludeProbes,
    /// Connect to the application from loopback.
    AsLocalhost,
    /// Only check.
    DryRun,
    /// End the one that runs.
    Stop,
}

/// The name of each.
const SWITCHES: [(&str, Switch); 5] = [
    ("existing", Switch::Existing),
    ("include-probes", Switch::IncludeProbes),
    ("as-localhost", Switch::AsLocalhost),
    ("dry-run", Switch::DryRun),
    ("stop", Switch::Stop),
];

impl AttachArguments {
    pub(super) fn has(&self, switch: Switch) -> bool {
        self.switches.contains(&switch)
    }
}

/// An error in the command line.
#[derive(Debug, PartialEq, Error)]
pub(super) enum AttachUsageError {
    #[error(transparent)]
    Argument(#[from] ArgumentError),
    #[error(transparent)]
    Fault(#[from] FaultUsageError),
    #[error("{0} is not an option of attach")]
    Option(String),
    #[error("--port is missing: the port on which the application listens")]
    NoPort,
    #[error("--port {0:?} is not a port, a number from 1 to 65535")]
    Port(String),
    #[error("--protocol {0:?} is not http or tcp")]
    Protocol(String),
    #[error("--stop takes no other options")]
    OnlyStop,
    #[error("{0} cannot be combined with --file, whose rules are complete")]
    WithFile(String),
}

/// Unchecked options.
#[derive(Debug, Default)]
struct Raw {
    port: Option<String>,
    protocol: Option<Protocol>,
    time: Option<Duration>,
    admin: Option<String>,
    file: Option<String>,
    rule: RuleFields,
    switches: Vec<Switch>,
    help: bool,
    /// Whether anything but `--stop` is given.
    has_others: bool,
}

/// Reads the arguments after the verb, and returns all errors.
pub(super) fn parse(
    args: impl IntoIterator<Item = OsString>,
) -> Result<AttachCommand, Vec<AttachUsageError>> {
    let mut parser = Parser::from_args(args);
    let (mut raw, mut errors) = (Raw::default(), Vec::new());
    loop {
        let taken = match parser.next() {
            Ok(None) => break,
            Ok(Some(Arg::Short('h') | Arg::Long("help"))) => {
                raw.help = true;
                Ok(())
            }
            Ok(Some(Arg::Value(word))) if word == "help" => {
                raw.help = true;
                Ok(())
            }
            Ok(Some(Arg::Value(word))) => {
                Err(ArgumentError::Extra(word.to_string_lossy().into_owned()).into())
            }
            Ok(Some(Arg::Short(short))) => Err(AttachUsageError::Option(format!("-{short}"))),
            Ok(Some(Arg::Long(long))) => {
                let long = long.to_owned();
                raw.take(&long, &mut parser)
            }
            Err(error) => Err(ArgumentError::Parser(error.to_string()).into()),
        };
        errors.extend(taken.err());
    }
    if raw.help {
        return Ok(AttachCommand::Help);
    }
    if raw.switches.contains(&Switch::Stop) {
        if raw.has_others {
            errors.push(AttachUsageError::OnlyStop);
        }
        return if errors.is_empty() { Ok(AttachCommand::Stop) } else { Err(errors) };
    }
    let port = raw.port().map_err(|error| errors.insert(0, error)).unwrap_or_default();
    let plan = raw.plan().map_err(|error| errors.push(error)).unwrap_or_default();
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(AttachCommand::Attach(Box::new(AttachArguments {
        port,
        protocol: raw.protocol(),
        time: raw.time.unwrap_or(DEFAULT_TIME),
        switches: raw.switches,
        admin: raw.admin.unwrap_or_else(|| DEFAULT_ADMIN.to_owned()),
        plan,
    })))
}

impl Raw {
    fn take(&mut self, long: &str, parser: &mut Parser) -> Result<(), AttachUsageError> {
        self.has_others |= long != "stop";
        if let Some((_, switch)) = SWITCHES.iter().find(|(name, _)| *name == long) {
            self.switches.push(*switch);
            return Ok(());
        }
        let option = match long {
            "port" => "--port",
            "protocol" => "--protocol",
            "for" => "--for",
            "admin" => "--admin",
            "file" => "--file",
            _ if self.rule.take(long, parser)? => return Ok(()),
            _ => {
                // Skip its value, if it has one.
                let _ = parser.optional_value();
                return Err(AttachUsageError::Option(format!("--{long}")));
            }
        };
        let value = parser.value().map_err(|_| ArgumentError::NoValue(option.to_owned()))?;
        let value = shared::unicode(option, value)?;
        match option {
            "--port" => self.port = Some(value),
            "--protocol" => self.protocol = Some(protocol(&value).ok_or(AttachUsageError::Protocol(value))?),
            "--for" => self.time = Some(shared::positive_duration(option, value)?),
            "--admin" => self.admin = Some(value),
            _ => self.file = Some(value),
        }
        Ok(())
    }

    fn protocol(&self) -> Protocol {
        self.protocol.unwrap_or(Protocol::Http)
    }

    fn port(&mut self) -> Result<u16, AttachUsageError> {
        let port = self.port.take().ok_or(AttachUsageError::NoPort)?;
        port.parse().ok().filter(|port| *port > 0).ok_or(AttachUsageError::Port(port))
    }

    /// The plan, made of the file or of the options.
    fn plan(&mut self) -> Result<Option<(Value, String)>, AttachUsageError> {
        let is_http = self.protocol() == Protocol::Http;
        let target = if is_http { "traffic" } else { APPLICATION };
        // Of TCP, the kubelet is known by its address alone.
        let includes_probes = is_http && self.switches.contains(&Switch::IncludeProbes);
        if let Some(path) = self.file.take() {
            if let Some(option) = self.rule.given.first() {
                return Err(AttachUsageError::WithFile(option.clone()));
            }
            let mut plan = file::document(&path)?;
            if plan.get("faults").is_none() && plan.get("proxies").is_none() && plan.get("seed").is_none() {
                plan = json!({ "faults": [plan] });
            }
            if let Some(Value::Array(rules)) = plan.get_mut("faults").filter(|_| includes_probes) {
                rules.iter_mut().for_each(include_probes);
            }
            return Ok(Some((plan, format!("--file {path}"))));
        }
        if self.rule.given.is_empty() {
            return Ok(None);
        }
        self.rule.complete();
        let fields = &mut self.rule.fields;
        let effect = fields.get("mode").and_then(Value::as_str).unwrap_or("delay").to_owned();
        fields.entry("name").or_insert_with(|| format!("{target}-{effect}").into());
        fields.insert("target".to_owned(), target.into());
        let mut rule = Value::from(std::mem::take(fields));
        if includes_probes {
            include_probes(&mut rule);
        }
        Ok(Some((json!({ "faults": [rule] }), "the options of the rule".to_owned())))
    }
}

/// The protocol of this name.
pub(in crate::cli) fn protocol(name: &str) -> Option<Protocol> {
    [Protocol::Http, Protocol::Tcp].into_iter().find(|protocol| protocol.name() == name)
}

/// Lets a rule act on the kubelet's requests, unless it says on whose it acts.
fn include_probes(rule: &mut Value) {
    if let Some(fields) = rule.as_object_mut() {
        fields.entry("client").or_insert_with(|| "any".into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<AttachCommand, Vec<AttachUsageError>> {
        parse(line.split_whitespace().map(OsString::from))
    }

    fn arguments(line: &str) -> AttachArguments {
        match parsed(line).unwrap() {
            AttachCommand::Attach(arguments) => *arguments,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_options_it_passes_everything_through_for_five_minutes() {
        let expected = AttachArguments {
            port: 8080,
            protocol: Protocol::Http,
            time: Duration::from_secs(300),
            switches: vec![],
            admin: "127.0.0.1:0".to_owned(),
            plan: None,
        };
        assert_eq!(arguments("--port 8080"), expected);
    }

    #[test]
    fn the_options_of_fault_add_make_one_rule_on_traffic() {
        let rule = |line: &str| arguments(&format!("--port 1 {line}")).plan.unwrap().0["faults"][0].clone();
        assert_eq!(
            rule("--delay 200ms --rate 10% --for 90s"),
            json!({"delay": {"fixed": "200ms"}, "rate": "10%", "name": "traffic-delay", "target": "traffic"})
        );
        assert_eq!(
            rule("--path /orders/* --status 503 --include-probes"),
            json!({"match": {"path": "/orders/*"}, "status": 503, "mode": "status", "name": "traffic-status", "target": "traffic", "client": "any"})
        );
        assert_eq!(rule("--include-probes --client kubelet --name x")["client"], "kubelet");
        assert_eq!(rule("--name x --mode hang")["name"], "x");
        assert_eq!(
            rule("--protocol tcp --mode slice --stream upstream --include-probes"),
            json!({"mode": "slice", "stream": "upstream", "name": "application-slice", "target": "application"})
        );
    }

    #[test]
    fn wrong_options_are_all_named() {
        for (line, expected) in [
            ("", &["--port is missing: the port on which the application listens"][..]),
            ("--port 0", &["--port \"0\" is not a port, a number from 1 to 65535"]),
            ("--port http", &["--port \"http\" is not a port, a number from 1 to 65535"]),
            (
                "--port",
                &["--port is missing: the port on which the application listens", "--port needs a value"],
            ),
            ("--port 1 --for 0", &["--for \"0\" must be more than 0"]),
            (
                "--port 1 --for ever",
                &[
                    "--for \"ever\" is not a duration such as 250ms, 30s or 1m30s (units: us, ms, s, m, h, d); a bare number is in s",
                ],
            ),
            (
                "--port 1 --colour=red -x",
                &["--colour is not an option of attach", "-x is not an option of attach"],
            ),
            ("--port 1 --protocol udp", &["--protocol \"udp\" is not http or tcp"]),
            ("--port 1 now", &["unexpected argument \"now\""]),
            ("--stop --port 1", &["--stop takes no other options"]),
            ("--port 1 --file /no/such", &["--file \"/no/such\" is not there"]),
            (
                "--port 1 --file x --status 5",
                &["--status cannot be combined with --file, whose rules are complete"],
            ),
            ("--port 1 --status", &["--status needs a value"]),
        ] {
            let errors: Vec<String> = parsed(line).unwrap_err().iter().map(ToString::to_string).collect();
            assert_eq!(errors[..expected.len().min(errors.len())], *expected, "{line}");
        }
    }

    #[test]
    fn the_help_names_every_option() {
        for (flag, _) in SWITCHES {
            assert!(super::super::HELP.contains(&format!("--{flag} ")), "{flag}");
        }
        assert!(matches!(parsed("--port x --help"), Ok(AttachCommand::Help)));
        assert!(matches!(parsed("help"), Ok(AttachCommand::Help)));
        assert!(matches!(parsed("--stop"), Ok(AttachCommand::Stop)));
    }
}
