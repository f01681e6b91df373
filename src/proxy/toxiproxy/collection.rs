//! The proxies and toxics of the API, and how changes take effect.

use std::collections::BTreeMap;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::answer::ApiError;
use super::fields::Fields;
use super::toxic::Toxic;
use crate::fault::{ProxyName, RESERVED_NAMES, RuleName, Stream, UpstreamPlace};
use crate::plan::{PlanEntry, Proxy, ProxyUpstream, RawPlan, read_entry};
use crate::sources::Control;

/// Limit of a name that is derived from another one; leaves room for a number at the end.
const MAX_STEM: usize = 56;

/// How long to wait for a listener to open or close.
const SETTLE_TIME: Duration = Duration::from_secs(1);

/// A proxy of the API.
#[derive(Clone)]
struct ApiProxy {
    /// Its name in the API: any text.
    name: String,
    /// The name of the TCP proxy, unique among all sources.
    proxy: ProxyName,
    listen: SocketAddr,
    upstream: UpstreamPlace,
    /// The upstream as the client wrote it.
    upstream_text: String,
    is_enabled: bool,
    toxics: Vec<Toxic>,
    /// The name of the rule that disables it.
    down: RuleName,
}

/// The proxies and toxics of the API.
pub(super) struct Collection {
    control: Control,
    proxies: Mutex<Vec<ApiProxy>>,
}

impl Collection {
    pub(super) fn new(control: Control) -> Self {
        Self { control, proxies: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<ApiProxy>> {
        self.proxies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the proxies by `changed`.
    fn commit(&self, proxies: &mut Vec<ApiProxy>, changed: Vec<ApiProxy>, by: &str) -> Result<(), ApiError> {
        let plan = plan(&changed)?;
        self.control
            .replace_toxiproxy(by, plan)
            .map_err(|errors| ApiError::new(500, errors.lines().join("; ")))?;
        *proxies = changed;
        Ok(())
    }

    /// An unused proxy name that resembles `text`.
    fn proxy_name(&self, text: &str) -> Result<ProxyName, ApiError> {
        let proxies = self.control.proxies();
        let is_taken = |label: &str| {
            RESERVED_NAMES.contains(&label) || proxies.iter().any(|(proxy, ..)| proxy.name.as_str() == label)
        };
        ProxyName::new(&label(text, is_taken)).map_err(|error| ApiError::new(500, error.to_string()))
    }

    /// An unused rule name that resembles `text`.
    fn rule_name(&self, proxies: &[ApiProxy], text: &str) -> RuleName {
        let status = self.control.status();
        let rules = status.snapshot.active.plan.rules().map(crate::fault::Rule::name);
        let hidden = status.hidden.iter().map(|hidden| &hidden.name);
        let own = proxies
            .iter()
            .flat_map(|proxy| proxy.toxics.iter().map(|toxic| &toxic.rule).chain([&proxy.down]));
        let taken: Vec<&RuleName> = rules.chain(hidden).chain(own).collect();
        let label = label(text, |label| taken.iter().any(|name| name.as_str() == label));
        RuleName::new(&label).unwrap_or_else(|_| unreachable!("{label} is a label"))
    }

    fn json(&self, proxy: &ApiProxy) -> Value {
        json!({
            "name": proxy.name,
            "listen": self.listens(proxy).to_string(),
            "upstream": proxy.upstream_text,
            "enabled": proxy.is_enabled,
            "toxics": proxy.toxics_json(),
        })
    }

    /// The address of a proxy's listener, with the actual port.
    fn listens(&self, proxy: &ApiProxy) -> SocketAddr {
        self.control.proxy_address(&proxy.proxy).unwrap_or(proxy.listen)
    }

    /// All proxies, by name.
    pub(super) fn all(&self) -> Value {
        let proxies = self.lock();
        let by_name: BTreeMap<&str, &ApiProxy> =
            proxies.iter().map(|proxy| (proxy.name.as_str(), proxy)).collect();
        Value::Object(by_name.into_values().map(|proxy| (proxy.name.clone(), self.json(proxy))).collect())
    }

    /// One proxy.
    pub(super) fn proxy(&self, name: &str) -> Result<Value, ApiError> {
        let proxies = self.lock();
        Ok(self.json(&proxies[position(&proxies, name)?]))
    }

    /// Calls `show` for each proxy, with its name in the API, its own name, its address and its upstream.
    pub(super) fn for_each(&self, mut show: impl FnMut(&str, &ProxyName, SocketAddr, &str)) {
        for proxy in self.lock().iter() {
            show(&proxy.name, &proxy.proxy, self.listens(proxy), &proxy.upstream_text);
        }
    }

    /// Waits until each listener is up or down, as its proxy is enabled or disabled: a client may connect immediately.
    pub(super) async fn settle(&self) {
        let began = Instant::now();
        let is_settled = |proxy: &ApiProxy| {
            let metrics = self.control.metrics().tcp_proxy(proxy.proxy.as_str());
            // During a stop, disabled proxies accept connections, too.
            metrics.listener().is_up() == proxy.is_enabled || self.control.engine().active().stop.is_some()
        };
        while !self.lock().iter().all(is_settled) && began.elapsed() < SETTLE_TIME {
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Adds a proxy.
    pub(super) fn create(&self, fields: Fields, by: &str) -> Result<Value, ApiError> {
        let mut proxies = self.lock();
        if proxies.iter().any(|proxy| Some(&proxy.name) == fields.name.as_ref()) {
            return Err(ApiError::exists("proxy"));
        }
        self.add(&mut proxies, fields, by)
    }

    /// Adds a proxy, or replaces the one of the same name.
    fn add(&self, proxies: &mut Vec<ApiProxy>, fields: Fields, by: &str) -> Result<Value, ApiError> {
        let name = fields.name.filter(|name| !name.is_empty()).ok_or_else(|| ApiError::missing("name"))?;
        let (upstream, upstream_text) = fields.upstream.ok_or_else(|| ApiError::missing("upstream"))?;
        let mut changed = proxies.clone();
        let before = changed.iter().position(|proxy| proxy.name == name).map(|at| changed.swap_remove(at));
        let (proxy, down) = match before {
            Some(before) => (before.proxy, before.down),
            None => (self.proxy_name(&name)?, self.rule_name(proxies, &format!("{name}-down"))),
        };
        changed.push(ApiProxy {
            name,
            proxy,
            listen: fields.listen.unwrap_or(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0)),
            upstream,
            upstream_text,
            is_enabled: fields.enabled.unwrap_or(true),
            toxics: Vec::new(),
            down,
        });
        self.commit(proxies, changed, by)?;
        Ok(proxies.last().map_or(Value::Null, |proxy| self.json(proxy)))
    }

    /// Adds proxies. Replaces those of the same name if their address or upstream differs, else keeps them. Returns the
    /// proxies before the first error.
    pub(super) fn populate(&self, all: Vec<Fields>, by: &str) -> (Vec<Value>, Result<(), ApiError>) {
        let mut proxies = self.lock();
        let mut added = Vec::new();
        for fields in all {
            let same = proxies.iter().find(|proxy| {
                Some(&proxy.name) == fields.name.as_ref()
                    && Some(self.listens(proxy)) == fields.listen
                    && fields.upstream.as_ref().is_some_and(|(_, text)| *text == proxy.upstream_text)
            });
            let result = match same {
                Some(same) => Ok(self.json(same)),
                None => self.add(&mut proxies, fields, by),
            };
            match result {
                Ok(proxy) => added.push(proxy),
                Err(error) => return (added, Err(error)),
            }
        }
        (added, Ok(()))
    }

    /// Whether an update changes the address or the upstream of a proxy.
    pub(super) fn moves(&self, name: &str, fields: &Fields) -> Result<bool, ApiError> {
        let proxies = self.lock();
        let proxy = &proxies[position(&proxies, name)?];
        Ok(fields.listen.is_some_and(|listen| listen != self.listens(proxy))
            || fields.upstream.as_ref().is_some_and(|(_, text)| *text != proxy.upstream_text))
    }

    /// Resets the open connections of a proxy by disabling it. Returns whether it was enabled.
    pub(super) async fn interrupt(&self, name: &str, by: &str) -> Result<bool, ApiError> {
        let was_enabled = {
            let mut proxies = self.lock();
            let at = position(&proxies, name)?;
            let mut changed = proxies.clone();
            let was_enabled = std::mem::replace(&mut changed[at].is_enabled, false);
            if was_enabled {
                self.commit(&mut proxies, changed, by)?;
            }
            was_enabled
        };
        if was_enabled {
            self.settle().await;
        }
        Ok(was_enabled)
    }

    /// Updates the given fields of a proxy.
    pub(super) fn update(&self, name: &str, fields: Fields, by: &str) -> Result<Value, ApiError> {
        let mut proxies = self.lock();
        let at = position(&proxies, name)?;
        let mut changed = proxies.clone();
        let proxy = &mut changed[at];
        if let Some(listen) = fields.listen.filter(|listen| *listen != self.listens(proxy)) {
            proxy.listen = listen;
        }
        if let Some((upstream, upstream_text)) = fields.upstream {
            (proxy.upstream, proxy.upstream_text) = (upstream, upstream_text);
        }
        proxy.is_enabled = fields.enabled.unwrap_or(proxy.is_enabled);
        self.commit(&mut proxies, changed, by)?;
        Ok(self.json(&proxies[at]))
    }

    /// Removes a proxy and its toxics.
    pub(super) fn remove(&self, name: &str, by: &str) -> Result<(), ApiError> {
        let mut proxies = self.lock();
        let mut changed = proxies.clone();
        changed.remove(position(&proxies, name)?);
        self.commit(&mut proxies, changed, by)
    }

    /// Enables all proxies and removes all toxics.
    pub(super) fn reset(&self, by: &str) -> Result<(), ApiError> {
        let mut proxies = self.lock();
        let mut changed = proxies.clone();
        for proxy in &mut changed {
            proxy.is_enabled = true;
            proxy.toxics.clear();
        }
        self.commit(&mut proxies, changed, by)
    }

    /// The toxics of a proxy.
    pub(super) fn toxics(&self, proxy: &str) -> Result<Value, ApiError> {
        let proxies = self.lock();
        Ok(proxies[position(&proxies, proxy)?].toxics_json())
    }

    /// One toxic.
    pub(super) fn toxic(&self, proxy: &str, toxic: &str) -> Result<Value, ApiError> {
        let proxies = self.lock();
        let proxy = &proxies[position(&proxies, proxy)?];
        Ok(proxy.toxics[proxy.toxic(toxic)?].json())
    }

    /// Appends a toxic.
    pub(super) fn add_toxic(&self, proxy: &str, body: &Value, by: &str) -> Result<Value, ApiError> {
        let mut proxies = self.lock();
        let at = position(&proxies, proxy)?;
        let toxic = Toxic::read(body, |name| self.rule_name(&proxies, &format!("{proxy}-{name}")))?;
        if proxies[at].toxic(&toxic.name).is_ok() {
            return Err(ApiError::exists("toxic"));
        }
        let json = toxic.json();
        let mut changed = proxies.clone();
        changed[at].toxics.push(toxic);
        self.commit(&mut proxies, changed, by)?;
        Ok(json)
    }

    /// Updates the given fields of a toxic.
    pub(super) fn update_toxic(
        &self,
        (proxy, toxic): (&str, &str),
        body: &Value,
        by: &str,
    ) -> Result<Value, ApiError> {
        let mut proxies = self.lock();
        let at = position(&proxies, proxy)?;
        let index = proxies[at].toxic(toxic)?;
        let mut changed = proxies.clone();
        changed[at].toxics[index].update(body)?;
        self.commit(&mut proxies, changed, by)?;
        Ok(proxies[at].toxics[index].json())
    }

    /// Removes a toxic.
    pub(super) fn remove_toxic(&self, proxy: &str, toxic: &str, by: &str) -> Result<(), ApiError> {
        let mut proxies = self.lock();
        let at = position(&proxies, proxy)?;
        let index = proxies[at].toxic(toxic)?;
        let mut changed = proxies.clone();
        changed[at].toxics.remove(index);
        self.commit(&mut proxies, changed, by)
    }
}

impl ApiProxy {
    fn toxic(&self, name: &str) -> Result<usize, ApiError> {
        self.toxics.iter().position(|toxic| toxic.name == name).ok_or_else(ApiError::no_toxic)
    }

    /// The toxics as the API shows them: those of the stream `upstream` first.
    fn toxics_json(&self) -> Value {
        let of_stream =
            |stream| self.toxics.iter().filter(move |toxic| toxic.stream == stream).map(Toxic::json);
        Stream::ALL.into_iter().flat_map(of_stream).collect()
    }
}

fn position(proxies: &[ApiProxy], name: &str) -> Result<usize, ApiError> {
    proxies.iter().position(|proxy| proxy.name == name).ok_or_else(ApiError::no_proxy)
}

/// The proxies and rules that the API's proxies and toxics stand for.
fn plan(api_proxies: &[ApiProxy]) -> Result<RawPlan, ApiError> {
    let (mut proxies, mut rules) = (Vec::new(), Vec::new());
    for proxy in api_proxies {
        let upstream = ProxyUpstream::Tcp(proxy.upstream.clone());
        proxies.push(Proxy { name: proxy.proxy.clone(), listen: proxy.listen, upstream, tls: None });
        let name = proxy.proxy.as_str();
        let down = json!({ "name": proxy.down.as_str(), "target": name, "mode": "refuse" });
        let toxics = proxy.toxics.iter().filter_map(|toxic| toxic.rule(name));
        for rule in (!proxy.is_enabled).then_some(down).into_iter().chain(toxics) {
            match read_entry(&rule, "") {
                Ok(PlanEntry::Rule(rule)) => rules.push(*rule),
                Ok(PlanEntry::Disabled(_)) => {}
                Err(errors) => return Err(ApiError::bad_body(errors.lines().join("; "))),
            }
        }
    }
    Ok(RawPlan { rules, proxies: Some(proxies), ..RawPlan::default() })
}

/// A DNS label that resembles `text`, with a number at the end if it is taken.
fn label(text: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let mapped = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let stem: String = text.chars().take(MAX_STEM).map(mapped).collect();
    let stem = match stem.trim_matches('-') {
        "" => "toxiproxy",
        stem => stem,
    };
    let numbered = |number: u64| if number == 1 { stem.to_owned() } else { format!("{stem}-{number}") };
    let mut number = 1;
    while is_taken(&numbered(number)) {
        number += 1;
    }
    numbered(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_unused_dns_labels() {
        for (text, taken, expected) in [
            ("mysql_master", &[][..], "mysql-master"),
            ("Redis Cache!", &[], "redis-cache"),
            ("_", &[], "toxiproxy"),
            ("ü", &[], "toxiproxy"),
            ("db", &["db", "db-2"], "db-3"),
        ] {
            assert_eq!(label(text, |label| taken.contains(&label)), expected, "{text}");
        }
        let long = label(&"x".repeat(200), |label| label.len() == MAX_STEM);
        assert!(ProxyName::new(&long).is_ok(), "{long}");
    }
}
