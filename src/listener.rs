//! Listeners: the accept loop, connections, partitions, and faults below HTTP.
//!
//! hyper implements HTTP. This module has everything below it, because `axum::serve` has no time limits, no limit of
//! connections and no deadline for a drain, and offers no way to reset, cut or freeze a connection.
//!
//! Each connection is one task that owns the socket and polls a driver: hyper, a [`Script`], or nothing. The task stops
//! polling while a partition freezes the connection. It replaces hyper with a script when a handler asks for a fault
//! that HTTP cannot express.
//!
//! Over HTTP/1, a client that closes its sending side while its request waits counts as gone, because a half-closed
//! connection looks like a closed one. An answer that is ready at once is still sent. Clients of an application behind us
//! that are no kubelets get its answer unless the connection breaks.

mod accept;
mod authority;
pub mod budget;
mod connection;
mod counted;
mod detect;
mod driver;
mod frames;
mod handle;
mod handler;
mod http2;
mod partitioned;
mod perform;
mod places;
mod routes;
mod script;
mod session;
mod socket;
mod state;
mod stream;
mod streams;
mod tunnel;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::engine::Engine;
use crate::env::Limits;
use crate::fault::{Client, Link, ListenerId};
use crate::telemetry::metrics::{ListenerMetrics, Metrics};
use crate::tls::ServerTls;

use budget::Budget;

pub(crate) use accept::refuse;
pub use accept::{Gate, accept, serve};
pub use handle::{ConnectionHandle, Ended, Takeover};
pub(crate) use partitioned::reset_on_close;
pub use partitioned::{BindError, PartitionedListener};
pub use places::Fairness;
pub use routes::{Answering, Handle, Routes};
pub(crate) use script::FILLING;
pub use script::{Ending, Script, StreamReset};
pub use tunnel::{ClientEnd, Tunnel};

/// The stage in the life of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// It serves requests.
    #[default]
    Running,
    /// A signal arrived: readiness fails, everything else continues.
    Leaving,
    /// No connection is accepted any more. Requests under way may continue until this instant.
    Draining(Instant),
}

/// The conditions that all connections of one listener obey.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// The partition, if any.
    pub link: Link,
    /// The stage of the process.
    pub stage: Stage,
    /// Whether all rules are stopped, so that connections that a rule holds are released.
    pub is_stopped: bool,
    /// Whether rules hold the file descriptors, so that no connection is accepted.
    pub is_starved: bool,
}

/// What a listener serves, and how.
#[derive(Clone, Debug)]
pub struct Service {
    /// Which listener it is: `probe`, `admin`, or the name of a proxy.
    pub name: Arc<str>,
    /// The listener's own counters.
    pub listener_metrics: Arc<ListenerMetrics>,
    /// The account of the memory that clients take up; all listeners share it.
    pub budget: Budget,
    /// How connections are shared out among clients, on a listener with few of them. Loopback peers count as the operator.
    pub fairness: Option<Fairness>,
    /// How long a new connection may take to begin its first request.
    pub first_request: Duration,
    /// Answers requests. A handler can ask for its [current connection](ConnectionHandle::current).
    pub routes: Routes,
    /// What clients may use.
    pub limits: Limits,
    /// How many connections may be open before the listener stops accepting, so that file descriptors remain for others.
    pub files: usize,
    /// Whether an application behind us answers: the spelling of names is kept, and clients that vanish without a
    /// word are looked for.
    pub transparent: bool,
    /// Counts how often a limit cut a client short.
    pub metrics: Arc<Metrics>,
    /// Decides on partitions. `None` on a listener that rules cannot cut, such as the admin listener.
    pub faulted: Option<Faulted>,
    /// Whether clients may speak HTTP/2 with prior knowledge.
    pub speaks_http2: bool,
    /// TLS, where it is spoken.
    pub tls: Option<Encryption>,
    /// Partition and stage.
    pub conditions: watch::Receiver<Conditions>,
}

/// TLS on a listener.
#[derive(Clone, Debug)]
pub struct Encryption {
    /// Certificate and settings.
    pub tls: ServerTls,
    /// Whether clients that do not speak TLS are refused.
    pub is_required: bool,
}

/// Who decides on the partitions of a listener.
#[derive(Clone, Debug)]
pub struct Faulted {
    /// Has the plan in force.
    pub engine: Engine,
    /// The listener, as rules know it.
    pub listener: ListenerId,
}

impl Service {
    /// Whether a partition cuts requests of `client` from `peer`.
    fn cuts(&self, peer: IpAddr, client: Client) -> bool {
        self.conditions.borrow().link.partial
            && self.faulted.as_ref().is_some_and(|Faulted { engine, listener }| {
                engine.active().plan.cut(*listener, engine.elapsed(), peer, Some(client)).is_some()
            })
    }
}
