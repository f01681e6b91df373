//! The command line of `predict`.

use std::ffi::OsString;
use std::time::Duration;

use lexopt::{Arg, Parser};

use crate::fault::Timestamp;
use crate::predict::fail_on::{Condition, ConditionError};
use crate::predict::report::Output;
use crate::predict::run::{MAX_PODS, Options};
use crate::units::{self, Bare, UnitError};

const OPTIONS: [&str; 8] =
    ["--for", "--at", "--pods", "--pod", "--seed", "--endpoint-lag", "--output", "--fail-on"];

/// The action that the command line asks for.
#[derive(Debug)]
pub(super) enum Action {
    /// Print the help.
    PrintHelp,
    /// Predict with these arguments.
    Predict(Box<Arguments>),
}

/// A checked command line.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    /// Files; `-` is standard input.
    pub(super) files: Vec<OsString>,
    pub(super) options: Options,
    /// When the prediction begins; absent: now.
    pub(super) at: Option<Timestamp>,
    /// The Pod whose timeline is printed; absent: the first.
    pub(super) timeline_of: Option<String>,
    pub(super) output: Output,
    pub(super) fail_on: Vec<Condition>,
}

/// What is wrong with the command line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum UsageError {
    #[error("{0} is not an option; there are {options} and --help", options = OPTIONS.join(", "))]
    Option(String),
    #[error("{0} needs a value")]
    NoValue(String),
    #[error("{0}")]
    Parser(String),
    #[error("{0} is not valid UTF-8")]
    Unicode(String),
    #[error("{0} {1:?} {2}")]
    Duration(&'static str, String, UnitError),
    #[error("{0} {1:?} has to be above 0")]
    Zero(&'static str, String),
    #[error("--at {0:?} {1}")]
    At(String, UnitError),
    #[error("--pods {0:?} is not a number from 1 to {MAX_PODS}")]
    Pods(String),
    #[error("--seed {0:?} is not a whole number from 0 to {max}", max = u64::MAX)]
    Seed(String),
    #[error("--output {0:?} is not one of text, json")]
    Output(String),
    #[error("--fail-on {0:?} {1}")]
    Condition(String, ConditionError),
    #[error("there is no file to read; name one, or - for standard input")]
    NoFile,
}

/// Reads the arguments after the command's name. Without a file, standard input is read unless it is a terminal.
pub(super) fn parse(
    args: impl IntoIterator<Item = OsString>,
    stdin_is_terminal: bool,
) -> Result<Action, Vec<UsageError>> {
    let mut parser = Parser::from_args(args);
    let mut arguments = Arguments::default();
    let mut errors = Vec::new();
    loop {
        let option = match parser.next() {
            Ok(Some(Arg::Value(file))) => {
                arguments.files.push(file);
                continue;
            }
            Ok(Some(Arg::Short('h') | Arg::Long("help"))) => return Ok(Action::PrintHelp),
            Ok(Some(Arg::Short(short))) => format!("-{short}"),
            Ok(Some(Arg::Long(long))) => format!("--{long}"),
            Ok(None) => break,
            Err(error) => {
                errors.push(UsageError::Parser(error.to_string()));
                continue;
            }
        };
        let Some(option) = OPTIONS.into_iter().find(|known| *known == option) else {
            // Skip the value of an unknown option.
            let _ = parser.optional_value();
            errors.push(UsageError::Option(option));
            continue;
        };
        match parser.value().map(OsString::into_string) {
            Err(_) => errors.push(UsageError::NoValue(option.to_owned())),
            Ok(Err(_)) => errors.push(UsageError::Unicode(option.to_owned())),
            Ok(Ok(value)) => {
                if let Err(error) = arguments.set(option, value) {
                    errors.push(error);
                }
            }
        }
    }
    if arguments.files.is_empty() {
        if stdin_is_terminal {
            errors.push(UsageError::NoFile);
        }
        arguments.files.push("-".into());
    }
    if errors.is_empty() { Ok(Action::Predict(Box::new(arguments))) } else { Err(errors) }
}

impl Arguments {
    fn set(&mut self, option: &'static str, value: String) -> Result<(), UsageError> {
        match option {
            "--for" => {
                let horizon = duration(option, &value)?;
                if horizon.is_zero() {
                    return Err(UsageError::Zero(option, value));
                }
                self.options.horizon = horizon;
            }
            "--at" => {
                self.at = Some(units::timestamp(&value).map_err(|error| UsageError::At(value, error))?);
            }
            "--endpoint-lag" => self.options.endpoint_lag = duration(option, &value)?,
            "--pods" => {
                let pods = value.parse().ok().filter(|pods| (1..=MAX_PODS).contains(pods));
                self.options.pods = Some(pods.ok_or(UsageError::Pods(value))?);
            }
            "--seed" => {
                self.options.seed = Some(value.parse().map_err(|_| UsageError::Seed(value))?);
            }
            "--output" => {
                self.output = match value.as_str() {
                    "text" => Output::Text,
                    "json" => Output::Json,
                    _ => return Err(UsageError::Output(value)),
                }
            }
            "--fail-on" => {
                let condition = value.parse().map_err(|error| UsageError::Condition(value, error))?;
                self.fail_on.push(condition);
            }
            _ => self.timeline_of = Some(value),
        }
        Ok(())
    }
}

fn duration(option: &'static str, value: &str) -> Result<Duration, UsageError> {
    units::duration(value, Bare::Seconds)
        .map_err(|error| UsageError::Duration(option, value.to_owned(), error))
}
