//! The command line of `wait`.

mod drafts;
mod error;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::Parser;

use super::go_flags;
use crate::cli::shared::{self, Argument, ArgumentError, OutputFormat};
use crate::cluster::{Condition, Which};
use crate::prober::{DEFAULT_TIMEOUT, Probe};
use drafts::ItemDrafts;
pub(super) use error::UsageError;

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
    pub(super) items: Vec<Item>,
    /// `None` means never.
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
pub(super) enum Item {
    /// Objects of the Kubernetes API. An absent condition is the default of the kind, an absent namespace that of the Pod.
    Object { kind: String, which: Which, condition: Option<Condition>, namespace: Option<String> },
    /// An address that is probed.
    Address { name: String, probe: Probe },
}

impl WaitArguments {
    /// The distinct namespaces that are named.
    pub(super) fn namespaces(&self) -> impl Iterator<Item = &str> {
        let named = self.items.iter().filter_map(|item| match item {
            Item::Object { namespace, .. } => namespace.as_deref(),
            Item::Address { .. } => None,
        });
        named.collect::<BTreeSet<_>>().into_iter()
    }
}

/// Unchecked options.
struct Raw {
    items: ItemDrafts,
    help: bool,
    arguments: WaitArguments,
}

/// Reads the arguments after the verb.
pub(super) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<WaitCommand, Vec<UsageError>> {
    let mut errors = Vec::new();
    let mut parser = Parser::from_args(go_flags::doubled(args, &OPTIONS));
    let arguments = WaitArguments {
        items: Vec::new(),
        timeout: None,
        server: None,
        authority: None,
        token: None,
        every: DEFAULT_EVERY,
        probe_timeout: DEFAULT_TIMEOUT,
        output: OutputFormat::default(),
    };
    let mut raw = Raw { items: ItemDrafts::default(), help: false, arguments };
    loop {
        let taken = match shared::next_argument(&mut parser, &OPTIONS, &[]) {
            Ok(None) => break,
            Ok(Some(Argument::Help)) => {
                raw.help = true;
                Ok(())
            }
            Ok(Some(Argument::Word(word))) => shared::unicode("an item", word)
                .map_err(UsageError::from)
                .and_then(|word| raw.items.word(&word)),
            Ok(Some(Argument::Option(option, value))) => raw.take(option, value),
            Err(error) => Err(error.into()),
        };
        errors.extend(taken.err());
    }
    if raw.help {
        return Ok(WaitCommand::Help);
    }
    let has_errors = !errors.is_empty();
    let items = raw.items.finish(has_errors).map_err(|found| errors.extend(found)).unwrap_or_default();
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
    arguments.items = items;
    Ok(WaitCommand::Wait(Box::new(arguments)))
}

impl Raw {
    fn take(&mut self, option: &'static str, value: String) -> Result<(), UsageError> {
        let arguments = &mut self.arguments;
        match option {
            "--resource" => return self.items.resource(&value),
            "--name" => return self.items.name(&value),
            "--selector" | "-l" => return self.items.selector(value),
            "--condition" | "--for" => return self.items.condition(option, &value),
            "--namespace" | "-n" => return self.items.namespace(value),
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
