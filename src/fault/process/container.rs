//! Limits of process faults, which protect the node that the container runs on.

use super::{ProcessMode, Size};
use crate::fault::error::RuleError;
use crate::fault::rule::{Action, Rule};

/// Memory limit of a rule in a container without memory limit, in bytes.
pub const UNLIMITED_MEMORY: u64 = 256 << 20;

/// CPU limit of a rule in a container without CPU limit, in cores.
pub const UNLIMITED_CORES: f64 = 1.0;

/// The container that process faults run in, as far as known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Container {
    /// Whether starts of the container are counted (`STATE_DIR`).
    pub keeps_state: bool,
    /// Whether a seed is set, so that without state each start draws the same.
    pub has_seed: bool,
    /// Whether the probe listener speaks TLS.
    pub has_tls: bool,
    /// Its resources; absent if unknown, and not checked then.
    pub resources: Option<Resources>,
}

/// The resources of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Resources {
    /// Memory limit of its cgroup, in bytes.
    pub memory_limit: Option<u64>,
    /// Memory of the machine, in bytes.
    pub machine_memory: Option<u64>,
    /// CPU limit of its cgroup, in cores.
    pub cpu_limit: Option<f64>,
    /// Cores of the machine that it may use.
    pub machine_cores: Option<f64>,
}

impl Resources {
    /// The base of memory percentages: the container's limit, or the machine's memory without one.
    pub fn memory(&self) -> Option<u64> {
        self.memory_limit.or(self.machine_memory)
    }
}

impl Rule {
    /// All conflicts between a rule for the process or for handshakes and the container; none for other rules.
    pub fn check_container(&self, container: &Container) -> Vec<RuleError> {
        if let Some(fault) = self.handshake().filter(|_| !container.has_tls) {
            return vec![RuleError::HandshakeWithoutTls(fault.name())];
        }
        let Action::Process { mode, allow_node_pressure } = self.action() else { return Vec::new() };
        let mut errors = Vec::new();
        if !container.keeps_state {
            if self.trigger().starts.is_some() {
                errors.push(RuleError::StartsWithoutState);
            }
            if !self.trigger().rate.is_always() && container.has_seed {
                errors.push(RuleError::RateWithoutState);
            }
        }
        let Some(resources) = &container.resources else { return errors };
        match mode {
            ProcessMode::Memory(size) => errors.extend(resources.check_memory(*size, *allow_node_pressure)),
            ProcessMode::Cpu(cores) => errors.extend(resources.check_cores(*cores, *allow_node_pressure)),
            _ => {}
        }
        errors
    }
}

impl Resources {
    fn check_memory(&self, size: Size, allowed: bool) -> Option<RuleError> {
        let insists = self.memory_limit.is_none() && !allowed;
        match size {
            Size::Percent(_) if insists => Some(RuleError::PercentWithoutLimit),
            Size::Bytes(size) if insists && size > UNLIMITED_MEMORY => {
                Some(RuleError::MemoryWithoutLimit(size))
            }
            _ => {
                let bytes = size.bytes(self.memory()?);
                let most = self.machine_memory?;
                (bytes > most).then_some(RuleError::MemoryAboveMachine { size: bytes, most })
            }
        }
    }

    fn check_cores(&self, cores: f64, allowed: bool) -> Option<RuleError> {
        let most = self.machine_cores.unwrap_or(f64::INFINITY);
        if cores > most {
            return Some(RuleError::CoresAboveMachine { cores, most });
        }
        (cores > UNLIMITED_CORES && self.cpu_limit.is_none() && !allowed)
            .then_some(RuleError::CoresWithoutLimit(cores))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{ClientFilter, Rate, RequestWindow, RuleName, Trigger};

    const MIB: u64 = 1 << 20;

    fn errors(container: Container, trigger: Trigger, mode: ProcessMode, allow: bool) -> Vec<String> {
        let action = Action::Process { mode, allow_node_pressure: allow };
        let rule = Rule::new(RuleName::new("x").unwrap(), ClientFilter::Any, trigger, action).unwrap();
        rule.check_container(&container).iter().map(ToString::to_string).collect()
    }

    fn of_resources(resources: Resources, mode: ProcessMode, allow: bool) -> String {
        let container = Container { resources: Some(resources), ..Container::default() };
        errors(container, Trigger::ALWAYS, mode, allow).concat()
    }

    #[test]
    fn start_conditions_and_seeded_rates_need_a_state() {
        let starts =
            Trigger { starts: Some(RequestWindow::new(0, Some(2), None).unwrap()), ..Trigger::ALWAYS };
        let rate = Trigger { rate: Rate::from_percent(50.0).unwrap(), ..Trigger::ALWAYS };
        let without = Container { has_seed: true, ..Container::default() };
        assert_eq!(
            errors(without, starts.clone(), ProcessMode::Exit(1), false),
            ["needs STATE_DIR: without it, every start counts as the first"]
        );
        assert_eq!(
            errors(without, rate.clone(), ProcessMode::Exit(1), false),
            ["a rate below 100% with a seed needs STATE_DIR: without it, every start draws the same"]
        );
        let drawn = Container::default();
        assert!(errors(drawn, rate.clone(), ProcessMode::Exit(1), false).is_empty());
        let with = Container { keeps_state: true, ..without };
        for trigger in [starts, rate] {
            assert!(errors(with, trigger, ProcessMode::Exit(1), false).is_empty());
        }
    }

    #[test]
    fn large_memory_and_cpu_need_a_limit_or_permission() {
        let unlimited =
            Resources { machine_memory: Some(8 << 30), machine_cores: Some(4.0), ..Resources::default() };
        let limited = Resources { memory_limit: Some(64 * MIB), cpu_limit: Some(0.5), ..unlimited };
        let percent = ProcessMode::Memory(Size::Percent(80.0));
        let large = ProcessMode::Memory(Size::Bytes(257 * MIB));
        let small = ProcessMode::Memory(Size::Bytes(256 * MIB));
        for (mode, field) in [
            (percent, "resources.limits.memory"),
            (large, "resources.limits.memory"),
            (ProcessMode::Cpu(1.5), "resources.limits.cpu"),
        ] {
            let error = of_resources(unlimited, mode.clone(), false);
            assert!(error.contains(field) && error.contains("allow_node_pressure: true"), "{error}");
            assert_eq!(of_resources(unlimited, mode.clone(), true), "");
            assert_eq!(of_resources(limited, mode, false), "");
        }
        assert_eq!(of_resources(unlimited, small, false), "");
        assert_eq!(of_resources(unlimited, ProcessMode::Cpu(1.0), false), "");
    }

    #[test]
    fn more_than_the_machine_has_is_always_rejected() {
        let machine = Resources {
            memory_limit: Some(1 << 30),
            machine_memory: Some(1 << 30),
            cpu_limit: Some(2.0),
            machine_cores: Some(2.0),
        };
        assert_eq!(
            of_resources(machine, ProcessMode::Memory(Size::Percent(150.0)), true),
            "1610612736 bytes are more than the 1073741824 that the machine has"
        );
        assert_eq!(
            of_resources(machine, ProcessMode::Cpu(2.5), true),
            "2.5 cores are more than the 2 that the container may run on"
        );
        assert_eq!(of_resources(machine, ProcessMode::Cpu(2.0), false), "");
        assert_eq!(errors(Container::default(), Trigger::ALWAYS, ProcessMode::Cpu(900.0), false), [""; 0]);
    }
}
