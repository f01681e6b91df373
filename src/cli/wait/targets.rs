//! The items to wait for, and how each is observed.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use super::arguments::{Item, WaitArguments};
use crate::cluster::{Access, AccessError, MOUNT, Subject, Which};
use crate::prober::Probe;

/// An item to wait for.
pub(super) struct WaitTarget {
    /// The name in the output.
    pub(super) name: String,
    pub(super) source: StateSource,
}

/// How the state of an item is observed.
pub(super) enum StateSource {
    Object { access: Arc<Access>, subject: Subject },
    Address(Probe),
}

/// Determines how each item is observed. An API server is needed only for objects.
pub(super) fn resolve(
    arguments: &WaitArguments,
    env: &[(OsString, OsString)],
) -> Result<Vec<WaitTarget>, AccessError> {
    let mut access = None;
    let mut targets = Vec::new();
    for item in &arguments.items {
        targets.push(match item {
            Item::Address { name, probe } => {
                WaitTarget { name: name.clone(), source: StateSource::Address(probe.clone()) }
            }
            Item::Object { kind, which, condition, namespace } => {
                let access = match &access {
                    Some(access) => Arc::clone(access),
                    None => Arc::clone(access.insert(Arc::new(access_of(arguments, env)?))),
                };
                let mut name = match which {
                    Which::Name(name) => format!("{kind}/{name}"),
                    Which::Selector(selector) => format!("{kind} {selector}"),
                };
                if let Some(condition) = condition {
                    name = format!("{name} {condition}");
                }
                let namespace = namespace.clone().unwrap_or_else(|| access.namespace.clone());
                if arguments.namespaces().count() > 1 {
                    name = format!("{name} in {namespace}");
                }
                let (kind, which, condition) = (kind.clone(), which.clone(), condition.clone());
                let subject = Subject { kind, namespace, which, condition };
                WaitTarget { name, source: StateSource::Object { access, subject } }
            }
        });
    }
    Ok(targets)
}

fn access_of(arguments: &WaitArguments, env: &[(OsString, OsString)]) -> Result<Access, AccessError> {
    match &arguments.server {
        Some(server) => Access::of_server(server, arguments.authority.clone(), arguments.token.clone()),
        None => Access::of_pod(env, Path::new(MOUNT)),
    }
}
