//! Makes one attempt of a probe, as the kubelet does.
//!
//! In the kubelet, Go's `net/http` decides what is a failure and what is an error. This HTTP client therefore follows
//! `net/http` step by step: its buffers and limits, its grammar, and the messages that end up in events.
//! `tests/e2e/prober.py` compares the two.

mod address;
mod body;
mod chunked;
mod connection;
mod dial;
mod fields;
mod first_bytes;
mod framing;
mod grpc;
mod handshake;
mod head;
mod header;
mod http;
mod outcome;
mod probe;
mod quote;
mod stream;
mod tap;
mod url;
mod version;

pub use address::AddressError;
pub use header::{Header, HeaderError};
pub use outcome::{MAX_MESSAGE, Outcome, Phase, ProbeResult};
pub use probe::{DEFAULT_TIMEOUT, Probe};
pub use version::KUBERNETES_VERSION;
