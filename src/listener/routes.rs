//! Maps requests to handlers.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::routing::future::RouteFuture;
use hyper::{Request, Response};
use pin_project_lite::pin_project;
use tower::Service as _;

use super::plain_answer::{DateField, PlainAnswer};
use super::plain_forward::PlainForward;

/// An answer in progress.
pub type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// Answers a request.
pub type Handle = Box<dyn Fn(Request<Body>) -> Answering + Send + Sync>;

/// A router, and handlers that bypass it. Requests to exact paths need half the allocations when they bypass the
/// router with its patterns and extensions.
#[derive(Clone)]
pub struct Routes {
    direct: Arc<HashMap<String, Direct>>,
    date: Arc<DateField>,
    rest: Fallback,
    forward: Option<Arc<PlainForward>>,
}

/// The handlers of a path that bypass the router.
pub struct Direct {
    /// Answers any request.
    pub handle: Handle,
    /// Answers plain requests.
    pub plain: Option<PlainAnswer>,
}

/// The handler of other paths.
#[derive(Clone)]
enum Fallback {
    Router(Router),
    Handle(Arc<Handle>),
}

impl Routes {
    /// `direct` maps paths to handlers that do the same as the router for any method.
    pub fn new(router: Router, direct: HashMap<String, Direct>) -> Self {
        Self { direct: Arc::new(direct), date: Arc::default(), rest: Fallback::Router(router), forward: None }
    }

    /// One handler for all requests, whatever the path.
    pub fn all(handle: Handle) -> Self {
        let rest = Fallback::Handle(Arc::new(handle));
        Self { direct: Arc::default(), date: Arc::default(), rest, forward: None }
    }

    /// Forwards plain requests by `forward`.
    #[must_use]
    pub fn forwarding(mut self, forward: PlainForward) -> Self {
        self.forward = Some(Arc::new(forward));
        self
    }

    /// Whether some requests need no hyper.
    pub(super) fn has_plain(&self) -> bool {
        self.forward.is_some() || self.direct.values().any(|direct| direct.plain.is_some())
    }

    /// Forwards plain requests, if there is an upstream.
    pub(super) fn forward(&self) -> Option<&PlainForward> {
        self.forward.as_deref()
    }

    /// The answer to plain requests to a path.
    pub(super) fn plain(&self, path: &str) -> Option<&PlainAnswer> {
        self.direct.get(path)?.plain.as_ref()
    }

    pub(super) fn date(&self) -> &DateField {
        &self.date
    }

    pub(super) fn call(&self, request: Request<Body>) -> Route {
        match &self.rest {
            Fallback::Handle(handle) => Route::Direct { answering: handle(request) },
            Fallback::Router(router) => match self.direct.get(request.uri().path()) {
                Some(direct) => Route::Direct { answering: (direct.handle)(request) },
                None => Route::Routed { answering: router.clone().call(request) },
            },
        }
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Routes");
        shown.field("direct", &self.direct.keys());
        match &self.rest {
            Fallback::Router(router) => shown.field("router", router).finish(),
            Fallback::Handle(_) => shown.finish_non_exhaustive(),
        }
    }
}

pin_project! {
    /// An answer in progress.
    #[project = Projected]
    pub(super) enum Route {
        Direct { answering: Answering },
        Routed { #[pin] answering: RouteFuture<Infallible> },
        // An answer that is there, until it is taken.
        Ready { answer: Option<Response<Body>> },
    }
}

impl Route {
    pub(super) fn ready(answer: Response<Body>) -> Self {
        Self::Ready { answer: Some(answer) }
    }
}

impl Future for Route {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            Projected::Direct { answering } => answering.as_mut().poll(cx),
            Projected::Routed { answering } => answering.poll(cx),
            Projected::Ready { answer } => {
                answer.take().map_or(Poll::Pending, |answer| Poll::Ready(Ok(answer)))
            }
        }
    }
}
