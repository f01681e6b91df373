//! A listening socket that can refuse or ignore clients while it keeps its port.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tracing::warn;

use crate::env::BindAddress;
use crate::fault::Cut;

/// Length of the accept queue.
const BACKLOG: i32 = 1024;

/// Kernel buffer size per connection and direction, in bytes.
const KERNEL_BUFFER: usize = 16 << 10;

/// Kernel buffer size for connections of an upstream, whose bodies are large: with less than two loopback segments of
/// 64 KiB in flight, each would wait 40 ms for a delayed acknowledgement.
pub(crate) const LARGE_KERNEL_BUFFER: usize = 96 << 10;

/// Idle time before the kernel probes whether the client is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// An address that cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

/// A bound socket and its listening state.
#[derive(Debug)]
pub struct PartitionedListener {
    /// `None` only during a change of state. Each change registers the socket with tokio again, because tokio
    /// remembers a shutdown forever.
    listener: Option<TcpListener>,
    local: SocketAddr,
    state: ListenerState,
    /// Whether an application listens on all addresses of the port: a socket that is closed would leave clients to it.
    is_beside_another: bool,
}

#[derive(Debug)]
enum ListenerState {
    Open,
    /// A connection of our own fills the accept queue, so the kernel drops the packets of new clients.
    Dropping(Option<Socket>),
    Refusing,
}

impl PartitionedListener {
    /// Binds the address. With `open`, new connections are queued from now on. Otherwise they are refused until
    /// [`set`](Self::set) opens the listener.
    pub fn bind(address: BindAddress, open: bool) -> Result<Self, BindError> {
        let mut last = None;
        for candidate in candidates(address) {
            match Self::bind_to(candidate, open) {
                Ok(bound) => return Ok(bound),
                Err(source) => {
                    let no_ipv6 = candidate.is_ipv6() && is_unsupported(&source);
                    last = Some(BindError { address: candidate, source });
                    if !no_ipv6 {
                        break;
                    }
                }
            }
        }
        Err(last.unwrap_or_else(|| BindError {
            address: SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port),
            source: io::ErrorKind::AddrNotAvailable.into(),
        }))
    }

    fn bind_to(address: SocketAddr, open: bool) -> io::Result<Self> {
        let (listener, local) = bind(address)?;
        let mut bound =
            Self { listener: Some(listener), local, state: ListenerState::Open, is_beside_another: false };
        if !open {
            // A SYN that arrives during the change may be lost. The client's kernel repeats it after a second.
            bound.refuse()?;
        }
        Ok(bound)
    }

    /// Serves a socket that listens on an address, while an application listens on all addresses of its port. Call it
    /// within a runtime.
    ///
    /// # Errors
    ///
    /// The socket cannot be registered with the runtime.
    pub(crate) fn adopt(socket: Socket) -> io::Result<Self> {
        let local = local_addr(&socket)?;
        let listener = Some(TcpListener::from_std(socket.into())?);
        Ok(Self { listener, local, state: ListenerState::Open, is_beside_another: true })
    }

    /// Enlarges the buffers of new connections for large bodies.
    pub fn enlarge_buffers(&self) {
        if let Some(listener) = &self.listener {
            let socket = SockRef::from(listener);
            // On failure, bodies are only slower.
            let _ = socket.set_recv_buffer_size(LARGE_KERNEL_BUFFER);
            let _ = socket.set_send_buffer_size(LARGE_KERNEL_BUFFER);
        }
    }

    /// The address it is bound to.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Applies a partition that cuts all connections, or ends it.
    pub fn set(&mut self, cut: Option<Cut>) -> io::Result<()> {
        // Each connection is reset instead, once it is accepted.
        let cut = cut.filter(|cut| *cut != Cut::Refuse || !self.is_beside_another);
        match (cut, &self.state) {
            // A connection must be accepted before it can be reset.
            (None | Some(Cut::Reset), ListenerState::Open)
            | (Some(Cut::Drop), ListenerState::Dropping(_))
            | (Some(Cut::Refuse), ListenerState::Refusing) => Ok(()),
            (None | Some(Cut::Reset), _) => self.open(),
            (Some(Cut::Drop), _) => self.ignore(),
            (Some(Cut::Refuse), _) => self.refuse(),
        }
    }

    /// Closes the socket for good.
    pub(super) fn close(&mut self) {
        self.listener = None;
    }

    /// Whether it accepts.
    pub fn is_open(&self) -> bool {
        matches!(self.state, ListenerState::Open)
    }

    /// Accepts the next connection. Waits forever while the listener is not open.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        match &self.listener {
            Some(listener) if self.is_open() => listener.accept().await,
            _ => std::future::pending().await,
        }
    }

    fn open(&mut self) -> io::Result<()> {
        // Close it first, so that the filler has ended when it is accepted from the queue.
        if let ListenerState::Dropping(filler) = &mut self.state {
            filler.take();
        }
        self.reregister(|socket| {
            // `listen` claims the port again, which connections in TIME_WAIT would prevent.
            socket.set_reuse_address(true)?;
            socket.listen(BACKLOG)
        })?;
        self.state = ListenerState::Open;
        Ok(())
    }

    fn ignore(&mut self) -> io::Result<()> {
        self.reregister(|socket| {
            socket.set_reuse_address(true)?;
            socket.listen(0)
        })?;
        let filler = fill(self.local);
        if let Err(error) = &filler {
            warn!(%error, "the accept queue could not be filled; one connection may get through the partition");
        }
        self.state = ListenerState::Dropping(filler.ok());
        Ok(())
    }

    fn refuse(&mut self) -> io::Result<()> {
        self.reregister(|socket| {
            // Two sockets with this option may share a port while neither listens.
            socket.set_reuse_address(false)?;
            socket.shutdown(std::net::Shutdown::Read)
        })?;
        self.state = ListenerState::Refusing;
        Ok(())
    }

    fn reregister(&mut self, change: impl FnOnce(&Socket) -> io::Result<()>) -> io::Result<()> {
        let Some(listener) = self.listener.take() else { return Err(io::ErrorKind::NotConnected.into()) };
        let socket = Socket::from(listener.into_std()?);
        let result = change(&socket);
        self.listener = Some(TcpListener::from_std(socket.into())?);
        result
    }
}

/// The addresses to try. Without an IP: IPv6, which includes IPv4, then IPv4.
fn candidates(address: BindAddress) -> Vec<SocketAddr> {
    let ips: Vec<IpAddr> = match address.ip {
        Some(ip) => vec![ip],
        None => vec![Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()],
    };
    ips.into_iter().map(|ip| SocketAddr::new(ip, address.port)).collect()
}

fn is_unsupported(error: &io::Error) -> bool {
    // EAFNOSUPPORT without IPv6 in the kernel, EADDRNOTAVAIL if it is disabled.
    matches!(error.raw_os_error(), Some(97)) || error.kind() == io::ErrorKind::AddrNotAvailable
}

fn bind(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = bound(address)?;
    let mut local = local_addr(&socket)?;
    let socket = if address.port() == 0 {
        // The kernel keeps a port through `refuse` only if it was requested by number.
        drop(socket);
        let socket = bound(local)?;
        local = local_addr(&socket)?;
        socket
    } else {
        socket
    };
    listen(&socket)?;
    Ok((TcpListener::from_std(socket.into())?, local))
}

/// Listens. This also fails if the port is in use, which a bind with `SO_REUSEADDR` may not detect.
pub(crate) fn listen(socket: &Socket) -> io::Result<()> {
    socket.listen(BACKLOG)
}

fn bound(address: SocketAddr) -> io::Result<Socket> {
    let socket = unbound(address)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// A socket for a listener on `address`.
pub(crate) fn unbound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // A specific IPv6 address has no IPv4 side.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    // Accepted sockets inherit both. A client that vanished without a FIN is detected after two minutes.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 6))?;
    // Limits kernel memory for clients that do not read, and for input that we do not read. The kernel doubles both
    // values.
    socket.set_recv_buffer_size(KERNEL_BUFFER)?;
    socket.set_send_buffer_size(KERNEL_BUFFER)?;
    socket.set_reuse_address(true)?;
    Ok(socket)
}

fn local_addr(socket: &Socket) -> io::Result<SocketAddr> {
    socket.local_addr()?.as_socket().ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// Connects to the listener to occupy the only place that a backlog of 0 leaves.
fn fill(local: SocketAddr) -> io::Result<Socket> {
    let loopbacks: &[IpAddr] = match local.ip() {
        ip if !ip.is_unspecified() => &[ip],
        IpAddr::V4(_) => &[IpAddr::V4(Ipv4Addr::LOCALHOST)],
        // Loopback may have no IPv6 even if the kernel supports it.
        IpAddr::V6(_) => &[IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::LOCALHOST)],
    };
    let mut result = Err(io::ErrorKind::AddrNotAvailable.into());
    for ip in loopbacks {
        result = connect(SocketAddr::new(*ip, local.port()));
        if result.is_ok() {
            break;
        }
    }
    result
}

fn connect(to: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(EINPROGRESS) => Err(error),
        _ => Ok(socket),
    }
}

/// Error code of a connection attempt that continues in the background.
const EINPROGRESS: i32 = 115;

/// Makes closing `stream` send a reset.
pub(crate) fn reset_on_close(stream: &TcpStream) {
    // Fails only if the connection has already ended.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn accepted_sockets_have_nodelay_and_keepalive() {
        let listener = PartitionedListener::bind(BindAddress { ip: None, port: 0 }, true).unwrap();
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, listener.local_addr().port()));
        let (client, accepted) = tokio::join!(TcpStream::connect(to), listener.accept());
        let (accepted, peer) = accepted.unwrap();
        assert_eq!(peer.port(), client.unwrap().local_addr().unwrap().port());
        let socket = SockRef::from(&accepted);
        assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE);
    }

    #[tokio::test]
    async fn an_ipv4_address_binds_only_ipv4() {
        let listener =
            PartitionedListener::bind(BindAddress { ip: Some(Ipv4Addr::LOCALHOST.into()), port: 0 }, true)
                .unwrap();
        assert!(listener.local_addr().is_ipv4());
    }

    #[tokio::test]
    async fn a_listener_that_is_bound_closed_refuses_until_it_is_opened() {
        let loopback = Some(Ipv4Addr::LOCALHOST.into());
        let mut listener = PartitionedListener::bind(BindAddress { ip: loopback, port: 0 }, false).unwrap();
        let refused = TcpStream::connect(listener.local_addr()).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        listener.set(None).unwrap();
        assert!(listener.is_open());
        TcpStream::connect(listener.local_addr()).await.unwrap();
    }
}
