//! The command line of `probe`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lexopt::Parser;
use thiserror::Error;

use super::address::{self, EnvironmentError};
use crate::cli::shared::{self, Argument, ArgumentError, OutputFormat};
use crate::fault::Target;
use crate::prober::{AddressError, DEFAULT_TIMEOUT, Header, HeaderError, Probe};
use crate::tls::Trust;

const OPTIONS: [&str; 7] = ["--timeout", "--header", "--ca", "--until", "--every", "--for", "--output"];
const FLAGS: [&str; 1] = ["--verify"];

/// Default interval between attempts with `--until`.
const DEFAULT_EVERY: Duration = Duration::from_secs(1);

/// The action to perform.
#[derive(Debug)]
pub(super) enum ProbeCommand {
    Help,
    Probe(Box<ProbeArguments>),
}

/// A checked command line.
#[derive(Debug)]
pub(super) struct ProbeArguments {
    /// The address of the probe, for output.
    pub(super) address: String,
    pub(super) probe: Probe,
    pub(super) timeout: Duration,
    pub(super) schedule: Schedule,
    pub(super) output: OutputFormat,
}

/// When to probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Schedule {
    /// Makes one attempt.
    Once,
    /// Repeats until a success, or until a failure.
    Until { success: bool, every: Duration, limit: Option<Duration> },
    /// Repeats until the limit.
    Observe { every: Duration, limit: Option<Duration> },
}

/// An error in the command line, or in the environment that it refers to.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum ProbeUsageError {
    #[error(transparent)]
    Argument(#[from] ArgumentError),
    #[error("unexpected argument {0:?}: one address is expected")]
    Extra(String),
    #[error("--header {0:?} {1}")]
    Header(String, HeaderError),
    #[error("{0:?} {1}")]
    Address(String, AddressError),
    #[error("{0} {1}")]
    Trust(&'static str, String),
    #[error("{0} has no effect on {1}; it needs https://, grpcs://, or http:// with a redirect to https://")]
    WithoutTls(&'static str, String),
    #[error("{0} needs --until or --every")]
    Alone(&'static str),
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
}

/// Unchecked options.
#[derive(Default)]
struct Raw {
    address: Option<String>,
    timeout: Option<Duration>,
    headers: Vec<Header>,
    verify: bool,
    ca: Option<PathBuf>,
    until: Option<bool>,
    every: Option<Duration>,
    limit: Option<Duration>,
    output: OutputFormat,
    help: bool,
}

/// Reads the arguments after the verb. Without an address, uses that of the service with the same environment.
pub(super) fn parse(
    args: impl IntoIterator<Item = OsString>,
    env: &[(OsString, OsString)],
) -> Result<ProbeCommand, Vec<ProbeUsageError>> {
    let mut errors = Vec::new();
    let raw = read(args, &mut errors);
    if raw.help {
        return Ok(ProbeCommand::Help);
    }
    let schedule = match (raw.until, raw.every) {
        (Some(success), every) => {
            Schedule::Until { success, every: every.unwrap_or(DEFAULT_EVERY), limit: raw.limit }
        }
        (None, Some(every)) => Schedule::Observe { every, limit: raw.limit },
        (None, None) => {
            // Do not report an invalid `--every` as missing as well.
            if raw.limit.is_some() && errors.is_empty() {
                errors.push(ProbeUsageError::Alone("--for"));
            }
            Schedule::Once
        }
    };
    let address = match raw.address.as_deref().map_or(Some(Target::Readiness), Target::from_name) {
        Some(target) => address::of_target(target, env)
            .map_err(|found| errors.extend(found.into_iter().map(ProbeUsageError::from)))
            .ok(),
        None => raw.address,
    };
    let probe = address.as_ref().and_then(|address| {
        Probe::parse(address, raw.headers)
            .map_err(|error| errors.push(ProbeUsageError::Address(address.clone(), error)))
            .ok()
    });
    if let Some(address) = &address
        && let Some((scheme, _)) = address.split_once("://")
        && ["tcp", "grpc"].iter().any(|plain| scheme.eq_ignore_ascii_case(plain))
        && (raw.verify || raw.ca.is_some())
    {
        let option = if raw.ca.is_some() { "--ca" } else { "--verify" };
        errors.push(ProbeUsageError::WithoutTls(option, address.clone()));
    }
    let trust = trust(raw.verify, raw.ca.as_deref(), env).map_err(|error| errors.push(error));
    match (address, probe, trust) {
        (Some(address), Some(probe), Ok(trust)) if errors.is_empty() => {
            Ok(ProbeCommand::Probe(Box::new(ProbeArguments {
                address,
                probe: probe.trusting(trust),
                timeout: raw.timeout.unwrap_or(DEFAULT_TIMEOUT),
                schedule,
                output: raw.output,
            })))
        }
        _ => Err(errors),
    }
}

/// The trusted authorities: any by default.
fn trust(verify: bool, ca: Option<&Path>, env: &[(OsString, OsString)]) -> Result<Trust, ProbeUsageError> {
    if let Some(ca) = ca {
        return Trust::of_file(ca).map_err(|error| ProbeUsageError::Trust("--ca", error.to_string()));
    }
    if !verify {
        return Ok(Trust::Anyone);
    }
    let file = env.iter().find(|(name, value)| name == "SSL_CERT_FILE" && !value.is_empty());
    Trust::of_system(file.map(|(_, value)| Path::new(value)))
        .map_err(|error| ProbeUsageError::Trust("--verify", error.to_string()))
}

fn read(args: impl IntoIterator<Item = OsString>, errors: &mut Vec<ProbeUsageError>) -> Raw {
    let mut parser = Parser::from_args(args);
    let mut raw = Raw::default();
    loop {
        let taken = match shared::next_argument(&mut parser, &OPTIONS, &FLAGS) {
            Ok(None) => return raw,
            Ok(Some(Argument::Help)) => {
                raw.help = true;
                Ok(())
            }
            Ok(Some(Argument::Word(word))) => raw.take_address(word),
            Ok(Some(Argument::Option(option, value))) => raw.take(option, value),
            Err(error) => Err(error.into()),
        };
        errors.extend(taken.err());
    }
}

impl Raw {
    fn take_address(&mut self, word: OsString) -> Result<(), ProbeUsageError> {
        let word = shared::unicode("the address", word)?;
        if self.address.is_some() {
            return Err(ProbeUsageError::Extra(word));
        }
        self.address = Some(word);
        Ok(())
    }

    fn take(&mut self, option: &'static str, value: String) -> Result<(), ProbeUsageError> {
        match option {
            "--header" => match value.parse() {
                Ok(header) => self.headers.push(header),
                Err(error) => return Err(ProbeUsageError::Header(value, error)),
            },
            "--verify" => self.verify = true,
            "--ca" => self.ca = Some(value.into()),
            "--until" => match value.as_str() {
                "success" => self.until = Some(true),
                "failure" => self.until = Some(false),
                _ => return Err(ArgumentError::Choice(option, value, "success, failure").into()),
            },
            "--output" => self.output = shared::output(value)?,
            _ => {
                let duration = Some(shared::positive_duration(option, value)?);
                match option {
                    "--timeout" => self.timeout = duration,
                    "--every" => self.every = duration,
                    _ => self.limit = duration,
                }
            }
        }
        Ok(())
    }
}
