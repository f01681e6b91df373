//! Requests to a named proxy.

use std::convert::Infallible;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::Response;
use tower::{Layer, Service};

use super::layer::FaultLayer;
use super::{App, plain};
use crate::fault::{Slot, TargetId};
use crate::listener::{Answering, Routes};
use crate::proxy::Forwarder;

/// The forwarder of a proxy. It can be replaced while requests are in flight.
#[derive(Clone, Debug)]
pub struct Exchangeable(Arc<RwLock<Forwarder>>);

impl Exchangeable {
    /// Starts with `forwarder`.
    pub fn new(forwarder: Forwarder) -> Self {
        Self(Arc::new(RwLock::new(forwarder)))
    }

    /// Replaces the forwarder for requests that arrive from now on.
    pub fn exchange(&self, forwarder: Forwarder) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = forwarder;
    }

    fn current(&self) -> Forwarder {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Sends every request through the rules of the proxy in `slot`, then to its upstream.
pub fn proxy_routes(app: &Arc<App>, slot: Slot, upstream: Exchangeable) -> Routes {
    let layer = FaultLayer::new(TargetId::Proxy(slot), app.clone()).before_application();
    let (app, of_plain) = (app.clone(), upstream.clone());
    let service = layer.layer(Upstream(upstream));
    Routes::all(Box::new(move |request| -> Answering { service.clone().call(request) })).forwarding(Box::new(
        move |head, connection| {
            plain::begin(&app, TargetId::Proxy(slot), &of_plain.current(), head, connection)
        },
    ))
}

#[derive(Clone)]
struct Upstream(Exchangeable);

impl Service<Request> for Upstream {
    type Response = Response;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        self.0.current().answer(request)
    }
}
