//! Without rules, the proxy is transparent.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::backend::{Backend, OK};
use super::in_front_of;
use crate::support::{End, eventually, exchange, read_to_end, read_until_silent};

/// The lines of a head, without those that a hop adds.
fn fields(head: &str) -> Vec<&str> {
    let added = ["date:", "connection:", "x-forwarded-", "cdn-loop:"];
    head.lines()
        .filter(|line| !added.iter().any(|name| line.to_ascii_lowercase().starts_with(name)))
        .collect()
}

#[tokio::test]
async fn status_reason_and_fields_keep_their_spelling() {
    let backend = Backend::answering(
        b"HTTP/1.1 299 Quite Fine\r\nX-FooBar: one\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nX-FooBar: two\r\nEmpty:\r\nContent-Length: 4\r\nETag: W/\"x\"\r\n\r\nbody",
    )
    .await;
    let service = in_front_of(&backend, &[]).await;
    let reply = exchange(service.probe, "GET / HTTP/1.1\r\nHOST: A.example\r\nX-camelCase: v \r\nCookie: a=b\r\ncookie: c=d\r\nConnection: close\r\n\r\n").await;
    let head = reply.head();
    let mut got = fields(&head);
    assert_eq!(got.remove(0), "HTTP/1.1 299 Quite Fine");
    // Fields of the same name keep their order; the order of different names has no meaning.
    let of = |name: &str| -> Vec<&str> {
        got.iter().copied().filter(|line| line.to_ascii_lowercase().starts_with(name)).collect()
    };
    assert_eq!(of("x-foobar"), ["X-FooBar: one", "X-FooBar: two"]);
    assert_eq!(of("set-cookie"), ["Set-Cookie: a=1", "set-cookie: b=2"]);
    assert_eq!((of("etag"), of("content-length")), (vec!["ETag: W/\"x\""], vec!["Content-Length: 4"]));
    assert_eq!((of("empty"), got.len()), (vec!["Empty: "], 7), "{head}");
    assert_eq!(reply.body(), "body");
    let asked = backend.last();
    for line in ["HOST: A.example\r\n", "X-camelCase: v\r\n", "Cookie: a=b\r\n", "cookie: c=d\r\n"] {
        assert!(asked.contains(line), "{asked}");
    }
    assert!(!asked.to_lowercase().contains("connection:"), "{asked}");
}

#[tokio::test]
async fn forwarded_headers_name_the_client_unless_they_are_off() {
    let backend = Backend::answering(OK).await;
    let service = in_front_of(&backend, &[]).await;
    service.get("/").await;
    let asked = backend.last();
    for line in
        ["x-forwarded-for: 127.0.0.1\r\n", "x-forwarded-proto: http\r\n", "x-forwarded-host: test\r\n"]
    {
        assert!(asked.contains(line), "{asked}");
    }
    let request = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.0.0.9\r\nX-Forwarded-For: 10.0.0.8\r\nX-Forwarded-Proto: https\r\nForwarded: for=10.0.0.9\r\nConnection: close, X-Forwarded-For\r\n\r\n";
    exchange(service.probe, request).await;
    let asked = backend.last();
    for line in [
        "X-Forwarded-For: 10.0.0.9, 10.0.0.8, 127.0.0.1\r\n",
        "X-Forwarded-Proto: https\r\n",
        "Forwarded: for=10.0.0.9, for=127.0.0.1;proto=http\r\n",
    ] {
        assert!(asked.contains(line), "{asked}");
    }
    let service = in_front_of(&backend, &[("FORWARDED_HEADERS", "off")]).await;
    service.get("/").await;
    assert!(!backend.last().to_lowercase().contains("forwarded"), "{}", backend.last());
}

#[tokio::test]
async fn hop_by_hop_fields_are_not_forwarded() {
    let backend = Backend::answering(
        b"HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: x\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    let service = in_front_of(&backend, &[]).await;
    let reply = exchange(service.probe, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Mine, Host, content-length\r\nX-Mine: 1\r\nKeep-Alive: 5\r\nTE: trailers, deflate\r\nProxy-Connection: x\r\nX-Stays: 1\r\n\r\n").await;
    let asked = backend.last();
    for gone in ["x-mine", "keep-alive", "proxy-connection", "deflate"] {
        assert!(!asked.to_lowercase().contains(gone), "{gone}: {asked}");
    }
    assert!(
        asked.contains("Host: a\r\n")
            && asked.contains("X-Stays: 1\r\n")
            && asked.contains("TE: trailers\r\n"),
        "{asked}"
    );
    for gone in ["x-hop", "keep-alive", "proxy-connection"] {
        assert_eq!(reply.header(gone), None, "{gone}");
    }
}

#[tokio::test]
async fn answers_without_a_body_have_none() {
    let backend = Backend::serving(|mut stream, notes, _| async move {
        while let Some(message) = notes.read_request(&mut stream).await {
            let reply = match message.split(' ').next().unwrap() {
                "HEAD" => "HTTP/1.1 200 OK\r\nContent-Length: 12345\r\nContent-Type: a/b\r\n\r\n",
                "DELETE" => "HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n",
                _ => "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n",
            };
            stream.write_all(reply.as_bytes()).await.unwrap();
        }
    })
    .await;
    let service = in_front_of(&backend, &[]).await;
    // All on one connection: an unexpected body would be read as the start of the next answer.
    let requests = "HEAD / HTTP/1.1\r\nhost: a\r\n\r\nDELETE / HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let text = exchange(service.probe, requests).await.text();
    let answers: Vec<&str> = text.split("\r\n\r\n").collect();
    assert_eq!(answers.len(), 4, "{text}");
    assert!(
        answers[0].starts_with("HTTP/1.1 200 OK") && answers[0].contains("Content-Length: 12345"),
        "{text}"
    );
    assert!(
        answers[1].starts_with("HTTP/1.1 204 No Content") && !answers[1].to_lowercase().contains("length"),
        "{text}"
    );
    assert!(
        answers[2].starts_with("HTTP/1.1 304 Not Modified") && answers[2].contains("ETag: \"x\""),
        "{text}"
    );
}

#[tokio::test]
async fn trailers_are_forwarded_in_both_directions() {
    let backend = Backend::answering(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 42\r\n\r\n",
    )
    .await;
    let service = in_front_of(&backend, &[]).await;
    let reply = exchange(service.probe, "PUT / HTTP/1.1\r\nhost: a\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\nTrailer: X-In\r\nConnection: close\r\n\r\n4\r\ndata\r\n0\r\nX-In: 7\r\n\r\n").await;
    assert!(reply.text().to_lowercase().ends_with("3\r\nabc\r\n0\r\nx-sum: 42\r\n\r\n"), "{}", reply.text());
    assert!(
        backend.last().to_lowercase().ends_with("4\r\ndata\r\n0\r\nx-in: 7\r\n\r\n"),
        "{}",
        backend.last()
    );
}

#[tokio::test]
async fn bodies_keep_their_framing() {
    let backend = Backend::answering(OK).await;
    let service = in_front_of(&backend, &[]).await;
    exchange(service.probe, "GET / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n2\r\nhi\r\n0\r\n\r\n").await;
    assert!(backend.last().ends_with("\r\n\r\n2\r\nhi\r\n0\r\n\r\n"), "{}", backend.last());
    exchange(
        service.probe,
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello",
    )
    .await;
    assert!(
        backend.last().contains("content-length: 5\r\n") && backend.last().ends_with("hello"),
        "{}",
        backend.last()
    );
    exchange(service.probe, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        .await;
    assert!(backend.last().contains("content-length: 0\r\n"), "{}", backend.last());
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_what_it_understands() {
    let backend =
        Backend::answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
            .await;
    let service = in_front_of(&backend, &[]).await;
    let reply = exchange(service.probe, "GET / HTTP/1.0\r\n\r\n").await;
    assert!(reply.text().starts_with("HTTP/1.0 200 OK") && reply.body() == "abc", "{}", reply.text());
    let asked = backend.last();
    assert!(asked.starts_with("GET / HTTP/1.1\r\n"), "{asked}");
    assert!(asked.to_lowercase().contains(&format!("host: {}\r\n", backend.addr)), "{asked}");
}

#[tokio::test]
async fn an_answer_of_http_1_0_ends_with_its_connection() {
    let backend = Backend::serving(|mut stream, notes, _| async move {
        notes.read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nuntil the end").await.unwrap();
    })
    .await;
    let service = in_front_of(&backend, &[]).await;
    let text = service.get("/").await.text();
    assert!(
        text.starts_with("HTTP/1.1 200 OK") && text.ends_with("D\r\nuntil the end\r\n0\r\n\r\n"),
        "{text}"
    );
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let backend = Backend::serving(|mut stream, notes, _| async move {
        while let Some(message) = notes.read_request(&mut stream).await {
            let path = message.split(' ').nth(1).unwrap();
            let reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len());
            stream.write_all(reply.as_bytes()).await.unwrap();
        }
    })
    .await;
    let service = in_front_of(&backend, &[]).await;
    let mut requests: String =
        (0..20).fold(String::new(), |all, n| all + &format!("GET /{n} HTTP/1.1\r\nhost: a\r\n\r\n"));
    requests.push_str("GET /last HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    let text = exchange(service.probe, requests).await.text();
    let bodies: Vec<&str> =
        text.split("\r\n\r\n").skip(1).filter_map(|part| part.split("HTTP").next()).collect();
    let expected: Vec<String> = (0..20).map(|n| format!("/{n}")).chain(["/last".to_owned()]).collect();
    assert_eq!(bodies, expected);
    assert_eq!(backend.connections(), 1);
}

#[tokio::test]
async fn a_caller_that_half_closes_gets_its_answer_and_a_kubelet_does_not() {
    let backend = Backend::serving(|mut stream, notes, _| async move {
        while notes.read_request(&mut stream).await.is_some() {
            sleep(Duration::from_millis(300)).await;
            if stream.write_all(OK).await.is_err() {
                return;
            }
        }
    })
    .await;
    let service = in_front_of(&backend, &[]).await;
    for (agent, is_answered) in [("curl/8", true), ("kube-probe/1.36", false)] {
        let mut stream = TcpStream::connect(service.probe).await.unwrap();
        let request = format!("GET /x HTTP/1.1\r\nhost: a\r\nuser-agent: {agent}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let reply = read_until_silent(&mut stream, Duration::from_secs(2)).await;
        assert_eq!((reply.ok_status(), reply.end), (is_answered.then_some(200), End::Fin), "{agent}");
    }
}

#[tokio::test]
async fn a_caller_that_breaks_off_its_body_is_not_waited_for() {
    let backend = Backend::serving(|mut stream, notes, _| async move {
        notes.read_request(&mut stream).await;
        sleep(Duration::from_secs(60)).await;
    })
    .await;
    let service = in_front_of(&backend, &[]).await;
    let mut stream = TcpStream::connect(service.probe).await.unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf").await.unwrap();
    eventually("the request is under way", || async { backend.connections() == 1 }).await;
    drop(stream);
    eventually("the connection is gone", || async {
        super::count(&service, "probesim_connections", &[]).await == 0
    })
    .await;
    let metrics = service.metrics().await;
    assert!(
        metrics.contains("probesim_upstream_requests_total{proxy=\"upstream\",code=\"none\"} 1\n"),
        "{metrics}"
    );
    assert!(metrics.contains("reason=\"closed\"} 0\n"), "the upstream is not to blame: {metrics}");
}

#[tokio::test]
async fn expect_continue_is_answered_once_the_upstream_is_connected() {
    let backend = Backend::answering(OK).await;
    let service = in_front_of(&backend, &[]).await;
    let mut stream = TcpStream::connect(service.probe).await.unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"data").await.unwrap();
    assert_eq!(read_to_end(&mut stream).await.status(), 200);
    assert!(!backend.last().to_lowercase().contains("expect"), "{}", backend.last());
    let down = Backend::answering(OK).await;
    let url = down.url();
    drop(down);
    let service = crate::support::Service::start(&[("UPSTREAM", &url)]).await;
    let reply = exchange(
        service.probe,
        "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n",
    )
    .await;
    assert_eq!(reply.status(), 502, "nobody is asked for a body in vain");
}

#[tokio::test]
async fn an_upstream_may_answer_before_the_request_has_ended() {
    let backend = Backend::serving(|mut stream, notes, _| async move {
        notes.read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig").await.unwrap();
        // It continues to read, as a server with a lingering close does.
        let mut rest = vec![0; 65_536];
        while stream.read(&mut rest).await.is_ok_and(|count| count > 0) {}
    })
    .await;
    let service = in_front_of(&backend, &[]).await;
    let mut stream = TcpStream::connect(service.probe).await.unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000000\r\n\r\nbegin").await.unwrap();
    let reply = read_until_silent(&mut stream, Duration::from_secs(5)).await;
    assert_eq!((reply.status(), reply.body().as_str()), (413, "big"));
}

#[tokio::test]
async fn heads_of_60_kib_fit_in_both_directions() {
    let cookie = "c".repeat(60 << 10);
    let reply: &'static [u8] = Box::leak(
        format!("HTTP/1.1 200 OK\r\nSet-Cookie: {cookie}\r\nContent-Length: 3\r\n\r\napp")
            .into_bytes()
            .into(),
    );
    let backend = Backend::answering(reply).await;
    let service = in_front_of(&backend, &[]).await;
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n");
    let mut stream = TcpStream::connect(service.probe).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    // The backend reads byte by byte, which takes a while on a busy machine.
    let reply = read_until_silent(&mut stream, Duration::from_secs(10)).await;
    assert_eq!(reply.header("set-cookie").map(|cookie| cookie.len()), Some(60 << 10));
    assert!(backend.last().contains(&cookie));
}

#[tokio::test]
async fn events_are_forwarded_one_by_one() {
    let backend = Backend::serving(|mut stream, notes, _| async move {
        notes.read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n").await.unwrap();
        for number in 0.. {
            if stream.write_all(format!("data: {number}\n\n").as_bytes()).await.is_err() {
                return;
            }
            sleep(Duration::from_millis(200)).await;
        }
    })
    .await;
    // Longer than a connection may be idle, or its writing stalled.
    let service = in_front_of(&backend, &[("IDLE_TIMEOUT", "300ms"), ("HEAD_TIMEOUT", "300ms")]).await;
    let mut stream = TcpStream::connect(service.probe).await.unwrap();
    stream.write_all(b"GET /events HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut text = String::new();
    let mut buffer = [0; 1024];
    while !text.contains("data: 9\n\n") {
        let count = stream.read(&mut buffer).await.unwrap();
        assert!(count > 0, "{text}");
        text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
}

#[tokio::test]
async fn limits_for_idle_and_slow_clients_do_not_end_bodies_under_way() {
    const PAUSE: Duration = Duration::from_millis(700);
    let backend = Backend::serving(|mut stream, notes, _| async move {
        notes.read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n").await.unwrap();
        for byte in b"slow" {
            sleep(PAUSE).await;
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
        }
    })
    .await;
    let service = in_front_of(&backend, &[("IDLE_TIMEOUT", "200ms"), ("HEAD_TIMEOUT", "200ms")]).await;
    let mut stream = TcpStream::connect(service.probe).await.unwrap();
    stream
        .write_all(b"PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    for byte in b"abc" {
        sleep(PAUSE).await;
        stream.write_all(&[*byte]).await.unwrap();
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("\r\n\r\nslow"), "{answer}");
    assert!(backend.last().ends_with("\r\n\r\nabc"), "{}", backend.last());
}
