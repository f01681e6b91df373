//! The listeners of this program, which must not be upstreams.

use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};

/// The addresses that this program listens on. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct OwnListeners(Arc<Mutex<Vec<SocketAddr>>>);

impl OwnListeners {
    /// Adds a listener.
    pub fn add(&self, listener: SocketAddr) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(listener);
    }

    /// Removes a listener.
    pub fn remove(&self, listener: SocketAddr) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(position) = all.iter().position(|own| *own == listener) {
            all.swap_remove(position);
        }
    }

    /// Whether one of the listeners would accept a connection to `address`.
    pub fn contain(&self, address: SocketAddr) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ip = address.ip().to_canonical();
        all.iter().filter(|own| own.port() == address.port()).any(|own| {
            let listens = own.ip().to_canonical();
            listens == ip || (listens.is_unspecified() && is_local(address))
        })
    }
}

/// Whether this host has the address: only then can a socket bind to it.
fn is_local(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback() || UdpSocket::bind((address.ip(), 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_all_addresses_is_found_by_each_address_of_the_host() {
        let own = OwnListeners::default();
        own.add("[::]:8080".parse().unwrap());
        own.add("127.0.0.1:8081".parse().unwrap());
        for (address, is_own) in [
            ("127.0.0.1:8080", true),
            ("127.5.5.5:8080", true),
            ("[::ffff:127.0.0.1]:8080", true),
            ("127.0.0.1:8081", true),
            ("127.0.0.2:8081", false),
            ("127.0.0.1:3000", false),
            // An address for documentation, which no host has.
            ("192.0.2.1:8080", false),
        ] {
            assert_eq!(own.contain(address.parse().unwrap()), is_own, "{address}");
        }
        own.remove("127.0.0.1:8081".parse().unwrap());
        assert!(!own.contain("127.0.0.1:8081".parse().unwrap()));
    }
}
