//! The only owner of plan changes in the running service.
//!
//! Each source keeps its latest plan. All plans are merged by rule name, checked, and put in force completely or not
//! at all. A rule whose name and content are unchanged keeps its origin.

mod files;
mod preview;
mod proxies;
mod rules;
mod stop;

pub use preview::Preview;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{info, warn};

use super::change::{ApiChange, ChangeRefusal, ChangeResult};
use super::instance::{Instance, epoch};
use super::layers::Layers;
use super::merge::{Layer, Merged, check_rule_count};
use super::overlay::Overlay;
use super::proxies::ProxyHost;
use super::state::{SaveError, SaveRequests};
use super::status::{RuleStatus, SourceStatus, SourcesStatus};
use super::summary::summary;
use crate::clock::Timer;
use crate::engine::events::{EventKind, Events};
use crate::engine::{Engine, Stop};
use crate::fault::{MAX_PROXIES, Replica, Rule, Timestamp, TooManyProxies};
use crate::plan::{ConfigError, Errors, Proxy, Reason, Source};
use crate::telemetry::metrics::Metrics;

/// How often the wall clock is compared with the engine's clock, if rules depend on it.
const CLOCK_CHECK: Duration = Duration::from_secs(5);

/// Deviation of the wall clock that makes calendar rules start over.
const CLOCK_SLACK: Duration = Duration::from_millis(20);

/// A cheap-to-clone handle on the owner of plan changes.
#[derive(Clone, Debug)]
pub struct Control(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    engine: Engine,
    metrics: Arc<Metrics>,
    instance: Instance,
    /// Saves the state, if there is a state directory.
    saves: OnceLock<SaveRequests>,
    inner: Mutex<Inner>,
    /// Serves proxies; set once the service has started.
    host: OnceLock<Arc<dyn ProxyHost>>,
    /// Notified when a rule may expire earlier than the pending timer.
    changed: Notify,
}

/// The latest plan of each source, and their merge.
#[derive(Debug)]
struct Inner {
    layers: Layers,
    overlay: Overlay,
    merged: Merged,
    /// The stop made through the API, or the one kept from an earlier start of the container.
    stop: Option<Stop>,
    /// The stop requested by a file.
    file_stop: Option<Stop>,
}

/// The origin of a change, for log and events.
#[derive(Clone, Copy)]
struct ChangeOrigin<'a> {
    source: Source,
    /// Who made it: a peer of the API, or the path of a file.
    by: &'a str,
    change: &'a str,
}

impl Control {
    /// Takes ownership of an engine's plan, which was built from `layers`. `stop` is the stop kept from an earlier
    /// start of the container.
    pub(super) fn new(
        engine: Engine,
        metrics: Arc<Metrics>,
        layers: Layers,
        instance: Instance,
        stop: Option<Stop>,
    ) -> Self {
        metrics.reload(Source::Environment, true);
        for (source, file) in layers.files() {
            metrics.reload(source, file.errors.is_empty());
            for warning in file.errors.iter().chain(layers.warnings(source)) {
                warn!(source = source.name(), "{warning}");
            }
        }
        let merged = layers.merged();
        let file_stop = layers.stop(None);
        if let Some(stop) = stop.as_ref().or(file_stop.as_ref()) {
            warn!(source = stop.source.name(), by = stop.by, "stopped: no rule is in force");
        }
        let inner = Mutex::new(Inner { layers, overlay: Overlay::default(), merged, stop, file_stop });
        let (saves, host, changed) = (OnceLock::new(), OnceLock::new(), Notify::new());
        Self(Arc::new(Shared { engine, metrics, instance, saves, inner, host, changed }))
    }

    /// Events of plans and rules.
    pub fn events(&self) -> &Arc<Events> {
        self.0.engine.events()
    }

    /// The active plan.
    pub fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// The counters of requests.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// The current status.
    pub fn status(&self) -> SourcesStatus {
        let inner = self.lock();
        let snapshot = self.0.engine.snapshot();
        let plan = &snapshot.active.plan;
        let rule = |(position, (rule, source)): (usize, &(Rule, Source))| RuleStatus {
            source: *source,
            expires_in: inner
                .overlay
                .end(rule.name())
                .filter(|_| *source == Source::Api)
                .map(|end| end.saturating_duration_since(Instant::now())),
            selected: plan.is_selected(position),
        };
        let source = |layer: &Layer| {
            let file = inner.layers.file_of(layer.source);
            SourceStatus {
                source: layer.source,
                path: file.map(|file| file.path.clone()),
                rules: layer.plan.rules.len(),
                errors: file.map(|file| file.errors.clone()).unwrap_or_default(),
            }
        };
        SourcesStatus {
            rules: inner.merged.rules.iter().enumerate().map(rule).collect(),
            hidden: inner.merged.hidden.clone(),
            proxies: inner.merged.proxies.iter().map(|(proxy, _)| proxy.clone()).collect(),
            seed: inner.merged.seed,
            sources: inner.all_layers().iter().map(source).collect(),
            starts: self.0.instance.starts,
            returning: inner.layers.returning(),
            snapshot,
        }
    }

    /// Uses `saves` from now on.
    pub(super) fn save_with(&self, saves: SaveRequests) {
        // A service has one saver, so this is set only once.
        let _ = self.0.saves.set(saves);
    }

    /// Returns once the current state is on disk; `None` without a state directory.
    ///
    /// # Errors
    ///
    /// The state cannot be written.
    pub async fn save(&self) -> Option<Result<(), SaveError>> {
        Some(self.0.saves.get()?.save().await)
    }

    /// The stop to keep across container restarts.
    pub(super) fn lasting_stop(&self) -> Option<Stop> {
        self.lock().stop.clone()
    }

    /// Applies a change made through the API by `by`. With `expected`, only if one of these generations is the
    /// current one.
    ///
    /// # Errors
    ///
    /// Why the change was rejected; nothing has changed then.
    pub fn change(
        &self,
        by: &str,
        expected: Option<&[u64]>,
        change: ApiChange,
    ) -> Result<ChangeResult, ChangeRefusal> {
        let mut inner = self.lock();
        let generation = self.0.engine.active().generation;
        if expected.is_some_and(|expected| !expected.contains(&generation)) {
            return Err(ChangeRefusal::Stale { generation });
        }
        let result = match change {
            ApiChange::Stop => self.stop(&mut inner, by),
            ApiChange::Resume => self.resume(&mut inner, by),
            ApiChange::PutProxy { name, proxy } => self.put_proxy(&mut inner, by, &name, proxy),
            ApiChange::DeleteProxy { name } => self.delete_proxy(&mut inner, by, &name),
            change => self.change_rules(&mut inner, by, change),
        };
        if let Err(ChangeRefusal::Invalid(errors)) = &result {
            self.0.metrics.reload(Source::Api, false);
            self.events().refused(Source::Api, by, &errors.lines());
        }
        result
    }

    /// Expires rules of the API, and follows the wall clock if rules depend on it. Never returns.
    pub async fn run(self) {
        loop {
            let (next, follows_clock) = {
                let inner = self.lock();
                let by_clock = |(rule, _): &(Rule, Source)| {
                    rule.trigger().start.is_some() || rule.trigger().until.is_some()
                };
                (inner.overlay.next_end(), inner.merged.rules.iter().any(by_clock))
            };
            let check = follows_clock.then(|| Instant::now() + CLOCK_CHECK);
            let wake = next.into_iter().chain(check).min();
            tokio::select! {
                () = self.0.changed.notified() => {}
                () = Timer::of_runtime().sleep_until_some(wake) => {}
            }
            self.expire();
            if follows_clock {
                self.follow_clock();
            }
        }
    }

    fn follow_clock(&self) {
        let inner = self.lock();
        let replica = *self.0.engine.active().plan.replica();
        let epoch = self.epoch();
        let off = epoch.0.abs_diff(replica.epoch.0);
        if off > CLOCK_SLACK {
            warn!(
                by_s = off.as_secs_f64(),
                "the wall clock was set: `start` and `until` are evaluated again"
            );
            self.0.engine.set_replica(Replica { epoch, ..replica });
        }
        drop(inner);
    }

    /// The wall-clock time at which the engine's clock was zero.
    fn epoch(&self) -> Timestamp {
        epoch(self.0.engine.elapsed())
    }

    /// Puts a plan in force and returns its generation.
    fn put_in_force(
        &self,
        inner: &mut Inner,
        merged: Merged,
        cause: ChangeOrigin<'_>,
        renews: bool,
    ) -> Result<u64, Errors> {
        let ChangeOrigin { source, by, change } = cause;
        let (plan, sources) = merged.plan()?;
        let wanted: Vec<Proxy> = merged.proxies.iter().map(|(proxy, _)| proxy.clone()).collect();
        let known = self.0.engine.active().plan.proxies().with(wanted.iter().map(|proxy| &proxy.name));
        let known = known.map_err(too_many)?;
        if let Some(host) = self.0.host.get() {
            host.open(&wanted)?;
        }
        let (seed, replica) = self.0.instance.seed_and_replica(&merged, self.epoch());
        let rules = plan.rules().len();
        let faults = summary(plan.rules().iter());
        let stop = inner.stop_in_force().cloned();
        let stopped = stop.is_some();
        let was_stopped = self.0.engine.active().stop.is_some();
        let generation = self.0.engine.apply(sources, stop, |before, now| {
            let plan = before.clone().at(replica).with_proxies(known).successor(plan, seed, &now);
            if renews { plan.with_origins(|_| now.clone()) } else { plan }
        });
        if let Some(host) = self.0.host.get() {
            host.serve(&wanted);
        }
        inner.merged = merged;
        info!(source = source.name(), by, change, generation, rules, faults, stopped, "plan changed");
        self.events().push(EventKind::Plan {
            generation,
            source: source.name(),
            by: by.to_owned(),
            change: change.to_owned(),
            rules,
        });
        if stopped != was_stopped {
            if stopped {
                warn!(source = source.name(), by, "stopped: no rule is in force");
            } else {
                warn!(source = source.name(), by, rules, "resumed: rules are in force again");
            }
            let (source, by) = (source.name(), by.to_owned());
            self.events().push(EventKind::Stop { stopped, generation, source, by });
        }
        Ok(generation)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn all_layers(&self) -> Vec<Layer<'_>> {
        self.layers.layers().into_iter().chain([self.overlay.layer()]).collect()
    }

    fn stop_in_force(&self) -> Option<&Stop> {
        self.stop.as_ref().or(self.file_stop.as_ref())
    }
}

/// The error of more proxies than there may be.
fn too_many(TooManyProxies(count): TooManyProxies) -> Errors {
    let reason = Reason::TooManyItems { count, most: MAX_PROXIES };
    ConfigError::new("all sources combined", reason).field("proxies").into()
}

/// The merge of all sources, unless it could have too many rules. Rules that a rule of the API hides count as well,
/// since they come back when it ends.
fn candidate(layers: &Layers, overlay: &Overlay, before: &Merged) -> Result<Merged, Errors> {
    let merged = layers.merged_with(Some(overlay.layer()));
    // What was accepted at the start, with an error in the log, must not block later changes.
    let known = before.check();
    let errors: Errors = merged.check().iter().filter(|error| !known.contains(error)).cloned().collect();
    if !errors.is_empty() {
        return Err(errors);
    }
    if overlay.layer().replaces {
        // The layers below the API come back when all its rules have ended. They were checked before.
        check_rule_count(overlay.rules().len())?;
    } else {
        let beneath = layers.merged();
        let names = beneath.rules.iter().map(|(rule, _)| rule).chain(overlay.rules()).map(Rule::name);
        check_rule_count(names.collect::<HashSet<_>>().len())?;
    }
    Ok(merged)
}

#[cfg(test)]
mod tests;
