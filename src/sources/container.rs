//! Checks whether this container can run the faults of a plan that depend on it.

use std::path::{Path, PathBuf};

use super::volume;
use crate::env::Config;
use crate::fault::{Container, ProcessMode, Rule};
use crate::plan::{ConfigError, Errors, Reason, check_container};
use crate::telemetry::cgroup;

/// The properties of the container that faults depend on.
#[derive(Clone, Debug)]
pub(super) struct ContainerCheck {
    /// `STATE_DIR`.
    state: Option<PathBuf>,
    /// Whether the probe listener speaks TLS.
    has_tls: bool,
    /// Whether it is the container of this process; otherwise its resources are unknown.
    is_here: bool,
}

impl ContainerCheck {
    /// The container that this process runs in.
    pub(super) fn here(config: &Config) -> Self {
        Self { is_here: true, ..Self::elsewhere(config) }
    }

    /// A container on another machine, of which nothing is known.
    pub(super) fn elsewhere(config: &Config) -> Self {
        Self { state: config.files.state.clone(), has_tls: config.tls.certificate.is_some(), is_here: false }
    }

    /// Reports every rule in `rules` that exceeds the container; `has_seed`: whether a seed is set.
    pub(super) fn check<'a>(
        &self,
        rules: impl IntoIterator<Item = &'a Rule> + Clone,
        has_seed: bool,
        place: &str,
    ) -> Errors {
        // Read only for rules that use them: most starts have none, and reading takes longer than the rest of the check.
        let uses_resources = self.is_here && rules.clone().into_iter().any(|rule| rule.process().is_some());
        let container = Container {
            keeps_state: self.state.is_some(),
            has_seed,
            has_tls: self.has_tls,
            resources: uses_resources.then(cgroup::resources),
        };
        let mut errors = check_container(rules.clone(), &container, place);
        if uses_resources {
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
