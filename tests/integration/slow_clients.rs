//! Slow clients beside quick ones.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::float_cmp)]

use std::time::Duration;

use crate::support::{Service, eventually, request};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

const SLOW_CLIENTS: usize = 2000;

/// How many requests each service answers.
const PAIRS: usize = 2000;

/// How many times longer the median request may take beside the slow clients.
const MOST: f64 = 1.5;

/// The share of requests that slow clients may delay.
const STALLED: f64 = 0.1;

async fn time_of_a_request(service: &Service) -> Duration {
    let began = Instant::now();
    assert_eq!(service.get("/healthz").await.status(), 200);
    began.elapsed()
}

/// Times of requests to both services.
struct Times {
    crowded: Vec<Duration>,
    quiet: Vec<Duration>,
}

impl Times {
    /// Alternates requests to both services, so that other load on the machine affects both equally.
    async fn measure(crowded: &Service, quiet: &Service) -> Self {
        let mut times = Self { crowded: Vec::new(), quiet: Vec::new() };
        for _ in 0..PAIRS {
            times.quiet.push(time_of_a_request(quiet).await);
            times.crowded.push(time_of_a_request(crowded).await);
        }
        times
    }

    /// How many times longer the median is beside the crowd.
    fn ratio(&self) -> f64 {
        let [crowded, quiet] = [&self.crowded, &self.quiet].map(|times| {
            let mut times = times.clone();
            times.sort();
            times[times.len() / 2].as_secs_f64()
        });
        crowded / quiet
    }

    /// The share of requests that took more than twice the time of their neighbour, less the share of neighbours that did:
    /// what the machine does is in both shares.
    fn stalled(&self) -> f64 {
        let pairs = self.crowded.iter().zip(&self.quiet);
        let (slow, quick) = pairs.fold((0, 0), |(slow, quick), (crowded, quiet)| {
            (slow + i32::from(*crowded > *quiet * 2), quick + i32::from(*quiet > *crowded * 2))
        });
        f64::from(slow - quick) / PAIRS as f64
    }
}

/// Connects slow clients that each send a byte of a head per second, spread over the second.
async fn crowd(service: &Service) -> tokio::task::JoinHandle<()> {
    let mut streams = Vec::new();
    for _ in 0..SLOW_CLIENTS {
        streams.push(TcpStream::connect(service.probe).await.unwrap());
    }
    let writing = tokio::spawn(async move {
        for byte in request("/healthz").bytes().cycle() {
            for some in streams.chunks_mut(4) {
                for stream in some {
                    let _ = stream.write_all(&[byte]).await;
                }
                sleep(Duration::from_millis(2)).await;
            }
        }
    });
    eventually("they are connected", || async {
        service.metric("probesim_connections", &[]).await >= SLOW_CLIENTS as f64
    })
    .await;
    writing
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_slow_clients_do_not_slow_down_others() {
    // Processes of their own: in one runtime, slow clients would slow down both services alike.
    let crowded = Service::start_process(&[("HEAD_TIMEOUT", "60s")]).await;
    let quiet = Service::start_process(&[]).await;
    let crowd = crowd(&crowded).await;
    let times = Times::measure(&crowded, &quiet).await;
    crowd.abort();
    crowded.stop().await;
    quiet.stop().await;
    let (ratio, stalled) = (times.ratio(), times.stalled());
    println!("ratio of the medians {ratio:.2}, stalled {stalled:.3}");
    assert!(ratio < MOST && stalled < STALLED, "{ratio:.2}, {stalled:.3}");
}
