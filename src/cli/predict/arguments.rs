//! The command line of `predict`.

use std::ffi::OsString;
use std::time::Duration;

use lexopt::Parser;
use thiserror::Error;

use super::choice::{self, Choice};
use super::profiles::ProfileOption;
use super::terminal::ProgressForm;
use crate::cli::shared::{self, Argument, ArgumentError};
use crate::fault::Timestamp;
use crate::predict::advice;
use crate::predict::fail_on::{Condition, ConditionError};
use crate::predict::report::{Output, Style};
use crate::predict::run::{MAX_PODS, Options};
use crate::predict::runs::MAX_RUNS;
use crate::units::{self, Show, UnitError};

/// Options without a value.
const FLAGS: [&str; 2] = ["--complete", "--assume-healthy"];

/// Options with a value.
const OPTIONS: [&str; 22] = [
    "--for",
    "--at",
    "--pods",
    "--pod",
    "--seed",
    "--endpoint-lag",
    "--call-timeout",
    "--stops-after",
    "--runs",
    "--rollout",
    "--drain",
    "--kubelet-restart",
    "--pods-over",
    "--against",
    "--selector",
    "--kind",
    "--name",
    "--no-advice",
    "--profile",
    "--profile-from",
    "--output",
    "--fail-on",
];

/// The action to perform.
#[derive(Debug)]
pub(super) enum PredictCommand {
    /// Print the help.
    Help,
    /// Predict.
    Predict(Box<PredictArguments>),
}

/// A checked command line.
#[derive(Debug, Default)]
pub(super) struct PredictArguments {
    /// How a report is written.
    pub(super) style: Style,
    /// How progress is shown.
    pub(super) progress: ProgressForm,
    /// The input files; `-` is standard input.
    pub(super) files: Vec<OsString>,
    pub(super) options: Options,
    /// Start of the prediction; absent: now.
    pub(super) at: Option<Timestamp>,
    /// The Pod whose timeline is printed; absent: the first one.
    pub(super) timeline_of: Option<String>,
    pub(super) output: Output,
    pub(super) fail_on: Vec<Condition>,
    /// Files of the version to compare with; empty: none.
    pub(super) against: Vec<OsString>,
    /// The selected workloads.
    pub(super) choice: Choice,
    /// The profiles, in order.
    pub(super) profiles: Vec<ProfileOption>,
    /// Whether all referenced objects must be in the input.
    pub(super) complete: bool,
}

/// An error in the command line.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum PredictUsageError {
    #[error(transparent)]
    Argument(#[from] ArgumentError),
    #[error("--at {0:?} {1}")]
    At(String, UnitError),
    #[error("--pods {0:?} is not a number from 1 to {MAX_PODS}")]
    Pods(String),
    #[error("--seed {0:?} is not a whole number from 0 to {max}", max = u64::MAX)]
    Seed(String),
    #[error("--fail-on {0:?} {1}")]
    Condition(String, ConditionError),
    #[error("--runs {0:?} is not a number from 1 to {MAX_RUNS}")]
    Runs(String),
    #[error("{0} {at} is beyond the predicted {horizon} (--for)", at = Show(*.1), horizon = Show(*.2))]
    Outside(&'static str, Duration, Duration),
    #[error("--selector {0:?} is not a selector of labels such as app=web,tier!=db")]
    Selector(String),
    #[error("--against supports only --output text or json")]
    Against,
    #[error("--output {0:?} is not one of text, json, junit, svg, html")]
    Output(String),
    #[error("--no-advice {0:?} is not the name of advice; the names are {names}", names = advice::NAMES.map(|(name, _)| name).join(", "))]
    NoAdvice(String),
    #[error("no input file; pass one, or - for standard input")]
    NoFile,
}

/// Parses the arguments after the command's name. Without a file, the input is standard input, unless that is a
/// terminal.
pub(super) fn parse(
    args: impl IntoIterator<Item = OsString>,
    stdin_is_terminal: bool,
) -> Result<PredictCommand, Vec<PredictUsageError>> {
    let mut parser = Parser::from_args(args);
    let mut arguments = PredictArguments::default();
    let mut errors = Vec::new();
    loop {
        let taken = match shared::next_argument(&mut parser, &OPTIONS, &FLAGS) {
            Ok(None) => break,
            Ok(Some(Argument::Help)) => return Ok(PredictCommand::Help),
            Ok(Some(Argument::Word(file))) => {
                arguments.files.push(file);
                Ok(())
            }
            Ok(Some(Argument::Option(option, value))) => arguments.take(option, value),

            Err(error) => Err(error.into()),
        };
        errors.extend(taken.err());
    }
    if arguments.files.is_empty() {
        if stdin_is_terminal {
            errors.push(PredictUsageError::NoFile);
        }
        arguments.files.push("-".into());
    }
    if !arguments.against.is_empty() && !matches!(arguments.output, Output::Text | Output::Json) {
        errors.push(PredictUsageError::Against);
    }
    errors.extend(
        arguments
            .options
            .outside()
            .map(|(option, at)| PredictUsageError::Outside(option, at, arguments.options.horizon)),
    );
    if errors.is_empty() { Ok(PredictCommand::Predict(Box::new(arguments))) } else { Err(errors) }
}

impl PredictArguments {
    fn take(&mut self, option: &'static str, value: String) -> Result<(), PredictUsageError> {
        match option {
            "--complete" => self.complete = true,
            "--assume-healthy" => self.options.assume_healthy = true,
            "--profile" => self.profiles.push(ProfileOption::Given(value)),
            "--profile-from" => self.profiles.push(ProfileOption::Measured(value)),
            "--for" => self.options.horizon = shared::positive_duration(option, value)?,
            "--at" => {
                self.at =
                    Some(units::timestamp(&value).map_err(|error| PredictUsageError::At(value, error))?);
            }
            "--endpoint-lag" => self.options.endpoint_lag = shared::duration(option, value)?,
            "--call-timeout" => self.options.call_timeout = shared::positive_duration(option, value)?,
            "--stops-after" => {
                self.options.stops_after =
                    if value == "never" { None } else { Some(shared::duration(option, value)?) };
            }
            "--pods" => {
                let pods = value.parse().ok().filter(|pods| (1..=MAX_PODS).contains(pods));
                self.options.pods = Some(pods.ok_or(PredictUsageError::Pods(value))?);
            }
            "--seed" => {
                self.options.seed = Some(value.parse().map_err(|_| PredictUsageError::Seed(value))?);
            }
            "--output" => {
                let form = Output::ALL.into_iter().find(|(_, name)| *name == value);
                self.output = form.map(|(form, _)| form).ok_or(PredictUsageError::Output(value))?;
            }
            "--runs" => {
                let runs = value.parse().ok().filter(|runs| (1..=MAX_RUNS).contains(runs));
                self.options.runs = runs.ok_or(PredictUsageError::Runs(value))?;
            }
            "--rollout" => self.options.rollout = Some(shared::duration(option, value)?),
            "--drain" => self.options.drain = Some(shared::duration(option, value)?),
            "--kubelet-restart" => {
                self.options.kubelet_restarts.push(shared::positive_duration(option, value)?);
            }
            "--pods-over" => self.options.spread = shared::duration(option, value)?,
            "--against" => self.against.push(value.into()),
            "--selector" => {
                self.choice
                    .labels
                    .extend(choice::selector(&value).ok_or(PredictUsageError::Selector(value))?);
            }
            "--kind" => self.choice.kinds.push(value),
            "--name" => self.choice.names.push(value),
            "--no-advice" => {
                let code = advice::find(&value).ok_or(PredictUsageError::NoAdvice(value))?;
                self.options.no_advice.push(code);
            }
            "--fail-on" => {
                let condition = value.parse().map_err(|error| PredictUsageError::Condition(value, error))?;
                self.fail_on.push(condition);
            }
            _ => self.timeline_of = Some(value),
        }
        Ok(())
    }
}
