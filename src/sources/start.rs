//! Where plans come from while the service runs, and what outlives it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

use super::state::{self, Origins, Present, Remembered, Saver, StateDir};
use super::watch::{self, Content, Watcher};
use super::{Control, Layers, Setting, epoch};
use crate::clock::wall_clock;
use crate::engine::Engine;
use crate::env::Config;
use crate::fault::{ActivePlan, Origin, Rule};
use crate::plan::Source;
use crate::plan::write_rule;
use crate::telemetry::metrics::Metrics;

/// The service's plan at its start, and those who change and keep it.
pub struct Started {
    /// Makes plan changes.
    pub control: Control,
    /// Decides about requests.
    pub engine: Engine,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Saves what is to outlive the container; finished at the end.
    pub saver: Option<Saver>,
    /// Looks at the files until it is dropped.
    pub watcher: Option<Watcher>,
}

/// Reads the files, goes on where an earlier start left off, and watches from there. `drawn` is the seed where none is
/// given.
pub fn start(config: &Config, drawn: u64) -> Result<Started, prometheus::Error> {
    let (state, remembered) = remember(config);
    let mut layers = Layers::new(config);
    let paths: Vec<(Source, PathBuf)> =
        layers.paths().map(|(source, path)| (source, path.to_owned())).collect();
    let contents: Vec<Content> = paths.iter().map(|(_, path)| watch::read(path)).collect();
    for ((source, _), content) in paths.iter().zip(&contents) {
        // What is wrong is told by the control that takes the layers over.
        let _ = layers.read(*source, as_read(content));
    }
    let setting = Setting {
        pod: config.identity.pod.clone(),
        scope: config.seed.scope,
        drawn,
        starts: remembered.starts.saturating_add(1),
    };
    let merged = layers.merged();
    let (plan, sources) = merged.plan().unwrap_or_else(|errors| {
        for error in errors {
            error!("{error}");
        }
        Default::default()
    });
    let (seed, replica) = setting.place(&merged, epoch(remembered.elapsed));
    let now = Origin { elapsed: remembered.elapsed, counts: remembered.counts, starts: remembered.starts };
    let plan = ActivePlan::new(plan, seed, config.readiness_checks_dependency)
        .at(replica)
        .with_origins(|rule| remembered_origin(&remembered, rule).unwrap_or(now));
    let engine = Engine::resumed(plan, sources, remembered.elapsed, &remembered.counts);
    let metrics = Arc::new(Metrics::new(engine.clone())?);
    let control = Control::new(engine.clone(), metrics.clone(), layers, setting);
    let files = paths.iter().map(|(_, path)| path.clone()).zip(contents).collect();
    let watcher = watch(&control, paths.iter().map(|(source, _)| *source).collect(), files);
    let saver = state.and_then(|state| save(state, engine.clone()));
    Ok(Started { control, engine, metrics, saver, watcher })
}

fn as_read(content: &Content) -> Result<Option<&str>, &str> {
    match content {
        Content::Missing => Ok(None),
        Content::Text(text) => Ok(Some(text)),
        Content::Unreadable(reason) => Err(reason),
    }
}

fn watch(control: &Control, sources: Vec<Source>, files: Vec<(PathBuf, Content)>) -> Option<Watcher> {
    let control = control.clone();
    let tell = move |position: usize, content| control.read(sources[position], as_read(&content));
    watch::spawn(files, tell).inspect_err(|error| error!(%error, "files are not watched")).ok()
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

/// What an earlier start of the container has left.
fn remember(config: &Config) -> (Option<StateDir>, Remembered) {
    let Some(dir) = &config.files.state else { return (None, Remembered::default()) };
    let (state, remembered, damage) = StateDir::open(dir, wall_clock());
    if let Some(damage) = damage {
        warn!(variable = "STATE_DIR", "{damage}");
    }
    let (starts, elapsed_s) = (remembered.starts, remembered.elapsed.as_secs_f64());
    info!(starts, elapsed_s, rules = remembered.origins.len(), "remembered of earlier starts");
    (Some(state), remembered)
}

fn remembered_origin(remembered: &Remembered, rule: &Rule) -> Option<Origin> {
    let text = write_rule(rule).to_string();
    remembered.origins.iter().find(|(known, _)| *known == text).map(|(_, origin)| *origin)
}

fn save(state: StateDir, engine: Engine) -> Option<Saver> {
    // A thousand rules take milliseconds to write, and seldom change.
    let written: Mutex<(u64, Origins)> = Mutex::default();
    let present = move || {
        let snapshot = engine.snapshot();
        let (plan, generation) = (&snapshot.active.plan, snapshot.active.generation);
        let mut written = written.lock().unwrap_or_else(PoisonError::into_inner);
        if written.0 != generation {
            let rules = plan.rules().enumerate();
            let origins = rules.map(|(at, rule)| (write_rule(rule).to_string(), *plan.origin(at))).collect();
            *written = (generation, origins);
        }
        Present { elapsed: snapshot.elapsed, counts: snapshot.counts, origins: written.1.clone() }
    };
    let failed = |error| warn!(variable = "STATE_DIR", %error, "the state is not saved");
    state::spawn(state, present, failed)
        .inspect_err(|error| error!(%error, variable = "STATE_DIR", "the state is not saved"))
        .ok()
}
