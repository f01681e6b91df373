//! Plain requests to an upstream: forwarded without hyper unless a rule acts on them.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::time::Instant;

use super::App;
use super::in_flight::InFlight;
use crate::engine::Injection;
use crate::fault::{Client, TargetId};
use crate::listener::{ConnectionHandle, PlainEnd, PlainExchange, PlainHead};
use crate::proxy::{Forwarded, Forwarder, PlainForwarding};
use crate::telemetry::metrics::RequestOutcome;

/// A request on which no rule acts.
struct Unfaulted {
    forwarding: PlainForwarding,
    in_flight: InFlight,
    /// The decision that no rule acts.
    injection: Injection,
}

/// Begins to forward a request to `target`; `None` if hyper has to take it. It then gets the decision, if there is one.
pub(super) fn begin(
    app: &Arc<App>,
    target: TargetId,
    forwarder: &Forwarder,
    head: &PlainHead<'_>,
    connection: &ConnectionHandle,
) -> Option<Box<dyn PlainExchange>> {
    // A kubelet that closes its side has gone, unlike other clients.
    if app.request_faults || head.client == Client::Kubelet || !forwarder.takes_plain(head) {
        return None;
    }
    let injection = app.engine.decide_requested_for(target, head.client, head, &[]);
    let forwarding = if injection.is_none() { forwarder.begin_plain(head, connection) } else { None };
    let Some(forwarding) = forwarding else {
        connection.set_injection(Some(Box::new(injection)));
        return None;
    };
    let in_flight = InFlight {
        app: app.clone(),
        target,
        client: head.client,
        arrived: Instant::now(),
        connection: Some(connection.clone()),
        is_application: true,
        health: None,
        ended: false,
    };
    Some(Box::new(Unfaulted { forwarding, in_flight, injection }))
}

impl PlainExchange for Unfaulted {
    fn poll(&mut self, cx: &mut Context<'_>, closes: bool, answer: &mut Vec<u8>) -> Poll<PlainEnd> {
        Poll::Ready(match ready!(self.forwarding.poll(cx, closes, answer)) {
            Forwarded::Answered(status) => {
                self.in_flight.ended = true;
                self.in_flight.count(RequestOutcome::Answered(status));
                PlainEnd::Answered
            }
            Forwarded::HandOver => PlainEnd::HandOver,
        })
    }

    fn hand_over(self: Box<Self>, connection: &ConnectionHandle) {
        let Self { forwarding, mut in_flight, injection } = *self;
        // The handler counts it.
        in_flight.ended = true;
        connection.set_injection(Some(Box::new(injection)));
        forwarding.hand_over(connection);
    }
}
