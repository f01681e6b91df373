//! Changes of plans in files.

use tracing::warn;

use super::{ChangeOrigin, Control, candidate};
use crate::plan::Source;

impl Control {
    /// Accepts a file's content, as `Layers::read` does.
    pub fn read(&self, source: Source, content: Result<Option<&str>, &str>) {
        let mut inner = self.lock();
        let mut layers = inner.layers.clone();
        let Some(path) = layers.file_of(source).map(|file| file.path.display().to_string()) else { return };
        let change = if content == Ok(None) { "file removed" } else { "file read" };
        let result = layers.read(source, content).and_then(|changed| {
            if !changed {
                return Ok(());
            }
            let before = inner.file_stop.clone();
            inner.file_stop = layers.stop(before.as_ref());
            let cause = ChangeOrigin { source, by: &path, change };
            candidate(&layers, &inner.overlay, &inner.merged)
                .and_then(|merged| self.put_in_force(&mut inner, merged, cause, false))
                .map(|_| ())
                .map_err(|errors| {
                    inner.file_stop = before;
                    errors.lines().into_iter().map(|error| format!("{path}: {error}")).collect()
                })
        });
        match result {
            Ok(()) => {
                let missing = layers.file_of(source).map(|file| file.errors.clone()).unwrap_or_default();
                self.0.metrics.reload(source, missing.is_empty());
                for warning in missing.iter().chain(layers.warnings(source)) {
                    warn!(source = source.name(), "{warning}");
                }
                inner.layers = layers;
            }
            Err(errors) => {
                self.0.metrics.reload(source, false);
                for error in &errors {
                    warn!(source = source.name(), "{error}; the previous plan stays in force");
                }
                self.events().refused(source, &path, &errors);
                if let Some(file) = inner.layers.file(source) {
                    file.errors = errors;
                }
            }
        }
    }
}
