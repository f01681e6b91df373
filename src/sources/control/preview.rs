//! Previews of changes.

use std::time::Duration;

use tokio::time::Instant;

use super::{Control, too_many};
use crate::fault::{ActivePlan, Origin, RuleName};
use crate::plan::Source;
use crate::sources::{ApiChange, ChangeRefusal};

/// The plan that a change would put in force.
#[derive(Clone, Debug)]
pub struct Preview {
    /// The plan, ignoring a stop.
    pub plan: ActivePlan,
    /// When each rule expires, in the order of the plan, on the engine's clock.
    pub ends: Vec<Option<Duration>>,
    /// The current time on the engine's clock.
    pub elapsed: Duration,
    /// The generation of the plan in force.
    pub generation: u64,
    /// Whether all rules are stopped.
    pub stopped: bool,
    /// Whether the change would create a rule.
    pub created: bool,
}

impl Control {
    /// The plan that a change would put in force now; without a change, the plan in force.
    ///
    /// # Errors
    ///
    /// Why the change would be rejected.
    pub fn preview(&self, change: Option<ApiChange>) -> Result<Preview, ChangeRefusal> {
        let inner = self.lock();
        let snapshot = self.0.engine.snapshot();
        let (active, elapsed) = (&snapshot.active, snapshot.elapsed);
        let draft = change.map(|change| self.draft(&inner, change)).transpose()?.flatten();
        let plan = match &draft {
            None => active.plan.clone(),
            Some(draft) => {
                let (plan, _) = draft.merged.plan().map_err(ChangeRefusal::Invalid)?;
                let (seed, replica) = self.0.instance.seed_and_replica(&draft.merged, self.epoch());
                let proxies = draft.merged.proxies.iter().map(|(proxy, _)| &proxy.name);
                let proxies = active
                    .plan
                    .proxies()
                    .with(proxies)
                    .map_err(|error| ChangeRefusal::Invalid(too_many(error)))?;
                let starts = replica.starts.saturating_sub(1);
                let now = Origin { elapsed, counts: snapshot.counts.clone(), starts };
                let plan = active.plan.clone().at(replica).with_proxies(proxies).successor(plan, seed, &now);
                if draft.renews { plan.with_origins(|_| now.clone()) } else { plan }
            }
        };
        let merged = draft.as_ref().map_or(&inner.merged, |draft| &draft.merged);
        let end = |name: &RuleName| match &draft {
            Some(draft) => draft.end(name),
            None => inner.overlay.end(name),
        };
        let left = |end: Instant| elapsed.saturating_add(end.saturating_duration_since(Instant::now()));
        let ends = merged.rules.iter().map(|(rule, source)| {
            Some(rule.name()).filter(|_| *source == Source::Api).and_then(end).map(left)
        });
        Ok(Preview {
            plan: plan.stopped(false),
            ends: ends.collect(),
            elapsed,
            generation: active.generation,
            stopped: active.stop.is_some(),
            created: draft.is_some_and(|draft| draft.created),
        })
    }
}
