//! Floods of HTTP/2 frames, with prior knowledge and over TLS: each ends its own connection, is counted, and leaves
//! other clients alone.

use std::time::Instant;

use super::limits::hits;
use super::*;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// `GET http://a/healthz` by HPACK, and the same with POST.
pub(super) const GET: &[u8] = b"\x82\x86\x01\x01a\x04\x08/healthz";
const POST: &[u8] = b"\x83\x86\x01\x01a\x04\x08/healthz";

/// Memory that the clients of a test may hold, in bytes: some times what one connection is charged.
const MAX_CLIENT_MEMORY: f64 = 1_000_000.0;

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Requests that are cancelled at once, `count` of them from stream `first` on.
fn rapid_resets(first: u32, count: u32) -> Vec<u8> {
    let streams = (first..).step_by(2).take(count as usize);
    let cancelled = |stream| {
        let head = frame(HEADERS, END_HEADERS | END_STREAM, stream, GET);
        [head, frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
    };
    streams.flat_map(cancelled).collect()
}

/// A request with a field of 4,000 bytes that enters HPACK's table, and requests that refer to it 16,000 times: 64 MB
/// of fields each.
fn header_bombs() -> Vec<u8> {
    let field = [&b"\x40\x01x\x7f\xa1\x1e"[..], &[b'v'; 4000]].concat();
    let first = frame(HEADERS, END_HEADERS | END_STREAM, 1, &[GET, &field].concat());
    let bomb = |stream| frame(HEADERS, END_HEADERS | END_STREAM, stream, &[GET, &[0xbe; 16_000]].concat());
    [first, (3..).step_by(2).take(50).flat_map(bomb).collect()].concat()
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// A connection, over TLS or with prior knowledge.
async fn connect(service: &Service, over_tls: bool) -> Box<dyn Duplex> {
    if over_tls {
        Box::new(crate::tls::connect(service.probe, &["h2"]).await)
    } else {
        Box::new(TcpStream::connect(service.probe).await.unwrap())
    }
}

/// Sends the bytes of `begin`, then those of `repeated` again and again, until the service ends the connection. The
/// answers are read if `reads`.
async fn flood(stream: Box<dyn Duplex>, begin: &[u8], repeated: &[u8], reads: bool) {
    let (mut input, mut output) = tokio::io::split(stream);
    let reader = async {
        if reads {
            // The end of the connection may be a reset.
            let _ = tokio::io::copy(&mut input, &mut tokio::io::sink()).await;
        }
    };
    let writer = async {
        let mut sent = output.write_all(&[HELLO, begin].concat()).await;
        while sent.is_ok() && !repeated.is_empty() {
            sent = output.write_all(repeated).await;
        }
    };
    timeout(PATIENCE, async { tokio::join!(reader, writer) }).await.expect("the connection is ended");
}

/// Runs the same flood on five connections at once, with prior knowledge and over TLS. Each must be counted as
/// `limit`, while another client gets its answers.
async fn is_ended_and_counted(limit: &str, begin: &[u8], repeated: &[u8], reads: bool) {
    let plan = "{faults: [{name: late, target: liveness, delay: 1h}]}";
    for over_tls in [false, true] {
        let vars = [("TLS", "self-signed"), ("FAULTS", plan), ("IDLE_TIMEOUT", "2s")];
        let service = Service::start(&vars).await;
        let floods = async {
            let floods = (0..5).map(async |_| {
                flood(connect(&service, over_tls).await, begin, repeated, reads).await;
            });
            futures_util::future::join_all(floods).await;
        };
        let mut floods = std::pin::pin!(floods);
        loop {
            let start = Instant::now();
            tokio::select! {
                biased;
                () = &mut floods => break,
                reply = service.get("/readyz") => assert_eq!(reply.status(), 200),
            }
            assert!(start.elapsed() < Duration::from_secs(5), "another client waited {:?}", start.elapsed());
            let memory = service.metric("probesim_client_memory_bytes", &[]).await;
            assert!(memory < MAX_CLIENT_MEMORY, "{memory} bytes, over TLS: {over_tls}");
        }
        eventually("all floods are counted", async || hits(&service, limit).await >= 5.0).await;
        assert_eq!(hits(&service, limit).await, 5.0, "over TLS: {over_tls}");
        eventually("their memory is released", async || {
            service.metric("probesim_client_memory_bytes", &[]).await < 100_000.0
        })
        .await;
        assert_eq!(service.get("/readyz").await.status(), 200);
    }
}

#[tokio::test]
async fn rapid_resets_are_a_flood() {
    is_ended_and_counted("http2_flood", &rapid_resets(1, 5000), b"", true).await;
}

#[tokio::test]
async fn continuation_frames_without_an_end_are_a_flood() {
    let begin = frame(HEADERS, 0, 1, GET);
    for payload in [&b""[..], &[0; 0x3fff]] {
        let repeated = frame(CONTINUATION, 0, 1, payload).repeat(if payload.is_empty() { 1000 } else { 1 });
        is_ended_and_counted("http2_flood", &begin, &repeated, false).await;
    }
}

#[tokio::test]
async fn settings_are_a_flood() {
    let settings = frame(SETTINGS, 0, 0, b"\0\x04\0\0\xff\xff").repeat(100);
    is_ended_and_counted("http2_flood", b"", &settings, true).await;
}

#[tokio::test]
async fn pings_are_a_flood() {
    is_ended_and_counted("http2_flood", b"", &frame(PING, 0, 0, b"abcdefgh").repeat(100), true).await;
}

#[tokio::test]
async fn window_updates_are_a_flood() {
    is_ended_and_counted("http2_flood", b"", &frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\x01").repeat(100), false)
        .await;
}

#[tokio::test]
async fn priorities_are_a_flood() {
    is_ended_and_counted("http2_flood", b"", &frame(PRIORITY, 0, 1, b"\0\0\0\0\x10").repeat(100), false)
        .await;
}

#[tokio::test]
async fn frames_of_unknown_types_are_a_flood() {
    is_ended_and_counted("http2_flood", b"", &frame(0xee, 0xff, 0, b"abc").repeat(100), false).await;
}

#[tokio::test]
async fn empty_data_frames_are_a_flood() {
    let begin = frame(HEADERS, END_HEADERS, 1, POST);
    is_ended_and_counted("http2_flood", &begin, &frame(DATA, 0, 1, b"").repeat(100), false).await;
}

#[tokio::test]
async fn header_bombs_are_a_flood() {
    is_ended_and_counted("http2_flood", &header_bombs(), b"", true).await;
}

#[tokio::test]
async fn pings_and_settings_whose_answers_nobody_reads_end_the_connection() {
    for repeated in
        [frame(PING, 0, 0, b"abcdefgh").repeat(100), frame(SETTINGS, 0, 0, b"\0\x04\0\0\xff\xff").repeat(100)]
    {
        is_ended_and_counted("http2_flood", b"", &repeated, false).await;
    }
}

#[tokio::test]
async fn streams_with_a_window_of_zero_are_reset_after_the_idle_timeout() {
    let service = Service::start(&[("TLS", "self-signed"), ("IDLE_TIMEOUT", "1s")]).await;
    for (over_tls, hits_before) in [(false, 0.0), (true, 1.0)] {
        let streams = (1..).step_by(2).take(20);
        let heads = streams.flat_map(|stream| frame(HEADERS, END_HEADERS | END_STREAM, stream, GET));
        let closed = frame(SETTINGS, 0, 0, b"\0\x04\0\0\0\0");
        let begin: Vec<u8> = closed.into_iter().chain(heads).collect();
        let flood = flood(connect(&service, over_tls).await, &begin, b"", true);
        let others = async {
            for _ in 0..10 {
                assert_eq!(service.get("/healthz").await.status(), 200);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::join!(flood, others);
        let all = hits(&service, "write_time").await;
        assert!(all > hits_before, "{all}");
    }
}

#[tokio::test]
async fn keep_alives_and_window_updates_of_a_long_download_are_no_flood() {
    let plan = "{faults: [{name: drill, target: liveness, mode: body-hang, status: 200, body: 20000000}]}";
    let service = Service::start(&[("TLS", "self-signed"), ("FAULTS", plan)]).await;
    for over_tls in [false, true] {
        let (mut requests, mut connection): (SendRequest<Bytes>, _) =
            h2::client::handshake(connect(&service, over_tls).await).await.unwrap();
        let mut pings = connection.ping_pong().unwrap();
        tokio::spawn(connection);
        let answer = requests.send_request(request("/healthz"), true).unwrap().0.await.unwrap();
        let (mut body, mut read) = (answer.into_body(), 0);
        while read < 20_000_000 {
            let data = timeout(PATIENCE, body.data()).await.unwrap().unwrap().unwrap();
            read += data.len();
            body.flow_control().release_capacity(data.len()).unwrap();
            if read % 7 == 0 {
                pings.ping(h2::Ping::opaque()).await.unwrap();
            }
        }
        assert_eq!(hits(&service, "http2_flood").await, 0.0);
    }
}
