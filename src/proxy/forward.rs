//! Forwards one request and its answer.

mod http1;
mod https;
mod multiplexed;
mod plain;
mod repeat;
mod whole;

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use axum::body::Body;
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::http::uri::Scheme;
use hyper::{Request, Response, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

use super::body::{Download, Lease, Progress, Upload};
use super::connect::{self, Source};
use super::error::{ForwardError, Refusal};
use super::headers::{self, Pseudonym, RequestHop, SpecialFields};
use super::memory::{Flow, REQUEST_MEMORY, TLS_MEMORY};
use super::own::OwnListeners;
use super::pool::Pool;
use super::shared::Shared;
use super::stream::UpstreamStream;
use super::tunnel;
use crate::engine::rate_limit::RateLimit;
use crate::env::ForwardOptions;
use crate::fault::{UpstreamAddress, UpstreamHost, UpstreamPlace, UpstreamProtocol};
use crate::listener::budget::Reservation;
use crate::listener::{Answering, ConnectionHandle, PassThrough, Tunnel};
use crate::telemetry::metrics::UpstreamMetrics;
use crate::tls::{ClientTls, Negotiated};
pub(super) use http1::Driven;
use https::Tls;
use plain::Begun;
pub use plain::{Forwarded, PlainForwarding};
use repeat::is_idempotent;

/// How long to wait for an evicted idle connection to close.
const EVICTION: Duration = Duration::from_millis(100);

/// Limit of log lines about failures, per second.
const MAX_LINES: u8 = 1;

/// Forwards requests to one upstream. Clones share its connections and counters.
#[derive(Clone, Debug)]
pub struct Forwarder(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    address: UpstreamAddress,
    authority: HeaderValue,
    /// TLS with an upstream of `https://`.
    tls: Option<Tls>,
    options: ForwardOptions,
    metrics: Arc<UpstreamMetrics>,
    own: OwnListeners,
    pseudonym: Pseudonym,
    /// Idle HTTP/1.1 connections.
    pool: Pool,
    /// Whether the latest answer to a plain request was passed on without hyper.
    answers_plainly: AtomicBool,
    /// HTTP/2 connections.
    shared: Shared,
    /// Limits the number of open connections.
    permits: Arc<Semaphore>,
    created: Instant,
    log_limit: RateLimit,
}

/// How a request is sent, as determined from its original head.
struct SendOptions {
    /// Whether it may be sent again if its answer is lost.
    repeatable: bool,
    upgrade: bool,
    /// Whether it goes over HTTP/2.
    http2: bool,
    source: Source,
}

/// Counts a request that is dropped before its answer.
struct CountUnanswered<'a>(Option<&'a UpstreamMetrics>);

impl Drop for CountUnanswered<'_> {
    fn drop(&mut self) {
        if let Some(metrics) = self.0 {
            metrics.unanswered();
        }
    }
}

impl Forwarder {
    /// Forwards to `address`. `tls` applies if that is `https://`. `own` are the listeners that must not be the upstream.
    pub fn new(
        address: UpstreamAddress,
        tls: ClientTls,
        options: ForwardOptions,
        metrics: Arc<UpstreamMetrics>,
        own: OwnListeners,
    ) -> Self {
        let authority = HeaderValue::from_str(&address.authority())
            .unwrap_or_else(|_| HeaderValue::from_static("localhost"));
        // Another server may appear under a name or a path.
        let may_move = !matches!(address.place(), UpstreamPlace::Tcp(UpstreamHost::Ip(_), _));
        Self(Arc::new(Inner {
            authority,
            tls: Tls::new(&address, tls),
            options,
            metrics,
            own,
            pseudonym: if options.finds_loops {
                Pseudonym::new(RandomState::new().hash_one(0))
            } else {
                Pseudonym::none()
            },
            pool: Pool::new(may_move),
            answers_plainly: AtomicBool::new(false),
            shared: Shared::new(may_move),
            permits: Arc::new(Semaphore::new(options.connections.min(Semaphore::MAX_PERMITS))),
            created: Instant::now(),
            log_limit: RateLimit::new(MAX_LINES),
            address,
        }))
    }

    /// The upstream's address.
    pub fn address(&self) -> &UpstreamAddress {
        &self.0.address
    }

    /// Passes the bytes of clients on as they are, such as those of TLS that ends in the upstream.
    pub fn pass_through(&self) -> PassThrough {
        let inner = self.0.clone();
        PassThrough(Arc::new(move |reached| {
            let inner = inner.clone();
            Tunnel::new(move |client| async move {
                let source = connect::source(inner.options.source, inner.address.place(), reached);
                match inner.open(source, &[]).await {
                    Ok((upstream, _permit, _)) => tunnel::copy(client, upstream).await,
                    Err(error) => inner.failed(&error),
                }
            })
        }))
    }

    /// The upstream's answer, or one that says why there is none. Its body is streamed.
    ///
    /// Dropping the future also aborts the request at the upstream.
    pub fn answer(&self, mut request: Request<Body>) -> Answering {
        let client = ConnectionHandle::current();
        let begun = client.as_ref().and_then(ConnectionHandle::take_begun);
        let begun = begun.and_then(|begun| begun.downcast::<Begun>().ok());
        // Its connections belong to the forwarder that began.
        let forwarder = begun.as_ref().map_or_else(|| self.clone(), |begun| begun.forwarder.clone());
        Box::pin(async move { Ok(forwarder.forward(&mut request, client.as_ref(), begun).await) })
    }

    /// `client` is the connection on which the request arrived, and `begun` what was done for it already.
    async fn forward(
        &self,
        request: &mut Request<Body>,
        client: Option<&ConnectionHandle>,
        begun: Option<Box<Begun>>,
    ) -> Response<Body> {
        let inner = &*self.0;
        let present = SpecialFields::of(request.headers());
        if let Err(refusal) = headers::check(request, present) {
            return Refusal::answer(refusal);
        }
        let mut counted = CountUnanswered(Some(&inner.metrics));
        let sent_at = Instant::now();
        match inner.exchange(request, present, client, begun).await {
            Ok(response) => {
                counted.0 = None;
                inner.metrics.answered(response.status().as_u16(), sent_at.elapsed());
                response
            }
            Err(error) => {
                inner.failed(&error);
                error.answer(&inner.address)
            }
        }
    }
}

impl Inner {
    /// Takes the request out of its place, so that the future holds it only once.
    async fn exchange(
        &self,
        request: &mut Request<Body>,
        present: SpecialFields,
        client: Option<&ConnectionHandle>,
        begun: Option<Box<Begun>>,
    ) -> Result<Response<Body>, ForwardError> {
        if self.pseudonym.is_loop(request.headers(), present) {
            return Err(ForwardError::Loop);
        }
        let memory = match client {
            Some(client) => Some(self.memory(client).ok_or(ForwardError::Memory)?),
            None => None,
        };
        let options = self.prepare(request, present, client).await?;
        let (progress, body_ended) = self.follow_body(request, client);
        let (response, lease) = if options.http2 {
            let request = std::mem::take(request);
            let sending = Box::pin(self.send_multiplexed(request, &options, body_ended)).await;
            let (response, stream) = sending.map_err(|error| cause(error, progress.as_deref()))?;
            (response, Lease::Stream { _stream: stream })
        } else {
            let sending = self.send(request, &options, client, body_ended, begun).await;
            let (response, driven) = sending.map_err(|error| cause(error, progress.as_deref()))?;
            (response, Lease::Whole { driven, pool: self.pool.clone(), sent: progress })
        };
        let present = SpecialFields::of(response.headers());
        headers::check_answer(&response, present, options.upgrade).map_err(ForwardError::Invalid)?;
        self.answer(response, present, (lease, memory), client)
    }

    /// Reserves memory for a request. Closes an idle connection first if there is none.
    fn memory(&self, client: &ConnectionHandle) -> Option<Reservation> {
        let tls = if self.tls.is_some() { TLS_MEMORY } else { 0 };
        let reserve = || client.reserve_for_request(REQUEST_MEMORY + tls);
        reserve().or_else(|| self.pool.evict().then(reserve)?)
    }

    /// Converts the head into the one to forward.
    async fn prepare(
        &self,
        request: &mut Request<Body>,
        present: SpecialFields,
        client: Option<&ConnectionHandle>,
    ) -> Result<SendOptions, ForwardError> {
        let protocol = self.address.protocol();
        let upgrade = protocol != UpstreamProtocol::Http2 && headers::wants_upgrade(request, present);
        let reached: Option<IpAddr> = client.and_then(ConnectionHandle::local).map(|local| local.ip());
        let source = connect::source(self.options.source, self.address.place(), reached);
        let http2 = match protocol {
            UpstreamProtocol::Http1 => false,
            UpstreamProtocol::Http2 => true,
            UpstreamProtocol::Https => !upgrade && Box::pin(self.speaks_http2(source, client)).await?,
        };
        let hop = RequestHop {
            authority: &self.authority,
            pseudonym: &self.pseudonym,
            client: client
                .filter(|_| self.options.tells_client)
                .map(|client| (client.peer().ip(), client.is_within_tls())),
            upgrade,
            http2: http2.then(|| if self.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP }),
        };
        hop.apply(request, present);
        Ok(SendOptions {
            repeatable: request.body().is_end_stream() && !upgrade && is_idempotent(request.method()),
            upgrade,
            http2,
            source,
        })
    }

    /// Tracks the end of the request's body: then the upstream's timeout begins.
    fn follow_body(
        &self,
        request: &mut Request<Body>,
        client: Option<&ConnectionHandle>,
    ) -> (Option<Arc<Progress>>, Option<oneshot::Receiver<()>>) {
        if let Some(client) = client {
            client.is_patient();
        }
        if request.body().is_end_stream() {
            if let Some(client) = client {
                client.survives_half_close();
            }
            return (None, None);
        }
        let progress = Arc::new(Progress::default());
        let (ended, body_ended) = self.options.timeout.map(|_| oneshot::channel()).unzip();
        let body = std::mem::take(request.body_mut());
        let flow = Flow::new(client);
        let upload = Upload { body, client: client.cloned(), progress: progress.clone(), ended, flow };
        *request.body_mut() = Body::new(upload);
        (Some(progress), body_ended)
    }

    /// Resolves when the upstream exceeds its timeout.
    async fn late(&self, body_ended: Option<oneshot::Receiver<()>>) -> ForwardError {
        let Some(time) = self.options.timeout else { return std::future::pending().await };
        // Boxed, so that requests without a timeout take less memory.
        Box::pin(async move {
            if let Some(body_ended) = body_ended {
                let _ = body_ended.await;
            }
            sleep(time).await;
            ForwardError::Timeout(time)
        })
        .await
    }

    /// Opens a connection within the limit of connections. With TLS, offers the protocols `alpn` and returns the one that
    /// the upstream chose.
    async fn open(
        &self,
        source: Source,
        alpn: &[&str],
    ) -> Result<(UpstreamStream, OwnedSemaphorePermit, Negotiated), ForwardError> {
        let permit = self.permit().await.ok_or(ForwardError::Connections(self.options.connections))?;
        let (time, place) = (self.options.connect_timeout, self.address.place());
        let Some(tls) = &self.tls else {
            let stream = connect::connect(place, source, &self.own, time).await?;
            return Ok((stream, permit, Negotiated::Http1));
        };
        let offer = (&tls.connector, alpn);
        let opened = connect::connect_tls(place, source, &self.own, time, offer).await;
        let (stream, agreed) = opened.inspect_err(|error| {
            if matches!(error, ForwardError::Tls(_)) {
                tls.forget();
            }
        })?;
        Ok((stream, permit, agreed))
    }

    /// A permit for a connection. Closes the connection that has been idle the longest if there is none.
    async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = self.permits.clone().try_acquire_owned() {
            return Some(permit);
        }
        if !self.pool.evict() && !self.shared.evict() {
            return None;
        }
        timeout(EVICTION, self.permits.clone().acquire_owned()).await.ok()?.ok()
    }

    fn answer(
        &self,
        mut response: Response<Incoming>,
        present: SpecialFields,
        (lease, mut memory): (Lease, Option<Reservation>),
        client: Option<&ConnectionHandle>,
    ) -> Result<Response<Body>, ForwardError> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS
            && let Some(client) = client
        {
            let upgraded = hyper::upgrade::on(&mut response);
            client.tunnel(tunnel::between(upgraded, memory.take()));
        }
        headers::apply_to_answer(&mut response, present);
        let (head, body) = response.into_parts();
        let body = if body.is_end_stream() {
            lease.end(memory);
            Body::empty()
        } else {
            let mut flow = Flow::new(client);
            if !flow.begins(body.size_hint().exact()) {
                return Err(ForwardError::Memory);
            }
            Body::new(Download { body, lease: Some(lease), metrics: self.metrics.clone(), memory, flow })
        };
        Ok(Response::from_parts(head, body))
    }

    /// Counts and reports a failure of the upstream.
    fn failed(&self, error: &ForwardError) {
        let Some(fault) = error.fault() else { return };
        self.metrics.fault(fault);
        if !self.log_limit.admits(self.created.elapsed()) {
            return;
        }
        let omitted = self.log_limit.take_omitted();
        warn!(
            proxy = self.metrics.proxy(),
            reason = fault.name(),
            status = error.status().as_u16(),
            omitted,
            "the upstream {} {error}",
            self.address
        );
    }
}

/// The error, or [`ForwardError::Memory`] if the request's body was aborted for lack of memory.
fn cause(error: ForwardError, progress: Option<&Progress>) -> ForwardError {
    match error {
        ForwardError::Client if progress.is_some_and(Progress::is_refused) => ForwardError::Memory,
        error => error,
    }
}
