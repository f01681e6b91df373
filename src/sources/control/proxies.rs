//! Changes of proxies through the API.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::Value;

use super::{ChangeOrigin, Control, Inner, candidate};
use crate::fault::{ProxyName, Rule};
use crate::plan::{ConfigError, Errors, Proxy, RawPlan, Reason, Source, read_proxy};
use crate::sources::proxies::ProxyHost;
use crate::sources::summary::MAX_NAMED;
use crate::sources::{ChangeRefusal, ChangeResult, Layers};

impl Control {
    /// Serves the proxies of all sources through `host` from now on. Proxies that cannot be bound are logged; the
    /// next change tries again.
    ///
    /// # Errors
    ///
    /// The sockets that cannot be bound.
    pub fn host_proxies(&self, host: Arc<dyn ProxyHost>) -> Result<(), Errors> {
        let inner = self.lock();
        let wanted: Vec<Proxy> = inner.merged.proxies.iter().map(|(proxy, _)| proxy.clone()).collect();
        let opened = host.open(&wanted);
        if opened.is_ok() {
            host.serve(&wanted);
        }
        // A service has one host, so this is set only once.
        let _ = self.0.host.set(host);
        opened
    }

    /// The proxies in use, their sources and their listening addresses.
    pub fn proxies(&self) -> Vec<(Proxy, Source, Option<SocketAddr>)> {
        let inner = self.lock();
        let of =
            |(proxy, source): &(Proxy, Source)| (proxy.clone(), *source, self.proxy_address(&proxy.name));
        inner.merged.proxies.iter().map(of).collect()
    }

    /// The listening address of a proxy.
    pub fn proxy_address(&self, name: &ProxyName) -> Option<SocketAddr> {
        self.0.host.get().and_then(|host| host.address(name))
    }

    /// Puts in force what the API of toxiproxy has made, in place of what it had made before.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it; nothing has changed then.
    pub fn replace_toxiproxy(&self, by: &str, plan: RawPlan) -> Result<(), Errors> {
        let mut inner = self.lock();
        let mut layers = inner.layers.clone();
        layers.toxiproxy = Some(plan);
        let cause = ChangeOrigin { source: Source::Toxiproxy, by, change: "toxics and proxies" };
        self.change_layers(&mut inner, layers, cause).map(|_| ()).inspect_err(|errors| {
            self.0.metrics.reload(Source::Toxiproxy, false);
            self.events().refused(Source::Toxiproxy, by, &errors.lines());
        })
    }

    pub(super) fn put_proxy(
        &self,
        inner: &mut Inner,
        by: &str,
        name: &str,
        mut proxy: Value,
    ) -> Result<ChangeResult, ChangeRefusal> {
        let invalid = |error: ConfigError| ChangeRefusal::Invalid(error.into());
        let name =
            ProxyName::new(name).map_err(|error| invalid(ConfigError::new("", error).field("name")))?;
        if let Value::Object(fields) = &mut proxy {
            // Proxies that were read can be written.
            fields.remove("source");
            fields.remove("address");
            let given = fields.entry("name").or_insert_with(|| name.as_str().into());
            if given != name.as_str() {
                let error = ConfigError::new("", Reason::OtherProxyName(name)).field("name");
                return Err(invalid(error.value(given.as_str().unwrap_or_default())));
            }
        }
        let proxy = read_proxy(&proxy, "").map_err(ChangeRefusal::Invalid)?;
        let created = !inner.merged.proxies.iter().any(|(known, _)| known.name == proxy.name);
        let mut layers = inner.layers.clone();
        layers.api_proxies.put(proxy);
        let change = format!("put proxy {name}");
        let cause = ChangeOrigin { source: Source::Api, by, change: &change };
        let generation = self.change_layers(inner, layers, cause).map_err(ChangeRefusal::Invalid)?;
        Ok(ChangeResult { generation, created, stopped: inner.stop_in_force().is_some() })
    }

    pub(super) fn delete_proxy(
        &self,
        inner: &mut Inner,
        by: &str,
        name: &str,
    ) -> Result<ChangeResult, ChangeRefusal> {
        let known = inner.merged.proxies.iter().find(|(proxy, _)| proxy.name.as_str() == name);
        let Some((proxy, _)) = known else { return Err(ChangeRefusal::NoProxy { name: name.to_owned() }) };
        let name = proxy.name.clone();
        let names = |rule: &Rule| rule.proxies().any(|of_rule| *of_rule == name);
        let rules = inner.merged.rules.iter().filter(|(rule, _)| names(rule));
        let rules: Vec<&str> = rules.take(MAX_NAMED).map(|(rule, _)| rule.name().as_str()).collect();
        if !rules.is_empty() {
            let rules = format!("rule {}", rules.join(", "));
            let error = ConfigError::new("", Reason::ProxyInUse { name, rules });
            return Err(ChangeRefusal::Invalid(error.into()));
        }
        let mut layers = inner.layers.clone();
        let beneath = layers.proxies();
        layers.api_proxies.remove(&name, &beneath);
        let change = format!("delete proxy {name}");
        let cause = ChangeOrigin { source: Source::Api, by, change: &change };
        let generation = self.change_layers(inner, layers, cause).map_err(ChangeRefusal::Invalid)?;
        Ok(ChangeResult { generation, created: false, stopped: inner.stop_in_force().is_some() })
    }

    fn change_layers(
        &self,
        inner: &mut Inner,
        layers: Layers,
        cause: ChangeOrigin<'_>,
    ) -> Result<u64, Errors> {
        let merged = candidate(&layers, &inner.overlay, &inner.merged)?;
        let source = cause.source;
        let generation = self.put_in_force(inner, merged, cause, false)?;
        inner.layers = layers;
        self.0.metrics.reload(source, true);
        Ok(generation)
    }
}
