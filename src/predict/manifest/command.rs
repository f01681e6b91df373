//! Reads `kube-probesim probe` as the command of an exec probe.

use std::time::Duration;

use crate::fault::Target;
use crate::prober::DEFAULT_TIMEOUT;
use crate::units::{self, Bare};

/// The address and the timeout of the attempt.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Command<'a> {
    /// A target's name or a URL.
    pub(super) address: &'a str,
    pub(super) timeout: Duration,
}

/// Why a command cannot be modelled.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CommandError {
    /// An option with which it does not make exactly one attempt.
    Option(String),
    /// Not a timeout.
    Timeout(String),
}

impl<'a> Command<'a> {
    /// Reads the words after `probe`.
    pub(super) fn parse(words: &[&'a str]) -> Result<Self, CommandError> {
        let (mut address, mut timeout) = (Target::Readiness.name(), DEFAULT_TIMEOUT);
        let mut words = words.iter().copied();
        while let Some(word) = words.next() {
            if !word.starts_with('-') {
                address = word;
                continue;
            }
            let (option, value) =
                word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
            if !matches!(option, "--timeout" | "--header" | "--output") {
                return Err(CommandError::Option(option.to_owned()));
            }
            let value = value.or_else(|| words.next()).unwrap_or_default();
            if option == "--timeout" {
                let duration =
                    units::duration(value, Bare::Seconds).ok().filter(|duration| !duration.is_zero());
                timeout = duration.ok_or_else(|| CommandError::Timeout(value.to_owned()))?;
            }
        }
        Ok(Self { address, timeout })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_and_their_values_are_not_addresses() {
        let words = ["--header", "Accept: a", "--timeout=2s", "liveness", "--output", "json"];
        let command = Command { address: "liveness", timeout: Duration::from_secs(2) };
        assert_eq!(Command::parse(&words), Ok(command));
    }

    #[test]
    fn options_for_other_than_one_attempt_are_refused() {
        assert_eq!(Command::parse(&["--every", "1s"]), Err(CommandError::Option("--every".into())));
        assert_eq!(Command::parse(&["--timeout", "0"]), Err(CommandError::Timeout("0".into())));
    }
}
