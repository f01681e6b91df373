//! The health service of gRPC, `grpc.health.v1.Health`.
//!
//! Its services are the classes of probes, by name, and the empty name for readiness. `http` finds the class of a call,
//! and asks the engine about it as about any other request.

mod answer;
mod call;
mod health;
mod message;
mod service;
mod timeout;
mod watch;

pub(crate) use answer::{trailers_only, unimplemented};
pub(crate) use call::{Call, Method, read, refusal};
pub use health::Health;
pub(crate) use health::target;
pub(crate) use message::{Serving, service};
