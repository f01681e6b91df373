//! Takes the port over.

use std::io;
use std::net::{Shutdown, SocketAddr};

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use socket2::{SockRef, Socket};

use super::diagnosis::{CONNECTED, Diagnosis};
use super::refusal::Refusal;
use super::target::{Method, Target};
use super::{holder, user};
use crate::listener::{self, PartitionedListener};

/// The listening sockets that get the connections from now on.
#[derive(Debug)]
pub struct Taken {
    /// One for each address.
    pub listeners: Vec<PartitionedListener>,
    /// Copies, by which the sockets are closed whoever holds them.
    pub copies: Vec<Socket>,
}

/// Takes over the port. Call it within a runtime.
///
/// # Errors
///
/// It is refused, and the application is as it was.
pub fn take(target: &Target) -> Result<Taken, Refusal> {
    let _shared = match target.method {
        Method::Copy => Some(SharedPort::new(target)?),
        Method::ReusePort => None,
    };
    let mut sockets = Vec::new();
    for address in &target.addresses {
        sockets.push(bound_beside_connections(target, *address)?);
    }
    // The kernel checks again whether the port is free, so this comes before the application's option is given back.
    for socket in &sockets {
        listener::listen(socket).map_err(|error| Refusal::System("listen", error))?;
    }
    let taken = |socket: Socket| -> io::Result<(Socket, PartitionedListener)> {
        Ok((socket.try_clone()?, PartitionedListener::adopt(socket)?))
    };
    let taken = sockets.into_iter().map(taken).collect::<io::Result<Vec<_>>>();
    let (copies, listeners) =
        taken.map_err(|error| Refusal::System("serve the socket", error))?.into_iter().unzip();
    Ok(Taken { listeners, copies })
}

/// The application's socket with `SO_REUSEPORT`, which it gets back as it was.
struct SharedPort(OwnedFd);

impl SharedPort {
    fn new(target: &Target) -> Result<Self, Refusal> {
        let holder = target.holder.ok_or(Refusal::NoProcess(target.listener()))?;
        let copied = holder.copy().map_err(|error| target.cannot_copy(error, holder.pid))?;
        let copy = copied.ok_or(Refusal::Gone(target.listener()))?;
        let set = SockRef::from(&copy).set_reuse_port(true);
        set.map_err(|error| {
            Refusal::System("set SO_REUSEPORT on a copy of the application's socket", error)
        })?;
        Ok(Self(copy))
    }
}

impl Drop for SharedPort {
    fn drop(&mut self) {
        // Fails for no socket that could be set before.
        let _ = SockRef::from(&self.0).set_reuse_port(false);
    }
}

fn bound_beside_connections(target: &Target, address: SocketAddr) -> Result<Socket, Refusal> {
    let error = match user::bound(target.user, address) {
        Ok(socket) => return Ok(socket),
        Err(error) => error,
    };
    match Errno::from_io_error(&error) {
        Some(Errno::PERM) => Err(Refusal::NoUser(target.user)),
        Some(Errno::ACCESS) => Err(Refusal::Privileged(address.port())),
        Some(Errno::ADDRINUSE) if target.method == Method::Copy => {
            let share = |socket: &SockRef| socket.set_reuse_address(true);
            of_connections(target, share)?;
            user::bound(target.user, address).map_err(|_| Refusal::InUse(address))
        }
        Some(Errno::ADDRINUSE) => Err(Refusal::InUse(address)),
        _ => Err(Refusal::System("bind the address", error)),
    }
}

/// Ends the connections that the application had accepted before; each client gets one error. Returns their number.
///
/// # Errors
///
/// The connections cannot be listed.
pub fn end_connections(target: &Target) -> Result<usize, Refusal> {
    of_connections(target, |socket| socket.shutdown(Shutdown::Both))
}

/// Applies `change` to a copy of each connection that the application holds, and returns how often that was possible.
fn of_connections(target: &Target, change: impl Fn(&SockRef) -> io::Result<()>) -> Result<usize, Refusal> {
    let connections = Diagnosis::open().and_then(|mut diagnosis| diagnosis.sockets(target.port, CONNECTED));
    let inodes: Vec<u32> = connections
        .map_err(Refusal::NoDiagnosis)?
        .iter()
        .filter(|socket| !socket.local.ip().to_canonical().is_loopback())
        .map(|socket| socket.inode)
        .filter(|inode| *inode != 0)
        .collect();
    let copies =
        holder::of_sockets(&inodes).found.into_iter().filter_map(|holder| holder.copy().ok().flatten());
    Ok(copies.filter(|copy| change(&SockRef::from(copy)).is_ok()).count())
}
