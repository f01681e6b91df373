//! Why a port is not taken over, and what helps.

use std::io;
use std::net::SocketAddr;

use thiserror::Error;

use super::holder::Process;

/// A port is not taken over. Nothing has been changed.
#[derive(Debug, Error)]
pub enum Refusal {
    /// `sock_diag` does not answer.
    #[error("the kernel does not list the sockets of this network namespace: {0}")]
    NoDiagnosis(io::Error),
    /// There is no listener.
    #[error("nobody listens on port {0} in this network namespace")]
    NobodyListens(u16),
    /// The listener takes connections of loopback alone.
    #[error("the application listens on {0}, which nobody outside the Pod can reach")]
    LoopbackOnly(SocketAddr),
    /// The listener takes no IPv4.
    #[error("the application listens on {0} for IPv6 alone")]
    Ipv6Only(SocketAddr),
    /// The listener is bound to one address.
    #[error(
        "the application listens on the address {0} alone, so that it would share its connections with the proxy"
    )]
    OneAddress(SocketAddr),
    /// Another socket listens where the proxy would, or where it would connect.
    #[error("there is a second listener on {0}")]
    SecondListener(SocketAddr),
    /// Sockets of different users share the port.
    #[error("several applications listen on port {0}, as users {1} and {2}")]
    Several(u16, u32, u32),
    /// The port is taken over already.
    #[error("process {0} is attached to port {1} already")]
    Attached(i32, u16),
    /// There is no address on which to listen.
    #[error("this network namespace has no IPv4 address but loopback")]
    NoAddress,
    /// There are too many addresses on which to listen.
    #[error("this network namespace has {0} IPv4 addresses; at most {1} are taken")]
    TooManyAddresses(usize, usize),
    /// No process that can be seen holds the socket.
    #[error("no process of this process namespace holds the socket that listens on {0}")]
    NoProcess(SocketAddr),
    /// The process may be one that cannot be seen.
    #[error(
        "the process that listens on {0} is not found: descriptors of process {1} are hidden from user {2}"
    )]
    Hidden(SocketAddr, i32, u32),
    /// Yama forbids it.
    #[error("Yama's ptrace_scope is {0}, which forbids copying a socket of process {1}")]
    Yama(u8, i32),
    /// There is no right to copy the socket.
    #[error(
        "this process (user {user}, group {group}, without SYS_PTRACE) may not copy a socket of process {} ({}), which has user {} and group {}",
        .process.pid, .process.comm, .process.uid, .process.gid
    )]
    NoPtrace {
        /// The application.
        process: Process,
        /// The user of this process.
        user: u32,
        /// Its group.
        group: u32,
    },
    /// The right is there, and something else forbids it.
    #[error("copying a socket of process {0} is forbidden, although this process has SYS_PTRACE")]
    Forbidden(i32),
    /// `pidfd_getfd` is unknown.
    #[error("this kernel does not know pidfd_getfd, or a seccomp profile says so")]
    Kernel,
    /// A socket of the application's user cannot be made.
    #[error("the application's socket belongs to user {0}, whom this process may not become")]
    NoUser(u32),
    /// The port is privileged.
    #[error("port {0} is privileged, and this process may not bind it")]
    Privileged(u16),
    /// Connections of the application keep the address.
    #[error("connections of the application keep {0} in use: it listens without SO_REUSEADDR")]
    InUse(SocketAddr),
    /// The application has ended or closed its socket meanwhile.
    #[error("the application has closed its listener on {0} meanwhile")]
    Gone(SocketAddr),
    /// A system call failed.
    #[error("cannot {0}: {1}")]
    System(&'static str, io::Error),
}

impl Refusal {
    /// What helps.
    pub fn remedy(&self) -> String {
        match self {
            Self::NoDiagnosis(_) => "use a kernel with CONFIG_INET_DIAG, and a seccomp profile that allows netlink sockets".to_owned(),
            Self::NobodyListens(_) => "name the port on which the container listens (its targetPort), once it has started".to_owned(),
            Self::LoopbackOnly(_) | Self::OneAddress(_) => "let the application listen on all addresses (0.0.0.0), or put the proxy into the manifest".to_owned(),
            Self::Ipv6Only(_) => "let the application listen on IPv4, too (0.0.0.0, or [::] without IPV6_V6ONLY)".to_owned(),
            Self::SecondListener(_) => "end the other listener, or put the proxy into the manifest".to_owned(),
            Self::Several(..) => "let one application listen on the port".to_owned(),
            Self::Attached(..) => "end it first: kube-probesim attach --stop, or kubectl probesim inject --stop".to_owned(),
            Self::NoAddress => "run attach in the network namespace of a Pod whose network is up".to_owned(),
            Self::TooManyAddresses(..) => "run attach in a Pod with a network of its own, not in that of the host".to_owned(),
            Self::NoProcess(_) => "run attach in the process namespace of the application's container: an ephemeral container with targetContainerName, or shareProcessNamespace".to_owned(),
            Self::Hidden(..) => "run attach as root with the capabilities SYS_PTRACE and SETUID, or with the user and the group of the application".to_owned(),
            Self::Yama(3, _) => "nothing short of a restart of the node allows it; put the proxy into the manifest".to_owned(),
            Self::Yama(..) => "give attach the capability SYS_PTRACE, or set kernel.yama.ptrace_scope to 0 on the node".to_owned(),
            Self::NoPtrace { process, .. } => format!(
                "run attach as root with the capabilities SYS_PTRACE and SETUID, or with user {} and group {} (an application that changes its user needs SYS_PTRACE)",
                process.uid, process.gid
            ),
            Self::Forbidden(_) => "use a seccomp profile and an AppArmor or SELinux policy that allow pidfd_getfd, which RuntimeDefault does beside SYS_PTRACE".to_owned(),
            Self::Kernel => "use Linux 5.6 or newer, and give attach the capability SYS_PTRACE, with which the usual profiles allow it; gVisor and similar sandboxes do not have it".to_owned(),
            Self::NoUser(user) => format!("run attach as user {user}, or give it the capability SETUID"),
            Self::Privileged(_) => "give attach the capability NET_BIND_SERVICE, or lower net.ipv4.ip_unprivileged_port_start".to_owned(),
            Self::InUse(_) => "try again in a minute, when connections in TIME_WAIT have ended, or set SO_REUSEADDR in the application".to_owned(),
            Self::Gone(_) => "try again when the application has started".to_owned(),
            Self::System(..) => "see the reason; nothing has been changed".to_owned(),
        }
    }
}
