//! The addresses of this network namespace.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use crate::file;

/// The IPv4 addresses of this network namespace, without loopback, in order.
pub(super) fn own() -> Vec<Ipv4Addr> {
    file::read_kernel("/proc/net/fib_trie").map(|text| local(&text)).unwrap_or_default()
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
}
