//! The TCP sockets of this network namespace, as the kernel's `sock_diag` reports them.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

/// States of a TCP socket, as bits of a request.
pub(super) const LISTEN: u32 = 1 << 10;
/// Connections whose handshake has not ended.
pub(super) const HANDSHAKE: u32 = 1 << 3;
/// Connections that a process may hold: `ESTABLISHED`, `FIN_WAIT1`, `FIN_WAIT2`, `CLOSE_WAIT`, `LAST_ACK`, `CLOSING`.
pub(super) const CONNECTED: u32 = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11;

const AF_NETLINK: i32 = 16;
const NETLINK_SOCK_DIAG: i32 = 4;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;

/// Types of netlink messages.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const SOCK_DIAG_BY_FAMILY: u16 = 20;

/// Flags of a request: one answer, or all sockets that match.
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;

/// The attribute that says whether an IPv6 socket takes no IPv4.
const INET_DIAG_SKV6ONLY: u16 = 11;

/// Length of a netlink header, and of an `inet_diag_msg`.
const HEADER: usize = 16;
const MESSAGE: usize = 72;

/// Room for one message of the kernel: 32 KiB with many sockets at most, and less with one.
const ANSWER: usize = 32 << 10;
const ANSWER_OF_ONE: usize = 1 << 10;

/// A TCP socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TcpSocket {
    pub(super) local: SocketAddr,
    /// The user that created it.
    pub(super) user: u32,
    /// 0 where no process holds it.
    pub(super) inode: u32,
    /// Of a listener: connections that wait to be accepted.
    pub(super) queued: u32,
    /// Whether it is an IPv6 listener that takes no IPv4.
    pub(super) is_only_ipv6: bool,
    /// The interface that it is bound to; 0: none.
    pub(super) interface: u32,
}

/// A question to `sock_diag`.
#[derive(Debug)]
pub(super) struct Diagnosis {
    socket: Socket,
    answer: Vec<u8>,
}

impl Diagnosis {
    /// Opens a socket to the kernel.
    pub(super) fn open() -> io::Result<Self> {
        let socket =
            Socket::new(Domain::from(AF_NETLINK), Type::DGRAM, Some(Protocol::from(NETLINK_SOCK_DIAG)))?;
        Ok(Self { socket, answer: Vec::new() })
    }

    /// All sockets of the local port that are in one of `states`.
    pub(super) fn sockets(&mut self, port: u16, states: u32) -> io::Result<Vec<TcpSocket>> {
        let mut found = Vec::new();
        for any in [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)] {
            match self.ask(SocketAddr::new(any, port), states, NLM_F_DUMP, &mut found) {
                // A kernel without IPv6.
                Err(error) if any.is_ipv6() && error.kind() == io::ErrorKind::NotFound => {}
                answered => answered?,
            }
        }
        Ok(found)
    }

    /// The listener at exactly this address.
    pub(super) fn listener(&mut self, at: SocketAddr) -> io::Result<Option<TcpSocket>> {
        let mut found = Vec::new();
        match self.ask(at, LISTEN, 0, &mut found) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            answered => answered.map(|()| found.pop()),
        }
    }

    fn ask(&mut self, at: SocketAddr, states: u32, flags: u16, found: &mut Vec<TcpSocket>) -> io::Result<()> {
        self.socket.write_all(&request(at, states, flags))?;
        self.answer.resize(if flags & NLM_F_DUMP == 0 { ANSWER_OF_ONE } else { ANSWER }, 0);
        loop {
            let length = self.socket.read(&mut self.answer)?;
            let mut rest = &self.answer[..length];
            while let Some((kind, body, next)) = message(rest) {
                rest = next;
                match kind {
                    NLMSG_DONE => return Ok(()),
                    NLMSG_ERROR => return error(body),
                    _ => found.extend(socket(body)),
                }
                if flags & NLM_F_DUMP == 0 {
                    return Ok(());
                }
            }
        }
    }
}

fn request(at: SocketAddr, states: u32, flags: u16) -> Vec<u8> {
    let mut body = vec![if at.is_ipv4() { AF_INET } else { AF_INET6 }, IPPROTO_TCP, 0, 0];
    body.extend(states.to_ne_bytes());
    body.extend(at.port().to_be_bytes());
    body.extend([0; 2]);
    let mut address = [0; 16];
    match at.ip() {
        IpAddr::V4(ip) => address[..4].copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => address = ip.octets(),
    }
    body.extend(address);
    // The peer and the interface: any.
    body.extend([0; 20]);
    // No cookie.
    body.extend([0xff; 8]);
    let mut request = Vec::with_capacity(HEADER + body.len());
    request.extend(((HEADER + body.len()) as u32).to_ne_bytes());
    request.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request.extend((NLM_F_REQUEST | flags).to_ne_bytes());
    request.extend([0; 8]);
    request.extend(body);
    request
}

/// The first message: its type, its body, and what follows it.
fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = word(bytes, 0)? as usize;
    let kind = half(bytes, 4)?;
    let body = bytes.get(HEADER..length)?;
    let next = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, body, next))
}

fn error(body: &[u8]) -> io::Result<()> {
    match word(body, 0).unwrap_or_default().cast_signed() {
        0 => Ok(()),
        number => Err(io::Error::from_raw_os_error(-number)),
    }
}

/// Reads an `inet_diag_msg` and its attributes.
fn socket(body: &[u8]) -> Option<TcpSocket> {
    let port = u16::from_be_bytes(body.get(4..6)?.try_into().ok()?);
    let ip: IpAddr = match *body.first()? {
        AF_INET => <[u8; 4]>::try_from(body.get(8..12)?).ok()?.into(),
        AF_INET6 => <[u8; 16]>::try_from(body.get(8..24)?).ok()?.into(),
        _ => return None,
    };
    Some(TcpSocket {
        local: SocketAddr::new(ip, port),
        interface: word(body, 40)?,
        queued: word(body, 56)?,
        user: word(body, 64)?,
        inode: word(body, 68)?,
        is_only_ipv6: attributes(body.get(MESSAGE..)?)
            .any(|(kind, value)| kind == INET_DIAG_SKV6ONLY && value.first() == Some(&1)),
    })
}

fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(half(bytes, 0)?);
        let attribute = (half(bytes, 2)?, bytes.get(4..length)?);
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(attribute)
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn listeners_and_connections_of_a_port_are_found_with_inode_and_queue() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let _client = TcpStream::connect(address).unwrap();
        let mut diagnosis = Diagnosis::open().unwrap();
        let listeners = diagnosis.sockets(address.port(), LISTEN).unwrap();
        let inode = rustix::fs::fstat(listener.as_fd()).unwrap().st_ino as u32;
        assert_eq!(listeners.len(), 1);
        assert_eq!((listeners[0].local, listeners[0].inode, listeners[0].queued), (address, inode, 1));
        assert_eq!(listeners[0].user, rustix::process::geteuid().as_raw());
        assert_eq!(diagnosis.listener(address).unwrap().map(|found| found.inode), Some(inode));
        // The side that waits to be accepted.
        assert_eq!(diagnosis.sockets(address.port(), CONNECTED).unwrap().len(), 1);
        drop(listener);
        assert_eq!(diagnosis.listener(address).unwrap(), None);
    }

    #[test]
    fn listeners_of_ipv6_alone_are_told_from_those_of_both_families() {
        for is_only in [true, false] {
            let socket = Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
            socket.set_only_v6(is_only).unwrap();
            socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into()).unwrap();
            socket.listen(1).unwrap();
            let port = socket.local_addr().unwrap().as_socket().unwrap().port();
            let inode = rustix::fs::fstat(socket.as_fd()).unwrap().st_ino as u32;
            // Another test may listen on the same port of IPv4.
            let mut found = Diagnosis::open().unwrap().sockets(port, LISTEN).unwrap();
            found.retain(|socket| socket.inode == inode);
            assert_eq!((found.len(), found[0].is_only_ipv6), (1, is_only));
        }
    }

    #[test]
    fn cut_answers_of_the_kernel_are_ignored() {
        for length in 0..MESSAGE {
            assert_eq!(socket(&vec![AF_INET; length]), None);
        }
        assert!(message(&[255, 255, 0, 0, 20, 0]).is_none() && message(&[]).is_none());
    }
}
