//! The command line of `wait`.

mod error;
mod things;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::Parser;

use super::go_flags;
use crate::cli::shared::{self, Argument, ArgumentError, OutputFormat};
use crate::cluster::{Condition, Which};
use crate::prober::{DEFAULT_TIMEOUT, Probe};
pub(super) use error::UsageError;
use things::Things;

const OPTIONS: [&str; 16] = [
    "--resource",
    "--name",
    "--selector",
    "-l",
    "--condition",
    "--for",
    "--namespace",
    "-n",
    "--timeout",
    "--server",
    "--certificate-authority",
    "--token-file",
    "--every",
    "--probe-timeout",
    "--output",
    "-o",
];

/// Interval between attempts at an address.
const DEFAULT_EVERY: Duration = Duration::from_secs(1);

/// The action to perform.
#[derive(Debug)]
pub(super) enum WaitCommand {
    Help,
    Wait(Box<WaitArguments>),
}

/// A checked command line.
#[derive(Debug)]
pub(super) struct WaitArguments {
    /// At least one.
    pub(super) things: Vec<Thing>,
    /// `None` is never.
    pub(super) timeout: Option<Duration>,
    pub(super) server: Option<String>,
    pub(super) authority: Option<PathBuf>,
    pub(super) token: Option<PathBuf>,
    pub(super) every: Duration,
    pub(super) probe_timeout: Duration,
    pub(super) output: OutputFormat,
}

/// One object or address to wait for.
#[derive(Clone, Debug)]
pub(super) enum Thing {
    /// Objects of the Kubernetes API. `None` means the default of the kind or of the Pod.
    Object { kind: String, which: Which, condition: Option<Condition>, namespace: Option<String> },
    /// An address that is probed.
    Address { name: String, probe: Probe },
}

impl WaitArguments {
    /// The distinct namespaces that are named.
    pub(super) fn namespaces(&self) -> impl Iterator<Item = &str> {
        let named = self.things.iter().filter_map(|thing| match thing {
            Thing::Object { namespace, .. } => namespace.as_deref(),
            Thing::Address { .. } => None,
        });
        named.collect::<BTreeSet<_>>().into_iter()
    }
}

/// Unchecked options.
struct Raw {
    things: Things,
    help: bool,
    arguments: WaitArguments,
}

/// Reads the arguments after the verb.
pub(super) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<WaitCommand, Vec<UsageError>> {
    let mut errors = Vec::new();
    let mut parser = Parser::from_args(go_flags::doubled(args, &OPTIONS));
    let arguments = WaitArguments {
        things: Vec::new(),
        timeout: None,
        server: None,
        authority: None,
        token: None,
        every: DEFAULT_EVERY,
        probe_timeout: DEFAULT_TIMEOUT,
        output: OutputFormat::default(),
    };
    let mut raw = Raw { things: Things::default(), help: false, arguments };
    loop {
        let taken = match shared::next_argument(&mut parser, &OPTIONS, &[]) {
            Ok(None) => break,
            Ok(Some(Argument::Help)) => {
                raw.help = true;
                Ok(())
            }
            Ok(Some(Argument::Word(word))) => shared::unicode("what is waited for", word)
                .map_err(UsageError::from)
                .and_then(|word| raw.things.word(&word)),
            Ok(Some(Argument::Option(option, value))) => raw.take(option, value),
            Err(error) => Err(error.into()),
        };
        errors.extend(taken.err());
    }
    if raw.help {
        return Ok(WaitCommand::Help);
    }
    let wrong = !errors.is_empty();
    let things = raw.things.finish(wrong).map_err(|found| errors.extend(found)).unwrap_or_default();
    let mut arguments = raw.arguments;
    if arguments.server.is_none() {
        for (option, given) in
            [("--certificate-authority", &arguments.authority), ("--token-file", &arguments.token)]
        {
            if given.is_some() {
                errors.push(UsageError::NeedsServer(option));
            }
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    arguments.things = things;
    Ok(WaitCommand::Wait(Box::new(arguments)))
}

impl Raw {
    fn take(&mut self, option: &'static str, value: String) -> Result<(), UsageError> {
        let arguments = &mut self.arguments;
        match option {
            "--resource" => return self.things.resource(&value),
            "--name" => return self.things.name(&value),
            "--selector" | "-l" => return self.things.selector(value),
            "--condition" | "--for" => return self.things.condition(option, &value),
            "--namespace" | "-n" => return self.things.namespace(value),
            "--server" => arguments.server = Some(value),
            "--certificate-authority" => arguments.authority = Some(value.into()),
            "--token-file" => arguments.token = Some(value.into()),
            "--output" | "-o" => arguments.output = shared::output(value)?,
            "--every" => arguments.every = shared::positive_duration(option, value)?,
            "--probe-timeout" => arguments.probe_timeout = shared::positive_duration(option, value)?,
            _ => {
                let timeout = shared::duration(option, value)?;
                arguments.timeout = Some(timeout).filter(|timeout| !timeout.is_zero());
            }
        }
        Ok(())
    }
}

impl From<ArgumentError> for UsageError {
    fn from(error: ArgumentError) -> Self {
        Self::Argument(error)
    }
}

#[cfg(test)]
mod tests;
