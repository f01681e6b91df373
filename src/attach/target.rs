//! Finds the socket that is taken over, and checks that it can be.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{getegid, geteuid};
use rustix::thread::CapabilitySet;
use socket2::SockRef;

use super::diagnosis::{Diagnosis, LISTEN, TcpSocket};
use super::holder::{self, Holder, Holders, Process};
use super::refusal::Refusal;
use super::running::is_attached;
use super::{addresses, user};

/// Limit of addresses that are taken.
const MAX_ADDRESSES: usize = 16;

/// How the port is shared with the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `SO_REUSEPORT` is set on a copy of the application's socket for a moment.
    Copy,
    /// The application has set `SO_REUSEPORT` itself.
    ReusePort,
}

impl Method {
    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::ReusePort => "reuse-port",
        }
    }
}

/// A listening socket that can be taken over.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its port.
    pub port: u16,
    /// Where the application listens.
    pub listeners: Vec<SocketAddr>,
    /// Where the proxy listens: the addresses of this network namespace.
    pub addresses: Vec<SocketAddr>,
    /// The process that listens, if it can be seen; of several, the one with the lowest number.
    pub process: Option<Process>,
    /// How the port is shared.
    pub method: Method,
    /// The user that the socket belongs to, which may differ from the user of the process.
    pub(super) user: u32,
    /// The descriptor that is copied.
    pub(super) holder: Option<Holder>,
}

impl Target {
    /// Finds what listens on `port`, and checks everything that can be checked without a change.
    ///
    /// # Errors
    ///
    /// The port cannot be taken over.
    pub fn find(port: u16) -> Result<Self, Refusal> {
        let mut diagnosis = Diagnosis::open().map_err(Refusal::NoDiagnosis)?;
        let sockets = diagnosis.sockets(port, LISTEN).map_err(Refusal::NoDiagnosis)?;
        let own = addresses::own();
        let wildcards = takeable(port, &sockets, &own).map_err(|refusal| named(refusal, port, &sockets))?;
        match own.len() {
            0 => return Err(Refusal::NoAddress),
            count if count > MAX_ADDRESSES => return Err(Refusal::TooManyAddresses(count, MAX_ADDRESSES)),
            _ => {}
        }
        let inodes: Vec<u32> = wildcards.iter().map(|socket| socket.inode).collect();
        let holders = holder::of_sockets(&inodes);
        let holder = holders.found.first().copied();
        let mut target = Self {
            port,
            listeners: wildcards.iter().map(|socket| socket.local).collect(),
            addresses: own.into_iter().map(|ip| SocketAddr::new(ip.into(), port)).collect(),
            process: holder.and_then(|holder| Process::of(holder.pid)),
            method: Method::ReusePort,
            user: wildcards[0].user,
            holder,
        };
        target.method = target.find_method(&holders)?;
        Ok(target)
    }

    fn find_method(&self, holders: &Holders) -> Result<Method, Refusal> {
        let listens = self.listener();
        let refusal = match self.holder {
            Some(holder) => match holder.copy() {
                Ok(Some(copy)) => return method_of(&copy),
                Ok(None) => return Err(Refusal::Gone(listens)),
                Err(error) => self.cannot_copy(error, holder.pid),
            },
            None => match holders.hidden {
                Some((pid, Errno::PERM)) if !user::has(CapabilitySet::SYS_PTRACE) => {
                    Refusal::Hidden(listens, pid, geteuid().as_raw())
                }
                Some((pid, error)) => self.cannot_copy(error, pid),
                None => Refusal::NoProcess(listens),
            },
        };
        // Without a copy, only an attempt shows whether the application shares its port.
        let can_share = self.addresses.iter().all(|address| user::bound(self.user, *address).is_ok());
        if can_share { Ok(Method::ReusePort) } else { Err(refusal) }
    }

    /// Where the application listens, or one of these addresses.
    pub(super) fn listener(&self) -> SocketAddr {
        self.listeners.first().copied().unwrap_or(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), self.port))
    }

    /// Why a socket of process `pid` cannot be copied.
    pub(super) fn cannot_copy(&self, error: Errno, pid: i32) -> Refusal {
        match error {
            Errno::NOSYS => Refusal::Kernel,
            Errno::SRCH | Errno::BADF => Refusal::Gone(self.listener()),
            Errno::PERM | Errno::ACCESS => {
                self.denied(pid, user::ptrace_scope(), user::has(CapabilitySet::SYS_PTRACE))
            }
            error => Refusal::System("copy the application's socket", error.into()),
        }
    }

    /// Why copying is not permitted, with this `ptrace_scope` of Yama and with or without `SYS_PTRACE`.
    fn denied(&self, pid: i32, scope: u8, has_ptrace: bool) -> Refusal {
        match (scope, has_ptrace) {
            (3.., _) | (1.., false) => Refusal::Yama(scope, pid),
            (_, true) => Refusal::Forbidden(pid),
            (_, false) => Refusal::NoPtrace {
                process: self.process.clone().unwrap_or_default(),
                user: geteuid().as_raw(),
                group: getegid().as_raw(),
            },
        }
    }
}

fn method_of(copy: &OwnedFd) -> Result<Method, Refusal> {
    let shares = SockRef::from(copy)
        .reuse_port()
        .map_err(|error| Refusal::System("read SO_REUSEPORT of the application's socket", error))?;
    Ok(if shares { Method::ReusePort } else { Method::Copy })
}

/// The sockets that take connections to all addresses of IPv4, if nothing else on the port is in the way.
fn takeable<'a>(
    port: u16,
    sockets: &'a [TcpSocket],
    own: &[Ipv4Addr],
) -> Result<Vec<&'a TcpSocket>, Refusal> {
    let ip = |socket: &TcpSocket| socket.local.ip().to_canonical();
    let is_wildcard =
        |socket: &&TcpSocket| ip(socket).is_unspecified() && !socket.is_only_ipv6 && socket.interface == 0;
    let wildcards: Vec<&TcpSocket> = sockets.iter().filter(is_wildcard).collect();
    let others = || sockets.iter().filter(|socket| !is_wildcard(socket));
    let Some(first) = wildcards.first() else {
        let specific = others().find(|socket| ip(socket).is_ipv4() && !ip(socket).is_loopback());
        let loopback = others().find(|socket| ip(socket).is_loopback());
        return Err(match (specific, loopback, sockets.first()) {
            (Some(socket), ..) => Refusal::OneAddress(socket.local),
            (_, Some(socket), _) => Refusal::LoopbackOnly(socket.local),
            (_, _, Some(socket)) => Refusal::Ipv6Only(socket.local),
            _ => Refusal::NobodyListens(port),
        });
    };
    let is_in_the_way = |socket: &&TcpSocket| match ip(socket) {
        IpAddr::V4(ip) => own.contains(&ip) || ip.is_loopback() || ip.is_unspecified(),
        IpAddr::V6(_) => false,
    };
    if let Some(socket) = others().find(is_in_the_way) {
        return Err(Refusal::SecondListener(socket.local));
    }
    if let Some(other) = wildcards.iter().find(|socket| socket.user != first.user) {
        return Err(Refusal::Several(port, first.user, other.user));
    }
    Ok(wildcards)
}

/// Says that a listener in the way is one of this program's, if it is.
fn named(refusal: Refusal, port: u16, sockets: &[TcpSocket]) -> Refusal {
    let Refusal::SecondListener(local) = refusal else { return refusal };
    let inode = sockets.iter().find(|socket| socket.local == local).map_or(0, |socket| socket.inode);
    let holders = holder::of_sockets(&[inode]).found;
    match holders.iter().find(|holder| is_attached(holder.pid)) {
        Some(holder) => Refusal::Attached(holder.pid, port),
        None => Refusal::SecondListener(local),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);

    fn socket(local: &str) -> TcpSocket {
        let is_only_ipv6 = local.ends_with('!');
        let local = local.trim_end_matches('!').parse().unwrap();
        TcpSocket { local, user: 101, inode: 7, queued: 0, is_only_ipv6, interface: 0 }
    }

    #[test]
    fn listeners_on_all_addresses_of_ipv4_are_taken_and_others_are_refused_with_the_reason() {
        for (locals, refusal) in [
            (&["0.0.0.0:80"][..], ""),
            (&["[::]:80"], ""),
            (&["0.0.0.0:80", "[::]:80!"], ""),
            // Workers with SO_REUSEPORT.
            (&["0.0.0.0:80", "0.0.0.0:80"], ""),
            // It can serve connections within the Pod beside the other.
            (&["0.0.0.0:80", "[::1]:80"], ""),
            (&[], "nobody listens on port 80 in this network namespace"),
            (
                &["127.0.0.1:80"],
                "the application listens on 127.0.0.1:80, which nobody outside the Pod can reach",
            ),
            (&["[::1]:80"], "the application listens on [::1]:80, which nobody outside the Pod can reach"),
            (&["[::]:80!"], "the application listens on [::]:80 for IPv6 alone"),
            (
                &["10.0.0.5:80", "127.0.0.1:80"],
                "the application listens on the address 10.0.0.5:80 alone, so that it would share its connections with the proxy",
            ),
            (&["0.0.0.0:80", "10.0.0.5:80"], "there is a second listener on 10.0.0.5:80"),
            (&["0.0.0.0:80", "127.0.0.1:80"], "there is a second listener on 127.0.0.1:80"),
        ] {
            let sockets: Vec<TcpSocket> = locals.iter().map(|local| socket(local)).collect();
            let found = takeable(80, &sockets, &[POD]);
            assert_eq!(
                found.err().map(|refusal| refusal.to_string()).unwrap_or_default(),
                refusal,
                "{locals:?}"
            );
        }
    }

    #[test]
    fn a_socket_that_cannot_be_copied_is_refused_with_what_forbids_it() {
        let target = Target {
            port: 80,
            listeners: vec!["0.0.0.0:80".parse().unwrap()],
            addresses: Vec::new(),
            process: Some(Process { pid: 7, ..Process::default() }),
            method: Method::Copy,
            user: 101,
            holder: None,
        };
        // The scope of Yama, whether this process has SYS_PTRACE, and the remedy.
        for (scope, has_ptrace, reason, remedy) in [
            (0, false, "without SYS_PTRACE) may not copy a socket of process 7", "SYS_PTRACE and SETUID"),
            (1, false, "Yama's ptrace_scope is 1", "give attach the capability SYS_PTRACE"),
            (2, false, "Yama's ptrace_scope is 2", "give attach the capability SYS_PTRACE"),
            (3, true, "Yama's ptrace_scope is 3", "restart of the node"),
            (1, true, "forbidden, although this process has SYS_PTRACE", "seccomp"),
        ] {
            let refusal = target.denied(7, scope, has_ptrace);
            assert!(refusal.to_string().contains(reason), "{refusal}");
            assert!(refusal.remedy().contains(remedy), "{}", refusal.remedy());
        }
        // A kernel before 5.6, and an application that has ended meanwhile.
        assert!(target.cannot_copy(Errno::NOSYS, 7).to_string().contains("does not know pidfd_getfd"));
        for error in [Errno::SRCH, Errno::BADF] {
            let reason = target.cannot_copy(error, 7).to_string();
            assert_eq!(reason, "the application has closed its listener on 0.0.0.0:80 meanwhile");
        }
    }

    #[test]
    fn sockets_of_two_users_are_two_applications() {
        let other = TcpSocket { user: 5, ..socket("[::]:80") };
        let refusal = takeable(80, &[socket("0.0.0.0:80"), other], &[POD]).unwrap_err();
        assert_eq!(refusal.to_string(), "several applications listen on port 80, as users 101 and 5");
    }
}
