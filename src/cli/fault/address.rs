//! The address of the admin listener.

use std::net::{SocketAddr, ToSocketAddrs};

/// The address of the admin listener, and whether it says that TLS is spoken there; `None`: it says nothing.
pub(super) fn split(text: &str) -> (&str, Option<bool>) {
    let of = |scheme: &str| {
        let rest = text.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme));
        rest.then(|| text[scheme.len()..].trim_end_matches('/'))
    };
    match (of("https://"), of("http://")) {
        (Some(rest), _) => (rest, Some(true)),
        (None, Some(rest)) => (rest, Some(false)),
        (None, None) => (text, None),
    }
}

/// The host of an address, without brackets.
pub(super) fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Default address of the admin listener.
pub(super) const DEFAULT: &str = ":8081";

/// The addresses to connect to: loopback if the service listens on all addresses. `None` without a port or if the host
/// is unknown.
pub(super) fn read(text: &str) -> Option<Vec<SocketAddr>> {
    let (host, port) = text.rsplit_once(':')?;
    if matches!(host, "" | "0.0.0.0" | "[::]") {
        let port: u16 = port.parse().ok()?;
        return Some(vec![([127, 0, 0, 1], port).into(), ([0, 0, 0, 0, 0, 0, 0, 1], port).into()]);
    }
    let addresses: Vec<SocketAddr> = text.to_socket_addrs().ok()?.collect();
    (!addresses.is_empty()).then_some(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_listens_everywhere_is_asked_on_loopback() {
        for address in [":8081", "0.0.0.0:8081", "[::]:8081"] {
            let shown: Vec<String> = read(address).unwrap().iter().map(ToString::to_string).collect();
            assert_eq!(shown, ["127.0.0.1:8081", "[::1]:8081"], "{address}");
        }
        assert_eq!(read("10.0.0.1:80").unwrap(), ["10.0.0.1:80".parse().unwrap()]);
        for (text, expected) in [
            ("https://pod:8081/", ("pod:8081", Some(true))),
            ("HTTP://pod:8081", ("pod:8081", Some(false))),
            (":8081", (":8081", None)),
        ] {
            assert_eq!(split(text), expected);
        }
        assert_eq!((host("[::1]:8081"), host("pod:8081"), host(":8081")), ("::1", "pod", ""));
        for bad in ["", "8081", ":x", "127.0.0.1", "127.0.0.1:99999"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
