//! One connection, from accept to close.

mod drivers;
mod refusal;
mod tls;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::Conditions;
use super::budget::{BudgetShare, Reservation};
use super::counted::CountedConnection;
use super::driver::{Driver, peer_closed};
use super::event::DriverEvent;
use super::perform::linger;
use super::socket::Socket;
use super::state::ConnectionState;
use super::{ConnectionHandle, ListenerFaults, ListenerService, ProcessStage};
use crate::fault::Cut;
use crate::telemetry::metrics::{HandshakeResult, Limit};
pub(super) use drivers::REQUEST_MEMORY;
use refusal::ConnectionRefusal;

/// Idle time after which hyper and its buffers are dropped. The next request creates new ones.
const IDLE_TIME: Duration = Duration::from_secs(1);

/// The answer to a client that sends its head too slowly.
const REQUEST_TIMEOUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Time for an HTTP/2 client to close a connection after GOAWAY.
const GOAWAY_TIME: Duration = Duration::from_secs(1);

/// What to do with a connection next.
enum Disposition {
    GoesOn,
    Closes,
    Resets,
}

/// Serves one connection and holds `counted` while it is open. One flat future: nested futures would each reserve
/// space for their inner ones twice.
pub(super) async fn serve(
    socket: TcpStream,
    state: Arc<ConnectionState>,
    service: Arc<ListenerService>,
    _idle: Reservation,
    _counted: CountedConnection,
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

/// The wait for a client to close its connection.
type ClientEnd = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Connection {
    socket: Arc<Socket>,
    state: Arc<ConnectionState>,
    service: Arc<ListenerService>,
    /// Memory of its requests while it is not idle.
    request: Option<Reservation>,
    /// Memory of TLS, if used.
    tls: Option<Reservation>,
    /// When a partition began to freeze it.
    frozen: Option<Instant>,
    /// The rule that last cut it, so that each rule counts a connection once.
    counted_cut: Option<usize>,
    /// Whether a script that never ends is running.
    endless: bool,
    /// Deadline, once it accepts no further request.
    ends_at: Option<Instant>,
}

impl Connection {
    async fn run(&mut self) -> Disposition {
        let mut conditions = self.service.conditions.clone();
        match self.apply_link() {
            Disposition::GoesOn => {}
            disposition => return disposition,
        }
        let mut driver = Driver::New { seen: 0 };
        let mut timer =
            pin!(sleep(IDLE_TIME.min(self.service.limits.idle_time).min(self.service.first_request)));
        // Boxed, and made only while it is frozen; the endings below are boxed, too. Otherwise each open connection would
        // reserve space for them.
        let mut client_end = None;
        loop {
            let Conditions { stage, is_stopped, .. } = *conditions.borrow_and_update();
            if is_stopped && self.endless {
                // The rule that holds the request was stopped.
                return self.ends();
            }
            if let ProcessStage::Draining(until) = stage {
                if self.outlasts(until) || driver.is_idle() {
                    return self.ends();
                }
                self.goes_away(&mut driver, until);
                timer.as_mut().reset(self.next_check(&driver));
            }
            let frozen = self.frozen.is_some();
            client_end = if frozen { client_end.or_else(|| Some(self.client_end())) } else { None };
            tokio::select! {
                biased;
                changed = conditions.changed() => {
                    if changed.is_err() {
                        return self.ends();
                    }
                    match self.apply_link() {
                        Disposition::GoesOn => {}
                        disposition => return disposition,
                    }
                }
                event = driver.drive(&self.socket, &self.state, &self.service), if !frozen => match event {
                    event @ (DriverEvent::Http1 | DriverEvent::Http2 | DriverEvent::Tls | DriverEvent::Handshake(_)) => {
                        match self.begins(event) {
                            Ok(begun) => driver = begun,
                            Err(refusal) => return Box::pin(self.refuses(refusal)).await,
                        }
                        let next = self.next_check(&driver);
                        if next < timer.deadline() {
                            timer.as_mut().reset(next);
                        }
                    }
                    DriverEvent::NotPlain(unread) => driver = self.not_plain(driver, unread),
                    DriverEvent::Rests => driver = self.rest(driver),
                    DriverEvent::Takeover(takeover) => driver = self.taken_over(driver, takeover),
                    DriverEvent::OutOfMemory => {
                        let is_http2 = matches!(driver, Driver::Http2(_));
                        drop(driver);
                        return Box::pin(self.refuses(ConnectionRefusal::Memory { is_http2 })).await;
                    }
                    DriverEvent::ClientGone => return Disposition::Closes,
                    DriverEvent::Head => timer.as_mut().reset(self.next_check(&driver)),
                    DriverEvent::Admission => match self.apply_link() {
                        Disposition::GoesOn => {}
                        disposition => return disposition,
                    },
                    DriverEvent::Flood => {
                        self.service.metrics.limit(Limit::Http2Flood);
                        return self.ends();
                    }
                    DriverEvent::Done { lingers } => {
                        if let Some(tunnelled) = self.tunnelled(driver) {
                            driver = tunnelled;
                            continue;
                        }
                        return if lingers { Box::pin(self.lingers()).await } else { Disposition::Closes };
                    }
                },
                Some(()) = ended(&mut client_end) => return Disposition::Closes,
                () = &mut timer => {
                    let now = Instant::now();
                    if self.is_over(now, stage) {
                        return self.ends();
                    }
                    match self.state.deadline(&self.service.limits, self.service.first_request) {
                        Some((deadline, limit)) if deadline <= now && !frozen => {
                            if !self.survives(&mut driver, limit, now) {
                                return Box::pin(self.times_out(driver, limit)).await;
                            }
                        }
                        // After a half-close, only probing can show that the client has vanished.
                        _ if self.state.may_half_close() && matches!(self.socket.tcp().take_error(), Ok(Some(_)) | Err(_)) => {
                            return Disposition::Closes;
                        }
                        _ => {
                            if self.state.rests_since(now - IDLE_TIME) {
                                driver = self.rest(driver);
                            }
                        }
                    }
                    timer.as_mut().reset(self.next_check(&driver));
                }
            }
        }
    }

    /// Waits until the client of a frozen connection has closed it.
    fn client_end(&self) -> ClientEnd {
        let socket = self.socket.clone();
        Box::pin(async move { peer_closed(socket.tcp()).await })
    }

    /// When to check the client's time limit next. Only the start of a head notifies the timer; other phase changes
    /// do not.
    fn next_check(&self, driver: &Driver) -> Instant {
        let limits = &self.service.limits;
        let is_told = self.ends_at.is_some();
        let deadline = self.state.deadline(limits, self.service.first_request).filter(|(_, limit)| {
            // After GOAWAY, a client has until `ends_at`.
            self.frozen.is_none() && !(is_told && *limit == Limit::IdleTime)
        });
        let mut next = deadline.map_or_else(|| Instant::now() + limits.idle_time, |(deadline, _)| deadline);
        if let Driver::Http1 { .. } | Driver::Plain(_) = driver {
            next = next.min(Instant::now() + IDLE_TIME);
        }
        self.ends_at.map_or(next, |at| next.min(at))
    }

    /// Whether a connection that accepts no further request has run out of time.
    fn is_over(&mut self, now: Instant, stage: ProcessStage) -> bool {
        if self.ends_at.is_none_or(|at| at > now) {
            return false;
        }
        let is_over = matches!(stage, ProcessStage::Draining(_)) || self.state.has_no_stream();
        if !is_over {
            // A request was on its way when GOAWAY was sent.
            self.ends_at = Some(now + GOAWAY_TIME);
        }
        is_over
    }

    /// Accepts no further request, and ends at `until` at the latest.
    fn goes_away(&mut self, driver: &mut Driver, until: Instant) {
        driver.drain();
        // PING shows whether an HTTP/2 client has received GOAWAY; there is no need to wait longer.
        let until = if self.state.has_no_stream() { until.min(Instant::now() + GOAWAY_TIME) } else { until };
        self.ends_at = Some(self.ends_at.map_or(until, |at| at.min(until)));
    }

    /// Whether an HTTP/2 connection survives a limit: the limit concerns only some streams, or the client is notified
    /// first.
    fn survives(&mut self, driver: &mut Driver, limit: Limit, now: Instant) -> bool {
        let Driver::Http2(http2) = driver else { return false };
        match limit {
            Limit::WriteTime if !self.state.is_stalled() => {
                self.service.metrics.limit(limit);
                http2.reset_stalled(now - self.service.limits.idle_time);
                true
            }
            Limit::IdleTime if self.ends_at.is_none() => {
                self.service.metrics.limit(limit);
                self.goes_away(driver, now + GOAWAY_TIME);
                true
            }
            // GOAWAY was sent; `ends_at` takes care of the rest.
            Limit::IdleTime => true,
            _ => false,
        }
    }

    /// Reserves memory for requests of a connection that was idle. If only the kubelet's share is left, other clients
    /// are rejected once their request identifies them.
    fn reserve_request(&mut self, bytes: usize) -> bool {
        let budget = self.state.budget();
        self.request = budget.try_reserve(bytes, self.state.share());
        self.state.set_only_kubelet(self.request.is_none());
        if self.request.is_none() {
            self.request = budget.reserve(bytes, BudgetShare::Unknown);
        }
        self.request.is_some()
    }

    /// Applies the partition in force to this connection.
    fn apply_link(&mut self) -> Disposition {
        let Some(ListenerFaults { engine, listener }) = &self.service.faulted else {
            return Disposition::GoesOn;
        };
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

    /// Whether the current request cannot finish before the drain deadline `until`.
    fn outlasts(&self, until: Instant) -> bool {
        self.frozen.is_some() || self.endless || self.state.waits_beyond(until)
    }

    fn ends(&self) -> Disposition {
        self.state.end_by_server();
        Disposition::Closes
    }

    /// Gives the client time to read its answer, without the memory of a request.
    async fn lingers(&mut self) -> Disposition {
        self.request = None;
        self.state.leaves();
        linger(&self.socket).await;
        Disposition::Closes
    }

    async fn times_out(&mut self, driver: Driver, limit: Limit) -> Disposition {
        self.service.metrics.limit(limit);
        self.state.end_by_server();
        let is_http2 = matches!(driver, Driver::Http2(_));
        let is_handshake = matches!(driver, Driver::Handshake);
        drop(driver);
        match limit {
            Limit::HeadTime if is_handshake => {
                self.service.metrics.tls().handshake(HandshakeResult::Late);
                self.socket.silence();
                Disposition::Closes
            }
            Limit::HeadTime if !is_http2 => {
                self.socket.try_write(REQUEST_TIMEOUT);
                self.lingers().await
            }
            // A client that reads nothing would not see a FIN before the unread answer.
            Limit::WriteTime => Disposition::Resets,
            _ => Disposition::Closes,
        }
    }
}

/// Waits for the client to close. `None` at once if nobody waits for that, which disables the branch of `select!`.
async fn ended(client_end: &mut Option<ClientEnd>) -> Option<()> {
    client_end.as_mut()?.await;
    Some(())
}
