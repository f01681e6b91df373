//! The rights of this process, and sockets that belong to another user.

use std::io;
use std::net::SocketAddr;
use std::thread;

use rustix::process::{Uid, geteuid};
use rustix::thread::{CapabilitySet, capabilities, set_thread_res_uid};
use socket2::Socket;

use crate::file;
use crate::listener;

/// A socket of `user` that is bound to `address` and may share it. It does not listen, so it gets no connections.
///
/// # Errors
///
/// This process may not become that user, or the address is taken.
pub(super) fn bound(user: u32, address: SocketAddr) -> io::Result<Socket> {
    let socket = as_user(user, || listener::unbound(address))?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Calls `create` as `user`, so that the kernel counts the socket as one of that user. Only a thread becomes that user, and
/// it ends with that.
fn as_user(user: u32, create: impl FnOnce() -> io::Result<Socket> + Send) -> io::Result<Socket> {
    if geteuid().as_raw() == user {
        return create();
    }
    let switched = move || {
        set_thread_res_uid(None, Uid::from_raw(user), None)?;
        create()
    };
    thread::scope(|scope| scope.spawn(switched).join()).unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
}

/// Whether this process has a capability.
pub(super) fn has(capability: CapabilitySet) -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(capability))
}

/// Yama's restriction of `ptrace`; 0 where there is none.
pub(super) fn ptrace_scope() -> u8 {
    let text = file::read_kernel("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    text.trim().parse().unwrap_or_default()
}
