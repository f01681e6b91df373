//! Takes over the TCP port of an application that is already running, and gives it back.
//!
//! The application listens on all addresses. A socket on a more specific address gets new connections instead of it,
//! and `127.0.0.1` still reaches the application. Two sockets may share a port if both have `SO_REUSEPORT` and belong to
//! one user, so the option is set for a moment on a copy of the application's socket.

mod addresses;
mod diagnosis;
mod holder;
mod refusal;
mod release;
mod running;
mod take;
mod target;
mod user;
mod watch;

pub use addresses::gateways;
pub use refusal::Refusal;
pub use release::{NextConnection, Release};
pub use running::Running;
pub use take::{end_connections, take};
pub use target::Target;
pub use watch::{Cause, watch};

/// The proxy of a port that is taken over as TCP, and the target of its rules.
pub const APPLICATION: &str = "application";
