//! Stop and resume.

use super::{ChangeOrigin, Control, Inner};
use crate::clock::wall_clock;
use crate::engine::Stop;
use crate::plan::Source;
use crate::sources::{ChangeRefusal, ChangeResult};

impl Control {
    /// Stops all rules; a second stop changes nothing.
    pub(super) fn stop(&self, inner: &mut Inner, by: &str) -> Result<ChangeResult, ChangeRefusal> {
        let before = inner.stop.clone();
        if before.is_some() {
            return Ok(self.unchanged());
        }
        inner.stop = Some(Stop { source: Source::Api, by: by.to_owned(), since: wall_clock() });
        self.apply_stop(inner, by, "stop").inspect_err(|_| inner.stop = before)
    }

    /// Ends a stop made through the API. A stop requested by a file stays in force.
    pub(super) fn resume(&self, inner: &mut Inner, by: &str) -> Result<ChangeResult, ChangeRefusal> {
        let Some(before) = inner.stop.take() else { return Ok(self.unchanged()) };
        self.apply_stop(inner, by, "resume").inspect_err(|_| inner.stop = Some(before))
    }

    fn apply_stop(&self, inner: &mut Inner, by: &str, change: &str) -> Result<ChangeResult, ChangeRefusal> {
        let cause = ChangeOrigin { source: Source::Api, by, change };
        let merged = inner.merged.clone();
        let generation = self.put_in_force(inner, merged, cause, false).map_err(ChangeRefusal::Invalid)?;
        Ok(ChangeResult { generation, created: false, stopped: inner.stop_in_force().is_some() })
    }

    pub(super) fn unchanged(&self) -> ChangeResult {
        let active = self.0.engine.active();
        ChangeResult { generation: active.generation, created: false, stopped: active.stop.is_some() }
    }
}
