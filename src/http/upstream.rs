//! Requests to the application behind the probe listener: their class, and who answers.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::Response;
use hyper::StatusCode;
use hyper::header::{CONNECTION, HeaderName, HeaderValue};
use tower::{Layer, Service};
use tracing::warn;

use super::health::{HealthCalls, Serve};
use super::layer::FaultLayer;
use super::{App, answer, default_answer, plain};
use crate::fault::{Client, RequestView as _, Target};
use crate::grpc::Call;
use crate::listener::{Answering, PlainForward, Routes, client_of};
use crate::order;
use crate::proxy::Forwarder;

/// Sets the class of a request, whatever its path. Removed before the request is forwarded.
static TARGET_HEADER: HeaderName = HeaderName::from_static("x-probesim-target");

/// The application behind the probe listener.
#[derive(Clone, Debug)]
pub struct ProbeUpstream {
    /// Forwards requests to it.
    pub forwarder: Forwarder,
    /// Whether probes are forwarded too.
    pub answers_probes: bool,
    /// Whether clients of TLS reach it, too.
    pub takes_tls: bool,
}

/// Sends every request through the rules of its class, then to the application.
pub(super) fn routes(app: &Arc<App>, upstream: &ProbeUpstream) -> Routes {
    let classes = Arc::new(Classes::new(&app.paths));
    let services = Target::ALL.map(|target| {
        let forwards = target == Target::Traffic || upstream.answers_probes;
        let forwarder = forwards.then(|| upstream.forwarder.clone());
        let layer = FaultLayer::new(target, app.clone());
        let layer = if forwards { layer.before_application() } else { layer };
        layer.layer(Application { app: app.clone(), target, forwarder })
    });
    let (told, has_classes) = (AtomicBool::new(false), !app.paths.is_empty());
    let serve: Serve = Arc::new(move |target, request| {
        if target == Target::Traffic && has_classes {
            tell_of_probe(&request, &told);
        }
        services[target.index()].clone().call(request)
    });
    let calls = HealthCalls::new(app.clone(), serve.clone());
    let plain = plain_traffic(app.clone(), classes.clone(), upstream.forwarder.clone());
    let routes = Routes::all(Box::new(move |mut request| -> Answering {
        match classes.of(&mut request) {
            // The class of a health service call is in its message, not in its path.
            Ok(Target::Traffic) if Call::of(&request).is_some() => calls.answer(request),
            Ok(target) => serve(target, request),
            Err(named) => Box::pin(std::future::ready(Ok(unknown_class(&named)))),
        }
    }));
    routes.forwarding(plain)
}

/// Forwards plain requests that no path and no header makes probes.
fn plain_traffic(app: Arc<App>, classes: Arc<Classes>, forwarder: Forwarder) -> PlainForward {
    Box::new(move |head, connection| {
        let is_traffic = classes.of_path(head.path()) == Target::Traffic;
        is_traffic.then(|| plain::begin(&app, Target::Traffic.into(), &forwarder, head, connection))?
    })
}

/// Warns once about a kubelet probe that counts as traffic, so that rules on probe classes do not apply.
fn tell_of_probe(request: &Request, told: &AtomicBool) {
    if told.load(Ordering::Relaxed) {
        return;
    }
    if client_of(request.headers()) == Client::Kubelet && !told.swap(true, Ordering::Relaxed) {
        let path = request.uri().path();
        warn!(
            path,
            "a probe of the kubelet arrives as traffic, so that no rule on a probe acts on it: name its path in \
             LIVENESS_PATHS, READINESS_PATHS or STARTUP_PATHS, or set X-Probesim-Target in its httpHeaders"
        );
    }
}

fn unknown_class(named: &HeaderValue) -> Response {
    let classes = Target::ALL.map(Target::name).join(", ");
    let line = format!("x-probesim-target: {named:?} is not one of {classes}\n");
    let mut response = answer::text(StatusCode::BAD_REQUEST, line);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Assigns a class to each request.
#[derive(Debug)]
struct Classes {
    exact: HashMap<String, Target>,
    /// Prefixes without the asterisk, the longest first.
    prefixes: Vec<(String, Target)>,
}

impl Classes {
    fn new(paths: &[(String, Target)]) -> Self {
        let mut classes = Self { exact: HashMap::new(), prefixes: Vec::new() };
        for (path, target) in paths {
            match path.strip_suffix('*') {
                Some(prefix) => classes.prefixes.push((prefix.to_owned(), *target)),
                None => {
                    classes.exact.insert(path.clone(), *target);
                }
            }
        }
        order::sort_by_key(&mut classes.prefixes, |(prefix, _)| std::cmp::Reverse(prefix.len()));
        classes
    }

    /// The class named by the request's header (which is removed), else the class of its path, else `traffic`. The
    /// error is a header value that names no class.
    fn of(&self, request: &mut Request) -> Result<Target, HeaderValue> {
        if let Some(named) = request.headers_mut().remove(&TARGET_HEADER) {
            let target = named.to_str().ok().and_then(|name| Target::from_name(&name.to_ascii_lowercase()));
            return target.ok_or(named);
        }
        Ok(self.of_path(request.uri().path()))
    }

    fn of_path(&self, path: &str) -> Target {
        let exact = self.exact.get(path).copied();
        let below = || self.prefixes.iter().find(|(prefix, _)| path.starts_with(prefix.as_str()));
        exact.or_else(|| below().map(|(_, target)| *target)).unwrap_or(Target::Traffic)
    }
}

/// Answers when no rule does: the application, or our default answer for classes that are not forwarded.
#[derive(Clone)]
struct Application {
    app: Arc<App>,
    target: Target,
    forwarder: Option<Forwarder>,
}

impl Service<Request> for Application {
    type Response = Response;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        // Fail readiness first, so that traffic stops before the application does.
        let leaves = self.target == Target::Readiness && self.app.is_leaving();
        match &self.forwarder {
            Some(forwarder) if !leaves => forwarder.answer(request),
            _ => Box::pin(std::future::ready(Ok(default_answer(&self.app, self.target, &request)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn class(path: &str, header: Option<&str>) -> Result<Target, HeaderValue> {
        let classes = Classes::new(&[
            ("/healthz".to_owned(), Target::Liveness),
            ("/".to_owned(), Target::Startup),
            ("/api/*".to_owned(), Target::Readiness),
            ("/api/deep/*".to_owned(), Target::Dependency),
        ]);
        let mut request = Request::builder().uri(path).body(Body::empty()).unwrap();
        if let Some(header) = header {
            request.headers_mut().insert(&TARGET_HEADER, HeaderValue::from_str(header).unwrap());
        }
        let class = classes.of(&mut request);
        assert!(!request.headers().contains_key(&TARGET_HEADER));
        class
    }

    #[test]
    fn a_header_wins_over_the_path_and_the_longest_prefix_over_others() {
        for (path, header, target) in [
            ("/healthz", None, Target::Liveness),
            ("/healthz?verbose", None, Target::Liveness),
            ("/healthz/x", None, Target::Traffic),
            ("/", None, Target::Startup),
            ("/api", None, Target::Traffic),
            ("/api/", None, Target::Readiness),
            ("/api/deep/x", None, Target::Dependency),
            ("/x", Some("Liveness"), Target::Liveness),
            ("/healthz", Some("traffic"), Target::Traffic),
        ] {
            assert_eq!(class(path, header), Ok(target), "{path} {header:?}");
        }
        assert!(class("/", Some("live")).is_err());
    }
}
