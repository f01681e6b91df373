//! The proxies and toxics of the API, and how changes of them come into force.

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

/// The longest name that is made of another one; it leaves room for a number behind it.
const MAX_STEM: usize = 56;

/// How long a listener may take to open or to refuse.
const SETTLING: Duration = Duration::from_secs(1);

/// A proxy of the API.
#[derive(Clone)]
struct Known {
    /// Any text.
    name: String,
    /// The name of our proxy, unique among those of all sources.
    proxy: ProxyName,
    listen: SocketAddr,
    upstream: UpstreamPlace,
    /// The upstream as it was given.
    written: String,
    is_enabled: bool,
    toxics: Vec<Toxic>,
    /// The name of the rule that takes it down.
    down: RuleName,
}

/// The proxies and toxics of the API.
pub(super) struct Collection {
    control: Control,
    known: Mutex<Vec<Known>>,
}

impl Collection {
    pub(super) fn new(control: Control) -> Self {
        Self { control, known: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts `changed` in force in place of what there was.
    fn commit(&self, known: &mut Vec<Known>, changed: Vec<Known>, by: &str) -> Result<(), ApiError> {
        let plan = plan(&changed)?;
        self.control
            .replace_toxiproxy(by, plan)
            .map_err(|errors| ApiError::new(500, errors.lines().join("; ")))?;
        *known = changed;
        Ok(())
    }

    /// A label for `text` that no proxy has.
    fn proxy_name(&self, text: &str) -> Result<ProxyName, ApiError> {
        let proxies = self.control.proxies();
        let is_taken = |label: &str| {
            RESERVED_NAMES.contains(&label) || proxies.iter().any(|(proxy, ..)| proxy.name.as_str() == label)
        };
        ProxyName::new(&label(text, is_taken)).map_err(|error| ApiError::new(500, error.to_string()))
    }

    /// A label for `text` that no rule has.
    fn rule_name(&self, known: &[Known], text: &str) -> RuleName {
        let status = self.control.status();
        let rules = status.snapshot.active.plan.rules().map(crate::fault::Rule::name);
        let hidden = status.hidden.iter().map(|hidden| &hidden.name);
        let own = known.iter().flat_map(|of| of.toxics.iter().map(|toxic| &toxic.rule).chain([&of.down]));
        let taken: Vec<&RuleName> = rules.chain(hidden).chain(own).collect();
        let label = label(text, |label| taken.iter().any(|name| name.as_str() == label));
        RuleName::new(&label).unwrap_or_else(|_| unreachable!("{label} is a label"))
    }

    fn shown(&self, known: &Known) -> Value {
        let mut shown = json!({
            "name": known.name,
            "listen": self.listens(known).to_string(),
            "upstream": known.written,
            "enabled": known.is_enabled,
        });
        shown["toxics"] = known.shown_toxics();
        shown
    }

    /// Where a proxy listens, with the port that was free.
    fn listens(&self, known: &Known) -> SocketAddr {
        self.control.proxy_address(&known.proxy).unwrap_or(known.listen)
    }

    /// All proxies, by name.
    pub(super) fn all(&self) -> Value {
        let known = self.lock();
        Value::Object(known.iter().map(|of| (of.name.clone(), self.shown(of))).collect())
    }

    /// One proxy.
    pub(super) fn proxy(&self, name: &str) -> Result<Value, ApiError> {
        let known = self.lock();
        Ok(self.shown(&known[position(&known, name)?]))
    }

    /// For each proxy: its name, our name of it, where it listens, and its upstream.
    pub(super) fn for_each(&self, mut show: impl FnMut(&str, &ProxyName, SocketAddr, &str)) {
        for of in self.lock().iter() {
            show(&of.name, &of.proxy, self.listens(of), &of.written);
        }
    }

    /// Waits until each listener is open or refuses, as its proxy is enabled or not: a client may connect at once.
    pub(super) async fn settle(&self) {
        let began = Instant::now();
        let is_settled = |of: &Known| {
            let metrics = self.control.metrics().tcp_proxy(of.proxy.as_str());
            // A stop takes the rule out of force that refuses.
            metrics.listener().is_up() == of.is_enabled || self.control.engine().active().stop.is_some()
        };
        while !self.lock().iter().all(is_settled) && began.elapsed() < SETTLING {
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Adds a proxy.
    pub(super) fn create(&self, fields: Fields, by: &str) -> Result<Value, ApiError> {
        let mut known = self.lock();
        if known.iter().any(|of| Some(&of.name) == fields.name.as_ref()) {
            return Err(ApiError::exists("proxy"));
        }
        self.add(&mut known, fields, by)
    }

    /// Adds a proxy in the place of the one of its name, if there is one.
    fn add(&self, known: &mut Vec<Known>, fields: Fields, by: &str) -> Result<Value, ApiError> {
        let name = fields.name.filter(|name| !name.is_empty()).ok_or_else(|| ApiError::missing("name"))?;
        let (upstream, written) = fields.upstream.ok_or_else(|| ApiError::missing("upstream"))?;
        let mut changed = known.clone();
        let before = changed.iter().position(|of| of.name == name).map(|at| changed.swap_remove(at));
        let (proxy, down) = match before {
            Some(before) => (before.proxy, before.down),
            None => (self.proxy_name(&name)?, self.rule_name(known, &format!("{name}-down"))),
        };
        changed.push(Known {
            name,
            proxy,
            listen: fields.listen.unwrap_or(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0)),
            upstream,
            written,
            is_enabled: fields.enabled.unwrap_or(true),
            toxics: Vec::new(),
            down,
        });
        self.commit(known, changed, by)?;
        Ok(known.last().map_or(Value::Null, |of| self.shown(of)))
    }

    /// Adds proxies. One of a name that is there is replaced where it listens or forwards elsewhere, and stays as it is
    /// otherwise. Gives those until the first error.
    pub(super) fn populate(&self, all: Vec<Fields>, by: &str) -> (Vec<Value>, Result<(), ApiError>) {
        let mut known = self.lock();
        let mut added = Vec::new();
        for fields in all {
            let same = known.iter().find(|of| {
                Some(&of.name) == fields.name.as_ref()
                    && Some(self.listens(of)) == fields.listen
                    && fields.upstream.as_ref().is_some_and(|(_, written)| *written == of.written)
            });
            let result = match same {
                Some(same) => Ok(self.shown(same)),
                None => self.add(&mut known, fields, by),
            };
            match result {
                Ok(proxy) => added.push(proxy),
                Err(error) => return (added, Err(error)),
            }
        }
        (added, Ok(()))
    }

    /// Changes what is given of a proxy.
    pub(super) fn update(&self, name: &str, fields: Fields, by: &str) -> Result<Value, ApiError> {
        let mut known = self.lock();
        let at = position(&known, name)?;
        let mut changed = known.clone();
        let of = &mut changed[at];
        if let Some(listen) = fields.listen.filter(|listen| *listen != self.listens(of)) {
            of.listen = listen;
        }
        if let Some((upstream, written)) = fields.upstream {
            (of.upstream, of.written) = (upstream, written);
        }
        of.is_enabled = fields.enabled.unwrap_or(of.is_enabled);
        self.commit(&mut known, changed, by)?;
        Ok(self.shown(&known[at]))
    }

    /// Removes a proxy and its toxics.
    pub(super) fn remove(&self, name: &str, by: &str) -> Result<(), ApiError> {
        let mut known = self.lock();
        let mut changed = known.clone();
        changed.remove(position(&known, name)?);
        self.commit(&mut known, changed, by)
    }

    /// Enables all proxies and removes all toxics.
    pub(super) fn reset(&self, by: &str) -> Result<(), ApiError> {
        let mut known = self.lock();
        let mut changed = known.clone();
        for of in &mut changed {
            of.is_enabled = true;
            of.toxics.clear();
        }
        self.commit(&mut known, changed, by)
    }

    /// The toxics of a proxy.
    pub(super) fn toxics(&self, proxy: &str) -> Result<Value, ApiError> {
        let known = self.lock();
        Ok(known[position(&known, proxy)?].shown_toxics())
    }

    /// One toxic.
    pub(super) fn toxic(&self, proxy: &str, toxic: &str) -> Result<Value, ApiError> {
        let known = self.lock();
        let of = &known[position(&known, proxy)?];
        Ok(of.toxics[of.toxic(toxic)?].shown())
    }

    /// Adds a toxic behind the others.
    pub(super) fn add_toxic(&self, proxy: &str, body: &Value, by: &str) -> Result<Value, ApiError> {
        let mut known = self.lock();
        let at = position(&known, proxy)?;
        let toxic = Toxic::read(body, |name| self.rule_name(&known, &format!("{proxy}-{name}")))?;
        if known[at].toxic(&toxic.name).is_ok() {
            return Err(ApiError::exists("toxic"));
        }
        let shown = toxic.shown();
        let mut changed = known.clone();
        changed[at].toxics.push(toxic);
        self.commit(&mut known, changed, by)?;
        Ok(shown)
    }

    /// Changes what is given of a toxic.
    pub(super) fn update_toxic(
        &self,
        (proxy, toxic): (&str, &str),
        body: &Value,
        by: &str,
    ) -> Result<Value, ApiError> {
        let mut known = self.lock();
        let at = position(&known, proxy)?;
        let of = known[at].toxic(toxic)?;
        let mut changed = known.clone();
        changed[at].toxics[of].update(body)?;
        self.commit(&mut known, changed, by)?;
        Ok(known[at].toxics[of].shown())
    }

    /// Removes a toxic.
    pub(super) fn remove_toxic(&self, proxy: &str, toxic: &str, by: &str) -> Result<(), ApiError> {
        let mut known = self.lock();
        let at = position(&known, proxy)?;
        let of = known[at].toxic(toxic)?;
        let mut changed = known.clone();
        changed[at].toxics.remove(of);
        self.commit(&mut known, changed, by)
    }
}

impl Known {
    fn toxic(&self, name: &str) -> Result<usize, ApiError> {
        self.toxics.iter().position(|toxic| toxic.name == name).ok_or_else(ApiError::no_toxic)
    }

    /// Those of the stream upstream come first.
    fn shown_toxics(&self) -> Value {
        let of = |stream| self.toxics.iter().filter(move |toxic| toxic.stream == stream).map(Toxic::shown);
        Stream::ALL.into_iter().flat_map(of).collect()
    }
}

fn position(known: &[Known], name: &str) -> Result<usize, ApiError> {
    known.iter().position(|of| of.name == name).ok_or_else(ApiError::no_proxy)
}

/// The proxies and rules that do what the API was told.
fn plan(known: &[Known]) -> Result<RawPlan, ApiError> {
    let (mut proxies, mut rules) = (Vec::new(), Vec::new());
    for of in known {
        let upstream = ProxyUpstream::Tcp(of.upstream.clone());
        proxies.push(Proxy { name: of.proxy.clone(), listen: of.listen, upstream, tls: None });
        let name = of.proxy.as_str();
        let down = json!({ "name": of.down.as_str(), "target": name, "mode": "refuse" });
        let toxics = of.toxics.iter().filter_map(|toxic| toxic.rule(name));
        for rule in (!of.is_enabled).then_some(down).into_iter().chain(toxics) {
            match read_entry(&rule, "") {
                Ok(PlanEntry::Rule(rule)) => rules.push(*rule),
                Ok(PlanEntry::Disabled(_)) => {}
                Err(errors) => return Err(ApiError::bad_body(errors.lines().join("; "))),
            }
        }
    }
    Ok(RawPlan { rules, proxies: Some(proxies), ..RawPlan::default() })
}

/// A DNS label like `text`, with a number behind it where it is taken.
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
    fn names_are_mapped_to_labels_that_nobody_has() {
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
