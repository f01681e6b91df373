//! An upstream that cannot be reached, is late, breaks off, or is ourselves.

use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::backend::{Backend, OK};
use super::{count, in_front_of};
use crate::support::{End, Reply, Service, eventually, exchange, get, read_until_silent};

/// Asserts the status, the reason and the log line of a failed request.
async fn fails(service: &Service, status: u16, reason: &str, says: &str) {
    let before = count(service, "probesim_upstream_errors_total", &[&format!("reason=\"{reason}\"")]).await;
    let reply = service.get("/x").await;
    assert_eq!(reply.status(), status, "{}", reply.text());
    assert_eq!(reply.header("x-probesim-upstream-error").as_deref(), Some(reason));
    assert!(reply.body().contains(says), "{}", reply.body());
    let after = count(service, "probesim_upstream_errors_total", &[&format!("reason=\"{reason}\"")]).await;
    assert_eq!(after - before, 1, "{reason}");
}

#[tokio::test]
async fn an_upstream_that_is_gone_is_502_until_it_is_back() {
    let backend = Backend::answering(OK).await;
    let addr = backend.addr;
    let service = in_front_of(&backend, &[]).await;
    assert_eq!(service.get("/x").await.status(), 200);
    drop(backend);
    eventually("it is refused", || async { service.get("/x").await.status() == 502 }).await;
    fails(&service, 502, "refused", "refuses the connection").await;
    let listener = tokio::net::TcpListener::bind(addr).await.unwrap();
    let answering = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(OK).await.unwrap();
        sleep(Duration::from_secs(1)).await;
    });
    assert_eq!(service.get("/x").await.status(), 200);
    answering.abort();
}

#[tokio::test]
async fn an_upstream_that_is_late_is_504() {
    let backend = Backend::serving(|mut stream, notes, _| async move {
        while notes.read_request(&mut stream).await.is_some() {
            sleep(Duration::from_secs(60)).await;
        }
    })
    .await;
    let service = in_front_of(&backend, &[("UPSTREAM_TIMEOUT", "200ms")]).await;
    fails(&service, 504, "timeout", "sent no answer within 200ms (UPSTREAM_TIMEOUT)").await;
}

#[tokio::test]
async fn the_time_of_the_upstream_begins_with_the_end_of_the_request() {
    let backend = Backend::answering(OK).await;
    let service = in_front_of(&backend, &[("UPSTREAM_TIMEOUT", "200ms")]).await;
    let mut stream = tokio::net::TcpStream::connect(service.probe).await.unwrap();
    stream
        .write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    sleep(Duration::from_millis(500)).await;
    stream.write_all(b"slow").await.unwrap();
    assert_eq!(crate::support::read_to_end(&mut stream).await.status(), 200);
}

#[tokio::test]
async fn an_upstream_that_takes_no_connections_is_504() {
    // A full backlog: the kernel answers no further attempt.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    socket.listen(0).unwrap();
    let addr = socket.local_addr().unwrap().as_socket().unwrap();
    let _waiting: Vec<_> = (0..3)
        .map(|_| {
            let one = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            one.set_nonblocking(true).unwrap();
            let _ = one.connect(&addr.into());
            one
        })
        .collect();
    let url = format!("http://{addr}");
    let service = Service::start(&[("UPSTREAM", &url), ("UPSTREAM_CONNECT_TIMEOUT", "200ms")]).await;
    fails(&service, 504, "connect_timeout", "accepted no connection within 200ms (UPSTREAM_CONNECT_TIMEOUT)")
        .await;
}

#[tokio::test]
async fn an_upstream_that_ends_or_resets_its_connection_is_502() {
    for resets in [false, true] {
        let backend = Backend::serving(move |mut stream, notes, _| async move {
            notes.read_request(&mut stream).await;
            if resets {
                socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
            }
        })
        .await;
        let service = in_front_of(&backend, &[]).await;
        fails(&service, 502, "closed", "closed the connection without an answer").await;
        assert_eq!(backend.count(), 1, "a new connection that ends is no reason to ask twice");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_breaks_off_for_the_client_too() {
    let backend = Backend::serving(|mut stream, notes, _| async move {
        notes.read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await.unwrap();
    })
    .await;
    let service = in_front_of(&backend, &[]).await;
    let Reply { bytes, end } = service.get("/").await;
    assert!(bytes.ends_with(b"half") && end == End::Fin);
    assert_eq!(count(&service, "probesim_upstream_errors_total", &["reason=\"body\""]).await, 1);
}

#[tokio::test]
async fn unresolvable_names_and_missing_sockets_are_reported() {
    let service = Service::start(&[("UPSTREAM", "http://nobody.invalid:3000")]).await;
    fails(&service, 502, "dns", "has a host name that cannot be resolved").await;
    let service = Service::start(&[("UPSTREAM", "unix:/nowhere/app.sock")]).await;
    fails(
        &service,
        502,
        "unreachable",
        "the upstream unix:/nowhere/app.sock cannot be reached: No such file",
    )
    .await;
}

#[tokio::test]
async fn an_own_listener_is_refused_as_upstream() {
    for name in ["127.0.0.1", "localhost"] {
        let port =
            std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
        let vars = [("PORT", port.as_str())];
        let config = kube_probesim::env::load(
            vars.iter()
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .chain([("UPSTREAM".into(), format!("http://{name}:{port}").into())]),
        );
        let error = config.unwrap_err().to_string();
        assert!(
            error.contains("is the probe listener of this program, which would forward to itself"),
            "{error}"
        );
        // The port is not known before it is bound.
        let admin = format!("127.0.0.1:{port}");
        let mut config =
            crate::support::config(&[("UPSTREAM", "http://127.0.0.1:1"), ("ADMIN_ADDRESS", &admin)]);
        config.upstream.as_mut().unwrap().address = format!("http://{name}:{port}").parse().unwrap();
        let service = Service::start_with(config).await;
        fails(&service, 502, "own_listener", "is a listener of this program (").await;
    }
}

#[tokio::test]
async fn a_loop_through_others_is_508() {
    let first = Backend::answering(OK).await;
    let addr = first.addr;
    drop(first);
    // Two proxies that forward to each other.
    let back = Service::start(&[("UPSTREAM", &format!("http://{addr}"))]).await;
    let port = addr.port().to_string();
    let _service = Service::start(&[("PORT", &port), ("UPSTREAM", &format!("http://{}", back.probe))]).await;
    let reply = back.get("/").await;
    assert_eq!(reply.status(), 508, "{}", reply.text());
    assert!(reply.body().contains("has been here before"), "{}", reply.body());
    assert_eq!(count(&back, "probesim_upstream_errors_total", &["reason=\"loop\""]).await, 1);
}

#[tokio::test]
async fn more_connections_than_allowed_are_503() {
    let backend = Backend::serving(|mut stream, notes, _| async move {
        while let Some(message) = notes.read_request(&mut stream).await {
            if message.contains("/slow") {
                sleep(Duration::from_secs(60)).await;
            }
            stream.write_all(OK).await.unwrap();
        }
    })
    .await;
    let service = in_front_of(&backend, &[("UPSTREAM_CONNECTIONS", "1")]).await;
    // An idle connection makes room for a request that must not use it.
    for method in ["GET", "POST", "GET", "POST"] {
        let request =
            format!("{method} / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        assert_eq!(crate::support::exchange(service.probe, request).await.status(), 200);
    }
    let mut slow = tokio::net::TcpStream::connect(service.probe).await.unwrap();
    slow.write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    eventually("it waits", || async { backend.count() == 5 }).await;
    fails(&service, 503, "connections", "has 1 connections in use, the limit of UPSTREAM_CONNECTIONS").await;
}

#[tokio::test]
async fn more_than_the_memory_holds_is_503() {
    let backend = Backend::serving(|mut stream, notes, _| async move {
        notes.read_request(&mut stream).await;
        sleep(Duration::from_secs(60)).await;
    })
    .await;
    let mut config = crate::support::config(&[("UPSTREAM", &backend.url())]);
    // No more than the least that clients get.
    config.process.memory = Some(1);
    let service = Service::start_with(config).await;
    let mut waiting = JoinSet::new();
    for _ in 0..40 {
        let mut stream = TcpStream::connect(service.probe).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        waiting.spawn(async move {
            let reply = read_until_silent(&mut stream, Duration::from_millis(500)).await;
            (stream, reply)
        });
    }
    let (streams, replies): (Vec<TcpStream>, Vec<Reply>) = waiting.join_all().await.into_iter().unzip();
    let (waiting, refused): (Vec<Reply>, Vec<Reply>) =
        replies.into_iter().partition(|reply| reply.bytes.is_empty());
    assert!(waiting.iter().all(|reply| reply.end == End::Silence), "{waiting:?}");
    for reply in &refused {
        assert!(reply.status() == 503 && reply.body().contains("memory"), "{}", reply.text());
        assert_eq!(reply.header("retry-after").as_deref(), Some("1"), "{}", reply.text());
    }
    assert!(waiting.len() > 3 && refused.len() > 10, "{} wait", waiting.len());
    assert_eq!(backend.count(), waiting.len());
    for stream in streams {
        // A reset: after a FIN, a client may still wait for its answer.
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
    eventually("memory is given back", || async {
        get(service.admin, "/metrics").await.ok_status() == Some(200)
    })
    .await;
    let hit = count(&service, "probesim_limits_hit_total", &["limit=\"memory\""]).await;
    assert!(hit >= refused.len() as u64, "{hit} of {}", refused.len());
    let held =
        || async { exchange(service.probe, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.bytes.is_empty() };
    eventually("requests are forwarded again", held).await;
}
