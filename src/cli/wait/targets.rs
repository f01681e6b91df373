//! The items to wait for, and how each is observed.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use super::arguments::{Thing, WaitArguments};
use crate::cluster::{Access, AccessError, MOUNT, Subject, Which};
use crate::prober::Probe;

/// One item to wait for.
pub(super) struct WaitItem {
    /// The name in the output.
    pub(super) name: String,
    pub(super) what: What,
}

/// How an item is observed.
pub(super) enum What {
    Object { access: Arc<Access>, subject: Subject },
    Address(Probe),
}

/// Determines how each item is observed. An API server is needed only for objects.
pub(super) fn resolve(
    arguments: &WaitArguments,
    env: &[(OsString, OsString)],
) -> Result<Vec<WaitItem>, AccessError> {
    let mut access = None;
    let mut items = Vec::new();
    for thing in &arguments.things {
        items.push(match thing {
            Thing::Address { name, probe } => {
                WaitItem { name: name.clone(), what: What::Address(probe.clone()) }
            }
            Thing::Object { kind, which, condition, namespace } => {
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
                WaitItem { name, what: What::Object { access, subject } }
            }
        });
    }
    Ok(items)
}

fn access_of(arguments: &WaitArguments, env: &[(OsString, OsString)]) -> Result<Access, AccessError> {
    match &arguments.server {
        Some(server) => Access::of_server(server, arguments.authority.clone(), arguments.token.clone()),
        None => Access::of_pod(env, Path::new(MOUNT)),
    }
}
