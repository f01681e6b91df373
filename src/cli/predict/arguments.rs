//! What the command was asked for.

use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

use lexopt::{Arg, Parser};

use crate::fault::Timestamp;
use crate::predict::fail_on::{Condition, ConditionError};
use crate::predict::report::Output;
use crate::predict::run::{MAX_PODS, Options};
use crate::units::{self, Bare, UnitError};

const OPTIONS: [&str; 10] = [
    "--for",
    "--at",
    "--pods",
    "--pod",
    "--seed",
    "--endpoint-lag",
    "--call-timeout",
    "--stops-after",
    "--output",
    "--fail-on",
];

/// What to do.
#[derive(Debug)]
pub(super) enum Request {
    /// Print the help.
    Help,
    /// Predict.
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
    /// Whose timeline is printed; absent: the first Pod's.
    pub(super) shown: Option<String>,
    pub(super) output: Output,
    pub(super) fail_on: Vec<Condition>,
}

/// What is wrong with the command line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum UsageError {
    Option(String),
    NoValue(String),
    Parser(String),
    Unicode(String),
    Duration(&'static str, String, UnitError),
    Zero(&'static str, String),
    At(String, UnitError),
    Pods(String),
    Seed(String),
    Output(String),
    Condition(String, ConditionError),
    NoFile,
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option(name) => {
                write!(f, "{name} is not an option; there are {} and --help", OPTIONS.join(", "))
            }
            Self::NoValue(option) => write!(f, "{option} needs a value"),
            Self::Parser(message) => f.write_str(message),
            Self::Unicode(name) => write!(f, "{name} is not valid UTF-8"),
            Self::Duration(option, value, error) => write!(f, "{option} {value:?} {error}"),
            Self::Zero(option, value) => write!(f, "{option} {value:?} has to be above 0"),
            Self::At(value, error) => write!(f, "--at {value:?} {error}"),
            Self::Pods(value) => write!(f, "--pods {value:?} is not a number from 1 to {MAX_PODS}"),
            Self::Seed(value) => {
                write!(f, "--seed {value:?} is not a whole number from 0 to {}", u64::MAX)
            }
            Self::Output(value) => write!(f, "--output {value:?} is not one of text, json"),
            Self::Condition(value, error) => write!(f, "--fail-on {value:?} {error}"),
            Self::NoFile => f.write_str("there is no file to read; name one, or - for standard input"),
        }
    }
}

impl std::error::Error for UsageError {}

/// Reads the arguments after the command's name. Without a file, standard input is read unless a person would have to
/// type it.
pub(super) fn parse(
    args: impl IntoIterator<Item = OsString>,
    stdin_is_terminal: bool,
) -> Result<Request, Vec<UsageError>> {
    let mut parser = Parser::from_args(args);
    let mut arguments = Arguments::default();
    let mut errors = Vec::new();
    loop {
        let option = match parser.next() {
            Ok(Some(Arg::Value(file))) => {
                arguments.files.push(file);
                continue;
            }
            Ok(Some(Arg::Short('h') | Arg::Long("help"))) => return Ok(Request::Help),
            Ok(Some(Arg::Short(short))) => format!("-{short}"),
            Ok(Some(Arg::Long(long))) => format!("--{long}"),
            Ok(None) => break,
            Err(error) => {
                errors.push(UsageError::Parser(error.to_string()));
                continue;
            }
        };
        let Some(option) = OPTIONS.into_iter().find(|known| *known == option) else {
            // A value of an unknown option is no error of its own.
            let _ = parser.optional_value();
            errors.push(UsageError::Option(option));
            continue;
        };
        match parser.value().map(OsString::into_string) {
            Err(_) => errors.push(UsageError::NoValue(option.to_owned())),
            Ok(Err(_)) => errors.push(UsageError::Unicode(option.to_owned())),
            Ok(Ok(value)) => {
                if let Err(error) = arguments.take(option, value) {
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
    if errors.is_empty() { Ok(Request::Predict(Box::new(arguments))) } else { Err(errors) }
}

impl Arguments {
    fn take(&mut self, option: &'static str, value: String) -> Result<(), UsageError> {
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
            "--call-timeout" => {
                let timeout = duration(option, &value)?;
                if timeout.is_zero() {
                    return Err(UsageError::Zero(option, value));
                }
                self.options.call_timeout = timeout;
            }
            "--stops-after" => {
                self.options.stops_after =
                    if value == "never" { None } else { Some(duration(option, &value)?) };
            }
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
            _ => self.shown = Some(value),
        }
        Ok(())
    }
}

fn duration(option: &'static str, value: &str) -> Result<Duration, UsageError> {
    units::duration(value, Bare::Seconds)
        .map_err(|error| UsageError::Duration(option, value.to_owned(), error))
}
