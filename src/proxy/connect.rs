//! Connections to an upstream.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream, UnixStream, lookup_host};
use tokio::time::timeout;

use super::error::ForwardError;
use super::own::OwnListeners;
use super::stream::UpstreamStream;
use crate::env::SourceAddress;
use crate::fault::{UpstreamHost, UpstreamPlace};
use crate::listener::LARGE_KERNEL_BUFFER;
use crate::order;
use crate::tls::{Connector, Negotiated};

/// The local address of a connection to the upstream; `None`: the system chooses it.
pub(super) type Source = Option<IpAddr>;

/// The local address of connections to an upstream, for a client that connected to `reached`. An application on loopback
/// may trust loopback clients, so clients from elsewhere must not appear to be local.
pub(super) fn source(choice: SourceAddress, place: &UpstreamPlace, reached: Option<IpAddr>) -> Source {
    match choice {
        SourceAddress::System => None,
        SourceAddress::Ip(ip) => Some(ip),
        SourceAddress::Reached => {
            place.loopback_port()?;
            reached.map(|ip| ip.to_canonical()).filter(|ip| !ip.is_loopback())
        }
    }
}

/// Connects and completes the TLS handshake within `time`, offering the protocols `alpn`. Returns the one that the upstream
/// chose.
pub(super) async fn connect_tls(
    place: &UpstreamPlace,
    source: Source,
    own: &OwnListeners,
    time: Duration,
    (tls, alpn): (&Connector, &[&str]),
) -> Result<(UpstreamStream, Negotiated), ForwardError> {
    let connected = async {
        match connected(place, source, own).await? {
            UpstreamStream::Tcp(tcp) => {
                // Boxed, so that the future stays small without TLS.
                let handshake = Box::pin(tls.connect(tcp, alpn)).await;
                let (stream, agreed) = handshake.map_err(|error| ForwardError::Tls(error.to_string()))?;
                Ok((UpstreamStream::Tls(Box::new(stream)), agreed))
            }
            other => Ok((other, Negotiated::Http1)),
        }
    };
    timeout(time, connected).await.map_err(|_| ForwardError::ConnectTimeout(time))?
}

/// Connects within `time`.
pub(super) async fn connect(
    place: &UpstreamPlace,
    source: Source,
    own: &OwnListeners,
    time: Duration,
) -> Result<UpstreamStream, ForwardError> {
    timeout(time, connected(place, source, own)).await.map_err(|_| ForwardError::ConnectTimeout(time))?
}

async fn connected(
    place: &UpstreamPlace,
    source: Source,
    own: &OwnListeners,
) -> Result<UpstreamStream, ForwardError> {
    match place {
        UpstreamPlace::Unix(path) => {
            UnixStream::connect(path).await.map(UpstreamStream::Unix).map_err(failure)
        }
        UpstreamPlace::Tcp(UpstreamHost::Ip(ip), port) => {
            tcp(SocketAddr::new(*ip, *port), source, own).await.map(UpstreamStream::Tcp)
        }
        UpstreamPlace::Tcp(UpstreamHost::Name(name), port) => {
            let mut addresses: Vec<SocketAddr> =
                lookup_host((name.as_str(), *port)).await.map_err(ForwardError::Dns)?.collect();
            // Try addresses of the source's family first.
            order::sort_by_key(&mut addresses, |address| {
                source.is_some_and(|source| source.is_ipv4() != address.is_ipv4())
            });
            let mut last = ForwardError::Dns(io::ErrorKind::NotFound.into());
            for address in addresses {
                match tcp(address, source, own).await {
                    Ok(stream) => return Ok(UpstreamStream::Tcp(stream)),
                    // Another address would only hide the mistake.
                    Err(error @ ForwardError::Own(_)) => return Err(error),
                    Err(error) => last = error,
                }
            }
            Err(last)
        }
    }
}

async fn tcp(address: SocketAddr, source: Source, own: &OwnListeners) -> Result<TcpStream, ForwardError> {
    if own.contain(address) {
        return Err(ForwardError::Own(address));
    }
    let socket =
        if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.map_err(failure)?;
    if let Some(source) = source {
        let source = of_family(source, address).ok_or(ForwardError::NoSource(source))?;
        socket.bind(SocketAddr::new(source, 0)).map_err(ForwardError::Unreachable)?;
    }
    // Limit the kernel's buffers, which grow to megabytes by default. A failure is harmless.
    let size = LARGE_KERNEL_BUFFER as u32;
    let _ = socket.set_recv_buffer_size(size).and_then(|()| socket.set_send_buffer_size(size));
    let stream = socket.connect(address).await.map_err(failure)?;
    // Requests are written in one piece; waiting for more data would only delay them.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// The source address, or another non-loopback address of this host if `address` is of the other family.
fn of_family(source: IpAddr, address: SocketAddr) -> Option<IpAddr> {
    if source.is_ipv4() == address.is_ipv4() {
        return Some(source);
    }
    own_address(address.is_ipv4())
}

/// A non-loopback address of this host.
pub(crate) fn own_address(is_ipv4: bool) -> Option<IpAddr> {
    // The source address that the system would use to reach another host. Nothing is sent.
    let (any, elsewhere): (IpAddr, IpAddr) = if is_ipv4 {
        (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into())
    } else {
        (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into())
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((elsewhere, 9)).ok()?;
    socket.local_addr().ok().map(|local| local.ip()).filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

fn failure(error: io::Error) -> ForwardError {
    // EMFILE and ENFILE have no `ErrorKind`.
    const NO_FILES: [Option<i32>; 2] = [Some(24), Some(23)];
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ForwardError::Refused,
        _ if NO_FILES.contains(&error.raw_os_error()) => ForwardError::Descriptors,
        _ => ForwardError::Unreachable(error),
    }
}
