//! The reverse proxy: forwards requests to the application behind a listener, and returns its answers.
//!
//! A [`Forwarder`] forwards to one upstream. It speaks HTTP/1.1 or HTTP/2 with hyper's client connections. Requests share
//! HTTP/2 connections (`shared`). Idle HTTP/1.1 connections wait in a small pool (`pool`): hyper-util's pooled client is
//! twice as large and does not know which client used a connection. A request that must not be sent twice needs to know:
//! it gets a new connection, or one that only its own client has used, as it would without a proxy.
//!
//! Plain requests are forwarded without hyper, which takes most of the CPU time of a proxied request. hyper continues those
//! whose answer it has to interpret.
//!
//! Requests are forwarded unchanged, except for hop-by-hop fields (`headers`). Each failure is a [`ForwardError`] with an
//! answer, a log line and a counter.

mod body;
mod connect;
mod error;
mod forward;
mod headers;
mod memory;
mod own;
mod pool;
mod shared;
mod stream;
mod tcp;
mod toxiproxy;
mod tunnel;

pub(crate) use connect::own_address;
pub use error::{ForwardError, Refusal};
pub use forward::{Forwarded, Forwarder, PlainForwarding};
pub use own::OwnListeners;
pub use tcp::{Buffers, ProxyRules, TcpProxy, TcpShared, TcpUpstream};
pub use toxiproxy::{Toxiproxy, VERSION as TOXIPROXY_VERSION};
