//! Errors in the command line of `fault`.

use thiserror::Error;

use crate::cli::shared::ArgumentError;
use crate::fault::PROCESS_MODES;
use crate::units::UnitError;

/// An error in the command line.
#[derive(Debug, Error, PartialEq)]
pub(in crate::cli) enum FaultUsageError {
    #[error(transparent)]
    Argument(#[from] ArgumentError),
    #[error("a command is missing: add, list, rm, stop, resume, reset, watch or proxy")]
    NoVerb,
    #[error("{0:?} is not one of add, list, rm, stop, resume, reset, watch and proxy")]
    Verb(String),
    #[error("{0} is not an option of fault {1}")]
    Option(String, &'static str),
    #[error("--for {0:?} {1}; use ever for no limit")]
    For(String, UnitError),
    #[error("--for {0:?} must be more than 0; use ever for no limit")]
    NoTime(String),
    #[error("add needs a target: liveness, readiness, startup, dependency, traffic, listener or process")]
    NoTarget,
    #[error(
        "add listener needs --mode: drop (packets are lost), refuse or reset (connections are refused or reset)"
    )]
    ListenerMode,
    #[error("--mode {0:?} is not a mode of target listener, which has drop, refuse and reset")]
    NotOfListener(String),
    #[error("add process needs --mode: {}", process_modes())]
    ProcessMode,
    #[error("--mode {0:?} is not a mode of target process, which has {modes}", modes = process_modes())]
    NotOfProcess(String),
    #[error("rm needs the name of a rule; fault list shows them")]
    NoName,
    #[error("a proxy command is missing: add, list or rm")]
    NoProxyVerb,
    #[error("proxy {0:?} is not one of add, list and rm")]
    ProxyVerb(String),
    #[error("proxy {0} needs the name of a proxy")]
    NoProxyName(&'static str),
    #[error("proxy add needs --{0}")]
    NoProxyField(&'static str),
    #[error("--file {0:?} {1}")]
    File(String, String),
    #[error("{0} cannot be combined with --file, whose rules are complete")]
    WithFile(String),
}

fn process_modes() -> String {
    PROCESS_MODES.iter().map(|info| info.name).collect::<Vec<_>>().join(", ")
}
