//! Arguments of `serve`: flags that set variables.

use std::ffi::OsString;

use lexopt::{Arg, Parser, ValueExt};
use thiserror::Error;

use crate::env::{FLAGS, Flag, VARIABLES, Variable};
use crate::plan::error::{nearest, shown};

/// The requested action.
#[derive(Debug, PartialEq)]
pub(super) enum ServeRequest {
    /// Serve, with these variables set.
    Serve(Vec<Flag>),
    /// Print the help.
    Help,
}

/// An error in the command line.
#[derive(Debug, PartialEq, Error)]
pub(super) enum ServeUsageError {
    #[error("{option} is not an option of serve{}", meant(.nearest.as_deref()))]
    Option { option: String, nearest: Option<String> },
    #[error("unexpected argument {0:?}: serve takes only options")]
    Extra(String),
    #[error("{0} needs a value")]
    NoValue(String),
    #[error("{0}")]
    Parser(String),
    #[error("an argument is not valid UTF-8")]
    Unicode,
    #[error("--set \"{}\" is not NAME=VALUE, such as --set LATENCY=50ms", shown(.0))]
    Set(String),
    #[error("--set {}: there is no such variable{}", shown(.name), meant(.nearest.as_deref()))]
    Variable { name: String, nearest: Option<String> },
}

fn meant(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |nearest| format!("; did you mean {nearest}?"))
}

/// Reads the arguments after the command's name, and returns all errors.
pub(super) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<ServeRequest, Vec<ServeUsageError>> {
    let mut parser = Parser::from_args(args);
    let (mut flags, mut errors) = (Vec::new(), Vec::new());
    loop {
        let read = match parser.next() {
            Ok(None) => break,
            Ok(Some(Arg::Short('h') | Arg::Long("help"))) => return Ok(ServeRequest::Help),
            Ok(Some(Arg::Value(word))) if word == "help" => return Ok(ServeRequest::Help),
            Ok(Some(Arg::Value(word))) => Err(ServeUsageError::Extra(word.to_string_lossy().into_owned())),
            Ok(Some(Arg::Short(short))) => {
                Err(ServeUsageError::Option { option: format!("-{short}"), nearest: None })
            }
            Ok(Some(Arg::Long(long))) => {
                let long = long.to_owned();
                option(&long, &mut parser)
            }
            Err(error) => Err(ServeUsageError::Parser(error.to_string())),
        };
        match read {
            Ok(flag) => flags.push(flag),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(ServeRequest::Serve(flags)) } else { Err(errors) }
}

fn option(long: &str, parser: &mut Parser) -> Result<Flag, ServeUsageError> {
    let flag = FLAGS.iter().find(|(flag, ..)| *flag == long);
    if flag.is_none() && long != "set" {
        // Skip the value of the unknown option.
        let _ = parser.optional_value();
        return Err(ServeUsageError::Option { option: format!("--{long}"), nearest: nearest_option(long) });
    }
    let value = parser.value().map_err(|_| ServeUsageError::NoValue(format!("--{long}")))?;
    let value = value.string().map_err(|_| ServeUsageError::Unicode)?;
    match flag {
        Some((flag, variable, _)) => {
            Ok(Flag { written: format!("--{flag}"), variable: (*variable).to_owned(), value })
        }
        None => set(&value),
    }
}

fn set(text: &str) -> Result<Flag, ServeUsageError> {
    let (name, value) = text
        .split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .ok_or_else(|| ServeUsageError::Set(text.to_owned()))?;
    if VARIABLES.iter().flat_map(Variable::names).any(|known| known == name) {
        return Ok(Flag {
            written: format!("--set {name}"),
            variable: name.to_owned(),
            value: value.to_owned(),
        });
    }
    Err(ServeUsageError::Variable { name: name.to_owned(), nearest: crate::env::nearest_variable(name) })
}

/// The suggestion for a misspelt option; variables are set by `--set`.
fn nearest_option(long: &str) -> Option<String> {
    let variable = long.to_ascii_uppercase().replace('-', "_");
    if VARIABLES.iter().flat_map(Variable::names).any(|name| name == variable) {
        return Some(format!("--set {variable}=VALUE"));
    }
    let options: Vec<&'static str> = FLAGS.iter().map(|(flag, ..)| *flag).chain(["set", "help"]).collect();
    nearest(long, &options).map(|option| format!("--{option}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<ServeRequest, Vec<ServeUsageError>> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn flags_set_variables_in_their_order() {
        let flag = |written: &str, variable: &str, value: &str| Flag {
            written: written.to_owned(),
            variable: variable.to_owned(),
            value: value.to_owned(),
        };
        assert_eq!(
            parsed(
                "--port 9000 --bind=::1 --admin :9001 --faults /x --seed 7 --log-format text --set LIVENESS_LATENCY=a=b"
            ),
            Ok(ServeRequest::Serve(vec![
                flag("--port", "PORT", "9000"),
                flag("--bind", "BIND_ADDRESS", "::1"),
                flag("--admin", "ADMIN_ADDRESS", ":9001"),
                flag("--faults", "FAULTS_FILE", "/x"),
                flag("--seed", "SEED", "7"),
                flag("--log-format", "LOG_FORMAT", "text"),
                flag("--set LIVENESS_LATENCY", "LIVENESS_LATENCY", "a=b"),
            ]))
        );
        assert_eq!(parsed(""), Ok(ServeRequest::Serve(vec![])));
        assert_eq!(parsed("--port 1 --help"), Ok(ServeRequest::Help));
    }

    #[test]
    fn wrong_usage_is_named_with_what_was_meant() {
        for (line, expected) in [
            ("--prot 1", &["--prot is not an option of serve; did you mean --port?"][..]),
            ("--nothing", &["--nothing is not an option of serve"]),
            (
                "--failure-rate=20",
                &["--failure-rate is not an option of serve; did you mean --set FAILURE_RATE=VALUE?"],
            ),
            ("--port", &["--port needs a value"]),
            (
                "-p 1",
                &["-p is not an option of serve", "unexpected argument \"1\": serve takes only options"],
            ),
            ("--set LATENCY", &["--set \"LATENCY\" is not NAME=VALUE, such as --set LATENCY=50ms"]),
            ("--set LATENCE=5", &["--set LATENCE: there is no such variable; did you mean LATENCY?"]),
            ("--set latency=5", &["--set latency: there is no such variable; did you mean LATENCY?"]),
            ("--set X=5", &["--set X: there is no such variable"]),
        ] {
            let errors: Vec<String> = parsed(line).unwrap_err().iter().map(ToString::to_string).collect();
            assert_eq!(errors[..expected.len().min(errors.len())], *expected, "{line}");
        }
    }

    #[test]
    fn every_flag_sets_a_variable_of_the_table() {
        for (flag, variable, _) in FLAGS {
            assert!(VARIABLES.iter().any(|known| known.name == *variable), "--{flag}");
        }
    }
}
