//! File descriptors that rules hold.

use std::fs::File;
use std::os::fd::OwnedFd;

use rustix::io::dup;
use tracing::error;

use crate::telemetry::metrics::spare_files;

/// How many are held at most, each of which costs the kernel a few bytes. Where there are more, the listener still accepts
/// nothing.
const MOST: usize = 1 << 16;

/// File descriptors that are held open.
#[derive(Debug, Default)]
pub(super) struct Descriptors(Vec<OwnedFd>);

impl Descriptors {
    /// Takes all but `reserved`, or gives them back.
    pub(super) fn set(&mut self, are_held: bool, reserved: usize) {
        if !are_held {
            self.0 = Vec::new();
        } else if self.0.is_empty() {
            // The root is there in every container.
            let first =
                File::open("/").map_err(|error| error!(%error, "no file descriptor to take others by"));
            let Ok(first) = first else { return };
            let wanted = spare_files().unwrap_or(0).saturating_sub(reserved).min(MOST);
            self.0 = (0..wanted).map_while(|_| dup(&first).ok()).collect();
        }
    }

    /// How many are held.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}
