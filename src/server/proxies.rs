//! The listeners of named proxies: bound, served and closed while the service runs.

mod bind;
mod trust;

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant};
use tracing::info;

use super::services::spare_files;
use crate::env::{AttachedProxy, ForwardOptions, Limits};
use crate::fault::{Link, ListenerId, ProxyName, Slot, UpstreamAddress, UpstreamPlace};
use crate::http::{App, Exchangeable, proxy_routes};
use crate::listener::budget::MemoryBudget;
use crate::listener::{self, Conditions, Encryption, ListenerFaults, PartitionedListener, ProcessStage};
use crate::plan::{ConfigError, Errors, Proxy, ProxyUpstream, Reason};
use crate::proxy::{Buffers, Forwarder, OwnListeners, ProxyRules, TcpProxy, TcpShared, TcpUpstream};
use crate::sources::ProxyHost;
use crate::sources::proxies::cannot_listen;
use crate::task::Boxed;
pub(super) use bind::bind;
pub(super) use trust::check_trust;
use trust::trust;

/// Time for requests to end after their proxy was removed.
const GRACE: Duration = Duration::from_secs(30);

/// Minimum time between two checks of the windows of rules on proxies.
const MIN_PAUSE: Duration = Duration::from_millis(10);

/// Why the proxy of a port that is taken over cannot be removed, or get another address.
const ATTACHED: &str =
    "has the port of the application: it stays until attach ends (kube-probesim attach --stop)";

/// The listeners of proxies.
pub(super) struct ProxyListeners {
    app: Arc<App>,
    budget: MemoryBudget,
    tls: Option<Encryption>,
    limits: Limits,
    options: ForwardOptions,
    /// The one whose port is taken over from an application.
    attached: Option<AttachedProxy>,
    own: OwnListeners,
    /// Read buffers of TCP proxies.
    buffers: Arc<Buffers>,
    runtime: Handle,
    state: Mutex<ProxyState>,
}

#[derive(Default)]
struct ProxyState {
    /// Bound, but not served yet.
    bound: Vec<(ProxyName, SocketAddr, Vec<PartitionedListener>)>,
    served: HashMap<ProxyName, Served>,
    /// Removed proxies that drain. Conditions apply to their connections until the last one has ended.
    draining: Vec<Draining>,
}

/// The tasks of a removed proxy, and the conditions of its connections.
type Draining = (Vec<JoinHandle<()>>, watch::Sender<Conditions>, watch::Sender<Arc<ProxyRules>>);

/// How a proxy forwards.
enum Forwards {
    Http(Exchangeable),
    Tcp(Arc<TcpProxy>),
}

/// A proxy that is served.
struct Served {
    proxy: Proxy,
    local: SocketAddr,
    forwards: Forwards,
    conditions: watch::Sender<Conditions>,
    rules: watch::Sender<Arc<ProxyRules>>,
    /// One for each of its sockets.
    serving: Vec<JoinHandle<()>>,
}

impl fmt::Debug for ProxyListeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxies").finish_non_exhaustive()
    }
}

fn tcp_upstream(proxy: &Proxy, place: &UpstreamPlace) -> TcpUpstream {
    TcpUpstream::new(place.clone(), proxy.tls.clone())
}

impl ProxyListeners {
    /// Takes the listeners bound at the start. Call it within a runtime.
    pub(super) fn new(
        app: Arc<App>,
        (budget, tls): (MemoryBudget, Option<Encryption>),
        (limits, options, attached): (Limits, ForwardOptions, Option<AttachedProxy>),
        own: OwnListeners,
        bound: Vec<(Proxy, Vec<PartitionedListener>)>,
    ) -> Self {
        let bound =
            bound.into_iter().map(|(proxy, listeners)| (proxy.name, proxy.listen, listeners)).collect();
        let state = Mutex::new(ProxyState { bound, ..ProxyState::default() });
        let (runtime, buffers) = (Handle::current(), Arc::default());
        Self { app, budget, tls, limits, options, attached, own, buffers, runtime, state }
    }

    /// Updates proxies about their rules, and releases held connections when all rules are stopped. Never returns.
    pub(super) async fn follow(self: Arc<Self>) {
        let mut plans = self.app.engine.subscribe();
        loop {
            plans.borrow_and_update();
            for served in self.state().served.values() {
                self.inform(served);
            }
            let began = Instant::now();
            let next = plans.borrow().plan.next_change_of_proxies(self.app.engine.elapsed());
            let next = next.map(|next| self.app.engine.instant(next));
            tokio::select! {
                changed = plans.changed() => if changed.is_err() { return },
                () = self.app.timer.sleep_until_some(next) => {}
            }
            self.app.timer.sleep_until(began + MIN_PAUSE).await;
        }
    }

    /// Updates a proxy about its rules in force.
    fn inform(&self, served: &Served) {
        let Some((link, rules)) = self.rules(&served.proxy.name) else { return };
        let is_stopped = rules.active.plan.is_stopped();
        let is_changed = served.conditions.send_if_modified(|conditions| {
            let before = (conditions.link, conditions.is_stopped);
            (conditions.link, conditions.is_stopped) = (link, is_stopped);
            before != (link, is_stopped) || link.partial
        });
        served.rules.send_if_modified(|known| {
            let has_none = known.open.is_empty() && rules.open.is_empty();
            let is_same = known.open == rules.open && Arc::ptr_eq(&known.active, &rules.active);
            let is_news = is_changed || !(has_none || is_same);
            // Even without an effect, so that no old plan is kept alive.
            *known = Arc::new(rules);
            is_news
        });
    }

    /// Current effects of rules on a proxy: on its listener and on its connections.
    fn rules(&self, name: &ProxyName) -> Option<(Link, ProxyRules)> {
        let (active, now) = (self.app.engine.active(), self.app.engine.elapsed());
        let slot = active.plan.proxies().slot(name)?;
        let (mut link, open) =
            (active.plan.link(ListenerId::Proxy(slot), now), active.plan.open_rules(slot, now));
        if !self.spared(name).is_empty() {
            // A cut of the socket would not spare anybody: each connection is cut instead.
            link.partial |= link.whole.take().is_some();
        }
        Some((link, ProxyRules { active, open }))
    }

    /// Whether there are proxies.
    pub(super) fn serve_any(&self) -> bool {
        !self.state().served.is_empty()
    }

    /// The peers that no rule on this proxy acts on.
    fn spared(&self, name: &ProxyName) -> &[IpAddr] {
        let attached = self.attached.as_ref().filter(|attached| attached.name == *name);
        attached.map_or(&[], |attached| &attached.spared)
    }

    /// Informs all proxies that the process ends.
    pub(super) fn set_stage(&self, stage: ProcessStage) {
        for served in self.state().served.values() {
            served.conditions.send_modify(|conditions| conditions.stage = stage);
        }
    }

    /// Ends all proxies. Requests in progress may continue until `until`.
    pub(super) async fn finish(&self, until: Instant) {
        self.set_stage(ProcessStage::Draining(until));
        let served: Vec<Served> = self.state().served.drain().map(|(_, served)| served).collect();
        // Their connections end when `served` is dropped.
        for served in served {
            for serving in served.serving {
                // A panic of the task is already reported.
                let _ = serving.await;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, ProxyState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forwarder(&self, proxy: &Proxy, address: &UpstreamAddress) -> Forwarder {
        let metrics = self.app.metrics.upstream(proxy.name.as_str());
        let tls = proxy.tls.clone().unwrap_or_default();
        Forwarder::new(address.clone(), tls, self.options, metrics, self.own.clone())
    }

    fn begin(&self, proxy: &Proxy, listeners: Vec<PartitionedListener>) -> Option<Served> {
        let slot = self.app.engine.active().plan.proxies().slot(&proxy.name)?;
        let local = listeners.first()?.local_addr();
        let (link, rules) = self.rules(&proxy.name)?;
        let is_stopped = rules.active.plan.is_stopped();
        let conditions = watch::Sender::new(Conditions { link, is_stopped, ..Conditions::default() });
        let rules = watch::Sender::new(Arc::new(rules));
        info!(proxy = %proxy.name, listen = %local, upstream = %proxy.upstream, "proxy opened");
        for listener in &listeners {
            self.own.add(listener.local_addr());
        }
        let (forwards, serving) = match &proxy.upstream {
            ProxyUpstream::Http(address) => {
                let upstream = Exchangeable::new(self.forwarder(proxy, address));
                let service = self.http_service(&proxy.name, slot, &upstream, conditions.subscribe());
                let serve =
                    |socket| self.runtime.spawn(Box::pin(listener::serve(socket, service.clone())) as Boxed);
                let serving = listeners.into_iter().map(serve).collect();
                (Forwards::Http(upstream), serving)
            }
            ProxyUpstream::Tcp(place) => {
                let shared = self.tcp_shared(self.spared(&proxy.name).into());
                let conditions = conditions.subscribe();
                let name = (proxy.name.as_str(), slot);
                let tcp =
                    TcpProxy::new(name, tcp_upstream(proxy, place), shared, conditions, rules.subscribe());
                let serve = |socket| self.runtime.spawn(Box::pin(tcp.clone().serve(socket)) as Boxed);
                let serving = listeners.into_iter().map(serve).collect();
                (Forwards::Tcp(tcp), serving)
            }
        };
        Some(Served { proxy: proxy.clone(), local, forwards, conditions, rules, serving })
    }

    fn http_service(
        &self,
        name: &ProxyName,
        slot: Slot,
        upstream: &Exchangeable,
        conditions: watch::Receiver<Conditions>,
    ) -> listener::ListenerService {
        listener::ListenerService {
            name: name.as_str().into(),
            listener_metrics: self.app.metrics.http_proxy(name.as_str()),
            routes: proxy_routes(&self.app, slot, upstream.clone()),
            limits: self.limits,
            budget: self.budget.clone(),
            fairness: None,
            first_request: self.limits.idle_time,
            files: spare_files(true),
            transparent: true,
            metrics: self.app.metrics.clone(),
            faulted: Some(ListenerFaults {
                engine: self.app.engine.clone(),
                listener: ListenerId::Proxy(slot),
            }),
            speaks_http2: true,
            spare_maps: Arc::default(),
            tls: self.tls.clone(),
            pass_through: None,
            conditions,
        }
    }

    fn tcp_shared(&self, spared: Arc<[IpAddr]>) -> TcpShared {
        TcpShared {
            engine: self.app.engine.clone(),
            timer: self.app.timer.clone(),
            metrics: self.app.metrics.clone(),
            budget: self.budget.clone(),
            buffers: self.buffers.clone(),
            options: self.options,
            own: self.own.clone(),
            spared,
            connections: self.limits.connections,
            files: spare_files(true),
        }
    }

    /// Forwards from now on to the current upstream of `proxy`.
    fn exchange(&self, served: &mut Served, proxy: &Proxy) {
        match (&served.forwards, &proxy.upstream) {
            (Forwards::Http(upstream), ProxyUpstream::Http(address)) => {
                upstream.exchange(self.forwarder(proxy, address));
            }
            (Forwards::Tcp(tcp), ProxyUpstream::Tcp(place)) => tcp.exchange(tcp_upstream(proxy, place)),
            // `open` has rejected it.
            _ => return,
        }
        info!(proxy = %proxy.name, upstream = %proxy.upstream, "proxy upstream changed");
        served.proxy = proxy.clone();
    }

    /// Closes the listener; requests in progress may continue for a while.
    fn end(&self, served: Served, draining: &mut Vec<Draining>) {
        info!(proxy = %served.proxy.name, listen = %served.local, "proxy closed");
        self.own.remove(served.local);
        self.app.metrics.retire_proxy(served.proxy.name.as_str());
        let until = Instant::now() + GRACE;
        served.conditions.send_modify(|conditions| conditions.stage = ProcessStage::Draining(until));
        draining.push((served.serving, served.conditions, served.rules));
    }
}

impl ProxyHost for ProxyListeners {
    fn open(&self, wanted: &[Proxy]) -> Result<(), Errors> {
        let _runtime = self.runtime.enter();
        let mut state = self.state();
        let has_socket = |state: &ProxyState, proxy: &Proxy| {
            let served =
                state.served.get(&proxy.name).is_some_and(|served| served.proxy.listen == proxy.listen);
            served
                || state.bound.iter().any(|(name, listen, _)| (name, listen) == (&proxy.name, &proxy.listen))
        };
        let (mut opened, mut errors) = (Vec::new(), Errors::new());
        if let Some(AttachedProxy { name, .. }) = &self.attached
            && !wanted.iter().any(|proxy| proxy.name == *name && has_socket(&state, proxy))
        {
            let reason = Reason::File(ATTACHED.to_owned());
            return Err(ConfigError::new(format!("proxy {name}"), reason).into());
        }
        for proxy in wanted {
            if let Err(error) = trust(proxy, "ca") {
                errors.push(*error);
            }
            let served = state.served.get(&proxy.name).map(|served| &served.proxy);
            let same = served.filter(|served| served.listen == proxy.listen);
            if same.is_some_and(|served| served.protocol() != proxy.protocol()) {
                let reason = Reason::ProtocolChange;
                let error = ConfigError::new(format!("proxy {}", proxy.name), reason).field("upstream");
                errors.push(error.value(&proxy.upstream.to_string()));
            }
        }
        for proxy in wanted.iter().filter(|proxy| !has_socket(&state, proxy)) {
            let of_proxy = state.served.values().any(|served| served.local == proxy.listen);
            if proxy.listen.port() != 0 && self.own.contain(proxy.listen) && !of_proxy {
                let reason = Reason::PortTaken("PORT or ADMIN_ADDRESS".to_owned());
                let error = ConfigError::new(format!("proxy {}", proxy.name), reason).field("listen");
                errors.push(error.value(&proxy.listen.to_string()));
                continue;
            }
            match bind(proxy) {
                Ok(listener) => opened.push((proxy.name.clone(), proxy.listen, vec![listener])),
                Err(error) => errors.push(cannot_listen(proxy, &error)),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        state.bound.extend(opened);
        Ok(())
    }

    fn serve(&self, wanted: &[Proxy]) {
        let _runtime = self.runtime.enter();
        let mut state = self.state();
        let ProxyState { bound, served, draining } = &mut *state;
        draining.retain(|(serving, ..)| !serving.iter().all(JoinHandle::is_finished));
        let is_wanted = |of: &Served| {
            wanted.iter().any(|proxy| proxy.name == of.proxy.name && proxy.listen == of.proxy.listen)
        };
        for (_, gone) in served.extract_if(|_, served| !is_wanted(served)) {
            self.end(gone, draining);
        }
        for proxy in wanted {
            if let Some(served) = served.get_mut(&proxy.name) {
                if served.proxy.upstream != proxy.upstream || served.proxy.tls != proxy.tls {
                    self.exchange(served, proxy);
                }
                continue;
            }
            let found =
                bound.iter().position(|(name, listen, _)| (name, listen) == (&proxy.name, &proxy.listen));
            let Some((_, _, listeners)) = found.map(|found| bound.swap_remove(found)) else { continue };
            // The plan in force includes each required proxy.
            if let Some(begun) = self.begin(proxy, listeners) {
                served.insert(proxy.name.clone(), begun);
            }
        }
        // Listeners bound for a plan that was then rejected.
        bound.clear();
        // The change takes effect immediately.
        for served in served.values() {
            self.inform(served);
        }
    }

    fn address(&self, name: &ProxyName) -> Option<SocketAddr> {
        self.state().served.get(name).map(|served| served.local)
    }
}
