//! Counters per proxy.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long the counters of a removed proxy are exported: longer than any scrape interval.
const RETIREMENT: Duration = Duration::from_secs(600);

/// Counters by proxy name. Those of a removed proxy are dropped after a while.
#[derive(Debug)]
pub(super) struct ByProxy<T>(Mutex<Vec<ProxyEntry<T>>>);

#[derive(Debug)]
struct ProxyEntry<T> {
    name: String,
    counters: Arc<T>,
    /// When the proxy was removed.
    retired: Option<Instant>,
}

impl<T> Default for ByProxy<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> ByProxy<T> {
    fn lock(&self) -> MutexGuard<'_, Vec<ProxyEntry<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The counters of that name; existing ones continue.
    pub(super) fn get(&self, name: &str, new: impl FnOnce() -> T) -> Arc<T> {
        let mut all = self.lock();
        if let Some(known) = all.iter_mut().find(|known| known.name == name) {
            known.retired = None;
            return known.counters.clone();
        }
        let counters = Arc::new(new());
        all.push(ProxyEntry { name: name.to_owned(), counters: counters.clone(), retired: None });
        counters
    }

    /// Records that the proxy was removed: its counters are dropped after a while.
    pub(super) fn retire(&self, name: &str) {
        if let Some(known) = self.lock().iter_mut().find(|known| known.name == name) {
            known.retired = Some(Instant::now());
        }
    }

    /// The exported counters. Calls `forget` for each name that is dropped.
    pub(super) fn shown(&self, mut forget: impl FnMut(&str)) -> Vec<Arc<T>> {
        let mut all = self.lock();
        all.retain(|known| {
            let is_shown = known.retired.is_none_or(|at| at.elapsed() < RETIREMENT);
            if !is_shown {
                forget(&known.name);
            }
            is_shown
        });
        all.iter().map(|known| known.counters.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_proxy_that_is_gone_leaves_after_ten_minutes_unless_it_comes_back() {
        let table = ByProxy::default();
        let names = || {
            let mut left = Vec::new();
            let shown = table.shown(|name| left.push(name.to_owned()));
            (shown.iter().map(|name: &Arc<&str>| **name).collect::<Vec<_>>(), left)
        };
        table.get("db", || "db");
        let cache = table.get("cache", || "cache");
        table.retire("db");
        table.retire("cache");
        tokio::time::advance(RETIREMENT / 2).await;
        assert_eq!(names(), (vec!["db", "cache"], vec![]));
        assert!(Arc::ptr_eq(&table.get("cache", || "new"), &cache), "its counters go on");
        tokio::time::advance(RETIREMENT).await;
        assert_eq!(names(), (vec!["cache"], vec!["db".to_owned()]));
        assert_eq!(names(), (vec!["cache"], vec![]));
    }
}
