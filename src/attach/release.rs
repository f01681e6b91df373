//! Gives the port back without losing a connection.

use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use socket2::{SockFilter, Socket};
use tokio::time::{Instant, sleep};

use super::diagnosis::{Diagnosis, HANDSHAKE, LISTEN};

/// Time limit for handshakes that have begun: that of a client with a slow network.
const HANDSHAKES: Duration = Duration::from_millis(300);

/// Time limit for accepting the connections that wait.
const QUEUE: Duration = Duration::from_secs(1);

/// Interval between two looks at the sockets.
const PAUSE: Duration = Duration::from_millis(5);

/// Time limit for the connection that shows who listens.
const CONNECT: Duration = Duration::from_secs(1);

/// The listening sockets, which can be closed while the service holds them.
#[derive(Debug)]
pub struct Release(Mutex<Vec<Socket>>);

/// Who gets the next connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextConnection {
    /// The application.
    Application,
    /// Nobody: it is refused, or not answered.
    Refused,
}

impl NextConnection {
    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Application => "application",
            Self::Refused => "refused",
        }
    }

    /// Connects to `address`, where this process no longer listens. Blocks for a second at most.
    pub fn of(address: SocketAddr) -> Self {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(_) => Self::Application,
            Err(_) => Self::Refused,
        }
    }
}

impl Release {
    /// `copies` are those of the listening sockets.
    pub fn new(copies: Vec<Socket>) -> Self {
        Self(Mutex::new(copies))
    }

    fn sockets(&self) -> MutexGuard<'_, Vec<Socket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the sockets at once: the application must find its port free.
    pub fn close(&self) {
        for socket in self.sockets().drain(..) {
            // Closing alone would wait for other threads that use the socket.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Lets the application take new connections, waits until the service has accepted those that have begun, and closes
    /// the sockets.
    pub async fn hand_over(&self) {
        let addresses: Vec<SocketAddr> =
            self.sockets().iter().filter_map(|socket| socket.local_addr().ok()?.as_socket()).collect();
        for socket in &*self.sockets() {
            // Connections from outside the Pod come in through other interfaces, and find the application's socket now.
            // Handshakes that have begun still end here. It needs no right, but Linux 5.7.
            let _ = socket.bind_device(Some(b"lo"));
        }
        let is_ours = |local: &SocketAddr| {
            addresses.contains(&SocketAddr::new(local.ip().to_canonical(), local.port()))
        };
        let count = |states: u32, queued: fn(u32) -> u32| {
            let sockets =
                addresses.first().and_then(|at| Diagnosis::open().ok()?.sockets(at.port(), states).ok());
            let ours = sockets.unwrap_or_default().into_iter().filter(|socket| is_ours(&socket.local));
            ours.map(|socket| queued(socket.queued)).sum::<u32>()
        };
        until(HANDSHAKES, || count(HANDSHAKE, |_| 1) == 0).await;
        for socket in &*self.sockets() {
            // A client within the Pod tries again after a second.
            let _ = socket.attach_filter(&WITHOUT_BEGINNINGS);
        }
        until(QUEUE, || count(LISTEN, |queued| queued) == 0).await;
        self.close();
    }
}

/// Waits until `is_over`, for `limit` at most.
async fn until(limit: Duration, is_over: impl Fn() -> bool) {
    let end = Instant::now() + limit;
    while !is_over() && Instant::now() < end {
        sleep(PAUSE).await;
    }
}

/// A program for the kernel that drops the first packet of each handshake (`SYN` without `ACK`) and passes all others.
const WITHOUT_BEGINNINGS: [SockFilter; 5] = [
    // The flags of the TCP header.
    SockFilter::new(0x30, 0, 0, 13),
    SockFilter::new(0x54, 0, 0, 0x12),
    SockFilter::new(0x15, 0, 1, 0x02),
    SockFilter::new(0x06, 0, 0, 0),
    SockFilter::new(0x06, 0, 0, u32::MAX),
];
