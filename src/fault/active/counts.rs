//! Numbers of requests.

use crate::fault::target::{Client, Target, TargetId};

/// Numbers of requests by target and client class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestCounts {
    classes: [[u64; Client::COUNT]; Target::COUNT],
    /// By slot; proxies without counts may be missing.
    proxies: Vec<[u64; Client::COUNT]>,
}

impl RequestCounts {
    /// The count of a target and class.
    #[inline]
    pub fn get(&self, target: impl Into<TargetId>, client: Client) -> u64 {
        match target.into() {
            TargetId::Class(class) => self.classes[class.index()][client.index()],
            TargetId::Proxy(slot) => {
                self.proxies.get(slot.index()).map_or(0, |counts| counts[client.index()])
            }
        }
    }

    /// Sets the count of a target and class.
    pub fn set(&mut self, target: impl Into<TargetId>, client: Client, count: u64) {
        match target.into() {
            TargetId::Class(class) => self.classes[class.index()][client.index()] = count,
            // Counts of zero take no memory, and equal counts compare equal.
            TargetId::Proxy(slot) if count == 0 && slot.index() >= self.proxies.len() => {}
            TargetId::Proxy(slot) => {
                if slot.index() >= self.proxies.len() {
                    self.proxies.resize(slot.index() + 1, [0; Client::COUNT]);
                }
                self.proxies[slot.index()][client.index()] = count;
            }
        }
    }

    /// Increments the count of a target and class, and returns the new count.
    pub fn increment(&mut self, target: impl Into<TargetId>, client: Client) -> u64 {
        let target = target.into();
        let count = self.get(target, client).saturating_add(1);
        self.set(target, client, count);
        count
    }

    /// The sum over all targets for a class.
    pub fn total(&self, client: Client) -> u64 {
        let sum = |counts: &[[u64; Client::COUNT]]| -> u64 {
            counts.iter().map(|counts| counts[client.index()]).sum()
        };
        sum(&self.classes) + sum(&self.proxies)
    }
}
