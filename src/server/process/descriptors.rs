//! File descriptors held by rules.

use std::fs::File;
use std::os::fd::OwnedFd;

use rustix::io::dup;
use tracing::error;

use crate::telemetry::metrics::spare_files;

/// Limit of held descriptors: each costs the kernel a few bytes. Beyond it, the listener still accepts no connection.
const MOST: usize = 1 << 16;

/// File descriptors that are held open.
#[derive(Debug, Default)]
pub(super) struct Descriptors(Vec<OwnedFd>);

impl Descriptors {
    /// Takes all except `reserved`, or releases them.
    pub(super) fn set(&mut self, are_held: bool, reserved: usize) {
        if !are_held {
            self.0 = Vec::new();
        } else if self.0.is_empty() {
            // The root directory exists in every container.
            let first =
                File::open("/").map_err(|error| error!(%error, "cannot open a file descriptor to duplicate"));
            let Ok(first) = first else { return };
            let wanted = spare_files().unwrap_or(0).saturating_sub(reserved).min(MOST);
            self.0 = (0..wanted).map_while(|_| dup(&first).ok()).collect();
        }
    }

    /// Number of held descriptors.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}
