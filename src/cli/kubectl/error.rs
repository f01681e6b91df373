//! Errors of `kubectl probesim`.

use thiserror::Error;

use super::inject::error::InjectError;
use super::sidecar::error::SidecarError;
use crate::cli::shared::ArgumentError;
use crate::cli::text::OneLine;
use crate::units::UnitError;

/// What is wrong with the command line.
#[derive(Debug, Error)]
pub(super) enum UsageError {
    #[error(transparent)]
    Argument(#[from] ArgumentError),
    #[error(
        "{0:?} is not one of add, list, rm, stop, resume, reset, watch, top, inject, sidecar, predict, dashboard"
    )]
    Verb(String),
    #[error("which Pods? -l SELECTOR, --pod NAME or --all")]
    NoPods,
    #[error("{0} and {1} exclude each other")]
    Both(&'static str, &'static str),
    #[error("{0} and {1} exclude each other")]
    Pair(String, &'static str),
    #[error("--pods {0:?} {1}")]
    Share(String, UnitError),
    #[error("--pods {0:?} must be more than 0%")]
    NoShare(String),
    #[error("{0} {1:?} is not a whole number from 0 to {2}")]
    Number(&'static str, String, u64),
    #[error("--port 0 is no port")]
    NoPort,
    #[error("-v {0:?} is not a level of kubectl's log, such as 6")]
    Level(String),
    #[error("{0} is an option of {1} alone")]
    Elsewhere(&'static str, &'static str),
    #[error("{0} needs {1}")]
    Missing(&'static str, &'static str),
    #[error("sidecar remove takes only --apply and --yes")]
    Removal,
    #[error("--env {0:?} is not NAME=VALUE")]
    Variable(String),
    #[error("{0:?} is not KIND/NAME, such as deployment/web")]
    Object(String),
    #[error("into which Pods? pod/NAME, deployment/NAME and the like, -l SELECTOR or --pod NAME")]
    NoTarget,
    #[error("inject needs a rule: --delay, --status, --mode or another option of fault add, or --file PLAN")]
    NoRule,
    #[error("target {0} is not {1}: inject acts on the port alone")]
    Target(String, &'static str),
    #[error("--protocol {0:?} is not http or tcp")]
    Protocol(String),
    #[error("--port {0:?} is neither a number from 1 to 65535 nor the name of a port")]
    Port(String),
    #[error("--image {0:?} is not the name of an image")]
    Image(String),
    #[error("--selector is empty: it would select every Pod")]
    Selector,
    #[error("--run-as {0:?} is not UID or UID:GID, such as 101:101")]
    User(String),
    #[error("--file {0:?} has {1} bytes as JSON, more than {2}: it becomes a part of the Pod")]
    Plan(String, usize, usize),
    #[error("{0}")]
    Fault(String),
}

/// Why nothing could be done in any Pod.
#[derive(Debug, Error)]
pub(super) enum KubectlError {
    #[error("kubectl cannot be run: {0}")]
    Start(std::io::Error),
    #[error("kubectl {arguments} ended with {status}: {message}", message = OneLine(.message))]
    Failed { arguments: String, status: String, message: String },
    #[error("what kubectl {0} printed is not JSON: {1}")]
    Json(String, serde_json::Error),
    #[error("no Pod is there for {0}")]
    NoPod(String),
    #[error("no Pod of {0} is Ready")]
    NoneReady(String),
    #[error("no sidecar can be added or removed: {0}")]
    Sidecar(#[from] SidecarError),
    #[error("nothing is injected: {0}")]
    Inject(#[from] InjectError),
    #[error("{0} asks before it changes anything, and there is no terminal to ask on: add --yes")]
    Unconfirmed(&'static str),
    #[error("the output is closed: {0}")]
    Output(#[from] std::io::Error),
}
