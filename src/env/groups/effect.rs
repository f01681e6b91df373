//! Variables that have no effect.

use super::Groups;
use super::partition::PARTITION;
use crate::env::faults::FaultSettings;
use crate::fault::{ModeField, ModeInfo, Target};
use crate::plan::error::Reason;

impl<'a> Groups<'a> {
    /// Reports variables that have no effect.
    pub(super) fn without_effect(&mut self) {
        let settings = std::iter::once(self.shared).chain(self.own);
        for of in settings {
            let needs = [
                (of.burst.as_ref().map(|parsed| {
                    (&parsed.name, parsed.value().map(|_| parsed.error(needs("FAILURE_RATE"))))
                })),
                (of.period
                    .as_ref()
                    .map(|parsed| (&parsed.name, parsed.value().map(|_| parsed.error(needs("FAIL_FOR")))))),
                (of.jitter
                    .as_ref()
                    .map(|parsed| (&parsed.name, parsed.value().map(|_| parsed.error(needs("LATENCY")))))),
                (of.shape
                    .as_ref()
                    .map(|parsed| (&parsed.name, parsed.value().map(|_| parsed.error(needs("LATENCY")))))),
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

    /// Warns about fields that no configured mode has, and about a mode or a status without a failure.
    fn modes_without_effect(&mut self, of: &'a FaultSettings, of_target: Option<Target>) {
        let targets = Target::ALL.into_iter().filter(|target| of_target.is_none_or(|own| own == *target));
        let modes: Vec<&ModeInfo> = targets.clone().filter_map(|target| self.mode_info(target)).collect();
        let name_of = |field| match field {
            // A partition in mode `status` uses no other mode.
            ModeField::Status if self.is_used_by_partition(of_target) => None,
            ModeField::Status => {
                of.status.as_ref().filter(|parsed| parsed.value().is_some()).map(|parsed| &parsed.name)
            }
            ModeField::Location => of.location.as_ref().map(|parsed| &parsed.name),
            ModeField::Body => of.body.as_ref().map(|parsed| &parsed.name),
            ModeField::Drip => of.drip.as_ref().map(|parsed| &parsed.name),
            ModeField::Speed => of.speed.as_ref().map(|parsed| &parsed.name),
            ModeField::Share => of.share.as_ref().map(|parsed| &parsed.name),
            ModeField::GrpcStatus => of.grpc_status.as_ref().map(|parsed| &parsed.name),
            ModeField::GrpcMessage => of.grpc_message.as_ref().map(|parsed| &parsed.name),
            // Only rules in plans have these fields.
            _ => None,
        };
        let untaken: Vec<_> = ModeField::ALL
            .into_iter()
            .filter(|field| !modes.iter().any(|mode| mode.takes(*field)))
            .filter_map(|field| Some((field, name_of(field)?)))
            .collect();
        let status = name_of(ModeField::Status)
            .filter(|_| untaken.iter().all(|(field, _)| *field != ModeField::Status));
        for (field, name) in untaken {
            self.warn(name, &format!("FAILURE_MODE={}", modes_with(field)));
        }
        let fails = |target: Target| {
            self.rules
                .iter()
                .filter(|made| made.rule.name().as_str() != PARTITION)
                .any(|made| made.rule.targets().contains(target) && made.rule.mode().is_some())
        };
        if self.reader.errors.is_empty() && !targets.clone().any(fails) {
            let mode = of.mode.as_ref().filter(|mode| mode.value().is_some()).map(|mode| &mode.name);
            for name in mode.into_iter().chain(status) {
                self.warn(name, "a failure, such as FAILURE_RATE");
            }
        }
    }

    /// Whether readiness fails in a partition with the status of these variables.
    fn is_used_by_partition(&self, of_target: Option<Target>) -> bool {
        of_target.is_none_or(|target| target == Target::Readiness)
            && self.rules.iter().any(|made| made.rule.name().as_str() == PARTITION)
    }
}

/// The modes that have a field: `truncate, malformed or drip`.
fn modes_with(field: ModeField) -> String {
    let names: Vec<&str> =
        ModeInfo::all_of_requests().filter(|info| info.takes(field)).map(|info| info.name).collect();
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

fn needs(what: &str) -> Reason {
    Reason::Needs(what.to_owned())
}
