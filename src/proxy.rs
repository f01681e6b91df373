//! The reverse proxy: hands requests to the application behind a listener, and its answers back.
//!
//! A [`Forwarder`] stands for one upstream. It speaks HTTP/1.1 or HTTP/2 over hyper's client connections. Those of
//! HTTP/2 are shared by requests (`shared`). Those of HTTP/1.1 are kept in a small pool of its own (`pool`): hyper-util's pooled client is twice as large and does not know which client used a connection. A
//! request that must not be sent twice needs that: it goes over a fresh connection, or over one that nobody but its own
//! client has used, just as it would without a proxy.
//!
//! What is forwarded is what came, but for the fields of the hop (`headers`). What goes wrong is a [`ForwardError`]
//! with an answer, a line in the log and a counter.

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
pub use forward::Forwarder;
pub use own::OwnListeners;
pub use tcp::{Buffers, ProxyRules, TcpProxy, TcpShared};
pub use toxiproxy::{Toxiproxy, VERSION as TOXIPROXY_VERSION};
