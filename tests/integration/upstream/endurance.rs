//! Many requests over a long time: nothing leaks, and memory stays constant.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::backend::{Backend, OK};
use super::count;
use crate::support::{Service, eventually};

/// A service in a process of its own, whose memory and descriptors are its own.
async fn process(backend: &Backend, more: &[(&str, &str)]) -> Service {
    let url = backend.url();
    let vars: Vec<_> = [("UPSTREAM", url.as_str())].into_iter().chain(more.iter().copied()).collect();
    Service::start_process(&vars).await
}

/// Behaves differently each time: answers, ends, resets, sends garbage, breaks off, or stays silent.
async fn moody() -> Backend {
    let turn = Arc::new(AtomicU64::new(0));
    Backend::serving(move |mut stream, notes, _| {
        let turn = turn.clone();
        async move {
            while notes.read_head(&mut stream).await.is_some() {
                let reply: &[u8] = match turn.fetch_add(1, Ordering::Relaxed) % 8 {
                    0 => return,
                    1 => {
                        let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                        return;
                    }
                    2 => b"this is not HTTP\r\n\r\n",
                    3 => b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
                    4 => b"",
                    5 => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcXX",
                    _ => OK,
                };
                if stream.write_all(reply).await.is_err() {
                    return;
                }
                if reply != OK {
                    // Until the proxy closes the connection.
                    let _ = timeout(Duration::from_secs(5), stream.read_u8()).await;
                    return;
                }
            }
        }
    })
    .await
}

/// One request, whose client leaves after a while.
async fn try_once(addr: std::net::SocketAddr, number: u64) {
    let Ok(mut stream) = TcpStream::connect(addr).await else { return };
    let (method, body) =
        if number.is_multiple_of(3) { ("POST", "content-length: 2\r\n\r\nhi") } else { ("GET", "\r\n") };
    let request = format!("{method} /{number} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{body}");
    let _ = stream.write_all(request.as_bytes()).await;
    let mut buffer = Vec::new();
    let _ = timeout(Duration::from_millis(300), stream.read_to_end(&mut buffer)).await;
    if number.is_multiple_of(2) {
        let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    }
}

async fn tries(addr: std::net::SocketAddr, many: std::ops::Range<u64>) {
    let mut running = JoinSet::new();
    for number in many {
        if running.len() >= 64 {
            running.join_next().await.unwrap().unwrap();
        }
        running.spawn(try_once(addr, number));
    }
    running.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_requests_to_a_broken_upstream_leave_nothing_behind() {
    let backend = moody().await;
    let service = process(&backend, &[("UPSTREAM_TIMEOUT", "200ms")]).await;
    let files = || count(&service, "process_open_fds", &[]);
    let before = files().await;
    // The allocator has most of its size after some thousands. Then it still grows by 0.4 MB for 6,000 tries, while the
    // live heap stays the same: seen with massif.
    tries(service.probe, 0..4_000).await;
    let memory = count(&service, "process_resident_memory_bytes", &[]).await;
    tries(service.probe, 4_000..10_000).await;
    eventually("every connection is gone", || async {
        count(&service, "probesim_connections", &[]).await == 0
    })
    .await;
    let after = count(&service, "process_resident_memory_bytes", &[]).await;
    assert!(after < memory + (4 << 20), "{memory} bytes after 4,000 tries, {after} after 10,000");
    // Idle connections to the upstream end after ten seconds.
    eventually("descriptors are given back", || async { files().await <= before }).await;
    let metrics = service.metrics().await;
    let of = |reason: &str| {
        crate::support::sum(&metrics, "probesim_upstream_errors_total", &[&format!("reason=\"{reason}\"")])
            as u64
    };
    for reason in ["closed", "invalid", "body", "timeout"] {
        assert!(of(reason) > 200, "{reason}: {}", of(reason));
    }
    for reason in ["loop", "connections", "memory", "dns"] {
        assert_eq!(of(reason), 0, "{reason}");
    }
    let ended = crate::support::sum(&metrics, "probesim_upstream_requests_total", &[]) as u64;
    let asked = crate::support::sum(&metrics, "probesim_requests_total", &["target=\"traffic\""]) as u64;
    assert_eq!(ended, asked, "every request is counted once on both sides");
}

/// Sends a body without end, as fast as it is taken.
async fn pouring() -> Backend {
    Backend::serving(|mut stream, notes, _| async move {
        notes.read_request(&mut stream).await;
        let length = 10_u64 << 30;
        let _ =
            stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").as_bytes()).await;
        let piece = vec![b'x'; 256 << 10];
        while stream.write_all(&piece).await.is_ok() {}
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_read_slowly_cost_a_bounded_amount_each() {
    const CLIENTS: u64 = 50;
    let backend = pouring().await;
    let service = process(&backend, &[("IDLE_TIMEOUT", "500ms")]).await;
    let resident = || count(&service, "process_resident_memory_bytes", &[]);
    let before = resident().await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut stream = TcpStream::connect(service.probe).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        clients.push(stream);
    }
    eventually("all are answered", || async {
        count(&service, "probesim_upstream_requests_total", &["code=\"200\""]).await == CLIENTS
    })
    .await;
    // Longer than the limit for clients that do not read.
    sleep(Duration::from_secs(2)).await;
    let each = resident().await.saturating_sub(before) / CLIENTS;
    assert!(each < 320 << 10, "{each} bytes for each client that does not read");
    assert_eq!(count(&service, "probesim_limits_hit_total", &["write_time"]).await, 0);
    // The connections are still open.
    let mut piece = vec![0; 1 << 20];
    for client in &mut clients {
        client.read_exact(&mut piece).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_do_not_grow_the_memory() {
    let backend = pouring().await;
    let service = process(&backend, &[]).await;
    let mut stream = TcpStream::connect(service.probe).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut piece = vec![0; 1 << 20];
    let mut read_mib = async |mib: u32| {
        for _ in 0..mib {
            stream.read_exact(&mut piece).await.unwrap();
        }
    };
    read_mib(20).await;
    let early = count(&service, "process_resident_memory_bytes", &[]).await;
    read_mib(500).await;
    let late = count(&service, "process_resident_memory_bytes", &[]).await;
    assert!(late < early + (256 << 10), "{early} bytes after 20 MiB, {late} after 520 MiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_requests_to_a_slow_upstream_are_held_back() {
    let backend = Backend::serving(|mut stream, notes, _| async move {
        notes.read_head(&mut stream).await;
        sleep(Duration::from_secs(60)).await;
    })
    .await;
    let service = process(&backend, &[]).await;
    let before = count(&service, "process_resident_memory_bytes", &[]).await;
    let mut stream = TcpStream::connect(service.probe).await.unwrap();
    stream.write_all(b"PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 10000000000\r\n\r\n").await.unwrap();
    let piece = vec![b'x'; 1 << 20];
    let mut sent = 0;
    while let Ok(Ok(count)) = timeout(Duration::from_secs(1), stream.write(&piece)).await {
        sent += count;
        assert!(sent < 100 << 20, "nobody holds the client back");
    }
    let after = count(&service, "process_resident_memory_bytes", &[]).await;
    assert!(after < before + (512 << 10), "{before} bytes before, {after} with a request that waits");
}
