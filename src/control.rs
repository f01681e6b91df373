//! Plan changes. Environment, files and the admin API all go through one checked step.
//!
//! Each source keeps the plan it gave last. What follows from all of them is merged by rule name, checked, and put in
//! force at once or not at all. A rule that is unchanged in name and content goes on as if nothing had happened.

mod merge;
mod overlay;
pub mod state;
pub mod watch;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

pub use merge::{Hidden, Layer, Merged, merge};
use overlay::{Overlay, Unknown};

use crate::config::plan::{RawPlan, check_replica, read_plan};
use crate::config::{Config, ConfigError, Reason, SeedChoice, SeedScope, Source, document, effective_seed};
use crate::engine::{Engine, Snapshot};
use crate::events::{Events, What, wall_clock};
use crate::fault::{Plan, PlanError, Replica, Rule, RuleName, Seed, Timestamp};
use crate::metrics::Metrics;

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
        let seed = effective_seed(choice, self.pod.as_deref(), || self.drawn).for_start(self.starts);
        let replica = Replica { starts: self.starts, began, ..Replica::named(given, self.pod.as_deref()) };
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

/// The sources that are not the API.
#[derive(Clone, Debug)]
pub struct Layers {
    pod: Option<String>,
    environment: RawPlan,
    file: Option<FileLayer>,
    annotation: Option<FileLayer>,
}

/// A plan in a file.
#[derive(Clone, Debug)]
struct FileLayer {
    path: PathBuf,
    /// Whether somebody asked for this very file.
    is_wanted: bool,
    /// The last one that could be read.
    plan: RawPlan,
    /// What is wrong with the present content.
    errors: Vec<String>,
}

/// A change through the API.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// `{seed, faults: […]}`, which replaces everything beneath it.
    PutPlan(Value),
    /// Creates a rule or replaces the one of that name.
    PutFault {
        /// Its name.
        name: String,
        /// Its content; the name in it may be left out.
        rule: Value,
    },
    /// Changes fields of the rule in force (RFC 7396).
    PatchFault {
        /// Its name.
        name: String,
        /// The fields.
        patch: Value,
    },
    /// Takes a rule out of force, whatever source it comes from.
    DeleteFault {
        /// Its name.
        name: String,
    },
    /// Forgets all changes through the API.
    Reset {
        /// Whether the conditions of every rule are measured from now on.
        renew: bool,
    },
}

/// A change that is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The plan's generation.
    pub generation: u64,
    /// Whether there was no rule of that name.
    pub created: bool,
}

/// Why a change was refused. The plan before goes on.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// Everything that is wrong with it.
    Invalid(Vec<ConfigError>),
    /// It was meant for another generation.
    Stale {
        /// The present one.
        generation: u64,
    },
    /// No rule in force has that name.
    NotFound {
        /// The name.
        name: String,
    },
}

/// What holds, in one piece.
#[derive(Clone, Debug)]
pub struct Status {
    /// Plan, clock and counts.
    pub snapshot: Snapshot,
    /// In the order of the plan.
    pub rules: Vec<RuleStatus>,
    /// Rules that something stronger hides.
    pub hidden: Vec<Hidden>,
    /// The seed that was given, before the Pod's name is mixed in.
    pub seed: Option<(u64, Source)>,
    /// The sources in use.
    pub sources: Vec<SourceStatus>,
    /// Which start of the container this is.
    pub starts: u64,
}

/// What is known of a rule besides the plan.
#[derive(Clone, Debug)]
pub struct RuleStatus {
    /// Where it comes from.
    pub source: Source,
    /// After how long it ends by itself.
    pub expires_in: Option<Duration>,
    /// Whether this Pod is one of the rule's `pods`.
    pub selected: bool,
}

/// A source in use.
#[derive(Clone, Debug)]
pub struct SourceStatus {
    /// Which.
    pub source: Source,
    /// The file it is read from.
    pub path: Option<PathBuf>,
    /// How many rules it has.
    pub rules: usize,
    /// What is wrong with what it holds now; the plan that it held before goes on.
    pub errors: Vec<String>,
}

impl Layers {
    /// What the environment says, and where more is to be found.
    pub fn new(config: &Config) -> Self {
        let environment =
            RawPlan { seed: config.seed.seed, rules: config.plan.rules().to_vec(), disabled: Vec::new() };
        let file = |path: &Path, is_wanted| FileLayer {
            path: path.to_owned(),
            is_wanted,
            plan: RawPlan::default(),
            errors: Vec::new(),
        };
        let files = &config.files;
        let is_set = files.annotation_is_set;
        // A volume that is not there at the start never comes.
        let annotation = is_set || files.annotation.parent().is_some_and(Path::is_dir);
        Self {
            pod: config.identity.pod.clone(),
            environment,
            file: files.faults.as_deref().map(|path| file(path, true)),
            annotation: annotation.then(|| file(&files.annotation, is_set)),
        }
    }

    /// The files in use, from weak to strong.
    pub fn paths(&self) -> impl Iterator<Item = (Source, &Path)> {
        self.files().map(|(source, file)| (source, file.path.as_path()))
    }

    fn files(&self) -> impl Iterator<Item = (Source, &FileLayer)> {
        [(Source::File, &self.file), (Source::Annotation, &self.annotation)]
            .into_iter()
            .filter_map(|(source, file)| Some((source, file.as_ref()?)))
    }

    /// Takes a file's content for its plan: `None` where there is no file, which then has no rules, `Err` where it
    /// cannot be read. Gives whether the plan has changed; what is wrong leaves the plan before in its place.
    pub fn read(
        &mut self,
        source: Source,
        content: Result<Option<&str>, String>,
    ) -> Result<bool, Vec<String>> {
        let (below, pod) = (self.seed_below(source), self.pod.clone());
        let Some(file) = self.file(source) else { return Ok(false) };
        let place = file.path.display().to_string();
        let read = match &content {
            Err(reason) => Err(vec![format!("{place}: {reason}")]),
            Ok(None) => Ok(RawPlan::default()),
            Ok(Some(text)) => read_text(text, &place, below, pod.as_deref()),
        };
        match read {
            Ok(plan) => {
                file.errors.clear();
                if content == Ok(None) && file.is_wanted {
                    file.errors.push(format!("{place}: is not there; it has no rules until it is"));
                }
                let changed = file.plan != plan;
                file.plan = plan;
                Ok(changed)
            }
            Err(errors) => {
                file.errors.clone_from(&errors);
                Err(errors)
            }
        }
    }

    /// The strongest seed of the sources beneath `source`.
    fn seed_below(&self, source: Source) -> Option<u64> {
        let file = self.file.as_ref().filter(|_| source > Source::File).and_then(|file| file.plan.seed);
        file.or(self.environment.seed)
    }

    /// What follows from all of them without the API.
    pub fn merged(&self) -> Merged {
        merge(&self.layers())
    }

    fn file_of(&self, source: Source) -> Option<&FileLayer> {
        match source {
            Source::File => self.file.as_ref(),
            Source::Annotation => self.annotation.as_ref(),
            Source::Environment | Source::Api => None,
        }
    }

    fn file(&mut self, source: Source) -> Option<&mut FileLayer> {
        match source {
            Source::File => self.file.as_mut(),
            Source::Annotation => self.annotation.as_mut(),
            Source::Environment | Source::Api => None,
        }
    }

    fn layers(&self) -> Vec<Layer<'_>> {
        let layer = |source, plan| Layer { source, plan, replaces: false };
        let mut layers = vec![layer(Source::Environment, &self.environment)];
        layers.extend(self.file.as_ref().map(|file| layer(Source::File, &file.plan)));
        layers.extend(self.annotation.as_ref().map(|file| layer(Source::Annotation, &file.plan)));
        layers
    }
}

impl Merged {
    /// The rules as a plan, and where each comes from.
    pub fn plan(&self) -> Result<(Plan, Vec<Source>), Vec<ConfigError>> {
        let rules = self.rules.iter().map(|(rule, _)| rule.clone()).collect();
        let sources = self.rules.iter().map(|(_, source)| *source).collect();
        let reason = |error: PlanError| match error {
            PlanError::TooMany(count) => {
                ConfigError::new("all sources together", Reason::TooManyRules(count))
            }
            PlanError::Duplicate { name, at } => {
                ConfigError::new(name.to_string(), Reason::NameTaken { name, by: format!("rule {}", at[0]) })
            }
        };
        let plan = Plan::new(rules).map_err(|errors| errors.into_iter().map(reason).collect::<Vec<_>>())?;
        Ok((plan, sources))
    }
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
    pub fn events(&self) -> &Events {
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
        if let Err(refusal) = &result {
            self.0.metrics.reload(Source::Api, false);
            if let Refusal::Invalid(errors) = refusal {
                let errors = errors.iter().map(ToString::to_string).collect();
                self.events().push(What::Refused { source: Source::Api.name(), by: by.to_owned(), errors });
            }
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
    pub fn read(&self, source: Source, content: Result<Option<&str>, String>) {
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
                self.events().push(What::Refused { source: source.name(), by: path, errors });
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
                () = at(wake) => {}
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
        let began = self.began();
        let off = began.0.abs_diff(replica.began.0);
        if off > CLOCK_SLACK {
            warn!(by_s = off.as_secs_f64(), "the wall clock was set: `start` and `until` are measured anew");
            self.0.engine.relocate(Replica { began, ..replica });
        }
        drop(inner);
    }

    /// Where the engine's clock stood at zero, by the wall clock.
    fn began(&self) -> Timestamp {
        began(self.0.engine.elapsed())
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
        let (seed, replica) = self.0.setting.place(&merged, self.began());
        let rules = plan.rules().len();
        let faults = summary(plan.rules().iter());
        let generation = self.0.engine.apply(sources, |before, now| {
            let plan = before.clone().at(replica).successor(plan, seed, now);
            if renew { plan.with_origins(|_| now) } else { plan }
        });
        inner.merged = merged;
        info!(source = source.name(), by, change, generation, rules, faults, "plan changed");
        self.events().push(What::Plan {
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
pub fn began(elapsed: Duration) -> Timestamp {
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

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

/// The plan in a text; an empty one has no rules.
fn read_text(
    text: &str,
    place: &str,
    seed_below: Option<u64>,
    pod: Option<&str>,
) -> Result<RawPlan, Vec<String>> {
    let lines = |errors: Vec<ConfigError>| errors.iter().map(ToString::to_string).collect::<Vec<_>>();
    if text.trim().is_empty() {
        return Ok(RawPlan::default());
    }
    let value = document::parse(text, document::MAX_PLAN)
        .map_err(|error| lines(vec![ConfigError::new(place, error)]))?;
    if value.is_null() {
        return Ok(RawPlan::default());
    }
    let plan = read_plan(&value, place).map_err(lines)?;
    let replica = Replica::named(plan.seed.or(seed_below), pod);
    let errors = check_replica(&plan.rules, &replica, place);
    if errors.is_empty() { Ok(plan) } else { Err(lines(errors)) }
}
