//! Whether this container bears the process faults of a plan.

use std::path::{Path, PathBuf};

use super::volume;
use crate::env::Config;
use crate::fault::{Container, ProcessMode, Resources, Rule};
use crate::plan::{ConfigError, Errors, Reason, check_container};
use crate::telemetry::cgroup;

/// The container, as far as process faults depend on it.
#[derive(Clone, Debug)]
pub(super) struct Surroundings {
    /// `STATE_DIR`.
    state: Option<PathBuf>,
    /// Absent where plans are read for another machine.
    resources: Option<Resources>,
}

impl Surroundings {
    /// This process's own.
    pub(super) fn here(config: &Config) -> Self {
        Self { resources: Some(cgroup::resources()), ..Self::elsewhere(config) }
    }

    /// Those of another machine, which are not known.
    pub(super) fn elsewhere(config: &Config) -> Self {
        Self { state: config.files.state.clone(), resources: None }
    }

    /// Everything in `rules` that goes beyond the container; `has_seed`: whether a seed is given.
    pub(super) fn check<'a>(
        &self,
        rules: impl IntoIterator<Item = &'a Rule> + Clone,
        has_seed: bool,
        place: &str,
    ) -> Errors {
        let container = Container { keeps_state: self.state.is_some(), has_seed, resources: self.resources };
        let mut errors = check_container(rules.clone(), &container, place);
        if self.resources.is_some() {
            errors.extend(rules.into_iter().filter_map(|rule| self.check_volume(rule, place)));
        }
        errors
    }

    fn check_volume(&self, rule: &Rule, place: &str) -> Option<ConfigError> {
        let Some(ProcessMode::Disk { path, .. }) = rule.process() else { return None };
        let error = volume::check(Path::new(path), self.state.as_deref()).err()?;
        let place =
            if place.is_empty() { rule.name().to_string() } else { format!("{place}: {}", rule.name()) };
        Some(ConfigError::new(place, Reason::File(error.to_string())).field("path").value(path))
    }
}
