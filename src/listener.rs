//! Listeners: the accept loop, connections, partitions and faults below HTTP.
//!
//! hyper implements HTTP; this module implements everything below it. `axum::serve` has no timeouts, no connection
//! limit and no drain deadline, and cannot reset, cut or freeze a connection.
//!
//! Each connection is one task that owns the socket and polls a driver: hyper, a [`Script`], or nothing. The task
//! stops polling while a partition freezes the connection. It replaces hyper with a script when a handler requests a
//! fault that HTTP cannot express.
//!
//! Over HTTP/1, a client that closes its sending side while its request is pending counts as gone, because a
//! half-closed connection looks like a closed one. An answer that is ready immediately is still sent. Clients of an
//! upstream, except kubelets, get their answer unless the connection breaks.

mod accept;
mod authority;
mod body;
pub mod budget;
mod connection;
mod counted;
mod detect;
mod driver;
mod event;
mod flood;
mod frames;
mod handle;
mod handler;
mod http2;
mod partitioned;
mod perform;
mod places;
mod plain;
mod plain_answer;
mod plain_forward;
mod routes;
mod script;
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

use budget::MemoryBudget;

pub(crate) use accept::refuse;
pub use accept::{AcceptControl, Taken, accept, serve};
pub use body::{BodyError, ReadBody};
pub use handle::ConnectionHandle;
pub use handler::client_of;
pub use http2::SpareMaps;
pub use partitioned::{BindError, PartitionedListener};
pub(crate) use partitioned::{LARGE_KERNEL_BUFFER, listen, reset_on_close, unbound};
pub(crate) use perform::linger_bare;
pub use places::Fairness;
pub use plain_answer::{FAULT_HEADER, PlainAnswer, PlainDecision, PlainFailure, PlainRequest};
pub use plain_forward::{PlainEnd, PlainExchange, PlainForward, PlainHead};
pub use routes::{Answering, Direct, Handle, Routes};
pub(crate) use script::FILLING;
pub use script::{Script, ScriptEnding, ScriptOutcome, StreamReset, Takeover};
pub use tunnel::{ClientEnd, PassThrough, Tunnel};

/// hyper's minimum buffer size for HTTP/1.
const MIN_BUFFER: usize = 8192;

/// The stage of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProcessStage {
    /// Requests are served.
    #[default]
    Running,
    /// A signal arrived: readiness fails, everything else continues.
    Leaving,
    /// Another socket gets new connections. Those that are open end with their next answer, in HTTP/1.
    HandingOver,
    /// New connections are not accepted. Requests in flight may continue until this instant.
    Draining(Instant),
}

/// Conditions that apply to all connections of a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// The partition, if any.
    pub link: Link,
    /// The stage of the process.
    pub stage: ProcessStage,
    /// Whether all rules are stopped, so that connections that a rule holds are released.
    pub is_stopped: bool,
    /// Whether rules use up the file descriptors, so that no connection is accepted.
    pub lacks_descriptors: bool,
}

/// What a listener serves, and how.
#[derive(Clone, Debug)]
pub struct ListenerService {
    /// Which listener it is: `probe`, `admin`, or the name of a proxy.
    pub name: Arc<str>,
    /// The listener's own counters.
    pub listener_metrics: Arc<ListenerMetrics>,
    /// Memory budget for clients, shared by all listeners.
    pub budget: MemoryBudget,
    /// How connections are divided among clients, on a listener with few of them. Loopback peers count as the
    /// operator.
    pub fairness: Option<Fairness>,
    /// Time limit for a new connection to start its first request.
    pub first_request: Duration,
    /// Answers requests. A handler can get its [current connection](ConnectionHandle::current).
    pub routes: Routes,
    /// Limits for clients.
    pub limits: Limits,
    /// Limit of open connections, so that file descriptors remain for other uses.
    pub files: usize,
    /// Whether an upstream answers: header names keep their case, and vanished clients are detected by probing.
    pub transparent: bool,
    /// Counts connections that a limit ended.
    pub metrics: Arc<Metrics>,
    /// Decides on partitions. `None` if rules cannot cut the listener, as for the admin listener.
    pub faulted: Option<ListenerFaults>,
    /// Whether clients may speak HTTP/2 with prior knowledge.
    pub speaks_http2: bool,
    /// Header maps that keep memory for those of HTTP/2.
    pub spare_maps: Arc<SpareMaps>,
    /// TLS, if enabled.
    pub tls: Option<Encryption>,
    /// Where TLS is not enabled: what clients of TLS reach instead. Absent: they are not understood.
    pub pass_through: Option<PassThrough>,
    /// Partition and stage.
    pub conditions: watch::Receiver<Conditions>,
}

/// TLS on a listener.
#[derive(Clone, Debug)]
pub struct Encryption {
    /// Certificate and settings.
    pub tls: ServerTls,
    /// Whether clients without TLS are refused.
    pub is_required: bool,
}

/// The source of decisions on the partitions of a listener.
#[derive(Clone, Debug)]
pub struct ListenerFaults {
    /// Holds the plan in force.
    pub engine: Engine,
    /// The listener as rules refer to it.
    pub listener: ListenerId,
}

impl ListenerService {
    /// Whether a partition cuts requests of `client` from `peer`.
    fn cuts(&self, peer: IpAddr, client: Client) -> bool {
        self.conditions.borrow().link.partial
            && self.faulted.as_ref().is_some_and(|ListenerFaults { engine, listener }| {
                engine.active().plan.cut(*listener, engine.elapsed(), peer, Some(client)).is_some()
            })
    }
}
