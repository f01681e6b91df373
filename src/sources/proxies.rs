//! The proxies of all sources as one set, and the interface to the owner of their sockets.

use std::fmt;
use std::net::SocketAddr;

use crate::fault::ProxyName;
use crate::order;
use crate::plan::{ConfigError, Errors, Proxy, Source};

/// Binds and serves proxies.
pub trait ProxyHost: fmt::Debug + Send + Sync {
    /// Opens a socket for each of these proxies. On an error, no new socket stays open.
    ///
    /// # Errors
    ///
    /// The sockets that cannot be opened, one per line.
    fn open(&self, wanted: &[Proxy]) -> Result<(), Errors>;

    /// Serves exactly these proxies, which must be open. Others drain and close.
    fn serve(&self, wanted: &[Proxy]);

    /// The listening address of a proxy.
    fn address(&self, name: &ProxyName) -> Option<SocketAddr>;
}

/// Proxies added and removed through the API. Rule changes do not affect them.
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

    /// Removes a proxy, whatever its source. `beneath` are the proxies of the other sources.
    pub(super) fn remove(&mut self, name: &ProxyName, beneath: &[(Proxy, Source)]) {
        self.added.retain(|proxy| proxy.name != *name);
        self.removed.push(name.clone());
        // A proxy that no other source has needs no mark.
        self.removed.retain(|name| beneath.iter().any(|(proxy, _)| proxy.name == *name));
        order::sort(&mut self.removed);
        self.removed.dedup();
    }

    /// Adds all proxies of a plan and drops those that the API added before. A proxy that is also one of `beneath`, the
    /// proxies of the other sources, stays with its source.
    pub(super) fn replace(&mut self, proxies: &[Proxy], beneath: &[(Proxy, Source)]) {
        self.added.clear();
        for proxy in proxies {
            self.removed.retain(|name| *name != proxy.name);
            if !beneath.iter().any(|(known, _)| known == proxy) {
                self.added.push(proxy.clone());
            }
        }
    }

    /// The complete set: the lower layers, minus removed proxies, plus added ones.
    pub(super) fn over(&self, mut beneath: Vec<(Proxy, Source)>) -> Vec<(Proxy, Source)> {
        beneath.retain(|(proxy, _)| !self.removed.contains(&proxy.name));
        merge(&mut beneath, Source::Api, &self.added);
        beneath
    }
}

/// Adds the proxies of a higher-ranking source; each replaces one of the same name.
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

/// The error for a socket that cannot be opened.
pub fn cannot_listen(proxy: &Proxy, error: &impl ToString) -> ConfigError {
    let error =
        ConfigError::new(format!("proxy {}", proxy.name), crate::plan::Reason::File(error.to_string()));
    error.field("listen").value(&proxy.listen.to_string())
}
