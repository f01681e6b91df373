//! Binds the listeners of proxies.

use std::net::{IpAddr, Ipv6Addr};

use crate::env::BindAddress;
use crate::listener::{BindError, PartitionedListener};
use crate::plan::Proxy;

/// Binds the listener of a proxy.
pub(in crate::server) fn bind(proxy: &Proxy) -> Result<PartitionedListener, BindError> {
    // All addresses of IPv6 are those of IPv4, too, and those alone where there is no IPv6.
    let ip = proxy.listen.ip();
    let address = BindAddress {
        ip: (ip != IpAddr::V6(Ipv6Addr::UNSPECIFIED)).then_some(ip),
        port: proxy.listen.port(),
    };
    let listener = PartitionedListener::bind(address, true)?;
    listener.enlarge_buffers();
    Ok(listener)
}
