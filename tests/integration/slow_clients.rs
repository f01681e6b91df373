//! Slow clients beside quick ones. A file of its own, so that no other test runs at the same time.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::float_cmp)]

use std::time::Duration;

use crate::support::{Service, eventually, request};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

/// How often a moment without other work on the machine is waited for.
const ATTEMPTS: usize = 10;

/// The 99th percentile of `count` requests, one after the other.
async fn p99(service: &Service, count: usize) -> Duration {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let began = Instant::now();
        assert_eq!(service.get("/healthz").await.status(), 200);
        times.push(began.elapsed());
    }
    times.sort();
    times[count * 99 / 100]
}

/// The median of seven ratios of the 99th percentiles of both, measured in turn.
async fn median_ratio(one: &Service, other: &Service) -> f64 {
    let mut ratios = Vec::new();
    for _ in 0..7 {
        let without = p99(other, 200).await;
        let with = p99(one, 200).await;
        ratios.push(with.as_secs_f64() / without.as_secs_f64());
    }
    ratios.sort_by(f64::total_cmp);
    ratios[3]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_slow_clients_leave_the_latency_of_others_where_it_was() {
    let service = Service::start(&[("HEAD_TIMEOUT", "60s")]).await;
    let crowd = tokio::spawn({
        let probe = service.probe;
        async move {
            let mut streams = Vec::new();
            for _ in 0..2000 {
                streams.push(TcpStream::connect(probe).await.unwrap());
            }
            // One byte a second each, spread over the second.
            for byte in request("/healthz").bytes().cycle() {
                for part in streams.chunks_mut(4) {
                    for stream in part {
                        let _ = stream.write_all(&[byte]).await;
                    }
                    sleep(Duration::from_millis(2)).await;
                }
            }
        }
    });
    eventually("they are connected", || async {
        service.metric("probesim_connections", &[]).await >= 2000.0
    })
    .await;
    let quiet = Service::start(&[]).await;
    let mut seen = Vec::new();
    // The machine is noisy: one quiet moment of several is enough, and none comes if the slow clients are the cause.
    for _ in 0..ATTEMPTS {
        let ratio = median_ratio(&service, &quiet).await;
        seen.push(ratio);
        if ratio < 1.5 {
            break;
        }
    }
    crowd.abort();
    println!("median ratios of p99 with and without: {seen:.2?}");
    assert!(seen.iter().any(|ratio| *ratio < 1.5), "{seen:?}");
}
