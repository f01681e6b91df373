//! The health service of gRPC, `grpc.health.v1.Health`.
//!
//! Its services are the classes of probes, by name; the empty name is readiness. `http` determines the class of a call,
//! and the engine decides about it as about any other request.

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
