//! Rule changes through the API, and the expiry of rules.

use tokio::time::Instant;
use tracing::error;

use super::{ChangeOrigin, Control, Inner, candidate};
use crate::fault::{Replica, RuleName};
use crate::plan::{ConfigError, Source, check_replica};
use crate::sources::layers::Layers;
use crate::sources::merge::Merged;
use crate::sources::overlay::{self, Overlay, UnknownRule};
use crate::sources::summary::MAX_NAMED;
use crate::sources::{ApiChange, ChangeRefusal, ChangeResult};

/// A checked change of rules.
pub(super) struct RulesDraft {
    overlay: Overlay,
    layers: Layers,
    pub(super) merged: Merged,
    /// Description of the change.
    what: String,
    /// Whether it creates the rule.
    pub(super) created: bool,
    /// Whether the origins of all rules are reset.
    pub(super) renews: bool,
}

impl RulesDraft {
    /// When the rule of that name expires.
    pub(super) fn end(&self, name: &RuleName) -> Option<Instant> {
        self.overlay.end(name)
    }
}

impl Control {
    /// Applies a change of rules; stop and resume are not changes of rules.
    pub(super) fn change_rules(
        &self,
        inner: &mut Inner,
        by: &str,
        change: ApiChange,
    ) -> Result<ChangeResult, ChangeRefusal> {
        let Some(draft) = self.draft(inner, change)? else { return Ok(self.unchanged()) };
        let RulesDraft { overlay, layers, merged, what, created, renews } = draft;
        let cause = ChangeOrigin { source: Source::Api, by, change: &what };
        let generation = self.put_in_force(inner, merged, cause, renews).map_err(ChangeRefusal::Invalid)?;
        (inner.overlay, inner.layers) = (overlay, layers);
        self.0.metrics.reload(Source::Api, true);
        self.0.changed.notify_one();
        Ok(ChangeResult { generation, created, stopped: inner.stop_in_force().is_some() })
    }

    /// The result of applying a change to the current plan; `None` if it is not a change of rules.
    pub(super) fn draft(
        &self,
        inner: &Inner,
        change: ApiChange,
    ) -> Result<Option<RulesDraft>, ChangeRefusal> {
        let (mut overlay, mut layers) = (inner.overlay.clone(), inner.layers.clone());
        let merged = &inner.merged;
        let named = |name: &str| {
            let invalid = |error| ChangeRefusal::Invalid(ConfigError::new("", error).field("name").into());
            RuleName::new(name).map_err(invalid)
        };
        let known =
            |name: &str| RuleName::new(name).map_err(|_| ChangeRefusal::NotFound { name: name.to_owned() });
        let not_found = |name: &RuleName| ChangeRefusal::NotFound { name: name.to_string() };
        let (mut created, mut renews) = (false, false);
        let what = match change {
            ApiChange::PutPlan(plan) => {
                overlay = Overlay::of_plan(plan).map_err(ChangeRefusal::Invalid)?;
                if let Some(proxies) = overlay.proxies() {
                    let beneath = layers.proxies();
                    layers.api_proxies.replace(proxies, &beneath);
                }
                "put plan".to_owned()
            }
            ApiChange::PutFault { name, rule } => {
                let name = named(&name)?;
                created = overlay::in_force(merged, &name).is_none();
                overlay.put(&name, rule).map_err(ChangeRefusal::Invalid)?;
                format!("put fault {name}")
            }
            ApiChange::PatchFault { name, patch } => {
                let name = known(&name)?;
                overlay
                    .patch(&name, &patch, merged)
                    .map_err(|UnknownRule| not_found(&name))?
                    .map_err(ChangeRefusal::Invalid)?;
                format!("patch fault {name}")
            }
            ApiChange::DeleteFault { name } => {
                let name = known(&name)?;
                overlay.delete(&name, merged).map_err(|UnknownRule| not_found(&name))?;
                format!("delete fault {name}")
            }
            ApiChange::Reset { renew } => {
                (overlay, renews) = (Overlay::default(), renew);
                "reset".to_owned()
            }
            // These do not change rules.
            ApiChange::Stop
            | ApiChange::Resume
            | ApiChange::PutProxy { .. }
            | ApiChange::DeleteProxy { .. } => {
                return Ok(None);
            }
        };
        let merged = candidate(&layers, &overlay, merged).map_err(ChangeRefusal::Invalid)?;
        let given = merged.seed.map(|(seed, _)| seed);
        let replica = Replica::named(given, self.0.instance.pod.as_deref());
        let mut errors = check_replica(overlay.rules(), &replica, "");
        errors.append(inner.layers.container_check().check(overlay.rules(), given.is_some(), ""));
        if !errors.is_empty() {
            return Err(ChangeRefusal::Invalid(errors));
        }
        Ok(Some(RulesDraft { overlay, layers, merged, what, created, renews }))
    }

    /// Removes expired rules.
    pub(super) fn expire(&self) {
        let mut inner = self.lock();
        let mut overlay = inner.overlay.clone();
        let ended = overlay.expire(Instant::now());
        if ended.is_empty() {
            return;
        }
        let merged = inner.layers.merged_with(Some(overlay.layer()));
        let names = ended.iter().take(MAX_NAMED).map(RuleName::as_str).collect::<Vec<_>>().join(", ");
        let more = ended.len().saturating_sub(MAX_NAMED);
        let change =
            if more > 0 { format!("end of {names} and {more} more") } else { format!("end of {names}") };
        inner.overlay = overlay;
        let cause = ChangeOrigin { source: Source::Api, by: "ttl", change: &change };
        // Each change has checked that the rules it hides fit; an error here is a bug in that check.
        if let Err(errors) = self.put_in_force(&mut inner, merged, cause, false) {
            let errors = errors.lines();
            for error in &errors {
                error!(change, "{error}; the rules stay in force");
            }
            self.events().refused(Source::Api, "ttl", &errors);
        }
    }
}
