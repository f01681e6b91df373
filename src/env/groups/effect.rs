//! Variables that are set in vain.

use super::Groups;
use crate::env::faults::FaultSettings;
use crate::fault::Target;
use crate::plan::error::Reason;
use crate::plan::fields_of;

impl<'a> Groups<'a> {
    /// What is set in vain.
    pub(super) fn without_effect(&mut self) {
        let settings = std::iter::once(self.shared).chain(self.own);
        for of in settings {
            let needs = [
                (of.burst
                    .as_ref()
                    .map(|given| (&given.name, given.on().map(|_| given.error(needs("FAILURE_RATE")))))),
                (of.period
                    .as_ref()
                    .map(|given| (&given.name, given.on().map(|_| given.error(needs("FAIL_FOR")))))),
                (of.jitter
                    .as_ref()
                    .map(|given| (&given.name, given.on().map(|_| given.error(needs("LATENCY")))))),
                (of.shape
                    .as_ref()
                    .map(|given| (&given.name, given.on().map(|_| given.error(needs("LATENCY")))))),
            ];
            for (name, error) in needs.into_iter().flatten() {
                if let Some(error) = error.filter(|_| !self.used.contains(&name.as_str())) {
                    self.reader.fail(error);
                }
            }
        }
        self.modes_without_effect(self.shared, None);
        for target in Target::ALL {
            self.modes_without_effect(&self.own[target.index()], Some(target));
        }
    }

    /// Warns of fields of a mode that is not the mode of any failure, and of a mode without a failure.
    pub(super) fn modes_without_effect(&mut self, of: &'a FaultSettings, of_target: Option<Target>) {
        let targets = Target::ALL.into_iter().filter(|target| of_target.is_none_or(|own| own == *target));
        let modes: Vec<&str> = targets.clone().filter_map(|target| self.mode_name(target)).collect();
        let names = [
            ("location", of.location.as_ref().map(|given| &given.name), "FAILURE_MODE=redirect"),
            (
                "body",
                of.body.as_ref().map(|given| &given.name),
                "FAILURE_MODE=truncate, body-hang, body-reset, malformed or drip",
            ),
            ("drip", of.drip.as_ref().map(|given| &given.name), "FAILURE_MODE=drip"),
        ];
        for (field, name, needs) in names {
            if let Some(name) = name
                && !modes.iter().any(|mode| fields_of(mode).contains(&field))
            {
                self.warn(name, needs);
            }
        }
        let fails = |target: Target| {
            self.made.iter().any(|made| made.rule.targets().contains(target) && made.rule.mode().is_some())
        };
        if let Some(mode) = &of.mode
            && mode.on().is_some()
            && self.reader.errors.is_empty()
            && !targets.clone().any(fails)
        {
            self.warn(&mode.name, "a failure, such as FAILURE_RATE");
        }
    }
}

fn needs(what: &str) -> Reason {
    Reason::Needs(what.to_owned())
}
