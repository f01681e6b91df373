//! One connection, from accept to close.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

use super::TcpProxy;
use super::faults::{Faults, ProxyRules};
use super::relay::{Ended, Relay};
use crate::clock::Sleep;
use crate::fault::Stream;
use crate::listener::budget::Reservation;
use crate::listener::{self, Conditions, ProcessStage};
use crate::proxy::connect;
use crate::proxy::error::ForwardError;
use crate::proxy::stream::UpstreamStream;
use crate::telemetry::metrics::ConnectionResult;

/// How often to check whether the peers of a connection that hangs are still there.
const PEER_CHECK: Duration = Duration::from_secs(5);

/// Serves one connection.
pub(super) async fn serve(client: TcpStream, peer: SocketAddr, proxy: Arc<TcpProxy>, _memory: Reservation) {
    let open = CountOpen::new(&proxy);
    let faults = Faults::new(&proxy, peer.ip());
    let (rules, conditions) = (proxy.rules.clone(), proxy.conditions.clone());
    let result = Connection { proxy: &proxy, faults, rules, conditions }.run(client, peer).await;
    debug!(proxy = %proxy.name, %peer, result = result.name(), "a connection has ended");
    proxy.metrics.ended(result);
    drop(open);
}

/// Counts an open connection. The last one frees the spare buffers.
struct CountOpen<'a>(&'a TcpProxy);

impl<'a> CountOpen<'a> {
    fn new(proxy: &'a TcpProxy) -> Self {
        proxy.metrics.listener().add_connections(1);
        Self(proxy)
    }
}

impl Drop for CountOpen<'_> {
    fn drop(&mut self) {
        let listener = self.0.metrics.listener();
        listener.add_connections(-1);
        if listener.connections() == 0 {
            self.0.shared.buffers.clear();
        }
    }
}

/// Connects to the upstream.
async fn connect_upstream(client: &TcpStream, proxy: &TcpProxy) -> Result<UpstreamStream, ForwardError> {
    let (upstream, options) = (proxy.upstream(), proxy.shared.options);
    let (place, own, time) = (&upstream.place, &proxy.shared.own, options.connect_timeout);
    let reached = client.local_addr().ok().map(|address| address.ip());
    let source = connect::source(options.source, place, reached);
    // Boxed, so that the future of the connection stays small.
    match &upstream.tls {
        None => Box::pin(connect::connect(place, source, own, time)).await,
        Some(tls) => {
            let connected = Box::pin(connect::connect_tls(place, source, own, time, (tls, &[]))).await;
            connected.map(|(stream, _)| stream)
        }
    }
}

/// A connection in progress.
struct Connection<'a> {
    proxy: &'a TcpProxy,
    faults: Faults,
    rules: watch::Receiver<Arc<ProxyRules>>,
    conditions: watch::Receiver<Conditions>,
}

impl Connection<'_> {
    async fn run(&mut self, client: TcpStream, peer: SocketAddr) -> ConnectionResult {
        if let Some(result) = self.begin(&client).await {
            return result;
        }
        let proxy = self.proxy;
        match connect_upstream(&client, proxy).await {
            Ok(upstream) => self.relay(Relay::new(UpstreamStream::Tcp(client), upstream)).await,
            Err(error) => {
                if let Some(fault) = error.fault() {
                    proxy.upstream_metrics.fault(fault);
                }
                warn!(proxy = %proxy.name, %peer, upstream = %proxy.upstream().place, "the upstream {error}");
                // The client could take an orderly close for an answer of the upstream.
                listener::reset_on_close(&client);
                ConnectionResult::UpstreamError
            }
        }
    }

    /// Waits while rules hang both streams. Returns the result if the connection ends before the upstream is connected.
    async fn begin(&mut self, client: &TcpStream) -> Option<ConnectionResult> {
        loop {
            let rules = self.rules.borrow_and_update().clone();
            self.faults.decide(self.proxy, &rules, None);
            let now = self.proxy.shared.engine.elapsed();
            if let Some(is_reset) = self.faults.ends(now) {
                self.faults.confirm(&self.proxy.shared.engine, &rules, now, None);
                if is_reset {
                    listener::reset_on_close(client);
                } else {
                    listener::linger_bare(client).await;
                }
                return Some(ConnectionResult::Fault);
            }
            if !Stream::ALL.into_iter().all(|stream| self.faults.hangs(stream, now)) {
                return None;
            }
            self.faults.confirm(&self.proxy.shared.engine, &rules, now, None);
            if let Some(result) = self.wait(now).await {
                return Some(result);
            }
            if matches!(client.take_error(), Ok(Some(_)) | Err(_)) {
                return Some(ConnectionResult::ClientReset);
            }
        }
    }

    /// Relays bytes until the connection ends.
    async fn relay(&mut self, mut relay: Relay) -> ConnectionResult {
        let mut rules = self.rules.borrow_and_update().clone();
        let mut sleep: Option<Sleep> = None;
        self.faults.decide(self.proxy, &rules, Some(&mut relay));
        let ended = loop {
            let now = self.proxy.shared.engine.elapsed();
            if let Some(is_reset) = self.faults.ends(now) {
                self.faults.confirm(&self.proxy.shared.engine, &rules, now, None);
                if is_reset {
                    relay.reset();
                    return ConnectionResult::Fault;
                }
                break Ended::Closed;
            }
            for stream in Stream::ALL {
                relay.pipe(stream).hang(self.faults.hangs(stream, now));
            }
            self.faults.confirm(&self.proxy.shared.engine, &rules, now, None);
            let proxy = self.proxy;
            let poll = poll_fn(|cx| {
                loop {
                    if let Poll::Ready(ended) = relay.poll(cx, proxy) {
                        return Poll::Ready(ended);
                    }
                    let Some(at) = relay.wakes_at() else { return Poll::Pending };
                    let at = proxy.shared.engine.instant(at);
                    let sleep = sleep.get_or_insert_with(|| proxy.shared.timer.sleep_until(at));
                    if sleep.deadline() != at {
                        sleep.reset(at);
                    }
                    ready!(Pin::new(sleep).poll(cx));
                }
            });
            tokio::select! {
                biased;
                result = self.wait(now) => {
                    if let Some(result) = result {
                        break Ended::Result(result);
                    }
                }
                ended = poll => break ended,
            }
            if self.rules.has_changed().is_ok_and(|has| has) {
                rules = self.rules.borrow_and_update().clone();
                self.faults.decide(self.proxy, &rules, Some(&mut relay));
            }
            if relay.is_broken() {
                break Ended::Result(ConnectionResult::ClientReset);
            }
        };
        match ended {
            Ended::Truncated(_) | Ended::Closed => {
                if let Ended::Truncated(stream) = ended {
                    self.faults.confirm(
                        &self.proxy.shared.engine,
                        &rules,
                        self.proxy.shared.engine.elapsed(),
                        Some(stream),
                    );
                }
                if let Some(client) = relay.client.tcp() {
                    listener::linger_bare(client).await;
                }
                ConnectionResult::Fault
            }
            Ended::Result(result) => {
                if matches!(result, ConnectionResult::ClientReset | ConnectionResult::UpstreamReset) {
                    // The other peer gets a reset as well.
                    relay.reset();
                }
                result
            }
        }
    }

    /// Waits until a change affects the whole connection. Returns the result if that ends the connection.
    async fn wait(&mut self, now: Duration) -> Option<ConnectionResult> {
        let engine = &self.proxy.shared.engine;
        let until = match self.conditions.borrow_and_update().stage {
            ProcessStage::Draining(until) => Some(until),
            ProcessStage::Running | ProcessStage::Leaving | ProcessStage::HandingOver => None,
        };
        let check =
            Stream::ALL.into_iter().any(|stream| self.faults.hangs(stream, now)).then_some(now + PEER_CHECK);
        let next = [self.faults.next(now), check].into_iter().flatten().min();
        let next = next.map(|at| engine.instant(at));
        tokio::select! {
            biased;
            changed = self.conditions.changed() => changed.is_err().then_some(ConnectionResult::Drained),
            changed = self.rules.changed() => {
                // The caller checks for the change again.
                self.rules.mark_changed();
                changed.is_err().then_some(ConnectionResult::Drained)
            }
            () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {
                Some(ConnectionResult::Drained)
            }
            () = self.proxy.shared.timer.sleep_until_some(next), if next.is_some() => None,
        }
    }
}
