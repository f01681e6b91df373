//! Counter-based random numbers.
//!
//! A draw is stateless: the value for request *n* depends only on a key and *n*, so it is the same in any order and
//! on any thread. The generator is `SplitMix64` (Steele, Lea and Flood, "Fast splittable pseudorandom number
//! generators", OOPSLA 2014), whose *n*-th output is a fixed mix of key + *n* · γ.

use std::convert::Infallible;

use rand::TryRng;

use super::target::{Client, Target};

/// The odd increment of `SplitMix64`, 2⁶⁴ divided by the golden ratio.
const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// The output function of `SplitMix64`: a bijection in which each input bit affects each output bit.
const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// 64-bit FNV-1a: a stable hash, whereas the standard library's may change between versions.
pub fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3))
}

/// The hash of a name, diffused by [`mix`].
fn hash(name: &str) -> u64 {
    mix(fnv1a(name.as_bytes()))
}

/// The root of all draws of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub u64);

impl Seed {
    /// The seed of one replica: mixed with its name, so that replicas do not fail at the same time.
    #[must_use]
    pub fn for_pod(self, name: &str) -> Self {
        Self(mix(self.0 ^ hash(name)))
    }

    /// The seed of one start of a container; the first start uses the seed itself. Otherwise, a Pod whose draws made
    /// it restart would restart in the same way each time.
    #[must_use]
    pub fn for_start(self, start: u64) -> Self {
        if start <= 1 { self } else { Self(mix(self.0 ^ mix(start))) }
    }

    /// The key of a rule's draws.
    pub(super) fn rule_key(self, rule: &str) -> u64 {
        mix(self.0.wrapping_add(GAMMA) ^ hash(rule))
    }
}

/// Offset of a rule's draws for starts, apart from those of its targets and classes.
const START_LANE: u64 = 1 << 32;

/// Offset of a rule's draws for TLS handshakes, apart from all others.
const HANDSHAKE_LANE: u64 = 1 << 33;

/// Purpose of a draw. Firing and delay are drawn separately, so that they are independent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    Fire,
    Delay,
}

/// Offset of the draws for a target, apart from those of other targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lane(u64);

impl Lane {
    /// The lane of a proxy depends only on its name, so that sequences are the same in every process.
    pub(super) fn named(name: &str) -> Self {
        // Far from the lanes of classes, with room for client classes and purposes.
        Self((hash(name) | 1 << 63) & !0xFF)
    }
}

impl From<Target> for Lane {
    #[inline]
    fn from(class: Target) -> Self {
        Self(1 + (class.index() * Client::COUNT * 2) as u64)
    }
}

/// The draws of a rule for one target, client class and purpose: the value of request *n* is [`at(n)`](Self::at).
///
/// All draws are sections of the generator's single cycle. A hash of seed and name gives the start of a rule's
/// sections; those of its targets, classes and purposes follow at fixed distances, far larger than any number of
/// requests.
///
/// As a rand generator, it yields the values of 1, 2, 3 and so on.
///
/// ```
/// use kube_probesim::fault::{Draws, Seed};
/// use rand::Rng;
///
/// let mut draws = Draws::of(Seed(42), "drill");
/// let third = draws.at(3);
/// assert_eq!([draws.next_u64(), draws.next_u64(), draws.next_u64()][2], third);
/// ```
#[derive(Clone, Debug)]
pub struct Draws {
    key: u64,
    counter: u64,
}

impl Draws {
    /// Draws for other uses, such as names of simulated Pods.
    pub fn of(seed: Seed, purpose: &str) -> Self {
        Self { key: seed.rule_key(purpose), counter: 0 }
    }

    pub(super) fn of_rule(key: u64, lane: Lane, client: Client, purpose: Purpose) -> Self {
        let lane = lane.0 + (client.index() * 2 + purpose as usize) as u64;
        Self { key: key.wrapping_add(mix(lane)), counter: 0 }
    }

    /// One draw per start of the container.
    pub(super) fn of_starts(key: u64) -> Self {
        Self { key: key.wrapping_add(mix(START_LANE)), counter: 0 }
    }

    /// One draw per TLS handshake.
    pub(super) fn of_handshakes(key: u64) -> Self {
        Self { key: key.wrapping_add(mix(HANDSHAKE_LANE)), counter: 0 }
    }

    /// Draws for the answer to request `number`, for example to select bytes.
    #[must_use]
    pub fn within(&self, number: u64) -> Self {
        Self { key: mix(self.at(number) ^ GAMMA), counter: 0 }
    }

    /// The value for `number`.
    pub fn at(&self, number: u64) -> u64 {
        mix(self.key.wrapping_add(number.wrapping_mul(GAMMA)))
    }

    /// The value for `number` as a share in [0, 1): below every positive rate if 0, and always below 1.
    pub fn share(&self, number: u64) -> f64 {
        (self.at(number) >> 11) as f64 * SHARE_STEP
    }

    /// The value for `number` as a quantile in (0, 1), excluding both ends, where distributions are infinite.
    pub fn quantile(&self, number: u64) -> f64 {
        ((self.at(number) >> 12) as f64 + 0.5) * (SHARE_STEP * 2.0)
    }
}

/// 2⁻⁵³, the distance between adjacent shares.
const SHARE_STEP: f64 = 1.0 / (1_u64 << 53) as f64;

impl TryRng for Draws {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.try_next_u64().map(|value| (value >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.counter = self.counter.wrapping_add(1);
        Ok(self.at(self.counter))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            let value = self.try_next_u64()?.to_le_bytes();
            chunk.copy_from_slice(&value[..chunk.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_splitmix64_with_its_published_values() {
        // The first outputs for state 0, as published for SplitMix64.
        let draws = Draws { key: 0, counter: 0 };
        assert_eq!(
            [draws.at(1), draws.at(2), draws.at(3)],
            [0xE220_A839_7B1D_CDAF, 0x6E78_9E6A_A1B9_65F4, 0x06C4_5D18_8009_454F]
        );
    }

    #[test]
    fn draws_differ_by_seed_rule_target_class_and_purpose() {
        let of = |seed, rule, target, client, purpose| {
            Draws::of_rule(Seed(seed).rule_key(rule), Lane::from(target), client, purpose).at(7)
        };
        let values = [
            of(1, "a", Target::Liveness, Client::Kubelet, Purpose::Fire),
            of(2, "a", Target::Liveness, Client::Kubelet, Purpose::Fire),
            of(1, "b", Target::Liveness, Client::Kubelet, Purpose::Fire),
            of(1, "a", Target::Readiness, Client::Kubelet, Purpose::Fire),
            of(1, "a", Target::Liveness, Client::Other, Purpose::Fire),
            of(1, "a", Target::Liveness, Client::Kubelet, Purpose::Delay),
        ];
        for (i, value) in values.iter().enumerate() {
            assert!(!values[..i].contains(value), "draw {i} repeats");
        }
    }

    #[test]
    fn the_sections_of_a_rule_never_overlap() {
        let mut inverse = 1_u64;
        for _ in 0..6 {
            // Newton's iteration for 1/γ modulo 2⁶⁴.
            inverse = inverse.wrapping_mul(2_u64.wrapping_sub(GAMMA.wrapping_mul(inverse)));
        }
        assert_eq!(GAMMA.wrapping_mul(inverse), 1);
        let mut begins = Vec::new();
        let proxies = ["db", "stock", "cache"].map(Lane::named);
        for lane in Target::ALL.map(Lane::from).into_iter().chain(proxies) {
            for client in Client::ALL {
                for purpose in [Purpose::Fire, Purpose::Delay] {
                    begins.push(Draws::of_rule(0, lane, client, purpose).key.wrapping_mul(inverse));
                }
            }
        }
        begins.sort_unstable();
        let closest = begins.windows(2).map(|pair| pair[1] - pair[0]).min();
        assert!(closest > Some(1 << 48), "{closest:?} requests apart");
    }

    #[test]
    fn quantiles_never_reach_the_ends() {
        let lowest = 0.5 * (SHARE_STEP * 2.0);
        let highest = ((u64::MAX >> 12) as f64 + 0.5) * (SHARE_STEP * 2.0);
        assert!(lowest > 0.0 && highest < 1.0);
        assert!(((u64::MAX >> 11) as f64 * SHARE_STEP) < 1.0);
    }
}
