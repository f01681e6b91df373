//! Plan changes. Environment, files and the admin API all go through one checked step.
//!
//! Each source keeps the plan it gave last. What follows from all of them is merged by rule name, checked, and put in
//! force at once or not at all. A rule that is unchanged in name and content goes on as if nothing had happened.

mod change;
mod layers;
mod merge;
mod overlay;
pub mod start;
pub mod state;
mod status;
pub mod watch;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{info, warn};

pub use change::{Change, Changed, Refusal};
pub use layers::Layers;
pub use merge::{Hidden, Layer, Merged, merge};
use overlay::{Overlay, Unknown};
pub use status::{RuleStatus, SourceStatus, Status};

use crate::clock::{Timer, wall_clock};
use crate::engine::Engine;
use crate::engine::events::{EventKind, Events};
use crate::env::{SeedChoice, SeedScope, effective_seed};
use crate::fault::{Replica, Rule, RuleName, Seed, Timestamp};
use crate::plan::check_replica;
use crate::plan::{ConfigError, Source};
use crate::telemetry::metrics::Metrics;

/// How often the wall clock is compared with the engine's, where rules depend on it.
const CLOCK_CHECK: Duration = Duration::from_secs(5);

/// By how much the wall clock may be off before rules are measured anew.
const CLOCK_SLACK: Duration = Duration::from_millis(20);

/// How many rules a log line names.
const NAMED: usize = 20;

/// A cheap-clone handle on the sole owner of plan changes.
#[derive(Clone, Debug)]
pub struct Control(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    engine: Engine,
    metrics: Arc<Metrics>,
    setting: Setting,
    inner: Mutex<Inner>,
    /// Told when an end may have come nearer.
    changed: Notify,
}

/// What plans are put in force with, whatever they say.
#[derive(Clone, Debug)]
pub struct Setting {
    /// `POD_NAME`.
    pub pod: Option<String>,
    /// Whether it is mixed into the seed.
    pub scope: SeedScope,
    /// The seed where none is given.
    pub drawn: u64,
    /// Which start of the container this is, from 1 on.
    pub starts: u64,
}

impl Setting {
    /// The effective seed and the replica that follow from what the plans say.
    pub fn place(&self, merged: &Merged, began: Timestamp) -> (Seed, Replica) {
        let given = merged.seed.map(|(seed, _)| seed);
        let choice = SeedChoice { seed: given, scope: self.scope };
        let seed = effective_seed(choice, self.pod.as_deref(), || self.drawn);
        // The selection follows from the effective seed, so that this seed, given to the fleet, selects alike.
        let selecting = given.map(|_| seed.0);
        let replica =
            Replica { starts: self.starts, began, ..Replica::named(selecting, self.pod.as_deref()) };
        let seed = seed.for_start(self.starts);
        (seed, replica)
    }
}

/// What each source said last, and what follows.
#[derive(Debug)]
struct Inner {
    layers: Layers,
    overlay: Overlay,
    merged: Merged,
}

impl Control {
    /// Takes over the changes of an engine's plan, which has come from `layers`.
    pub fn new(engine: Engine, metrics: Arc<Metrics>, layers: Layers, setting: Setting) -> Self {
        let merged = layers.merged();
        metrics.reload(Source::Environment, true);
        for (source, file) in layers.files() {
            metrics.reload(source, file.errors.is_empty());
            for error in &file.errors {
                warn!(source = source.name(), "{error}");
            }
        }
        let inner = Mutex::new(Inner { layers, overlay: Overlay::default(), merged });
        Self(Arc::new(Shared { engine, metrics, setting, inner, changed: Notify::new() }))
    }

    /// What happens.
    pub fn events(&self) -> &Arc<Events> {
        self.0.engine.events()
    }

    /// What holds now.
    pub fn status(&self) -> Status {
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
        Status {
            rules: inner.merged.rules.iter().enumerate().map(rule).collect(),
            hidden: inner.merged.hidden.clone(),
            seed: inner.merged.seed,
            sources: inner.all_layers().iter().map(source).collect(),
            starts: self.0.setting.starts,
            snapshot,
        }
    }

    /// A change through the API by `by`. With `expected`, only while one of these generations is the present one.
    pub fn change(&self, by: &str, expected: Option<&[u64]>, change: Change) -> Result<Changed, Refusal> {
        let mut inner = self.lock();
        let generation = self.0.engine.active().generation;
        if expected.is_some_and(|expected| !expected.contains(&generation)) {
            return Err(Refusal::Stale { generation });
        }
        let result = self.try_change(&mut inner, by, change);
        if let Err(Refusal::Invalid(errors)) = &result {
            self.0.metrics.reload(Source::Api, false);
            let errors = errors.iter().map(ToString::to_string).collect();
            self.events().push(EventKind::Refused { source: Source::Api.name(), by: by.to_owned(), errors });
        }
        result
    }

    fn try_change(&self, inner: &mut Inner, by: &str, change: Change) -> Result<Changed, Refusal> {
        let (mut overlay, merged) = (inner.overlay.clone(), &inner.merged);
        let named = |name: &str| {
            let invalid = |error| Refusal::Invalid(vec![ConfigError::new("", error).field("name")]);
            RuleName::new(name).map_err(invalid)
        };
        let known = |name: &str| RuleName::new(name).map_err(|_| Refusal::NotFound { name: name.to_owned() });
        let not_found = |name: &RuleName| Refusal::NotFound { name: name.to_string() };
        let (mut created, mut renew) = (false, false);
        let what = match change {
            Change::PutPlan(plan) => {
                overlay = Overlay::of_plan(plan).map_err(Refusal::Invalid)?;
                "put plan".to_owned()
            }
            Change::PutFault { name, rule } => {
                let name = named(&name)?;
                created = overlay::in_force(merged, &name).is_none();
                overlay.put(&name, rule).map_err(Refusal::Invalid)?;
                format!("put fault {name}")
            }
            Change::PatchFault { name, patch } => {
                let name = known(&name)?;
                overlay
                    .patch(&name, &patch, merged)
                    .map_err(|Unknown| not_found(&name))?
                    .map_err(Refusal::Invalid)?;
                format!("patch fault {name}")
            }
            Change::DeleteFault { name } => {
                let name = known(&name)?;
                overlay.delete(&name, merged).map_err(|Unknown| not_found(&name))?;
                format!("delete fault {name}")
            }
            Change::Reset { renew: all } => {
                (overlay, renew) = (Overlay::default(), all);
                "reset".to_owned()
            }
        };
        let candidate = Inner::merged_with(&inner.layers, &overlay);
        let given = candidate.seed.map(|(seed, _)| seed);
        let errors =
            check_replica(overlay.rules(), &Replica::named(given, self.0.setting.pod.as_deref()), "");
        if !errors.is_empty() {
            return Err(Refusal::Invalid(errors));
        }
        let generation =
            self.put_in_force(inner, candidate, Source::Api, by, &what, renew).map_err(Refusal::Invalid)?;
        inner.overlay = overlay;
        self.0.metrics.reload(Source::Api, true);
        self.0.changed.notify_one();
        Ok(Changed { generation, created })
    }

    /// Takes a file's content, as [`Layers::read`] has it.
    pub fn read(&self, source: Source, content: Result<Option<&str>, &str>) {
        let mut inner = self.lock();
        let is_missing = content == Ok(None);
        let mut layers = inner.layers.clone();
        let Some(path) = layers.file_of(source).map(|file| file.path.display().to_string()) else { return };
        let result = match layers.read(source, content) {
            Ok(false) => Ok(()),
            Ok(true) => {
                let merged = Inner::merged_with(&layers, &inner.overlay);
                let change = if is_missing { "file is gone" } else { "file read" };
                self.put_in_force(&mut inner, merged, source, &path, change, false).map(|_| ()).map_err(
                    |errors| errors.iter().map(|error| format!("{path}: {error}")).collect::<Vec<_>>(),
                )
            }
            Err(errors) => Err(errors),
        };
        match result {
            Ok(()) => {
                let missing = layers.file_of(source).map(|file| file.errors.clone()).unwrap_or_default();
                self.0.metrics.reload(source, missing.is_empty());
                for error in missing {
                    warn!(source = source.name(), "{error}");
                }
                inner.layers = layers;
            }
            Err(errors) => {
                self.0.metrics.reload(source, false);
                for error in &errors {
                    warn!(source = source.name(), "{error}; the plan before goes on");
                }
                if let Some(file) = inner.layers.file(source) {
                    file.errors.clone_from(&errors);
                }
                self.events().push(EventKind::Refused { source: source.name(), by: path, errors });
            }
        }
    }

    /// Ends rules of the API when their time is up, and follows the wall clock where rules depend on it. Never ends.
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

    fn expire(&self) {
        let mut inner = self.lock();
        let mut overlay = inner.overlay.clone();
        let ended = overlay.expire(Instant::now());
        if ended.is_empty() {
            return;
        }
        let merged = Inner::merged_with(&inner.layers, &overlay);
        let names: Vec<&str> = ended.iter().map(RuleName::as_str).collect();
        let change = format!("end of {}", names.join(", "));
        inner.overlay = overlay;
        // Fewer rules than before: nothing can be wrong with them.
        let _ = self.put_in_force(&mut inner, merged, Source::Api, "ttl", &change, false);
    }

    fn follow_clock(&self) {
        let inner = self.lock();
        let replica = *self.0.engine.active().plan.replica();
        let began = self.epoch();
        let off = began.0.abs_diff(replica.began.0);
        if off > CLOCK_SLACK {
            warn!(by_s = off.as_secs_f64(), "the wall clock was set: `start` and `until` are measured anew");
            self.0.engine.relocate(Replica { began, ..replica });
        }
        drop(inner);
    }

    /// Where the engine's clock stood at zero, by the wall clock.
    fn epoch(&self) -> Timestamp {
        epoch(self.0.engine.elapsed())
    }

    fn put_in_force(
        &self,
        inner: &mut Inner,
        merged: Merged,
        source: Source,
        by: &str,
        change: &str,
        renew: bool,
    ) -> Result<u64, Vec<ConfigError>> {
        let (plan, sources) = merged.plan()?;
        let (seed, replica) = self.0.setting.place(&merged, self.epoch());
        let rules = plan.rules().len();
        let faults = summary(plan.rules().iter());
        let generation = self.0.engine.apply(sources, |before, now| {
            let plan = before.clone().at(replica).successor(plan, seed, now);
            if renew { plan.with_origins(|_| now) } else { plan }
        });
        inner.merged = merged;
        info!(source = source.name(), by, change, generation, rules, faults, "plan changed");
        self.events().push(EventKind::Plan {
            generation,
            source: source.name(),
            by: by.to_owned(),
            change: change.to_owned(),
            rules,
        });
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

    fn merged_with(layers: &Layers, overlay: &Overlay) -> Merged {
        let layers: Vec<Layer> = layers.layers().into_iter().chain([overlay.layer()]).collect();
        merge(&layers)
    }
}

/// Where a clock that shows `elapsed` now stood at zero, by the wall clock.
pub fn epoch(elapsed: Duration) -> Timestamp {
    Timestamp(wall_clock().0.saturating_sub(elapsed))
}

/// The first rules in one line.
pub fn summary<'a>(rules: impl ExactSizeIterator<Item = &'a Rule>) -> String {
    let more = rules.len().saturating_sub(NAMED);
    let named: Vec<String> =
        rules.take(NAMED).map(|rule| format!("{} {}", rule.name(), rule.effect())).collect();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    named.join(", ") + &more
}

#[cfg(test)]
mod tests;
