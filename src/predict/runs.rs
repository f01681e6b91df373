//! Distributions of figures over many runs of a workload with different seeds.

use std::num::NonZero;
use std::thread;
use std::time::Duration;

use super::options::Options;
use super::outcome::PodOutcome;
use super::replicas::Replicas;
use super::run::{Detail, run_in};
use super::workload::Workload;
use crate::order;

/// Limit of the runs.
pub const MAX_RUNS: u32 = 10_000;

/// The 5th, 50th and 95th percentile over the runs, by the nearest rank.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range<T> {
    /// 5 % of the runs have at most this.
    pub p5: T,
    /// Half of the runs have at most this.
    pub p50: T,
    /// 95 % of the runs have at most this.
    pub p95: T,
}

/// Figures over runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Runs {
    /// The number of runs.
    pub count: usize,
    /// Restarts of the worst Pod.
    pub restarts: Range<u64>,
    /// The share of the time since its first Ready in which the worst Pod was Ready.
    pub availability: Range<f64>,
    /// When the last Pod was first Ready; absent: a Pod was never Ready.
    pub ready: Range<Option<Duration>>,
}

struct One {
    restarts: u64,
    availability: f64,
    ready: Option<Duration>,
}

/// Runs a workload with the seeds that follow the one of `options`. `None` without Pods.
pub fn runs(workload: &Workload, options: &Options) -> Option<Runs> {
    let count = options.runs.min(MAX_RUNS);
    let first = Replicas::new(workload, options).seed.0;
    let numbers: Vec<u64> = (0..u64::from(count)).collect();
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let share = numbers.len().div_ceil(cores).max(1);
    let some = |numbers: &[u64]| {
        let one = |number: &u64| {
            one(workload, &Options { seed: Some(first.wrapping_add(*number)), ..options.clone() })
        };
        numbers.iter().filter_map(one).collect::<Vec<One>>()
    };
    let all: Vec<One> = thread::scope(|scope| {
        let some = &some;
        let running: Vec<_> =
            numbers.chunks(share).map(|numbers| scope.spawn(move || some(numbers))).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, Vec<One>>| match thread.join() {
            Ok(of_thread) => of_thread,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        running.into_iter().flat_map(join).collect()
    });
    Some(Runs {
        count: all.len(),
        restarts: range(all.iter().map(|it| it.restarts).collect(), u64::cmp)?,
        availability: range(all.iter().map(|it| it.availability).collect(), f64::total_cmp)?,
        // Never sorts last.
        ready: range(all.iter().map(|it| it.ready).collect(), |a, b| {
            a.unwrap_or(Duration::MAX).cmp(&b.unwrap_or(Duration::MAX))
        })?,
    })
}

fn one(workload: &Workload, options: &Options) -> Option<One> {
    let replicas = Replicas::new(workload, options);
    let prediction = run_in(Detail::None, workload, &replicas, options, &mut |_| {});
    let ready: Option<Vec<Duration>> =
        prediction.pods.iter().map(|pod| Some(pod.added + pod.stats.first_ready?)).collect();
    Some(One {
        restarts: prediction.pods.iter().map(PodOutcome::restarts).max()?,
        availability: prediction.pods.iter().map(PodOutcome::availability).fold(1.0, f64::min),
        ready: ready.and_then(|all| all.into_iter().max()),
    })
}

fn range<T: Copy>(mut values: Vec<T>, compare: impl Fn(&T, &T) -> std::cmp::Ordering) -> Option<Range<T>> {
    order::sort_by(&mut values, compare);
    let rank = |percent: usize| values.get((values.len() * percent).div_ceil(100).max(1) - 1).copied();
    Some(Range { p5: rank(5)?, p50: rank(50)?, p95: rank(95)? })
}
