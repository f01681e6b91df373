//! Finds out whether the state of the service outlives its container.

use super::environment::Sources;
use super::findings::Reading;
use super::mapping::Mapping;
use super::volume::{Mount, Wrong, absolute_components, labelled};
use crate::env::Config;

/// Kinds of volumes that are read-only.
const READ_ONLY: [&str; 5] = ["configMap", "secret", "downwardAPI", "projected", "image"];

/// Kinds of volumes that are empty when the Pod starts.
const FRESH: [&str; 2] = ["emptyDir", "ephemeral"];

/// The location of a state that outlives its container: the volume of `STATE_DIR`, and the directory in it.
pub(super) type StateLocation = (String, Option<Vec<String>>);

/// The location of a container's state, if the state outlives the container.
pub(super) fn location<'a>(
    config: &Config,
    container: &Mapping<'a>,
    sources: &Sources<'a>,
) -> Reading<Option<StateLocation>> {
    Reading::collect(|found| {
        let dir = config.files.state.as_ref()?;
        let dir = dir.to_string_lossy();
        let path = found.take(absolute_components(&dir, container));
        let what = labelled("STATE_DIR", &dir);
        let lost =
            |why: &str| format!("{what} {why}: the state is lost with the container, as without STATE_DIR");
        let mount = match found.take(Mount::of(&path, container, sources)) {
            Ok(Some(mount)) => mount,
            Ok(None) => {
                found.warn(lost("is on no volume"));
                return None;
            }
            Err(Wrong) => return None,
        };
        let (name, kind) = (mount.name, mount.kind());
        if READ_ONLY.contains(&kind) {
            found.warn(lost(&format!("is on volume {name}, which is read-only as a {kind}")));
            return None;
        }
        let source = mount.volume.as_ref().and_then(|volume| found.take(volume.mapping(kind)));
        if mount.read_only
            || source.is_some_and(|source| found.take(source.boolean("readOnly")) == Some(true))
        {
            found.warn(lost(&format!("is on volume {name}, which is mounted read-only")));
            return None;
        }
        if FRESH.contains(&kind) {
            // The service creates the directory, but not the parents of it.
            if mount.depth > 1 {
                let why =
                    format!("cannot be created: volume {name} is empty, so the parent directory is missing");
                found.warn(lost(&why));
                return None;
            }
        } else {
            found.assume(format!(
            "{}: {what} is assumed to be empty at first and separate for each Pod, although volume {name} may outlive the Pod",
            sources.container_label()
        ));
        }
        Some((name.to_owned(), mount.inside))
    })
}
