//! A client of the Kubernetes API, limited to what waiting for objects needs.
//!
//! Objects are listed and watched, judged one by one, and forgotten: what is kept of each is its name and what it lacks.

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
pub use kind::{Kind, known};
pub use observer::observe;
pub use role::{Grant, role};
pub use subject::{Subject, Which};
pub use tracked::State;
