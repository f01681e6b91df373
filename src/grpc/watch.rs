//! `Watch` streams: the status of a service and its changes.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;

use super::answer::trailers;
use super::call::Call;
use super::health::Health;
use super::message::Serving;
use crate::engine::Active;
use crate::fault::{Client, GrpcStatus, Target};
use crate::listener::ProcessStage;

/// The body of a `Watch` answer.
pub(super) struct Watch {
    /// The pending step; `None` after the last one.
    next: Option<Next>,
    _permit: OwnedSemaphorePermit,
}

type Next = Pin<Box<dyn Future<Output = (State, Step)> + Send>>;

/// The next part of a stream.
enum Step {
    Send(Serving),
    End(GrpcStatus, &'static str),
}

/// What a stream observes, and what it has sent.
struct State {
    health: Health,
    plans: watch::Receiver<Arc<Active>>,
    windows: watch::Receiver<()>,
    /// `None` for an unknown service.
    target: Option<Target>,
    client: Client,
    deadline: Option<Instant>,
    /// The first status, if a rule determines it.
    fault: Option<Serving>,
    /// The status sent last.
    sent: Option<Serving>,
    /// When the status was last determined, on the engine's clock.
    determined: Duration,
}

impl Watch {
    pub(super) fn new(
        health: Health,
        call: Call,
        target: Option<Target>,
        client: Client,
        fault: Option<Serving>,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        let state = State {
            plans: health.engine.subscribe(),
            windows: health.engine.request_windows(),
            health,
            target,
            client,
            deadline: call.deadline,
            fault,
            sent: None,
            determined: Duration::ZERO,
        };
        Self { next: Some(Box::pin(state.step())), _permit: permit }
    }
}

impl State {
    /// Waits for the next part of the stream.
    async fn step(mut self) -> (Self, Step) {
        loop {
            if self.sent.is_some() && !self.has_changed().await {
                return (
                    self,
                    Step::End(GrpcStatus::DEADLINE_EXCEEDED, "the deadline of the call has passed"),
                );
            }
            if matches!(self.health.conditions.borrow().stage, ProcessStage::Draining(_)) {
                return (self, Step::End(GrpcStatus::UNAVAILABLE, "the server is shutting down"));
            }
            self.determined = self.health.engine.elapsed();
            let status = |target| self.health.serving(target, self.client, self.determined);
            let serving = self.fault.take().unwrap_or_else(|| self.target.map_or(Serving::Unknown, status));
            if self.sent.replace(serving) != Some(serving) {
                return (self, Step::Send(serving));
            }
        }
    }

    /// Waits until the status may have changed; false if the deadline passes first.
    async fn has_changed(&mut self) -> bool {
        let Health { engine, timer, conditions, .. } = &mut self.health;
        let plan = self.plans.borrow_and_update().clone();
        let change = plan.plan.next_change(self.determined).map(|elapsed| engine.instant(elapsed));
        // A channel fails only after its sender is dropped, together with the connection.
        tokio::select! {
            _ = self.plans.changed() => true,
            _ = self.windows.changed() => true,
            _ = conditions.changed() => true,
            () = timer.sleep_until_some(change) => true,
            () = timer.sleep_until_some(self.deadline) => false,
        }
    }
}

impl http_body::Body for Watch {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(next) = &mut self.next else { return Poll::Ready(None) };
        let (state, step) = ready!(next.as_mut().poll(cx));
        let frame = match step {
            Step::Send(serving) => {
                self.next = Some(Box::pin(state.step()));
                Frame::data(Bytes::from_static(serving.framed()))
            }
            Step::End(status, message) => {
                self.next = None;
                Frame::trailers(trailers(status, message))
            }
        };
        Poll::Ready(Some(Ok(frame)))
    }
}
