//! One connection, from accept to close.

mod drivers;
mod refusal;
mod tls;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::Conditions;
use super::budget::{Reservation, Share};
use super::counted::Counted;
use super::driver::{Driver, Event, peer_closed};
use super::perform::linger;
use super::socket::Socket;
use super::state::ConnectionState;
use super::{ConnectionHandle, Faulted, Service, Stage};
use crate::fault::Cut;
use crate::telemetry::metrics::Limit;
use refusal::Refusal;

/// How long a connection is idle before hyper and its buffers are let go, to be had anew for the next request.
const REST: Duration = Duration::from_secs(1);

/// The answer to a client that takes too long over its head.
const REQUEST_TIMEOUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// How long a client of HTTP/2 may take to close a connection that takes no further request.
const GOODBYE_TIME: Duration = Duration::from_secs(1);

/// What happens to a connection next.
enum Disposition {
    GoesOn,
    Closes,
    Resets,
}

/// Serves one connection, `counted` for as long. Not a future around this one: each level would have the room for all
/// below it twice.
pub(super) async fn serve(
    socket: TcpStream,
    state: Arc<ConnectionState>,
    service: Arc<Service>,
    _idle: Reservation,
    _counted: Counted,
) {
    let mut connection = Connection {
        socket: Arc::new(Socket::new(socket)),
        state,
        service,
        request: None,
        tls: None,
        frozen: None,
        counted_cut: None,
        endless: false,
        ends_at: None,
    };
    let handle = ConnectionHandle { connection: connection.state.clone(), stream: None };
    let disposition = handle.serves(connection.run()).await;
    match disposition {
        Disposition::Resets => connection.socket.reset_on_close(),
        _ => connection.socket.notify(),
    }
}

struct Connection {
    socket: Arc<Socket>,
    state: Arc<ConnectionState>,
    service: Arc<Service>,
    /// Memory of its requests, while it is not idle.
    request: Option<Reservation>,
    /// Memory of TLS, where that is spoken.
    tls: Option<Reservation>,
    /// Since when a partition silences it.
    frozen: Option<Instant>,
    /// The rule that last cut it, so that each counts a connection once.
    counted_cut: Option<usize>,
    /// Whether a script that never ends is running.
    endless: bool,
    /// When it ends at the latest, once it takes no further request.
    ends_at: Option<Instant>,
}

impl Connection {
    async fn run(&mut self) -> Disposition {
        let mut conditions = self.service.conditions.clone();
        match self.obey_link() {
            Disposition::GoesOn => {}
            disposition => return disposition,
        }
        let mut driver = Driver::New { seen: 0 };
        let mut timer = pin!(sleep(REST.min(self.service.limits.idle_time).min(self.service.first_request)));
        loop {
            let Conditions { stage, is_stopped, .. } = *conditions.borrow_and_update();
            if is_stopped && self.endless {
                // The rule that holds the request is out of force.
                return self.ends();
            }
            if let Stage::Draining(until) = stage {
                if self.is_hopeless(until)
                    || matches!(driver, Driver::New { .. } | Driver::Handshake | Driver::Idle(_))
                {
                    return self.ends();
                }
                self.says_goodbye(&mut driver, until);
                timer.as_mut().reset(self.next_check(&driver));
            }
            let frozen = self.frozen.is_some();
            tokio::select! {
                biased;
                changed = conditions.changed() => {
                    if changed.is_err() {
                        return self.ends();
                    }
                    match self.obey_link() {
                        Disposition::GoesOn => {}
                        disposition => return disposition,
                    }
                }
                event = driver.drive(&self.socket, &self.state, &self.service.metrics), if !frozen => match event {
                    event @ (Event::Http1 | Event::Http2 | Event::Tls | Event::Handshake(_)) => {
                        match self.begins(event) {
                            Ok(begun) => driver = begun,
                            Err(refusal) => return self.refuses(refusal).await,
                        }
                        let next = self.next_check(&driver);
                        if next < timer.deadline() {
                            timer.as_mut().reset(next);
                        }
                    }
                    Event::Takeover(takeover) => driver = self.taken_over(driver, takeover),
                    Event::OutOfMemory => {
                        let is_http2 = matches!(driver, Driver::Http2(_));
                        drop(driver);
                        return self.refuses(Refusal::Memory { is_http2 }).await;
                    }
                    Event::ClientGone => return Disposition::Closes,
                    Event::Head => timer.as_mut().reset(self.next_check(&driver)),
                    Event::Admission => match self.obey_link() {
                        Disposition::GoesOn => {}
                        disposition => return disposition,
                    },
                    Event::Flood => {
                        self.service.metrics.limit(Limit::Http2Flood);
                        return self.ends();
                    }
                    Event::Done { lingers } => {
                        if let Some(tunnelled) = self.tunnelled(driver) {
                            driver = tunnelled;
                            continue;
                        }
                        if lingers {
                            linger(&self.socket).await;
                        }
                        return Disposition::Closes;
                    }
                },
                () = peer_closed(self.socket.tcp()), if frozen => return Disposition::Closes,
                () = &mut timer => {
                    let now = Instant::now();
                    if self.is_over(now, stage) {
                        return self.ends();
                    }
                    match self.state.deadline(&self.service.limits, self.service.first_request) {
                        Some((deadline, limit)) if deadline <= now && !frozen => {
                            if !self.spares(&mut driver, limit, now) {
                                return self.times_out(driver, limit).await;
                            }
                        }
                        // A client that has ended its side shows in no other way that it has vanished.
                        _ if self.state.may_half_close() && matches!(self.socket.tcp().take_error(), Ok(Some(_)) | Err(_)) => {
                            return Disposition::Closes;
                        }
                        _ => {
                            if self.state.rests_since(now - REST) {
                                driver = self.rest(driver);
                            }
                        }
                    }
                    timer.as_mut().reset(self.next_check(&driver));
                }
            }
        }
    }

    /// When to look at the client's time again. Phases change without a word to the timer, but for the begin of a head.
    fn next_check(&self, driver: &Driver) -> Instant {
        let limits = &self.service.limits;
        let is_told = self.ends_at.is_some();
        let deadline = self.state.deadline(limits, self.service.first_request).filter(|(_, limit)| {
            // A client that is told that the connection ends has until `ends_at`.
            self.frozen.is_none() && !(is_told && *limit == Limit::IdleTime)
        });
        let mut next = deadline.map_or_else(|| Instant::now() + limits.idle_time, |(deadline, _)| deadline);
        if let Driver::Http1(_) = driver {
            next = next.min(Instant::now() + REST);
        }
        self.ends_at.map_or(next, |at| next.min(at))
    }

    /// Whether the time is over that a connection has which takes no further request.
    fn is_over(&mut self, now: Instant, stage: Stage) -> bool {
        if self.ends_at.is_none_or(|at| at > now) {
            return false;
        }
        let is_over = matches!(stage, Stage::Draining(_)) || self.state.has_no_stream();
        if !is_over {
            // A request was on its way when the client was told.
            self.ends_at = Some(now + GOODBYE_TIME);
        }
        is_over
    }

    /// Takes no further request, and ends at `until` at the latest.
    fn says_goodbye(&mut self, driver: &mut Driver, until: Instant) {
        driver.drain();
        // A client of HTTP/2 is asked whether it has heard, and has no more to wait for.
        let until = if self.state.has_no_stream() { until.min(Instant::now() + GOODBYE_TIME) } else { until };
        self.ends_at = Some(self.ends_at.map_or(until, |at| at.min(until)));
    }

    /// Whether a connection of HTTP/2 goes on after a limit, which concerns some of its streams, or is told to the client
    /// in advance.
    fn spares(&mut self, driver: &mut Driver, limit: Limit, now: Instant) -> bool {
        let Driver::Http2(http2) = driver else { return false };
        match limit {
            Limit::WriteTime if !self.state.is_stalled() => {
                self.service.metrics.limit(limit);
                http2.reset_stalled(now - self.service.limits.idle_time);
                true
            }
            Limit::IdleTime if self.ends_at.is_none() => {
                self.service.metrics.limit(limit);
                self.says_goodbye(driver, now + GOODBYE_TIME);
                true
            }
            // It has been told, and `ends_at` sees to the rest.
            Limit::IdleTime => true,
            _ => false,
        }
    }

    /// Reserves memory for the requests of a connection that was idle. Where only the kubelet's share is left, others
    /// are refused once they have said who they are.
    fn reserve_request(&mut self, bytes: usize) -> bool {
        let budget = self.state.budget();
        self.request = budget.try_reserve(bytes, self.state.share());
        self.state.set_only_kubelet(self.request.is_none());
        if self.request.is_none() {
            self.request = budget.reserve(bytes, Share::Reserved);
        }
        self.request.is_some()
    }

    /// Does what the partition in force says of this connection.
    fn obey_link(&mut self) -> Disposition {
        let Some(Faulted { engine, listener }) = &self.service.faulted else { return Disposition::GoesOn };
        let active = engine.active();
        let peer = self.state.peer().ip();
        let cut = active.plan.cut(*listener, engine.elapsed(), peer, self.state.client());
        if let Some(cut) = cut
            && self.counted_cut.replace(cut.rule) != Some(cut.rule)
        {
            active.count_cut(cut.rule);
        }
        match cut.map(|cut| cut.cut) {
            Some(Cut::Drop) => {
                self.frozen.get_or_insert_with(Instant::now);
                Disposition::GoesOn
            }
            Some(Cut::Refuse | Cut::Reset) => {
                self.state.end_by_server();
                Disposition::Resets
            }
            None => {
                self.counted_cut = None;
                if let Some(since) = self.frozen.take() {
                    self.state.forgive(since.elapsed());
                }
                self.state.admit();
                Disposition::GoesOn
            }
        }
    }

    /// Whether a drain that ends at `until` cannot see the end of what the connection is at.
    fn is_hopeless(&self, until: Instant) -> bool {
        self.frozen.is_some() || self.endless || self.state.waits_beyond(until)
    }

    fn ends(&self) -> Disposition {
        self.state.end_by_server();
        Disposition::Closes
    }

    async fn times_out(&self, driver: Driver, limit: Limit) -> Disposition {
        self.service.metrics.limit(limit);
        self.state.end_by_server();
        let is_http2 = matches!(driver, Driver::Http2(_));
        let is_handshake = matches!(driver, Driver::Handshake);
        drop(driver);
        match limit {
            Limit::HeadTime if is_handshake => {
                self.socket.silence();
                Disposition::Closes
            }
            Limit::HeadTime if !is_http2 => {
                self.socket.try_write(REQUEST_TIMEOUT);
                linger(&self.socket).await;
                Disposition::Closes
            }
            // Whoever takes nothing would not see a FIN before the answer it does not read.
            Limit::WriteTime => Disposition::Resets,
            _ => Disposition::Closes,
        }
    }
}
