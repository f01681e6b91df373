//! The gRPC probe: one unary call over HTTP/2, with or without TLS.

mod call;
mod health;
mod settings;
mod status;

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::address::Endpoint;
use super::dial::dial;
use super::handshake::handshake;
use super::outcome::{AttemptEnd, Phase, ProbeResult};
use super::quote::quoted;
use super::stream::Stream;
use crate::tls::Trust;
use crate::units::Show;
use call::Connection;
use health::{serving_name, serving_status};
use status::{Status, code};

/// The pause after the first failed connection, as in gRPC's back-off (without its jitter).
const BACKOFF: Duration = Duration::from_secs(1);
/// The factor of the pause for each further failure.
const BACKOFF_FACTOR: f64 = 1.6;

/// A gRPC probe: `grpc.health.v1.Health/Check`.
#[derive(Clone, Debug)]
pub struct GrpcProbe {
    endpoint: Endpoint,
    service: String,
    /// The certificates that it trusts; `None`: without TLS.
    pub(super) trust: Option<Trust>,
}

/// The progress of an attempt, for the message of a timeout.
struct Progress {
    phase: Phase,
    connected: bool,
}

impl GrpcProbe {
    pub(super) const fn new(endpoint: Endpoint, service: String, trust: Option<Trust>) -> Self {
        Self { endpoint, service, trust }
    }

    pub(super) async fn attempt(&self, deadline: Instant, timeout: Duration) -> AttemptEnd {
        let mut progress = Progress { phase: Phase::Connect, connected: false };
        let ended = timeout_at(deadline, self.run(&mut progress, deadline)).await;
        let (message, status) = match ended {
            Ok(Ok(1)) => return AttemptEnd::success(Some(0)),
            Ok(Ok(serving)) => {
                progress.phase = Phase::Complete;
                (
                    format!(
                        "service unhealthy (responded with {})",
                        quoted(serving_name(serving).as_bytes())
                    ),
                    0,
                )
            }
            Err(_) if !progress.connected => {
                let address = quoted(self.endpoint.to_string().as_bytes());
                let within = Show(timeout);
                let message = format!(
                    "timeout: failed to connect service {address} within {within}: context deadline exceeded"
                );
                return AttemptEnd::failure(progress.phase, message);
            }
            Err(_) => (deadline_message(timeout), code::DEADLINE_EXCEEDED),
            Ok(Err(status)) => {
                let code = u16::try_from(status.code).unwrap_or(u16::MAX);
                let message = match code {
                    code::UNIMPLEMENTED => format!(
                        "error: this server does not implement the grpc health protocol \
                         (grpc.health.v1.Health): {}",
                        status.message
                    ),
                    code::DEADLINE_EXCEEDED => deadline_message(timeout),
                    _ => format!("error: health rpc probe failed: {status}"),
                };
                (message, code)
            }
        };
        AttemptEnd { result: ProbeResult::Failure, phase: progress.phase, status: Some(status), message }
    }

    /// Makes the call and returns the serving status of the answer.
    async fn run(&self, progress: &mut Progress, deadline: Instant) -> Result<u64, Status> {
        let mut connection = self.connect(progress).await;
        progress.connected = true;
        progress.phase = Phase::Head;
        let left = deadline.saturating_duration_since(Instant::now());
        let scheme = if self.trust.is_some() { "https" } else { "http" };
        let authority = self.endpoint.to_string();
        let answer = connection.call(scheme, &authority, &self.service, left, &mut progress.phase).await?;
        Ok(serving_status(&answer).unwrap_or_default())
    }

    async fn stream(&self, phase: &mut Phase) -> Option<Stream> {
        let socket = dial(&self.endpoint, phase).await.ok()?;
        let Some(trust) = &self.trust else { return Some(Stream::Plain(socket)) };
        *phase = Phase::Handshake;
        let stream = handshake(socket, &self.endpoint.host, trust, &["h2"]).await.ok()?;
        // grpc-go uses only servers that have agreed to HTTP/2.
        stream.speaks("h2").then_some(stream)
    }

    /// Connects repeatedly until a server sends its settings.
    async fn connect(&self, progress: &mut Progress) -> Connection {
        let mut pause = BACKOFF;
        loop {
            if let Some(stream) = self.stream(&mut progress.phase).await
                && let Some(connection) = Connection::begin(stream).await
            {
                return connection;
            }
            progress.phase = Phase::Connect;
            sleep(pause).await;
            pause = pause.mul_f64(BACKOFF_FACTOR);
        }
    }
}

fn deadline_message(timeout: Duration) -> String {
    format!("timeout: health rpc did not complete within {}", Show(timeout))
}
