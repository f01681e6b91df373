//! TCP and gRPC attempts, as the kubelet makes them.

#![allow(clippy::unwrap_used, reason = "the lint knows test functions, not their helpers")]

use std::time::Duration;

use proptest::prelude::*;

use kube_probesim::prober::{Phase, ProbeResult};

use crate::scripted::{Fin, Hang, LONG, SHORT, Server, attempt, check, closed};
use ProbeResult::{Failure, Success};

#[test]
fn tcp_succeeds_once_connected() {
    let server = Server::new(&[(b"", Hang)]);
    let outcome = attempt(&format!("tcp://{}", server.address), &[], LONG);
    check(&outcome, Success, Phase::Complete, None, "");
    assert_eq!(server.request(), "", "the connection is closed at once");
    let closed = closed();
    let message = format!("dial tcp {closed}: connect: connection refused");
    check(&attempt(&format!("tcp://{closed}"), &[], LONG), Failure, Phase::Connect, None, &message);
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let head = [0, 0, u8::try_from(payload.len()).unwrap(), kind, flags, 0, 0, 0, stream];
    [&head[..], payload].concat()
}

const SETTINGS: u8 = 4;
const END_HEADERS: u8 = 4;
const END_HEADERS_AND_STREAM: u8 = 5;

/// What a gRPC server answers whose messages and trailers are these.
fn grpc_answer(data: &[u8], trailers: &[u8]) -> Vec<u8> {
    [
        frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]),
        frame(SETTINGS, 1, 0, &[]),
        frame(6, 0, 0, b"pingping"),
        // A window update, which nobody needs here.
        frame(8, 0, 0, &[0, 0, 1, 0]),
        if data.is_empty() {
            Vec::new()
        } else {
            frame(1, END_HEADERS, 1, b"\x20\x88\x5f\x10application/grpc")
        },
        if data.is_empty() { Vec::new() } else { frame(0, 0, 1, data) },
        frame(1, END_HEADERS_AND_STREAM, 1, trailers),
    ]
    .concat()
}

/// `grpc-status: 0`, as gRPC's own servers code it.
const STATUS_0: &[u8] = b"\x40\x88\x9a\xca\xc8\xb2\x12\x34\xda\x8f\x010";

#[test]
fn grpc_serving_is_success() {
    let server = Server::new(&[(&grpc_answer(b"\0\0\0\0\x02\x08\x01", STATUS_0), Hang)]);
    let outcome = attempt(&format!("grpc://{}/name", server.address), &[], LONG);
    check(&outcome, Success, Phase::Complete, Some(0), "");
}

#[test]
fn grpc_anything_but_serving_is_failure() {
    for (message, name) in [
        (&b"\0\0\0\0\0"[..], "UNKNOWN"),
        (b"\0\0\0\0\x02\x08\x02", "NOT_SERVING"),
        (b"\0\0\0\0\x02\x08\x03", "SERVICE_UNKNOWN"),
        (b"\0\0\0\0\x02\x08\x2a", "42"),
    ] {
        let server = Server::new(&[(&grpc_answer(message, STATUS_0), Hang)]);
        let outcome = attempt(&format!("grpc://{}", server.address), &[], LONG);
        let message = format!("service unhealthy (responded with \"{name}\")");
        check(&outcome, Failure, Phase::Complete, Some(0), &message);
    }
}

#[test]
fn grpc_unimplemented_and_other_codes_are_failures() {
    for (trailers, code, message) in [
        (
            &b"\x88\0\x0bgrpc-status\x0212\0\x0cgrpc-message\x07No%20it"[..],
            12,
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): No it",
        ),
        (
            b"\x88\0\x0bgrpc-status\x015\0\x0cgrpc-message\x02x%",
            5,
            "error: health rpc probe failed: rpc error: code = NotFound desc = x%",
        ),
        (b"\x88\0\x0bgrpc-status\x014", 4, "timeout: health rpc did not complete within 20s"),
    ] {
        let server = Server::new(&[(&grpc_answer(b"", trailers), Hang)]);
        let outcome = attempt(&format!("grpc://{}", server.address), &[], LONG);
        check(&outcome, Failure, Phase::Complete, Some(code), message);
    }
}

#[test]
fn grpc_that_breaks_off_is_failure_never_an_error() {
    let settings = frame(SETTINGS, 0, 0, &[]);
    let url = |server: &Server| format!("grpc://{}", server.address);
    let server = Server::new(&[(&settings, Hang)]);
    let message = "timeout: health rpc did not complete within 300ms";
    check(&attempt(&url(&server), &[], SHORT), Failure, Phase::Head, Some(4), message);
    let reset = [settings.clone(), frame(3, 0, 1, &[0, 0, 0, 8])].concat();
    let oversized = [settings.clone(), vec![0xff; 9]].concat();
    let no_trailers = [settings.clone(), frame(0, 1, 1, b"\0\0\0\0\0")].concat();
    let bad_block = [settings, frame(1, END_HEADERS_AND_STREAM, 1, &[0xff; 9])].concat();
    for bytes in [reset, oversized, no_trailers, bad_block] {
        let outcome = attempt(&url(&Server::new(&[(&bytes, Hang)])), &[], LONG);
        assert_eq!(outcome.result, Failure, "{outcome:?}");
        assert!(
            outcome.message.starts_with("error: health rpc probe failed: rpc error: code = "),
            "{outcome:?}"
        );
    }
}

#[test]
fn grpc_that_does_not_listen_is_failure_after_the_whole_timeout() {
    let http = Server::new(&[(b"HTTP/1.1 400 Bad Request\r\n\r\n", Fin)]);
    for address in [closed(), http.address] {
        let outcome = attempt(&format!("grpc://{address}"), &[], SHORT);
        let message = format!(
            "timeout: failed to connect service \"{address}\" within 300ms: context deadline exceeded"
        );
        check(&outcome, Failure, Phase::Connect, None, &message);
        assert!(outcome.duration >= SHORT, "{outcome:?}");
    }
}

#[test]
fn grpc_connects_again_within_its_timeout() {
    let serving = grpc_answer(b"\0\0\0\0\x02\x08\x01", STATUS_0);
    let server = Server::new(&[(b"", Fin), (&serving, Hang)]);
    let outcome = attempt(&format!("grpc://{}", server.address), &[], LONG);
    check(&outcome, Success, Phase::Complete, Some(0), "");
    assert!(outcome.duration >= Duration::from_secs(1), "{outcome:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_frames_make_grpc_panic_hang_or_err(
        frames in prop::collection::vec((0..10_u8, any::<u8>(), 0..3_u8, prop::collection::vec(any::<u8>(), 0..20)), 0..8),
    ) {
        let mut bytes = frame(SETTINGS, 0, 0, &[]);
        for (kind, flags, stream, payload) in frames {
            bytes.extend(frame(kind, flags, stream, &payload));
        }
        let server = Server::new(&[(&bytes, Fin)]);
        let outcome = attempt(&format!("grpc://{}", server.address), &[], LONG);
        prop_assert!(matches!(outcome.result, Failure | Success), "{outcome:?}");
        prop_assert!(outcome.duration < LONG);
    }
}
