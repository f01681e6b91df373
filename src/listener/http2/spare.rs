//! Memory that stays with the allocator between requests.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use hyper::HeaderMap;

/// The requests of a listener among whose heads room is kept.
const FIRST: usize = 48;

/// One in so many of them gets room beside it; the others leave theirs to later requests.
const EACH: usize = 3;

/// The largest head, in fields, beside which room is kept.
const MOST_FIELDS: usize = 32;

/// Keeps room beside the heads of the first HTTP/2 requests, of their size.
///
/// h2 decodes all requests that have arrived before the first is answered, and their heads are freed together. An
/// allocator that returns memory as soon as nothing in its neighbourhood is used maps, clears and unmaps it for each
/// read, at a quarter of the CPU time of small requests.
#[derive(Debug, Default)]
pub struct SpareHeads {
    seen: AtomicUsize,
    kept: Mutex<Vec<HeaderMap>>,
}

impl SpareHeads {
    /// Sees the head of a request that has arrived.
    pub(super) fn see(&self, head: &HeaderMap) {
        // The count only grows up to the limit.
        if self.seen.load(Ordering::Relaxed) >= FIRST || head.capacity() > MOST_FIELDS {
            return;
        }
        if self.seen.fetch_add(1, Ordering::Relaxed).is_multiple_of(EACH) {
            let room = HeaderMap::with_capacity(head.capacity());
            self.kept.lock().unwrap_or_else(PoisonError::into_inner).push(room);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_kept_beside_a_third_of_the_first_requests_and_no_large_ones() {
        let spare = SpareHeads::default();
        let (small, large) = (HeaderMap::with_capacity(6), HeaderMap::with_capacity(MOST_FIELDS + 1));
        for _ in 0..2 * FIRST {
            spare.see(&large);
            spare.see(&small);
        }
        let kept = spare.kept.lock().unwrap();
        assert_eq!(kept.len(), FIRST / EACH);
        assert!(kept.iter().all(|room| room.capacity() == small.capacity()));
    }
}
