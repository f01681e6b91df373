//! The addresses of this network namespace.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use crate::file;

/// The IPv4 addresses of this network namespace, without loopback, in order.
pub(super) fn own() -> Vec<Ipv4Addr> {
    file::read_kernel("/proc/net/fib_trie").map(|text| local(&text)).unwrap_or_default()
}

/// The default gateways of this network namespace: in many clusters, the node's address on the Pod's network, from which the
/// kubelet probes.
pub fn gateways() -> Vec<Ipv4Addr> {
    file::read_kernel("/proc/net/route").map(|text| default_gateways(&text)).unwrap_or_default()
}

fn default_gateways(routes: &str) -> Vec<Ipv4Addr> {
    let gateway = |line: &str| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (to, gateway) = (fields.next()?, fields.next()?);
        // Hexadecimal, as a number in the byte order of the machine.
        let gateway = u32::from_str_radix(gateway, 16).ok().filter(|gateway| *gateway != 0)?;
        (to == "00000000").then(|| gateway.to_ne_bytes().into())
    };
    routes.lines().skip(1).filter_map(gateway).collect()
}

/// The addresses that the routing table calls local.
fn local(trie: &str) -> Vec<Ipv4Addr> {
    let mut found = BTreeSet::new();
    let mut last = None;
    for line in trie.lines() {
        let line = line.trim_start();
        if let Some(leaf) = line.strip_prefix("|-- ") {
            last = leaf.trim_end().parse::<Ipv4Addr>().ok();
        } else if line.starts_with("/32 host LOCAL") {
            found.extend(last.filter(|address| !address.is_loopback()));
        }
    }
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_addresses_are_those_of_hosts_without_networks_and_loopback() {
        let trie = "\
Main:
  +-- 0.0.0.0/0 3 0 5
     +-- 10.244.1.0/24 2 0 2
        +-- 10.244.1.0/28 2 0 2
           |-- 10.244.1.0
              /24 link UNICAST
           |-- 10.244.1.7
              /32 host LOCAL
        |-- 10.244.1.255
           /32 link BROADCAST
     |-- 127.0.0.1
        /32 host LOCAL
Local:
           |-- 10.244.1.7
              /32 host LOCAL
";
        assert_eq!(local(trie), [Ipv4Addr::new(10, 244, 1, 7)]);
        assert!(local("").is_empty());
    }

    #[test]
    fn gateways_are_those_of_default_routes() {
        let number = |octets: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(octets));
        let routes = format!(
            "Iface\tDestination\tGateway \tFlags\n\
             eth0\t00000000\t{}\t0003\t0\t0\t0\t00000000\n\
             eth0\t{}\t00000000\t0001\t0\t0\t0\t00FFFFFF\n\
             tun0\t00000000\t00000000\t0001\n\neth1",
            number([10, 244, 1, 1]),
            number([10, 244, 1, 0]),
        );
        assert_eq!(default_gateways(&routes), [Ipv4Addr::new(10, 244, 1, 1)]);
    }
}
