//! Whether requests may go to their handlers while client classes are cut.

use super::ConnectionState;

/// Whether a request may go to its handler while cuts of a client class are in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Free,
    Asked,
    Granted,
}

impl ConnectionState {
    /// Whether a request may continue; true once [`admit`](Self::admit) was called.
    pub(in crate::listener) fn is_admitted(&self) -> bool {
        let mut inner = self.lock();
        let granted = inner.admission == Admission::Granted;
        inner.admission = if granted { Admission::Free } else { Admission::Asked };
        granted
    }

    pub(in crate::listener) fn admit(&self) {
        let mut inner = self.lock();
        if inner.admission == Admission::Asked {
            inner.admission = Admission::Granted;
            if let Some(streams) = &mut inner.streams {
                // Each stream requests admission again.
                streams.admit();
                inner.admission = Admission::Free;
            }
        }
    }
}
