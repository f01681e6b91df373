//! Delays as a client sees them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::float_cmp)]

use std::time::Duration;

use crate::support::{PATIENCE, Service, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: test\r\n\r\n";

/// The time from before a request is written to the first bytes of its answer.
async fn time_of_a_request(stream: &mut TcpStream) -> Duration {
    let began = Instant::now();
    stream.write_all(REQUEST).await.unwrap();
    let mut buffer = [0; 1024];
    let read = timeout(PATIENCE, stream.read(&mut buffer)).await.unwrap().unwrap();
    let took = began.elapsed();
    assert!(buffer[..read].starts_with(b"HTTP/1.1 200 OK"));
    took
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_concurrent_delayed_requests_are_answered_and_none_early() {
    const DELAY: Duration = Duration::from_millis(300);
    let service = Service::start(&[("LATENCY", "300ms")]).await;
    let mut clients = Vec::new();
    for _ in 0..1000 {
        let mut stream = TcpStream::connect(service.probe).await.unwrap();
        clients.push(tokio::spawn(async move { time_of_a_request(&mut stream).await }));
    }
    for client in clients {
        let took = client.await.unwrap();
        assert!(took >= DELAY, "{took:?}");
        assert!(took < DELAY + PATIENCE / 4, "{took:?}");
    }
}

/// Lower bound of how late the runtime's own timer ends a delay of 1 ms.
const MILLISECOND_TIMER: Duration = Duration::from_micros(500);

/// How late this machine currently ends a wait of 1 ms, without our timer.
fn overshoot_of_a_thread() -> Duration {
    let wait = Duration::from_millis(1);
    let began = Instant::now();
    std::thread::sleep(wait);
    began.elapsed().saturating_sub(wait)
}

#[tokio::test]
async fn a_delay_of_a_millisecond_is_exact_to_a_fraction_of_one() {
    const DELAY: Duration = Duration::from_millis(1);
    let delayed = Service::start(&[("LATENCY", "1ms")]).await;
    let prompt = Service::start(&[]).await;
    let mut late = TcpStream::connect(delayed.probe).await.unwrap();
    let mut at_once = TcpStream::connect(prompt.probe).await.unwrap();
    for stream in [&late, &at_once] {
        stream.set_nodelay(true).unwrap();
    }
    let mut excess = Vec::new();
    for _ in 0..15 {
        // In turn, so that other load on the machine affects all three equally.
        let mut times = [const { Vec::new() }; 3];
        for _ in 0..41 {
            let took = time_of_a_request(&mut late).await;
            times[0].push(took.checked_sub(DELAY).unwrap_or_else(|| panic!("{took:?} is early")));
            times[1].push(time_of_a_request(&mut at_once).await);
            times[2].push(overshoot_of_a_thread());
        }
        let [late, request, overshoot] = times.map(median);
        excess.push(late.saturating_sub(request + overshoot));
    }
    println!("later than a request and a wait: {excess:?}");
    assert!(median(excess) < MILLISECOND_TIMER);
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[tokio::test]
async fn clients_that_leave_during_their_delay_leave_nothing_behind() {
    let service = Service::start(&[("LATENCY", "1h")]).await;
    let mut clients = Vec::new();
    for _ in 0..200 {
        let mut stream = TcpStream::connect(service.probe).await.unwrap();
        stream.write_all(REQUEST).await.unwrap();
        clients.push(stream);
    }
    eventually("they wait", || async { service.metric("probesim_connections", &[]).await == 200.0 }).await;
    drop(clients);
    eventually("they are gone", || async {
        service.metric("probesim_clients_gone_total", &["liveness"]).await == 200.0
            && service.metric("probesim_connections", &[]).await == 0.0
    })
    .await;
}
