//! Checks whether this container can run the faults of a plan that depend on it.

use std::path::{Path, PathBuf};

use super::volume;
use crate::env::Config;
use crate::fault::{Container, ListenerName, ProcessMode, Protocol, Rule, Target};
use crate::plan::{ConfigError, Errors, Reason, check_container};
use crate::telemetry::cgroup;

/// The properties of the container that faults depend on.
#[derive(Clone, Debug)]
pub(super) struct ContainerCheck {
    /// `STATE_DIR`.
    state: Option<PathBuf>,
    /// Whether the probe listener speaks TLS.
    has_tls: bool,
    /// The protocol of a port that `attach` has taken over.
    attached: Option<Protocol>,
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
        Self {
            state: config.files.state.clone(),
            has_tls: config.tls.certificate.is_some(),
            attached: attached(config),
            is_here: false,
        }
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
            errors.extend(rules.clone().into_iter().filter_map(|rule| self.check_volume(rule, place)));
        }
        if let Some(protocol) = self.attached {
            errors.extend(rules.into_iter().filter_map(|rule| check_attached(rule, protocol, place)));
        }
        errors
    }

    fn check_volume(&self, rule: &Rule, place: &str) -> Option<ConfigError> {
        let Some(ProcessMode::Disk { path, .. }) = rule.process() else { return None };
        let error = volume::check(Path::new(path), self.state.as_deref()).err()?;
        Some(error_of(rule, place, error.to_string()).field("path").value(path))
    }
}

fn attached(config: &Config) -> Option<Protocol> {
    let is_http = config.upstream.as_ref().is_some_and(|upstream| upstream.is_attached);
    is_http.then_some(Protocol::Http).or(config.attached.as_ref().map(|_| Protocol::Tcp))
}

/// Why a rule does not act on an application that `attach` is in front of.
fn check_attached(rule: &Rule, protocol: Protocol, place: &str) -> Option<ConfigError> {
    let targets = rule.targets();
    let of_probe_listener = rule.listener() == Some(&ListenerName::Probe) || rule.handshake().is_some();
    let (value, reason) = if rule.process().is_some() {
        ("process".to_owned(), OF_PROCESS)
    } else if protocol == Protocol::Tcp {
        match (of_probe_listener, targets.is_empty() || !targets.proxies().is_empty()) {
            (true, _) => ("listener".to_owned(), OF_HTTP),
            (_, true) => return None,
            _ => (targets.names().collect::<Vec<_>>().join(", "), OF_HTTP),
        }
    } else if targets.is_empty() || targets.contains(Target::Traffic) || !targets.proxies().is_empty() {
        return None;
    } else {
        (targets.names().collect::<Vec<_>>().join(", "), OF_PROBES)
    };
    Some(error_of(rule, place, reason.to_owned()).field("target").value(&value))
}

const OF_PROCESS: &str = "would act on attach itself, not on the application";

const OF_HTTP: &str = "has no effect in attach with --protocol tcp: use the target application";

const OF_PROBES: &str = "has no effect in attach, where every request is traffic: use the target traffic with the path \
                         of the probe, and client any, since the kubelet is spared otherwise";

fn error_of(rule: &Rule, place: &str, reason: String) -> ConfigError {
    let place = if place.is_empty() { rule.name().to_string() } else { format!("{place}: {}", rule.name()) };
    ConfigError::new(place, Reason::File(reason))
}
