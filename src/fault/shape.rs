//! Timing of the bytes of a stream through a TCP proxy.
//!
//! Bytes pass through one stage per rule, in the order of the rules. Each stage splits them into pieces and determines the
//! earliest time for each; the order of bytes never changes. All times are on the process clock.

use std::time::Duration;

use super::delay::Delay;
use super::draw::Draws;
use super::mode::Slices;
use super::rate::Rate;
use super::rule::RuleName;

/// Default delay of the end of a stream in mode `slow-close`.
pub(super) const DEFAULT_SLOW_CLOSE: Duration = Duration::from_secs(5);

/// Bytes that a delay may hold back in one direction of a connection. Beyond it, latency limits the bandwidth.
pub const MAX_HELD: usize = 1 << 20;

/// Maximum size of one read, in bytes.
const READ: usize = 64 << 10;

/// Writes per second of a throttled stream.
const STEPS: u64 = 100;

/// Number of pieces of a sliced stream per read.
const PIECES: u64 = 64;

/// The effect of a rule on one stream of a connection.
#[derive(Clone, Debug)]
pub(super) enum ShapeKind {
    Delay(Delay, Draws),
    Throttle(u64),
    Corrupt(Rate, Draws),
    Slice(Slices, Draws),
    SlowClose(Duration),
}

/// The state of a rule on one stream of a connection.
#[derive(Clone, Debug)]
pub(super) struct ShapeStage {
    name: RuleName,
    /// When the window of the rule opened.
    opened: Duration,
    kind: ShapeKind,
    /// Earliest time of the next piece.
    next: Duration,
    /// Number of pieces so far, or of bytes in mode `corrupt`.
    count: u64,
}

impl ShapeStage {
    pub(super) const fn new(name: RuleName, opened: Duration, kind: ShapeKind) -> Self {
        Self { name, opened, kind, next: Duration::ZERO, count: 0 }
    }

    fn is_same(&self, other: &Self) -> bool {
        self.name == other.name
            && self.opened == other.opened
            && std::mem::discriminant(&self.kind) == std::mem::discriminant(&other.kind)
    }

    /// Splits a piece that arrived at `at` into pieces, each with its time.
    fn pass(&mut self, length: usize, at: Duration, give: &mut impl FnMut(usize, Duration)) {
        match &self.kind {
            ShapeKind::Delay(delay, draws) => {
                self.count += 1;
                self.next = self.next.max(at.saturating_add(delay.draw(draws, self.count)));
                give(length, self.next);
            }
            ShapeKind::Throttle(speed) => {
                let step = usize::try_from(speed / STEPS).unwrap_or(usize::MAX).max(1);
                let mut left = length;
                while left > 0 {
                    let piece = left.min(step);
                    let takes = Duration::from_secs_f64(piece as f64 / *speed as f64);
                    self.next = self.next.max(at).saturating_add(takes);
                    give(piece, self.next);
                    left -= piece;
                }
            }
            ShapeKind::Slice(slices, draws) => {
                let mut left = length;
                while left > 0 {
                    self.count += 1;
                    let piece = left.min(size_of(slices, draws, self.count));
                    let leaves = self.next.max(at);
                    self.next = leaves.saturating_add(slices.pause);
                    give(piece, leaves);
                    left -= piece;
                }
            }
            ShapeKind::Corrupt(..) | ShapeKind::SlowClose(_) => give(length, at),
        }
    }

    /// When an end that arrived at `at` passes.
    fn pass_end(&mut self, at: Duration) -> Duration {
        match &self.kind {
            ShapeKind::SlowClose(by) => at.saturating_add(*by),
            ShapeKind::Delay(delay, draws) => {
                self.next.max(at.saturating_add(delay.draw(draws, self.count + 1)))
            }
            ShapeKind::Throttle(_) => self.next.max(at),
            ShapeKind::Slice(..) | ShapeKind::Corrupt(..) => at,
        }
    }
}

fn size_of(slices: &Slices, draws: &Draws, number: u64) -> usize {
    let Slices { piece, jitter, .. } = *slices;
    let more = if jitter == 0 { 0 } else { draws.at(number) % (2 * jitter + 1) };
    usize::try_from(piece - jitter + more).unwrap_or(usize::MAX)
}

/// All rules that shape one stream of a connection.
#[derive(Clone, Debug)]
pub struct Shape(Vec<ShapeStage>);

impl Shape {
    /// Unchanged stages continue.
    pub(super) fn new(mut stages: Vec<ShapeStage>, before: Option<&Self>) -> Self {
        for stage in &mut stages {
            let known = before.and_then(|before| before.0.iter().find(|known| known.is_same(stage)));
            if let Some(known) = known {
                (stage.next, stage.count) = (known.next, known.count);
            }
        }
        Self(stages)
    }

    /// Size of the next read, in bytes.
    pub fn read_size(&self) -> usize {
        let limit = |stage: &ShapeStage| match &stage.kind {
            ShapeKind::Throttle(speed) => speed / 10,
            ShapeKind::Slice(slices, _) => slices.piece.saturating_mul(PIECES),
            _ => READ as u64,
        };
        let least = self.0.iter().map(limit).min().unwrap_or(READ as u64);
        usize::try_from(least).unwrap_or(READ).clamp(1, READ)
    }

    /// Limit of bytes that are held back; reading pauses at the limit.
    pub fn most_held(&self) -> usize {
        let delays = self.0.iter().any(|stage| matches!(stage.kind, ShapeKind::Delay(..)));
        if delays { MAX_HELD } else { self.read_size() * 2 }
    }

    /// Corrupts bytes that were read.
    pub fn corrupt(&mut self, bytes: &mut [u8]) {
        for stage in &mut self.0 {
            let ShapeKind::Corrupt(share, draws) = &stage.kind else { continue };
            for byte in bytes.iter_mut() {
                stage.count += 1;
                if draws.share(stage.count) < share.percent() / 100.0 {
                    *byte ^= 1 << (draws.at(stage.count) & 7);
                }
            }
        }
    }

    /// The pieces, with their times, of `length` bytes read at `at`.
    pub fn pieces(&mut self, length: usize, at: Duration) -> Vec<(usize, Duration)> {
        let mut pieces = vec![(length, at)];
        for stage in &mut self.0 {
            if matches!(stage.kind, ShapeKind::Corrupt(..) | ShapeKind::SlowClose(_)) {
                continue;
            }
            let mut next = Vec::with_capacity(pieces.len());
            for (length, at) in pieces {
                stage.pass(length, at, &mut |length, at| next.push((length, at)));
            }
            pieces = next;
        }
        pieces
    }

    /// When the end of a stream that was read at `at` is passed on.
    pub fn end(&mut self, at: Duration) -> Duration {
        self.0.iter_mut().fold(at, |at, stage| stage.pass_end(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::draw::Seed;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn shape(kinds: Vec<ShapeKind>) -> Shape {
        let name = |i: usize| RuleName::new(&format!("r{i}")).unwrap();
        let stages = kinds.into_iter().enumerate();
        Shape::new(stages.map(|(i, kind)| ShapeStage::new(name(i), Duration::ZERO, kind)).collect(), None)
    }

    fn draws() -> Draws {
        Draws::of(Seed(7), "shape")
    }

    #[test]
    fn a_delay_keeps_the_order_and_is_never_early() {
        let jitter = Delay::uniform(ms(30), ms(30)).unwrap();
        let mut shape = shape(vec![ShapeKind::Delay(jitter, draws())]);
        let mut last = Duration::ZERO;
        for at in (0..500).map(ms) {
            let pieces = shape.pieces(100, at);
            assert_eq!(pieces.len(), 1);
            assert!(pieces[0].1 >= at && pieces[0].1 >= last, "{pieces:?}");
            last = pieces[0].1;
        }
        assert!(shape.end(ms(500)) >= last);
    }

    #[test]
    fn latency_is_not_bandwidth_what_comes_together_leaves_together() {
        let mut shape = shape(vec![ShapeKind::Delay(Delay::fixed(ms(30)).unwrap(), draws())]);
        for _ in 0..10 {
            assert_eq!(shape.pieces(1000, ms(5)), [(1000, ms(35))]);
        }
        assert_eq!(shape.most_held(), MAX_HELD);
    }

    #[test]
    fn a_throttled_stream_has_its_speed_in_steps_of_ten_milliseconds() {
        let mut shape = shape(vec![ShapeKind::Throttle(100_000)]);
        let mut sent = 0;
        for _ in 0..20 {
            for (length, at) in shape.pieces(shape.read_size(), Duration::ZERO) {
                sent += length as u64;
                assert!(length <= 1000);
                assert_eq!(at.as_micros() as u64, sent * 10, "after {sent} bytes");
            }
        }
        assert_eq!(sent, 200_000);
        assert!(shape.most_held() <= 20_000);
    }

    #[test]
    fn slices_have_their_sizes_and_pauses_and_the_same_ones_for_the_same_seed() {
        let slices = Slices { piece: 10, jitter: 4, pause: ms(2) };
        let cut = || shape(vec![ShapeKind::Slice(slices, draws())]).pieces(640, ms(1));
        let pieces = cut();
        assert_eq!(pieces, cut());
        assert_eq!(pieces.iter().map(|(length, _)| length).sum::<usize>(), 640);
        for (i, (length, at)) in pieces.iter().enumerate().take(pieces.len() - 1) {
            assert!((6..=14).contains(length), "{length}");
            assert_eq!(*at, ms(1 + 2 * i as u64));
        }
    }

    #[test]
    fn stages_follow_one_another_in_the_order_of_the_plan() {
        let slices = Slices { piece: 5, jitter: 0, pause: ms(10) };
        let delay = || ShapeKind::Delay(Delay::fixed(ms(100)).unwrap(), draws());
        let mut shape =
            shape(vec![ShapeKind::Slice(slices, draws()), delay(), ShapeKind::SlowClose(ms(1000))]);
        assert_eq!(shape.pieces(10, ms(0)), [(5, ms(100)), (5, ms(110))]);
        assert_eq!(shape.end(ms(20)), ms(1120));
    }

    #[test]
    fn which_bytes_are_changed_does_not_depend_on_the_cut() {
        let kinds = || vec![ShapeKind::Corrupt(Rate::from_percent(5.0).unwrap(), draws())];
        let (mut whole, mut parts) = (vec![0; 4096], vec![0; 4096]);
        shape(kinds()).corrupt(&mut whole);
        let mut in_parts = shape(kinds());
        for part in parts.chunks_mut(100) {
            in_parts.corrupt(part);
        }
        assert_eq!(whole, parts);
        let changed = whole.iter().filter(|byte| **byte != 0).count();
        assert!((130..280).contains(&changed), "{changed}");
        assert!(whole.iter().all(|byte| byte.count_ones() <= 1));
    }

    #[test]
    fn a_stage_that_stays_goes_on_where_it_was() {
        let mut before = shape(vec![ShapeKind::Throttle(1000)]);
        before.pieces(1000, Duration::ZERO);
        let name = RuleName::new("r0").unwrap();
        let stage = ShapeStage::new(name, Duration::ZERO, ShapeKind::Throttle(1000));
        let mut after = Shape::new(vec![stage], Some(&before));
        assert!(after.pieces(1, Duration::ZERO)[0].1 > ms(1000));
    }
}
