//! Requests that two servers in a row could understand differently.

use super::backend::{Backend, OK};
use super::in_front_of;
use crate::support::exchange;

/// What the client sends after `POST / HTTP/1.1\r\nHost: a\r\n`, and the statuses of its answers.
const CASES: &[(&str, &[u16])] = &[
    // Conflicting lengths.
    ("Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", &[400]),
    ("Content-Length: 5, 6\r\n\r\nhello", &[400]),
    ("Content-Length: +5\r\n\r\nhello", &[400]),
    ("Content-Length: -5\r\n\r\nhello", &[400]),
    ("Content-Length: 0x5\r\n\r\nhello", &[400]),
    ("Content-Length: 5 5\r\n\r\nhello", &[400]),
    ("Content-Length:\r\n\r\nhello", &[400]),
    ("Content-Length: 99999999999999999999999\r\n\r\nhello", &[400]),
    // Folded lines, and spaces where none are allowed.
    ("X-A: b\r\n Content-Length: 5\r\nConnection: close\r\n\r\nhello", &[400]),
    ("X-A: b\r\n\tc\r\nConnection: close\r\n\r\n", &[400]),
    ("Content-Length : 5\r\n\r\nhello", &[400]),
    (" Content-Length: 5\r\n\r\nhello", &[400]),
    // Bare CR, NUL.
    ("X-A: b\rContent-Length: 5\r\n\r\nhello", &[400]),
    ("X-A: b\0c\r\n\r\n", &[400]),
    ("X-A\r: b\r\n\r\n", &[400]),
    // Transfer codings.
    ("Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", &[501]),
    ("Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", &[501]),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[501]),
    ("Transfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello", &[400]),
    ("Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", &[400]),
    ("Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", &[400]),
    ("Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", &[400]),
    ("Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", &[400]),
    // Hosts.
    ("Host: b\r\nContent-Length: 0\r\n\r\n", &[400]),
];

#[tokio::test]
async fn ambiguous_requests_are_refused_and_never_reach_the_upstream() {
    let backend = Backend::answering(OK).await;
    let service = in_front_of(&backend, &[]).await;
    for (fields, statuses) in CASES {
        let hidden = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";
        let reply = exchange(service.probe, format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}{hidden}")).await;
        let text = reply.text();
        let got: Vec<u16> =
            text.match_indices("HTTP/1.").filter_map(|(at, _)| text[at..].get(9..12)?.parse().ok()).collect();
        assert_eq!(got, *statuses, "{fields:?}: {text}");
        let reached: Vec<String> =
            backend.messages().into_iter().filter(|message| message.contains("/hidden")).collect();
        assert!(reached.is_empty(), "{fields:?}: {reached:?}");
    }
    assert_eq!(backend.count(), 0);
}

#[tokio::test]
async fn a_broken_chunk_ends_the_connection_before_the_next_request() {
    let backend = Backend::answering(OK).await;
    let service = in_front_of(&backend, &[]).await;
    for body in [
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5 5\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "10000000000000000\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
    ] {
        let request = format!(
            "POST /{} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
            "a"
        );
        let text = exchange(service.probe, request).await.text();
        assert!(!text.contains("200 OK"), "{body:?}: {text}");
        assert!(backend.messages().iter().all(|message| !message.contains("/hidden")), "{body:?}");
    }
}

#[tokio::test]
async fn a_coding_beside_a_length_wins_and_the_length_is_not_forwarded() {
    let backend = Backend::answering(OK).await;
    let service = in_front_of(&backend, &[]).await;
    for fields in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "Transfer-Encoding: CHUNKED\r\nContent-Length: 4",
    ] {
        let request = format!(
            "POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        );
        let text = exchange(service.probe, request).await.text();
        assert!(text.contains("200 OK"), "{fields}: {text}");
        let asked = backend.last();
        assert!(!asked.to_lowercase().contains("content-length"), "{asked}");
        assert!(asked.ends_with("\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), "{asked}");
    }
}

#[tokio::test]
async fn a_target_in_absolute_form_names_the_host() {
    let backend = Backend::answering(OK).await;
    let service = in_front_of(&backend, &[]).await;
    for (target, forwarded) in [
        ("GET http://b.example:81/x?y=%20", "GET /x?y=%20 HTTP/1.1\r\n"),
        ("GET http://b.example:81", "GET / HTTP/1.1\r\n"),
    ] {
        exchange(service.probe, format!("{target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")).await;
        let asked = backend.last();
        assert!(asked.starts_with(forwarded), "{target}: {asked}");
        assert!(asked.contains("Host: b.example:81\r\n") && !asked.contains("Host: a\r\n"), "{asked}");
    }
    exchange(service.probe, "OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(backend.last().starts_with("OPTIONS * HTTP/1.1\r\n"), "{}", backend.last());
    let reply = exchange(service.probe, "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n").await;
    assert_eq!(reply.status(), 405);
}

/// An unambiguous request, and texts that the forwarded request must or must not contain.
const NORMALISED: &[(&str, &[&str], &[&str])] = &[
    // `Connection` cannot remove fields that the upstream needs.
    (
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: host, x-forwarded-for, cookie-of-hop, keep-alive\r\nCookie-Of-Hop: 1\r\n\r\n",
        &["Host: a\r\n", "x-forwarded-for: 127.0.0.1\r\n"],
        &["cookie-of-hop", "connection:"],
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: content-length, transfer-encoding\r\nContent-Length: 2\r\n\r\nhi",
        &["Content-Length: 2\r\n", "\r\n\r\nhi"],
        &["connection:"],
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers, gzip\r\nConnection: TE\r\n\r\n",
        &["trailers\r\n"],
        &["gzip"],
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nKeep-Alive: 5\r\nProxy-Connection: close\r\n\r\n",
        &[],
        &["keep-alive", "proxy-"],
    ),
    ("GET / HTTP/1.1\r\nHost: a\r\nX-A:   b  \t\r\n\r\n", &["X-A: b\r\n"], &[]),
    // Chunk extensions, and fields that trailers must not have.
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"b\"\r\nhello\r\n0\r\n\r\n",
        &["\r\n5\r\nhello\r\n0\r\n\r\n"],
        &["a=\"b\""],
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTrailer: Content-Length, X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nContent-Length: 9\r\nHost: b\r\nX-Sum: 1\r\n\r\n",
        &["2\r\nhi\r\n0\r\nx-sum: 1\r\n\r\n"],
        &["host: b", "content-length: 9"],
    ),
];

#[tokio::test]
async fn what_belongs_to_the_hop_or_frames_another_message_is_not_forwarded() {
    let backend = Backend::answering(OK).await;
    let service = in_front_of(&backend, &[]).await;
    for (request, there, gone) in NORMALISED {
        let reply = exchange(service.probe, request).await;
        assert_eq!(reply.status(), 200, "{request:?}: {}", reply.text());
        let asked = backend.last().to_lowercase();
        for part in *there {
            assert!(asked.contains(&part.to_lowercase()), "{part:?} of {request:?} is missing: {asked:?}");
        }
        for part in *gone {
            assert!(!asked.contains(part), "{part:?} of {request:?} came through: {asked:?}");
        }
    }
}

#[tokio::test]
async fn trailers_of_an_answer_cannot_frame_another_message() {
    let backend = Backend::answering(
        b"HTTP/1.1 200 OK\r\nTrailer: X-Sum, Content-Length, Connection\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\nContent-Length: 9\r\nConnection: keep-alive\r\n\r\n",
    )
    .await;
    let service = in_front_of(&backend, &[]).await;
    let request = "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE, close\r\n\r\n";
    let body = exchange(service.probe, request).await.body().to_lowercase();
    assert_eq!(body, "2\r\nhi\r\n0\r\nx-sum: 1\r\n\r\n");
}

#[tokio::test]
async fn http_1_0_has_no_transfer_codings() {
    let backend = Backend::answering(OK).await;
    let service = in_front_of(&backend, &[]).await;
    let request = "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let text = exchange(service.probe, request).await.text();
    assert!(text.contains(" 400 "), "{text}");
    assert_eq!(backend.count(), 0);
}

#[tokio::test]
async fn an_ambiguous_answer_is_normalized_or_refused() {
    let reply =
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let backend = Backend::answering(reply).await;
    let service = in_front_of(&backend, &[]).await;
    let got = service.get("/").await;
    assert!(
        got.header("content-length").is_none() && got.body() == "3\r\nabc\r\n0\r\n\r\n",
        "{}",
        got.text()
    );
    for reply in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX A: b\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 99 Low\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\n: 1\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: b\rContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: b\0c\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"hello\r\n\r\n",
        b"\x16\x03\x01",
    ] {
        let backend = Backend::answering(reply).await;
        let service = in_front_of(&backend, &[]).await;
        let got = service.get("/").await;
        assert_eq!(got.status(), 502, "{:?}: {}", String::from_utf8_lossy(reply), got.text());
        assert_eq!(got.header("x-probesim-upstream-error").as_deref(), Some("invalid"), "{}", got.text());
    }
}
