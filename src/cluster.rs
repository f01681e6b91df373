//! A client of the Kubernetes API, limited to what waiting for objects needs.
//!
//! Objects are listed and watched. Of each object, only its name and its state are kept.

mod access;
mod client;
mod condition;
mod discovery;
mod endpoints;
mod error;
mod jsonpath;
mod kind;
mod object;
mod observer;
mod role;
mod rollout;
mod subject;
mod tracked;
mod watch;

pub use access::{Access, AccessError, MOUNT};
pub use condition::{Condition, ConditionError};
pub use error::ApiError;
pub use kind::{Kind, built_in};
pub use observer::observe;
pub use role::{Grant, role};
pub use subject::{Subject, Which};
pub use tracked::State;
