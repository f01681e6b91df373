//! Errors in the command line of `wait`.

use thiserror::Error;

use crate::cli::shared::ArgumentError;
use crate::cluster::ConditionError;
use crate::prober::AddressError;

/// An error in the command line.
#[derive(Debug, Error, PartialEq, Eq)]
pub(in crate::cli::wait) enum UsageError {
    #[error(transparent)]
    Argument(ArgumentError),
    #[error("name at least one item to wait for, such as deployment/postgres or tcp://postgres:5432")]
    Nothing,
    #[error("more than {0} items to wait for; use --selector or several wait commands")]
    TooMany(usize),
    #[error("{0:?} {1}")]
    Address(String, AddressError),
    #[error("{0:?} is not a kind such as pod, deployment or certificates.cert-manager.io")]
    Kind(String),
    #[error("{0:?} is not the name of an object")]
    Name(String),
    #[error("--name {0:?} needs --resource before or after it")]
    NameAlone(String),
    #[error("{0} needs a name or a selector: {0}/NAME, or {0} --selector app=x")]
    NoName(String),
    #[error("{0} has both a name and --selector {1:?}; use one of them")]
    Both(String, String),
    #[error("--selector {0:?} is not a list of labels such as app=db,tier!=cache")]
    Selector(String),
    #[error("--namespace {0:?} is not a namespace: at most 63 lower-case letters, digits and hyphens")]
    Namespace(String),
    #[error("{0} {1:?} {2}")]
    Condition(&'static str, String, ConditionError),
    #[error("{0} {1:?} is for objects, and {2} is an address")]
    ForAddress(&'static str, String, String),
    #[error("the condition has-endpoints is for services, not for {0}")]
    HasEndpoints(String),
    #[error("{0} needs --server; in a Pod, the service account provides the server")]
    NeedsServer(&'static str),
}
