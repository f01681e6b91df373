//! The proxies of all sources as one set, and whoever holds their sockets.

use std::fmt;
use std::net::SocketAddr;

use crate::fault::ProxyName;
use crate::plan::{ConfigError, Errors, Proxy, Source};

/// Binds and serves proxies.
pub trait ProxyHost: fmt::Debug + Send + Sync {
    /// Makes sure that each of these proxies has a socket: all of them, or no more than before.
    ///
    /// # Errors
    ///
    /// The sockets that cannot be had, a line each.
    fn open(&self, wanted: &[Proxy]) -> Result<(), Errors>;

    /// Serves exactly these proxies, which have been opened; others drain and close.
    fn serve(&self, wanted: &[Proxy]);

    /// Where a proxy listens.
    fn address(&self, name: &ProxyName) -> Option<SocketAddr>;
}

/// What the API has done to the set of proxies. No call about rules changes it.
#[derive(Clone, Debug, Default)]
pub(super) struct ApiProxies {
    added: Vec<Proxy>,
    removed: Vec<ProxyName>,
}

impl ApiProxies {
    /// Adds a proxy, or replaces the one of its name.
    pub(super) fn put(&mut self, proxy: Proxy) {
        self.removed.retain(|name| *name != proxy.name);
        put(&mut self.added, proxy);
    }

    /// Takes a proxy out, whatever source it comes from. `beneath` are those of the other sources.
    pub(super) fn remove(&mut self, name: &ProxyName, beneath: &[(Proxy, Source)]) {
        self.added.retain(|proxy| proxy.name != *name);
        self.removed.push(name.clone());
        // What no source brings needs no mark.
        self.removed.retain(|name| beneath.iter().any(|(proxy, _)| proxy.name == *name));
        self.removed.sort();
        self.removed.dedup();
    }

    /// Adds all of a plan; none of those that the API has added before stays.
    pub(super) fn replace(&mut self, proxies: &[Proxy]) {
        self.added.clear();
        for proxy in proxies {
            self.put(proxy.clone());
        }
    }

    /// The whole set: what lies beneath, less what was removed, and what was added.
    pub(super) fn over(&self, mut beneath: Vec<(Proxy, Source)>) -> Vec<(Proxy, Source)> {
        beneath.retain(|(proxy, _)| !self.removed.contains(&proxy.name));
        merge(&mut beneath, Source::Api, &self.added);
        beneath
    }
}

/// Lays the proxies of a stronger source over others: one hides that of its name.
pub(super) fn merge(all: &mut Vec<(Proxy, Source)>, source: Source, proxies: &[Proxy]) {
    for proxy in proxies {
        match all.iter_mut().find(|(known, _)| known.name == proxy.name) {
            Some(known) => *known = (proxy.clone(), source),
            None => all.push((proxy.clone(), source)),
        }
    }
}

fn put(list: &mut Vec<Proxy>, proxy: Proxy) {
    match list.iter_mut().find(|known| known.name == proxy.name) {
        Some(known) => *known = proxy,
        None => list.push(proxy),
    }
}

/// That a socket cannot be had.
pub fn cannot_listen(proxy: &Proxy, error: &impl ToString) -> ConfigError {
    let error =
        ConfigError::new(format!("proxy {}", proxy.name), crate::plan::Reason::File(error.to_string()));
    error.field("listen").value(&proxy.listen.to_string())
}
