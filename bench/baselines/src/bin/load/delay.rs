//! Errors of a delay: what the client saw less what was asked for.
//!
//! The client never sleeps. It looks for answers without a pause, so an answer's time is that of the look at which it
//! was there; how long ago the look before was bounds what the client adds, and is kept with each sample.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::error::Error;
use std::fmt::Write;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};

use super::Goal;
use super::connection::{Connection, Received};

/// Requests of this share of a run, and of its first delay, are not counted: the server warms up, and the requests that
/// are to be under way are not yet.
const WARM_UP: u32 = 10;

/// How to ask.
pub struct Load {
    /// Clients, each with one request under way or a pause until its next one.
    pub connections: usize,
    /// How long to ask.
    pub length: Duration,
    /// Most requests per second of all clients together.
    pub rate: f64,
    /// The delay that the server was told.
    pub asked: Duration,
}

/// One answer.
#[derive(Clone, Copy)]
struct Sample {
    /// Nanoseconds beyond the delay.
    error: i64,
    /// Nanoseconds since the client had looked before.
    gap: i64,
}

/// Runs and gives the figures as JSON, times in microseconds.
pub fn run(goal: &Goal, load: &Load) -> Result<String, Box<dyn Error>> {
    let request = goal.request(false);
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut connections = Vec::with_capacity(load.connections);
    for index in 0..load.connections {
        let connection = Connection::open(goal.address)?;
        epoll::add(&epoll, &connection.socket, EventData::new_u64(index as u64), EventFlags::IN)?;
        connections.push(connection);
        // Else the server's backlog is full, and the kernel tries again after a second.
        if index % 64 == 63 {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    // Each client asks once in a cycle, or as soon as it has its answer where that takes longer.
    let cycle = Duration::from_secs_f64(load.connections as f64 / load.rate);
    let began = Instant::now();
    let mut due: BinaryHeap<_> = (0..load.connections)
        .map(|index| Reverse((began + cycle.mul_f64(scattered(index as u64)), index)))
        .collect();
    let counted = began + (load.length / WARM_UP).max(load.asked);
    let end = began + load.length;
    let (mut samples, mut failed, mut under_way) = (Vec::new(), 0_u64, Duration::ZERO);
    let mut waiting = vec![false; load.connections];
    let mut events = Vec::with_capacity(1024);
    let mut last = Instant::now();
    loop {
        let now = Instant::now();
        if now >= end {
            break;
        }
        while let Some(Reverse((at, index))) = due.peek().copied()
            && at <= now
        {
            due.pop();
            connections[index].send(&request)?;
            waiting[index] = true;
        }
        epoll::wait(&epoll, spare_capacity(&mut events), Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
        let look = Instant::now();
        for event in events.drain(..) {
            let index = event.data.u64() as usize;
            let connection = &mut connections[index];
            match connection.receive()? {
                Received::Part => continue,
                Received::Answer(200) => {}
                Received::Answer(_) => failed += 1,
                Received::End => return Err("the server closed a connection that was to be kept".into()),
            }
            let took = look - connection.sent;
            under_way += look.saturating_duration_since(connection.sent.max(counted));
            waiting[index] = false;
            if connection.sent >= counted {
                let error = took.as_nanos() as i64 - load.asked.as_nanos() as i64;
                samples.push(Sample { error, gap: (look - last).as_nanos() as i64 });
            }
            due.push(Reverse((connection.sent + cycle, index)));
        }
        last = look;
    }
    for (connection, _) in connections.iter().zip(waiting).filter(|(_, waiting)| *waiting) {
        under_way += end.saturating_duration_since(connection.sent.max(counted));
    }
    report(&mut samples, failed, under_way, end - counted)
}

/// A number from 0 to 1 that looks drawn and is the same in each run (SplitMix64). Clients at even distances would wake
/// the server just when an answer is due: a delay of 50 ms is a hundred times the 0.5 ms between 2,000 requests/s.
fn scattered(index: u64) -> f64 {
    let mut bits = (index + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (bits ^ (bits >> 31)) as f64 / u64::MAX as f64
}

fn report(
    samples: &mut [Sample],
    failed: u64,
    under_way: Duration,
    length: Duration,
) -> Result<String, Box<dyn Error>> {
    samples.sort_unstable_by_key(|sample| sample.error);
    let (Some(first), Some(worst)) = (samples.first(), samples.last()) else {
        return Err("no answer came in; is the run longer than the delay?".into());
    };
    let us = |nanoseconds: i64| nanoseconds as f64 / 1000.0;
    let mut json = format!(r#"{{"requests": {}, "failed": {failed}"#, samples.len());
    let early = samples.iter().filter(|sample| sample.error < 0).count();
    let mean = under_way.as_secs_f64() / length.as_secs_f64();
    let rate = samples.len() as f64 / length.as_secs_f64();
    write!(json, r#", "early": {early}, "least": {}, "under_way": {mean}, "rate": {rate}"#, us(first.error))?;
    for (name, percent) in [("p50", 50), ("p95", 95), ("p99", 99)] {
        let error = samples[(samples.len() * percent).div_ceil(100).max(1) - 1].error;
        // Were those answers read at once that the client's gaps may have held up, would the figure be another?
        let held = samples.iter().filter(|sample| sample.error >= error && sample.gap * 2 >= error).count();
        let limited = held * 2 * 100 >= samples.len() * (100 - percent);
        write!(json, r#", "{name}": {}, "{name}_limited": {limited}"#, us(error))?;
    }
    let limited = worst.gap * 2 >= worst.error;
    write!(
        json,
        r#", "worst": {}, "worst_limited": {limited}, "worst_gap": {}}}"#,
        us(worst.error),
        us(worst.gap)
    )?;
    Ok(json)
}

#[cfg(test)]
mod tests {
    use super::{Sample, report, scattered};
    use std::time::Duration;

    fn text(samples: &mut [Sample]) -> String {
        report(samples, 0, Duration::from_secs(1), Duration::from_secs(2)).unwrap_or_default()
    }

    #[test]
    fn percentiles_are_by_the_nearest_rank() {
        let mut samples: Vec<_> = (1..=100).rev().map(|n| Sample { error: n * 1000, gap: 0 }).collect();
        let text = text(&mut samples);
        for part in [
            r#""p50": 50,"#,
            r#""p95": 95,"#,
            r#""p99": 99,"#,
            r#""worst": 100,"#,
            r#""early": 0,"#,
            r#""under_way": 0.5,"#,
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("true"), "{text}");
    }

    #[test]
    fn clients_are_spread_over_their_cycle_but_not_evenly() {
        let mut starts: Vec<_> = (0..1000).map(scattered).collect();
        starts.sort_by(f64::total_cmp);
        let near = starts.windows(2).filter(|pair| pair[1] - pair[0] < 0.5e-3).count();
        // Of exponential distances, 39 % are below half of the mean.
        assert!((340..450).contains(&near), "{near}");
        assert!((480..520).contains(&starts.iter().filter(|start| **start < 0.5).count()));
    }

    #[test]
    fn an_answer_before_its_time_is_early() {
        let text = text(&mut [Sample { error: -5000, gap: 0 }, Sample { error: 7000, gap: 0 }]);
        assert!(text.contains(r#""early": 1, "least": -5,"#), "{text}");
    }

    #[test]
    fn a_figure_that_the_client_may_have_made_is_marked() {
        let mut samples: Vec<_> = (1..=1000).map(|n| Sample { error: n * 1000, gap: 10 }).collect();
        samples[999].gap = 900_000;
        let marked = text(&mut samples);
        assert!(marked.contains(r#""worst_limited": true"#), "{marked}");
        assert!(marked.contains(r#""p99_limited": false"#), "{marked}");
        for sample in &mut samples[985..] {
            sample.gap = 900_000;
        }
        let marked = text(&mut samples);
        assert!(marked.contains(r#""p99_limited": true"#), "{marked}");
        assert!(marked.contains(r#""p50_limited": false"#), "{marked}");
    }
}
