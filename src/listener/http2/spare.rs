//! Memory that stays with the allocator between requests.

use std::sync::OnceLock;

use hyper::HeaderMap;

/// Fields for which a map first has room. h2 and the handlers use such maps for heads.
const FIELDS: usize = 6;

/// Maps that are allocated one after the other, at most six in a page of 4 KiB.
const MAPS: usize = 48;

/// One in this many of them is kept; the others leave their memory to the maps of requests.
const KEPT: usize = 3;

/// Keeps pages for the heads of HTTP/2, 32 KiB from the first connection on.
///
/// h2 decodes all requests that have arrived before the first is answered, and their heads are freed together. musl
/// unmaps a page when nothing in it is used. Without an object that stays in them, the same pages are mapped, cleared and
/// unmapped for each read, at a quarter of the CPU time of small requests.
#[derive(Clone, Debug, Default)]
pub struct SparePages(OnceLock<Vec<HeaderMap>>);

impl SparePages {
    /// Keeps them from now on.
    pub(super) fn keep(&self) {
        self.0.get_or_init(|| {
            let maps: Vec<HeaderMap> = (0..MAPS).map(|_| HeaderMap::with_capacity(FIELDS)).collect();
            maps.into_iter().step_by(KEPT).collect()
        });
    }
}
