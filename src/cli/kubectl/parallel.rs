//! Several calls of kubectl at the same time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::order;

/// How many calls of kubectl there are at a time.
const AT_ONCE: usize = 16;

/// Does something for each of `count` positions, several at a time, and returns the results in their order.
pub(super) fn each<T: Send>(count: usize, work: &(dyn Fn(usize) -> T + Sync)) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(count));
    let all = || {
        while let Some(position) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|next| *next < count) {
            let result = work(position);
            results.lock().unwrap_or_else(PoisonError::into_inner).push((position, result));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..count.min(AT_ONCE) {
            scope.spawn(all);
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    order::sort_by_key(&mut results, |(position, _)| *position);
    results.into_iter().map(|(_, result)| result).collect()
}
