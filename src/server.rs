//! The service: binds, serves, watches windows open and close, drains.

mod certificates;
mod process;
mod proxies;
mod services;
mod shutdown;
mod signals;
mod supervisor;
mod toxiproxy;
mod windows;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{error, info};

use crate::admin;
use crate::clock::Timer;
use crate::env::Config;
use crate::fault::Rule;
use crate::grpc::Health;
use crate::http::App;
use crate::listener::{self, BindError, Conditions, PartitionedListener, ProcessStage};
use crate::plan::Proxy;
use crate::proxy::OwnListeners;
use crate::sources::{self, start};
use crate::task;
use certificates::Certificates;
pub use certificates::TlsError;
pub use process::ProcessEnding;
use process::{ProcessFaults, Surroundings};
use proxies::ProxyListeners;
use services::{admin_service, budget, probe_service, probe_upstream};
use shutdown::{Shutdown, ShutdownReason};
pub use signals::Signals;
pub use supervisor::RuleTotal;

/// Time limit for the admin listener to end after the probe listener.
const ADMIN_GRACE: Duration = Duration::from_millis(200);

/// A service that has bound its ports but does not serve yet.
#[derive(Debug)]
pub struct Server {
    config: Config,
    kept: start::EarlierStarts,
    /// The probe listener: one socket, or one for each address of a port that is taken over.
    probes: Vec<PartitionedListener>,
    /// The stage after a signal.
    leaving: ProcessStage,
    admin: PartitionedListener,
    /// The proxies of the environment; those of files follow with their plans.
    proxies: Vec<(Proxy, Vec<PartitionedListener>)>,
    certificates: Certificates,
    /// The listener of toxiproxy's API.
    toxiproxy: Option<PartitionedListener>,
}

/// How a service has ended.
#[derive(Debug)]
pub struct ServerEnd {
    /// How a rule ends the process, if one does.
    pub by_rule: Option<ProcessEnding>,
    /// What each rule in force did.
    pub totals: Vec<RuleTotal>,
}

/// The service cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A certificate is unusable.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An address cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
}

impl Server {
    /// Reads certificates and binds both listeners. Connections are queued, unless a rule may cut them from the start.
    /// `kept` is the state of earlier starts of the container.
    pub fn bind(config: Config, kept: start::EarlierStarts) -> Result<Self, StartError> {
        let certificates = Certificates::load(&config)?;
        proxies::check_trust(&config)?;
        let probe = PartitionedListener::bind(config.probe_address, !may_be_cut(&config))?;
        Ok(Self::bind_others(config, kept, certificates)?.with_probes(vec![probe], ProcessStage::Leaving))
    }

    /// Like [`bind`](Self::bind), but the probe listener consists of the sockets that `take` takes from an application, once
    /// everything else is checked; with an attached proxy, it is that proxy that does, and there is no probe listener. The
    /// caller lets go of the sockets before the service ends.
    ///
    /// # Errors
    ///
    /// That of `take`, or an unusable configuration.
    pub(crate) fn bind_taken<E: From<StartError>>(
        config: Config,
        take: impl FnOnce() -> Result<Vec<PartitionedListener>, E>,
    ) -> Result<Self, E> {
        let certificates = Certificates::load(&config).map_err(StartError::from)?;
        proxies::check_trust(&config).map_err(StartError::from)?;
        let server = Self::bind_others(config, start::EarlierStarts::default(), certificates);
        let (mut server, taken) = (server.map_err(StartError::from)?, take()?);
        let attached = server.config.attached.as_ref().map(|attached| &attached.name);
        let Some(attached) = attached else {
            return Ok(server.with_probes(taken, ProcessStage::HandingOver));
        };
        taken.iter().for_each(PartitionedListener::enlarge_buffers);
        let proxy = server.proxies.iter_mut().find(|(proxy, _)| proxy.name == *attached);
        if let Some((_, listeners)) = proxy {
            *listeners = taken;
        }
        server.leaving = ProcessStage::HandingOver;
        Ok(server)
    }

    fn with_probes(mut self, probes: Vec<PartitionedListener>, leaving: ProcessStage) -> Self {
        if self.config.upstream.is_some() {
            probes.iter().for_each(PartitionedListener::enlarge_buffers);
        }
        (self.probes, self.leaving) = (probes, leaving);
        self
    }

    fn bind_others(
        config: Config,
        kept: start::EarlierStarts,
        certificates: Certificates,
    ) -> Result<Self, BindError> {
        let admin = PartitionedListener::bind(config.admin_address, true)?;
        let attached = config.attached.as_ref().map(|attached| &attached.name);
        let bound = |proxy: &Proxy| {
            let is_attached = attached == Some(&proxy.name);
            let listeners = if is_attached { Vec::new() } else { vec![proxies::bind(proxy)?] };
            Ok((proxy.clone(), listeners))
        };
        let proxies = config.proxies.iter().map(bound).collect::<Result<_, BindError>>()?;
        let toxiproxy = config.toxiproxy.as_ref().map(toxiproxy::bind).transpose()?;
        let (probes, leaving) = (Vec::new(), ProcessStage::Leaving);
        Ok(Self { config, kept, probes, leaving, admin, proxies, certificates, toxiproxy })
    }

    /// The address of the probe listener.
    pub fn probe_addr(&self) -> std::net::SocketAddr {
        address_of(&self.probes)
    }

    /// The address of the admin listener.
    pub fn admin_addr(&self) -> std::net::SocketAddr {
        self.admin.local_addr()
    }

    /// Where toxiproxy's API is bound, if it is served.
    pub fn toxiproxy_addr(&self) -> Option<SocketAddr> {
        self.toxiproxy.as_ref().map(PartitionedListener::local_addr)
    }

    /// Serves until a signal, then fails readiness for the delay, drains for at most the grace period and returns; another
    /// signal ends the drain. Returns how it ended.
    pub async fn run(self, signals: Signals) -> Result<ServerEnd, prometheus::Error> {
        let Self { config, kept, probes, leaving, admin, proxies, certificates, toxiproxy } = self;
        let served = if probes.is_empty() { proxies.first().map(|(_, taken)| taken) } else { Some(&probes) };
        let (probe_addr, admin_addr) = (served.map_or(NOWHERE, |all| address_of(all)), admin.local_addr());
        let start::Started { control, engine, metrics, saver, watcher } =
            start::start(&config, kept, draw_seed())?;
        let conditions = watch::Sender::new(supervisor::conditions(&engine));
        let admin_conditions = watch::Sender::new(Conditions::default());
        let timer = Timer::new();
        let own = OwnListeners::default();
        for listener in probes.iter().chain([&admin]).chain(&toxiproxy) {
            own.add(listener.local_addr());
        }
        let of_proxies = (config.limits, config.forwarding, config.attached);
        let upstream = config
            .upstream
            .map(|upstream| probe_upstream(upstream, config.forwarding, &metrics, own.clone()));
        let app = Arc::new(App {
            engine: engine.clone(),
            metrics: metrics.clone(),
            timer: timer.clone(),
            identity: config.identity,
            paths: config.paths,
            request_faults: config.request_faults,
            upstream,
            conditions: conditions.subscribe(),
            health: Health::new(engine.clone(), conditions.subscribe(), timer.clone(), metrics.clone()),
        });
        announce(&app, probe_addr, admin_addr);
        let budget = budget(&metrics, config.process.memory);
        let held = budget.clone();
        let proxies = Arc::new(ProxyListeners::new(
            app.clone(),
            (budget.clone(), certificates.probe.clone()),
            of_proxies,
            own,
            proxies,
        ));
        if let Err(errors) = control.host_proxies(proxies.clone()) {
            errors
                .iter()
                .for_each(|error| error!("{error}; no proxies are served until the next change of the plan"));
        }
        let api =
            admin::router(control.clone(), app.identity.clone(), config.admin_token, config.admin_loopback);
        let probe_service = probe_service(&app, config.limits, budget.clone(), certificates.probe.clone());
        let mut admin_service = admin_service(&app, api, config.limits, budget, admin_conditions.subscribe());
        admin_service.tls = certificates.admin.clone();
        certificates.show(&metrics);
        let _certificates = certificates
            .watch(metrics.clone())
            .inspect_err(|error| error!(%error, "changes of certificates will not be noticed"));
        let serving = task::spawn(serve_all(probes, probe_service));
        let toxiproxy = toxiproxy::serve(toxiproxy, config.toxiproxy, &admin_service, &control).await;
        let watching = task::spawn(listener::serve(admin, admin_service));
        let supervising = task::spawn(supervisor::run(engine.clone(), conditions.clone(), timer.clone()));
        let following = task::spawn(proxies.clone().follow());
        let controlling = task::spawn(control.run());
        let reloading = task::spawn(start::reload(watcher));

        let surroundings =
            Surroundings { metrics: metrics.clone(), budget: held, conditions: conditions.clone() };
        let mut faults = ProcessFaults::new(engine.clone(), timer.clone(), surroundings, config.files.state);
        let shutdown = Shutdown::new(
            engine.clone(),
            metrics.clone(),
            timer,
            conditions,
            &config.process,
            leaving,
            proxies.clone(),
        );
        let end = tokio::select! {
            end = shutdown.run(signals, serving) => end,
            ending = faults.run() => ShutdownReason::ByRule(ending),
        };
        // Release the resources of rules.
        drop(faults);
        if !matches!(end, ShutdownReason::ByRule(_)) {
            // The application in the Pod may call through proxies until its end.
            proxies.finish(Instant::now() + ADMIN_GRACE).await;
        }
        following.abort();
        supervising.abort();
        controlling.abort();
        reloading.abort();
        if let Some(saver) = saver {
            saver.finish();
        }
        admin_conditions.send_modify(|conditions| {
            conditions.stage = ProcessStage::Draining(Instant::now() + ADMIN_GRACE);
        });
        if end != ShutdownReason::AtOnce {
            let _ = watching.await;
            let _ = toxiproxy.await;
        }
        let totals = supervisor::log_totals(&engine, &metrics);
        let by_rule = match end {
            ShutdownReason::ByRule(ending) => Some(ending),
            ShutdownReason::Drained | ShutdownReason::AtOnce => None,
        };
        Ok(ServerEnd { by_rule, totals })
    }
}

/// Logs the addresses of all listeners.
fn announce(app: &App, probe: SocketAddr, admin: SocketAddr) {
    let active = app.engine.active();
    info!(
        version = crate::VERSION,
        revision = crate::REVISION,
        %probe,
        %admin,
        seed = active.plan.seed().0,
        pod = app.identity.pod.as_deref(),
        namespace = app.identity.namespace.as_deref(),
        node = app.identity.node.as_deref(),
        rules = active.plan.len(),
        faults = sources::summary(active.plan.rules()),
        "started"
    );
    if app.upstream.is_some() {
        process::warn_of_upstream(active.plan.rules());
    }
}

/// The first address of the probe listener.
fn address_of(probes: &[PartitionedListener]) -> SocketAddr {
    probes.first().map_or(NOWHERE, PartitionedListener::local_addr)
}

/// The address of no listener.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Serves all sockets of the probe listener.
async fn serve_all(probes: Vec<PartitionedListener>, service: listener::ListenerService) {
    let serve = |probe| task::spawn(listener::serve(probe, service.clone()));
    for serving in probes.into_iter().map(serve).collect::<Vec<_>>() {
        // A panic of the task is already reported.
        let _ = serving.await;
    }
}

/// Whether a rule may cut the probe listener; files are not read yet.
fn may_be_cut(config: &Config) -> bool {
    let files = &config.files;
    files.faults.is_some() || files.annotation.exists() || config.plan.rules().iter().any(Rule::is_partition)
}

/// A random seed, if none is configured.
pub(crate) fn draw_seed() -> u64 {
    use rand::TryRng;
    // The system's generator does not fail on supported kernels; otherwise, use an address, which differs between runs.
    rand::rngs::SysRng.try_next_u64().unwrap_or_else(|_| std::ptr::from_ref(&*Box::new(0_u8)).addr() as u64)
}
