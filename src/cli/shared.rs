//! Shared by all verbs: parsing of options, their errors, and output of help and usage errors.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Write};
use std::pin::Pin;
use std::time::Duration;

use lexopt::{Arg, Parser};
use thiserror::Error;

use super::exit;
use crate::units::{self, Bare, UnitError};

/// The output format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum OutputFormat {
    /// For people.
    #[default]
    Text,
    /// One object per line.
    Json,
}

/// An error in the arguments of any verb.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum ArgumentError {
    #[error("{0} is not an option; the options are {1}")]
    Option(String, String),
    #[error("{0} needs a value")]
    NoValue(String),
    #[error("{0} takes no value")]
    Value(String),
    #[error("{0}")]
    Parser(String),
    #[error("{0} is not valid UTF-8")]
    Unicode(String),
    #[error("unexpected argument {0:?}")]
    Extra(String),
    #[error("{0} {1:?} is not one of {2}")]
    Choice(&'static str, String, &'static str),
    #[error("{0} {1:?} {2}")]
    Duration(&'static str, String, UnitError),
    #[error("{0} {1:?} must be more than 0")]
    Zero(&'static str, String),
}

/// One argument of a verb whose options all take a value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Argument {
    Help,
    Word(OsString),
    Option(&'static str, String),
}

/// Reads the next argument; `None` at the end. `options` take a value and `flags` do not; both include their hyphens.
/// The value of a flag is empty.
pub(super) fn next_argument(
    parser: &mut Parser,
    options: &[&'static str],
    flags: &[&'static str],
) -> Result<Option<Argument>, ArgumentError> {
    let option = match parser.next() {
        Ok(None) => return Ok(None),
        Ok(Some(Arg::Value(word))) => return Ok(Some(Argument::Word(word))),
        Ok(Some(Arg::Short('h') | Arg::Long("help"))) => return Ok(Some(Argument::Help)),
        Ok(Some(Arg::Short(short))) => format!("-{short}"),
        Ok(Some(Arg::Long(long))) => format!("--{long}"),
        Err(error) => return Err(ArgumentError::Parser(error.to_string())),
    };
    if let Some(flag) = flags.iter().find(|known| **known == option) {
        return match parser.optional_value() {
            None => Ok(Some(Argument::Option(flag, String::new()))),
            Some(_) => Err(ArgumentError::Value(option)),
        };
    }
    let Some(known) = options.iter().find(|known| **known == option) else {
        // Skip the value of the unknown option.
        let _ = parser.optional_value();
        let known = [options, flags].concat().join(", ");
        return Err(ArgumentError::Option(option, format!("{known} and --help")));
    };
    let value = parser.value().map_err(|_| ArgumentError::NoValue(option))?;
    Ok(Some(Argument::Option(known, unicode(known, value)?)))
}

/// Reads a value as text. Errors refer to it by `name`.
pub(super) fn unicode(name: &str, value: OsString) -> Result<String, ArgumentError> {
    value.into_string().map_err(|_| ArgumentError::Unicode(name.to_owned()))
}

/// Reads the value of `--output`.
pub(super) fn output(value: String) -> Result<OutputFormat, ArgumentError> {
    match value.as_str() {
        "text" => Ok(OutputFormat::Text),
        "json" => Ok(OutputFormat::Json),
        _ => Err(ArgumentError::Choice("--output", value, "text, json")),
    }
}

/// Reads the value of an option as a duration; a bare number is in seconds.
pub(super) fn duration(option: &'static str, value: String) -> Result<Duration, ArgumentError> {
    units::duration(&value, Bare::Seconds).map_err(|error| ArgumentError::Duration(option, value, error))
}

/// Reads the value of an option as a duration above 0; a bare number is in seconds.
pub(super) fn positive_duration(option: &'static str, value: String) -> Result<Duration, ArgumentError> {
    match duration(option, value.clone())? {
        Duration::ZERO => Err(ArgumentError::Zero(option, value)),
        duration => Ok(duration),
    }
}

/// Whether this variable of the environment asks for output without colours.
pub(super) fn forbids_colour((name, value): &(OsString, OsString)) -> bool {
    name == "NO_COLOR" && !value.is_empty()
}

/// Runs `task` to its end and returns its exit code.
///
/// # Errors
///
/// The runtime cannot be created.
pub(super) fn block_on(task: Pin<Box<dyn Future<Output = u8> + '_>>) -> io::Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let code = runtime.block_on(task);
    // Do not wait for the lookup of a name that may still hang.
    runtime.shutdown_background();
    Ok(code)
}

/// Prints the help of a verb and returns the exit code.
pub(super) fn print_help(help: &str, out: &mut dyn Write) -> u8 {
    // Ignore write errors: the reader closed the pipe.
    let _ = out.write_all(help.as_bytes());
    0
}

/// Prints what is wrong with the command line of `verb` and returns the exit code.
pub(super) fn print_usage_errors(verb: &str, errors: &[impl Display], err: &mut dyn Write) -> u8 {
    for error in errors {
        print_error(verb, error, err);
    }
    let _ = writeln!(err, "See kube-probesim {verb} --help");
    exit::USAGE
}

/// Prints one error of `verb`.
pub(super) fn print_error(verb: &str, error: impl Display, err: &mut dyn Write) {
    let _ = writeln!(err, "kube-probesim {verb}: {error}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(line: &[&str]) -> Vec<Result<Argument, String>> {
        let mut parser = Parser::from_args(line);
        std::iter::from_fn(|| {
            let argument = next_argument(&mut parser, &["--for", "--output"], &[]);
            argument.map_err(|error| error.to_string()).transpose()
        })
        .collect()
    }

    #[test]
    fn options_words_and_help_are_told_apart_and_an_unknown_option_takes_its_value_along() {
        let word = |text: &str| Ok(Argument::Word(text.into()));
        assert_eq!(
            arguments(&["--for", "5", "a", "-x", "--bad=7", "--help", "--output"]),
            [
                Ok(Argument::Option("--for", "5".to_owned())),
                word("a"),
                Err("-x is not an option; the options are --for, --output and --help".to_owned()),
                Err("--bad is not an option; the options are --for, --output and --help".to_owned()),
                Ok(Argument::Help),
                Err("--output needs a value".to_owned()),
            ]
        );
    }

    #[test]
    fn values_are_refused_with_what_would_be_right() {
        let message = |error: ArgumentError| error.to_string();
        assert_eq!(
            output("xml".into()).map_err(message),
            Err("--output \"xml\" is not one of text, json".into())
        );
        assert_eq!(
            positive_duration("--for", "0".into()).map_err(message),
            Err("--for \"0\" must be more than 0".into())
        );
        assert_eq!(positive_duration("--for", "2".into()), Ok(Duration::from_secs(2)));
    }
}
