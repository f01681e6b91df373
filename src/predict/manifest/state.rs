//! Whether what the service remembers outlives its container.

use super::environment::{Sources, container as of};
use super::node::{Node, Report};
use super::volume::{Mount, absolute, subject};
use crate::env::Config;

/// Volumes that nobody can write to.
const READ_ONLY: [&str; 5] = ["configMap", "secret", "downwardAPI", "projected", "image"];

/// Volumes that are empty when the Pod starts.
const FRESH: [&str; 2] = ["emptyDir", "ephemeral"];

/// Where clock, counts and starts outlive a container: the volume that `STATE_DIR` lies on, and the directory there.
pub(super) type Kept = (String, Option<Vec<String>>);

/// Where a container keeps its state, if that outlives it.
pub(super) fn kept<'a>(
    config: &Config,
    container: &Node<'a>,
    sources: &Sources<'a>,
    report: &mut Report,
) -> Option<Kept> {
    let dir = config.files.state.as_ref()?;
    let dir = dir.to_string_lossy();
    let path = absolute(&dir, container, report);
    let what = subject("STATE_DIR", &dir);
    let lost = |why: &str, report: &mut Report| {
        report.warn(&format!("{what} {why}: the state goes with the container, as if it were not set"));
        None
    };
    let mount = match Mount::of(&path, container, sources, report) {
        Ok(Some(mount)) => mount,
        Ok(None) => return lost("is on no volume", report),
        Err(()) => return None,
    };
    let (name, kind) = (mount.name, mount.kind());
    if READ_ONLY.contains(&kind) {
        return lost(&format!("is on volume {name}, which is read-only as a {kind}"), report);
    }
    let source = mount.volume.as_ref().and_then(|volume| volume.child(kind, report));
    if mount.read_only || source.is_some_and(|source| source.flag("readOnly", report) == Some(true)) {
        return lost(&format!("is on volume {name}, which is mounted read-only"), report);
    }
    if FRESH.contains(&kind) {
        // The service creates the directory, but none above it.
        if mount.depth > 1 {
            return lost(
                &format!("cannot be created: volume {name} is empty, and so without the directory above"),
                report,
            );
        }
    } else {
        report.assume(format!(
            "{}: {what} is taken as empty at first, and each Pod's own, though volume {name} may outlive the Pod",
            of(report)
        ));
    }
    Some((name.to_owned(), mount.inside))
}
