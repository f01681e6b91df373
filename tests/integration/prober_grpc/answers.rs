//! Answers of gRPC servers, judged as grpc-go judges them.

use super::*;

/// Each has the result and the message of grpc-go 1.80.
#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn grpc_answers_are_judged_as_grpc_go_judges_them() {
    const TRAILERS: [(&str, &str); 1] = [("grpc-status", "0")];
    let ok = || trailers(&TRAILERS);
    let typed =
        |content: &str| frame(1, END_HEADERS, 1, &[STATUS_200, &field("content-type", content)].concat());
    let no_grpc = "code = Unknown desc = unexpected HTTP status code received from server: 200 (OK)";
    let no_message = "code = Internal desc = cardinality violation: received no response message from non-server-streaming RPC";
    let success = || (Success, String::new());
    for (what, answer, expected) in [
        (
            "no content type",
            [frame(1, END_HEADERS, 1, STATUS_200), data(SERVING), ok()].concat(),
            failed(&format!("{no_grpc}; malformed header: missing HTTP content-type")),
        ),
        (
            "another content type",
            [typed("text/html"), data(SERVING), ok()].concat(),
            failed(&format!("{no_grpc}; transport: received unexpected content-type \"text/html\"")),
        ),
        ("a subtype", [typed("application/grpc+proto"), data(SERVING), ok()].concat(), success()),
        ("a parameter", [typed("application/grpc;x"), data(SERVING), ok()].concat(), success()),
        (
            "a longer content type",
            [typed("application/grpc-web"), data(SERVING), ok()].concat(),
            failed(&format!(
                "{no_grpc}; transport: received unexpected content-type \"application/grpc-web\""
            )),
        ),
        (
            "a status of HTTP",
            alone(headers(&[(":status", "503"), ("content-type", "text/plain")])),
            failed(
                "code = Unavailable desc = unexpected HTTP status code received from server: 503 (Service Unavailable); \
                 transport: received unexpected content-type \"text/plain\"",
            ),
        ),
        (
            "a status of HTTP with gRPC",
            alone(headers(&[(":status", "404"), ("content-type", "application/grpc"), ("grpc-status", "0")])),
            failed(no_message),
        ),
        ("a status in the head", [head(&[("grpc-status", "5")]), data(SERVING), ok()].concat(), success()),
        (
            "a status in the head alone",
            [head(&TRAILERS), data(SERVING), trailers(&[("x", "y")])].concat(),
            failed("code = Unknown desc = "),
        ),
        (
            "no trailers",
            [head(&[]), frame(0, 1, 1, SERVING)].concat(),
            failed("code = Internal desc = server closed the stream without sending trailers"),
        ),
        (
            "a pseudo-header field after others",
            [
                frame(1, END_HEADERS, 1, &[&field("content-type", "application/grpc"), STATUS_200].concat()),
                data(SERVING),
                ok(),
            ]
            .concat(),
            // grpc-go names the rule: "pseudo header field after regular".
            failed("code = Internal desc = received invalid frame"),
        ),
        ("no message", [head(&[]), ok()].concat(), failed(no_message)),
        (
            "two messages",
            [head(&[]), data(SERVING), data(SERVING), ok()].concat(),
            failed(
                "code = Internal desc = cardinality violation: expected <EOF> for non server-streaming RPCs, but received another message",
            ),
        ),
        ("too little for another message", [head(&[]), data(SERVING), data(b"\0"), ok()].concat(), success()),
        (
            "half a message",
            [head(&[]), data(&SERVING[..6]), trailers(&[("grpc-status", "5")])].concat(),
            failed("code = Internal desc = unexpected EOF"),
        ),
        (
            "a message and a failure",
            [head(&[]), data(SERVING), trailers(&[("grpc-status", "5")])].concat(),
            failed("code = NotFound desc = "),
        ),
        (
            "a compressed message",
            [head(&[("grpc-encoding", "gzip")]), data(b"\x01\0\0\0\x02\x08\x01"), ok()].concat(),
            failed("code = Internal desc = grpc: Decompressor is not installed for grpc-encoding \"gzip\""),
        ),
        (
            "a compressed message without its encoding",
            [head(&[]), data(b"\x01\0\0\0\x02\x08\x01"), ok()].concat(),
            failed("code = Internal desc = grpc: compressed flag set with identity or empty encoding"),
        ),
        (
            "a message above the limit",
            [head(&[]), data(b"\0\x7f\0\0\0"), ok()].concat(),
            failed(
                "code = ResourceExhausted desc = grpc: received message larger than max (2130706432 vs. 4194304)",
            ),
        ),
        (
            "a status that is no number",
            [head(&[]), data(SERVING), trailers(&[("grpc-status", "x")])].concat(),
            failed(
                "code = Unknown desc = transport: malformed grpc-status: strconv.ParseInt: parsing \"x\": invalid syntax",
            ),
        ),
        (
            "a status that is negative",
            [head(&[]), data(SERVING), trailers(&[("grpc-status", "-1")])].concat(),
            failed("code = Code(4294967295) desc = "),
        ),
        (
            "binary data that is none",
            [head(&[("x-bin", "!!")]), data(SERVING), ok()].concat(),
            failed("code = Internal desc = transport: malformed x-bin: illegal base64 data at input byte 0"),
        ),
        (
            "a reset",
            frame(3, 0, 1, &[0, 0, 0, 8]),
            failed("code = Canceled desc = stream terminated by RST_STREAM with error code: CANCEL"),
        ),
        (
            "a reset with an unknown code",
            frame(3, 0, 1, &[0, 0, 0, 77]),
            failed(
                "code = Unknown desc = stream terminated by RST_STREAM with error code: unknown error code 0x4d",
            ),
        ),
        (
            "a frame that is too large",
            vec![0xff; 9],
            failed("code = Unavailable desc = error reading from server: http2: frame too large"),
        ),
    ] {
        let outcome = judged(answer);
        assert_eq!((outcome.result, outcome.message), expected, "{what}");
    }
}
