//! Sockets: the accept loop, connections and what a partition or a wire fault does to them.
//!
//! hyper speaks HTTP; everything below it is here, since `axum::serve` has no time limits, no limit of connections and
//! no deadline for a drain, and lets nobody reset, cut or freeze a connection.
//!
//! A connection is one task that owns its socket and polls hyper. It stops polling while a partition has frozen it, and
//! replaces hyper with a [`Script`] when a handler asks for a fault that HTTP cannot express.
//!
//! A client that ends its side while its request waits counts as gone, since half a close cannot be told from a whole
//! one. What can be answered at once, it still gets.

mod accept;
mod authority;
pub mod budget;
mod connection;
mod counted;
mod driver;
mod handle;
mod handler;
mod partitioned;
mod perform;
mod places;
mod routes;
mod script;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::engine::Engine;
use crate::env::Limits;
use crate::fault::Link;
use crate::telemetry::metrics::Metrics;

use budget::Budget;

pub use accept::serve;
pub use handle::{ConnectionHandle, Ended, Takeover};
pub use partitioned::{BindError, PartitionedListener};
pub use places::Fairness;
pub use routes::{Answering, Handle, Routes};
pub(crate) use script::FILLING;
pub use script::{Ending, Script};

/// How far the process has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// It serves.
    #[default]
    Running,
    /// A signal has come: readiness fails, everything else goes on.
    Leaving,
    /// Nothing is accepted any more; what is under way may go on until the instant.
    Draining(Instant),
}

/// What connections have to obey, the same for all of a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// The partition, if any.
    pub link: Link,
    /// How far the process has come.
    pub stage: Stage,
    /// Whether all rules are out of force, so that what a rule holds is let go.
    pub is_stopped: bool,
}

/// What a listener serves, and how.
#[derive(Clone, Debug)]
pub struct Service {
    /// The account that memory of clients is drawn from, the same for all listeners.
    pub budget: Budget,
    /// How places are shared out, on a listener that has few; loopback peers are the operator there.
    pub fairness: Option<Fairness>,
    /// How long a new connection may take to begin its first request.
    pub first_request: Duration,
    /// Answers requests, each with a [current connection](ConnectionHandle::current).
    pub routes: Routes,
    /// What clients may take up.
    pub limits: Limits,
    /// How many connections leave enough file descriptors to others; above, none is accepted.
    pub files: usize,
    /// Counts what the limits cut, and connections where `faulted`.
    pub metrics: Arc<Metrics>,
    /// Decides on partitions; absent on the admin listener, which has none.
    pub faulted: Option<Engine>,
    /// Partition and stage.
    pub conditions: watch::Receiver<Conditions>,
}
