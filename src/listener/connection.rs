//! One connection, from accept to close.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::Conditions;
use super::budget::{Reservation, Share};
use super::counted::Counted;
use super::driver::{Driver, Event, peer_closed};
use super::handle::{ConnectionState, Takeover};
use super::handler::Handler;
use super::partitioned::reset_on_close;
use super::perform::linger;
use super::script::Ending;
use super::stream::Stream;
use super::tunnel::ClientEnd;
use super::{ConnectionHandle, Service, Stage};
use crate::fault::{Cut, ListenerId};
use crate::telemetry::metrics::Limit;

/// How long a connection is idle before hyper and its buffers are let go, to be had anew for the next request.
const REST: Duration = Duration::from_secs(1);

/// After which silence a client is asked whether it is there, and how often: longer than Linux remembers connections whose
/// program has closed them.
const ASKS_AFTER: Duration = Duration::from_secs(75);
const ASKS_AGAIN: Duration = Duration::from_secs(15);

/// What hyper insists on as the least size of its buffer.
const LEAST_BUFFER: usize = 8192;

/// The answer to a client that takes too long over its head.
const REQUEST_TIMEOUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Memory of a connection with an ordinary request under way beyond that of an idle one, in bytes: hyper with its
/// buffers, the request, its answer, and the kernel's buffers.
const REQUEST_MEMORY: usize = 26 << 10;

/// The answer to a client for whose request no memory is left.
const UNAVAILABLE: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n";

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
        socket: Arc::new(socket),
        state,
        service,
        request: None,
        frozen: None,
        counted_cut: None,
        endless: false,
        drain_until: None,
    };
    if connection.service.transparent {
        keep_alive(&connection.socket);
    }
    let handle = ConnectionHandle(connection.state.clone());
    let disposition = handle.serves(connection.run()).await;
    if let Disposition::Resets = disposition {
        reset_on_close(&connection.socket);
    }
}

/// Has the kernel ask clients that say nothing whether they are there: one that has ended its side and vanished would wait
/// for ever for an upstream that does not answer.
fn keep_alive(socket: &TcpStream) {
    let asks = TcpKeepalive::new().with_time(ASKS_AFTER).with_interval(ASKS_AGAIN).with_retries(4);
    let _ = SockRef::from(socket).set_tcp_keepalive(&asks);
}

struct Connection {
    socket: Arc<TcpStream>,
    state: Arc<ConnectionState>,
    service: Arc<Service>,
    /// Memory of its requests, while it is not idle.
    request: Option<Reservation>,
    /// Since when a partition silences it.
    frozen: Option<Instant>,
    /// The rule that last cut it, so that each counts a connection once.
    counted_cut: Option<usize>,
    /// Whether a script that never ends is running.
    endless: bool,
    /// When a process on its way out stops waiting for it.
    drain_until: Option<Instant>,
}

impl Connection {
    async fn run(&mut self) -> Disposition {
        let mut conditions = self.service.conditions.clone();
        match self.obey_link() {
            Disposition::GoesOn => {}
            disposition => return disposition,
        }
        let mut driver = Driver::Idle { asked: false };
        let mut timer = pin!(sleep(REST.min(self.service.limits.idle_time).min(self.service.first_request)));
        loop {
            let Conditions { stage, is_stopped, .. } = *conditions.borrow_and_update();
            if is_stopped && self.endless {
                // The rule that holds the request is out of force.
                return self.ends();
            }
            if let Stage::Draining(until) = stage {
                if self.is_hopeless(until) || matches!(driver, Driver::Idle { .. }) {
                    return self.ends();
                }
                self.drain_until = Some(until);
                driver.drain();
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
                    Event::Input => {
                        if !self.reserve_request() {
                            return self.refuses_for_memory().await;
                        }
                        driver = self.http1(Bytes::new());
                        let next = self.next_check(&driver);
                        if next < timer.deadline() {
                            timer.as_mut().reset(next);
                        }
                    }
                    Event::Takeover(takeover) => {
                        self.endless = takeover.script.ending == Ending::Never;
                        // Dropping hyper drops the handler, whose request the script reports on from here.
                        driver = self.script(takeover);
                    }
                    Event::OutOfMemory => {
                        drop(driver);
                        return self.refuses_for_memory().await;
                    }
                    Event::ClientGone => return Disposition::Closes,
                    Event::Head => timer.as_mut().reset(self.next_check(&driver)),
                    Event::Admission => match self.obey_link() {
                        Disposition::GoesOn => {}
                        disposition => return disposition,
                    },
                    Event::Done { bad_request } => {
                        if let Some(tunnel) = self.state.take_tunnel()
                            && let Driver::Http1(connection) = driver
                        {
                            let unread = connection.into_parts().read_buf;
                            let client = ClientEnd { socket: self.socket.clone(), unread };
                            driver = Driver::Script(tunnel.run(client));
                            continue;
                        }
                        // A script has ended the connection itself; to linger would make a FIN of its reset.
                        let is_script = matches!(driver, Driver::Script(_));
                        drop(driver);
                        if bad_request || (!is_script && self.state.has_unread_body()) {
                            linger(&self.socket).await;
                        }
                        return Disposition::Closes;
                    }
                },
                () = peer_closed(&self.socket), if frozen => return Disposition::Closes,
                () = &mut timer => {
                    let now = Instant::now();
                    if matches!(stage, Stage::Draining(until) if until <= now) {
                        return self.ends();
                    }
                    match self.state.deadline(&self.service.limits, self.service.first_request) {
                        Some((deadline, limit)) if deadline <= now && !frozen => return self.times_out(driver, limit).await,
                        // A client that has ended its side shows in no other way that it has vanished.
                        _ if self.state.may_half_close() && matches!(self.socket.take_error(), Ok(Some(_)) | Err(_)) => {
                            return Disposition::Closes;
                        }
                        _ => {
                            if self.state.rests_since(now - REST) {
                                driver = self.rest(driver);
                                if let Driver::Idle { .. } = driver {
                                    self.request = None;
                                }
                            }
                            timer.as_mut().reset(self.next_check(&driver));
                        }
                    }
                }
            }
        }
    }

    /// When to look at the client's time again. Phases change without a word to the timer, but for the begin of a head.
    fn next_check(&self, driver: &Driver) -> Instant {
        let limits = &self.service.limits;
        let deadline =
            self.state.deadline(limits, self.service.first_request).filter(|_| self.frozen.is_none());
        let mut next = deadline.map_or_else(|| Instant::now() + limits.idle_time, |(deadline, _)| deadline);
        if let Driver::Http1(_) = driver {
            next = next.min(Instant::now() + REST);
        }
        self.drain_until.map_or(next, |until| next.min(until))
    }

    /// Lets hyper go. What it has read already of a request to come, another one reads again.
    fn rest(&self, driver: Driver) -> Driver {
        match driver {
            Driver::Http1(connection) => match connection.into_parts().read_buf {
                unread if unread.is_empty() => Driver::Idle { asked: true },
                unread => self.http1(unread),
            },
            other => other,
        }
    }

    fn http1(&self, unread: Bytes) -> Driver {
        let stream = Stream {
            socket: self.socket.clone(),
            state: self.state.clone(),
            unread,
            head: 0,
            buffered: None,
        };
        let handler = Handler { service: self.service.clone(), state: self.state.clone() };
        let size = self.service.limits.head_size;
        let connection = http1::Builder::new()
            .max_buf_size(size.max(LEAST_BUFFER))
            .max_header_size(size)
            // Its timer would go on in a frozen connection, and end idle ones by the limit of a head.
            .header_read_timeout(None)
            .preserve_header_case(self.service.transparent)
            .serve_connection(TokioIo::new(stream), handler);
        Driver::Http1(Box::new(connection))
    }

    fn script(&self, takeover: Takeover) -> Driver {
        let (socket, state) = (self.socket.clone(), self.state.clone());
        Driver::Script(Box::pin(
            async move { takeover.script.perform(&socket, &state, takeover.report).await },
        ))
    }

    /// Reserves memory for the requests of a connection that was idle. Where only the kubelet's share is left, others
    /// are refused once they have said who they are.
    fn reserve_request(&mut self) -> bool {
        let budget = self.state.budget();
        self.request = budget.try_reserve(REQUEST_MEMORY, self.state.share());
        self.state.set_only_kubelet(self.request.is_none());
        if self.request.is_none() {
            self.request = budget.reserve(REQUEST_MEMORY, Share::Reserved);
        }
        self.request.is_some()
    }

    async fn refuses_for_memory(&self) -> Disposition {
        self.state.end_by_server();
        let _ = self.socket.try_write(UNAVAILABLE);
        linger(&self.socket).await;
        Disposition::Closes
    }

    /// Does what the partition in force says of this connection.
    fn obey_link(&mut self) -> Disposition {
        let Some(engine) = &self.service.faulted else { return Disposition::GoesOn };
        let active = engine.active();
        let peer = self.state.peer().ip();
        let cut = active.plan.cut(ListenerId::Probe, engine.elapsed(), peer, self.state.client());
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
        drop(driver);
        match limit {
            Limit::HeadTime => {
                let _ = self.socket.try_write(REQUEST_TIMEOUT);
                linger(&self.socket).await;
                Disposition::Closes
            }
            // Whoever takes nothing would not see a FIN before the answer it does not read.
            Limit::WriteTime => Disposition::Resets,
            _ => Disposition::Closes,
        }
    }
}
