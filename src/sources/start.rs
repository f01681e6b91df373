//! Starting the service: builds the running state from the configuration and the state of earlier starts.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

use super::container::ContainerCheck;
use super::state::{self, Origins, Restored, SavedState, Saver, StateDir};
use super::watch::{self, PollResult, Watcher};
use super::{Control, Instance, Layers, epoch};
use crate::clock::wall_clock;
use crate::engine::{Active, Engine};
use crate::env::{Config, PROCESS_VARIABLES, Token};
use crate::fault::{ActivePlan, Origin, RequestCounts, Rule};
use crate::file::{self, FileError};
use crate::plan::document::MAX_PLAN;
use crate::plan::{ConfigError, Errors, Reason, Source, write_rule};
use crate::telemetry::metrics::Metrics;

/// The parts of a running service that own, change and keep the plan.
pub struct Started {
    /// Changes plans.
    pub control: Control,
    /// Decides on requests.
    pub engine: Engine,
    /// Counts requests and errors.
    pub metrics: Arc<Metrics>,
    /// Saves the state; call `finish` before the process exits.
    pub saver: Option<Saver>,
    /// Watches the files until it is dropped.
    pub watcher: Option<Watcher>,
}

/// Checks what the configuration alone cannot show: whether the service can start in this container.
///
/// # Errors
///
/// The file of `ADMIN_TOKEN_FILE` is missing, empty or unreadable, or a rule of the environment exceeds the
/// container.
pub fn check_here(config: &Config) -> Result<(), Errors> {
    let mut errors = check_token(config).err().unwrap_or_default();
    let has_seed = config.seed.seed.is_some();
    let mut of_rules = ContainerCheck::here(config).check(config.plan.rules(), has_seed, "");
    for error in of_rules.kept_mut() {
        // Rules from variables are named after them, so errors are, too.
        let variable = PROCESS_VARIABLES.iter().find(|(rule, _)| *rule == error.place).map(|(_, name)| *name);
        if let Some(name) = variable.filter(|name| config.rule_variables.iter().any(|set| set == name)) {
            error.place = name.to_owned();
            error.field.clear();
        } else {
            error.place = format!("FAULTS: {}", error.place);
        }
    }
    errors.append(of_rules);
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

fn check_token(config: &Config) -> Result<(), Errors> {
    let Some(Token::File(path)) = &config.admin_token else { return Ok(()) };
    let reason = match file::read_text(path, MAX_PLAN) {
        Ok(text) if text.trim().is_empty() => "contains no token".to_owned(),
        Ok(text) => match Token::fault(&text) {
            None => return Ok(()),
            Some(fault) => fault.to_owned(),
        },
        Err(FileError::Missing) => "does not exist; mount the Secret, or unset the variable".to_owned(),
        Err(error) => error.to_string(),
    };
    let error = ConfigError::new("ADMIN_TOKEN_FILE", Reason::File(reason));
    Err(error.value(&path.to_string_lossy()).into())
}

/// The state of earlier starts of the container; this start is already counted.
#[derive(Debug, Default)]
pub struct EarlierStarts {
    /// Absent without `STATE_DIR`.
    dir: Option<StateDir>,
    restored: Restored,
    /// Problems with the state.
    damage: Option<String>,
}

impl EarlierStarts {
    /// Counts this start in `STATE_DIR`, if set. Call it first: a process that is killed earlier is not counted. It
    /// does not log.
    pub fn open(dir: Option<&Path>) -> Self {
        let Some(path) = dir else { return Self::default() };
        let (dir, restored, damage) = StateDir::open(path, wall_clock());
        Self { dir: Some(dir), restored, damage }
    }

    fn log(&self) {
        if self.dir.is_none() {
            return;
        }
        if let Some(damage) = &self.damage {
            warn!(variable = "STATE_DIR", "{damage}");
        }
        let Restored { starts, elapsed, origins, .. } = &self.restored;
        let (elapsed_s, rules) = (elapsed.as_secs_f64(), origins.len());
        info!(starts, elapsed_s, rules, "restored the state of earlier starts");
    }
}

/// Reads the files, continues from an earlier start and watches the files from then on. `drawn_seed` is used if no
/// source sets a seed.
///
/// # Errors
///
/// The metrics cannot be created.
pub fn start(config: &Config, kept: EarlierStarts, drawn_seed: u64) -> Result<Started, prometheus::Error> {
    kept.log();
    let EarlierStarts { dir: state, restored, .. } = kept;
    let mut layers = Layers::new(config);
    let paths: Vec<(Source, PathBuf)> =
        layers.paths().map(|(source, path)| (source, path.to_owned())).collect();
    let contents: Vec<PollResult> = paths.iter().map(|(_, path)| watch::read(path)).collect();
    for ((source, _), content) in paths.iter().zip(&contents) {
        // `Control::new` logs the errors.
        let _ = layers.read(*source, as_read(content));
    }
    let (engine, metrics, control) = running(config, layers, drawn_seed, &restored)?;
    let files = paths.iter().map(|(_, path)| path.clone()).zip(contents).collect();
    let watcher = watch(&control, paths.iter().map(|(source, _)| *source).collect(), files);
    let saver = state.and_then(|state| save(state, engine.clone(), &control));
    Ok(Started { control, engine, metrics, saver, watcher })
}

/// Builds the running state for `layers` without reading, watching or saving files.
///
/// # Errors
///
/// The metrics cannot be created.
pub fn running(
    config: &Config,
    layers: Layers,
    drawn_seed: u64,
    restored: &Restored,
) -> Result<(Engine, Arc<Metrics>, Control), prometheus::Error> {
    let instance = Instance {
        pod: config.identity.pod.clone(),
        scope: config.seed.scope,
        drawn_seed,
        starts: restored.starts.saturating_add(1),
        resumed: restored.elapsed,
    };
    let merged = layers.merged();
    let (plan, sources) = merged.plan().unwrap_or_else(|errors| {
        for error in &errors {
            error!("{error}");
        }
        Default::default()
    });
    for error in &merged.check() {
        error!("{error}; the rule has no effect until the proxy exists");
    }
    let names = merged.proxies.iter().map(|(proxy, _)| &proxy.name);
    let proxies = restored.proxies.with(names).unwrap_or_else(|error| {
        error!("{error}");
        restored.proxies.clone()
    });
    let (seed, replica) = instance.seed_and_replica(&merged, epoch(restored.elapsed));
    let now = Origin { elapsed: restored.elapsed, counts: restored.counts.clone(), starts: restored.starts };
    let plan = ActivePlan::new(plan, seed, config.readiness_checks_dependency)
        .at(replica)
        .with_upstream(config.upstream.is_some())
        .with_proxies(proxies)
        .with_origins(|rule| restored_origin(restored, rule).unwrap_or_else(|| now.clone()));
    let stop = restored.stop.clone().or_else(|| layers.stop(None));
    let matched = |rule: &Rule| restored_matched(restored, rule).unwrap_or_default();
    let engine = Engine::resumed(plan, sources, stop, restored.elapsed, &restored.counts, matched);
    let metrics = Arc::new(Metrics::new(engine.clone())?);
    let control = Control::new(engine.clone(), metrics.clone(), layers, instance, restored.stop.clone());
    Ok((engine, metrics, control))
}

fn as_read(content: &PollResult) -> Result<Option<&str>, &str> {
    match content {
        PollResult::Missing => Ok(None),
        PollResult::Text(text) => Ok(Some(text)),
        PollResult::Unreadable(reason) => Err(reason),
    }
}

fn watch(control: &Control, sources: Vec<Source>, files: Vec<(PathBuf, PollResult)>) -> Option<Watcher> {
    let control = control.clone();
    let report = move |position: usize, content| {
        control.read(sources[position], as_read(&content));
        false
    };
    watch::spawn(files, report)
        .inspect_err(|error| error!(%error, "changes of files will not be noticed"))
        .ok()
}

/// Reads the files again at each SIGHUP, until it is dropped.
pub async fn reload(watcher: Option<Watcher>) {
    let Ok(mut hangups) = signal(SignalKind::hangup()) else { return std::future::pending().await };
    while hangups.recv().await.is_some() {
        info!("SIGHUP: files are read again");
        if let Some(watcher) = &watcher {
            watcher.refresh();
        }
    }
}

fn restored_origin(restored: &Restored, rule: &Rule) -> Option<Origin> {
    Some(restored.origins[restored_position(restored, rule)?].1.clone())
}

/// The number of requests that a rule's match admitted in earlier starts.
fn restored_matched(restored: &Restored, rule: &Rule) -> Option<RequestCounts> {
    rule.request_match()?;
    restored.matched.get(restored_position(restored, rule)?).cloned()
}

fn restored_position(restored: &Restored, rule: &Rule) -> Option<usize> {
    let text = write_rule(rule).to_string();
    restored.origins.iter().position(|(known, _)| *known == text)
}

/// Numbers of matching requests by position; empty if no rule has a match.
fn matched(active: &Active) -> Vec<RequestCounts> {
    let has_match = active.plan.rules().any(|rule| rule.request_match().is_some());
    let positions = if has_match { 0..active.plan.len() } else { 0..0 };
    positions.map(|position| active.matched(position).unwrap_or_default()).collect()
}

fn save(dir: StateDir, engine: Engine, control: &Control) -> Option<Saver> {
    let stopped = control.clone();
    // Serializing a thousand rules takes milliseconds, and they seldom change.
    let written: Mutex<(u64, Origins)> = Mutex::default();
    let state = move || {
        let snapshot = engine.snapshot();
        let (plan, generation) = (&snapshot.active.plan, snapshot.active.generation);
        let mut written = written.lock().unwrap_or_else(PoisonError::into_inner);
        if written.0 != generation {
            let rules = plan.rules().enumerate();
            let origins =
                rules.map(|(at, rule)| (write_rule(rule).to_string(), plan.origin(at).clone())).collect();
            *written = (generation, origins);
        }
        SavedState {
            elapsed: snapshot.elapsed,
            counts: snapshot.counts,
            proxies: plan.proxies().clone(),
            origins: written.1.clone(),
            matched: matched(&snapshot.active),
            stop: stopped.lasting_stop(),
        }
    };
    let failed = |error| warn!(variable = "STATE_DIR", %error, "the state cannot be saved");
    let saver = state::spawn(dir, state, failed)
        .inspect_err(|error| error!(%error, variable = "STATE_DIR", "the state cannot be saved"))
        .ok()?;
    control.save_with(saver.requests());
    Some(saver)
}
