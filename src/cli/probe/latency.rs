//! Percentiles of latencies in constant memory.

use std::time::Duration;

/// Each power of two of nanoseconds is cut into this many buckets, so a percentile is at most 1/32 too high.
const PARTS: usize = 32;
const PART_BITS: u32 = PARTS.trailing_zeros();

/// Latencies by bucket.
#[derive(Debug)]
pub(super) struct Latencies {
    counts: Vec<u64>,
    total: u64,
    max: Duration,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { counts: vec![0; (65 - PART_BITS as usize) * PARTS], total: 0, max: Duration::ZERO }
    }
}

impl Latencies {
    pub(super) fn add(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanos)] += 1;
        self.total += 1;
        self.max = self.max.max(latency);
    }

    pub(super) const fn total(&self) -> u64 {
        self.total
    }

    pub(super) const fn max(&self) -> Duration {
        self.max
    }

    /// The latency that `percent` of all do not exceed; zero if there are none.
    pub(super) fn percentile(&self, percent: u64) -> Duration {
        let rank = (self.total * percent).div_ceil(100).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(last_of(index)).min(self.max);
            }
        }
        Duration::ZERO
    }
}

fn bucket(nanos: u64) -> usize {
    let shift = (64 - nanos.leading_zeros()).saturating_sub(PART_BITS + 1);
    shift as usize * PARTS + (nanos >> shift) as usize
}

/// The largest value of a bucket.
fn last_of(index: usize) -> u64 {
    let shift = (index / PARTS).saturating_sub(1);
    let part = (index - shift * PARTS) as u128;
    u64::try_from(((part + 1) << shift) - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn without_latencies_there_is_nothing() {
        assert_eq!(Latencies::default().percentile(50), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn each_value_is_in_its_bucket_and_at_most_a_part_below_its_end(nanos in 0..=u64::MAX) {
            let last = last_of(bucket(nanos));
            prop_assert!(last >= nanos);
            prop_assert!(last - nanos <= nanos / PARTS as u64);
            prop_assert!(bucket(nanos) < Latencies::default().counts.len());
        }

        #[test]
        fn percentiles_are_those_of_the_sorted_values(mut nanos in prop::collection::vec(0..10_000_000_000_u64, 1..200)) {
            let mut latencies = Latencies::default();
            for nanos in &nanos {
                latencies.add(Duration::from_nanos(*nanos));
            }
            nanos.sort_unstable();
            for percent in [50, 90, 99, 100] {
                let exact = nanos[(nanos.len() * percent).div_ceil(100) - 1];
                let told = latencies.percentile(percent as u64).as_nanos() as u64;
                prop_assert!((exact..=exact + exact / PARTS as u64).contains(&told), "{exact} {told}");
            }
        }
    }
}
