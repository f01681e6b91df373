//! Bodies: complete, truncated, chunked, longer than the read limit.

use super::*;

#[test]
fn a_body_that_hangs_is_an_error_whatever_the_status() {
    for status in [200, 302, 500] {
        let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: 100\r\n\r\npart");
        let outcome = Server::new(&[(answer.as_bytes(), Hang)]).probe(SHORT);
        check(&outcome, Error, Phase::Body, Some(status), READING);
        assert!(outcome.duration >= SHORT, "{outcome:?}");
    }
}

#[test]
fn a_body_that_is_cut_short_is_an_error_whatever_the_status() {
    for status in [200, 500] {
        let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: 100\r\n\r\npart");
        check(&judged(answer.as_bytes(), Fin), Error, Phase::Body, Some(status), "unexpected EOF");
    }
}

#[test]
fn a_body_that_is_reset_is_an_error_whatever_the_status() {
    for framing in ["Content-Length: 100\r\n", ""] {
        for status in [200, 500] {
            let answer = format!("HTTP/1.1 {status} x\r\n{framing}\r\npart");
            let outcome = judged(answer.as_bytes(), Reset);
            assert_eq!((outcome.result, outcome.phase, outcome.status), (Error, Phase::Body, Some(status)));
            assert!(outcome.message.ends_with(": read: connection reset by peer"), "{outcome:?}");
        }
    }
}

#[test]
fn chunks_that_are_invalid_or_cut_short_are_errors() {
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (chunks, message) in [
        (&b"5\r\nhello\r\nzz\r\n"[..], "invalid byte in chunk length"),
        (b"5\r\nhelloXX5\r\n", "malformed chunked encoding"),
        (b"5\r\nhello\r\n\r\n", "empty hex number for chunk length"),
        (b"11111111111111111\r\nhello", "http chunk length too large"),
        (b"5\nhello\n0\n\n", "chunked line ends with bare LF"),
        (b"5\r\nhel", "unexpected EOF"),
        (b"5\r\nhello\r\n", "unexpected EOF"),
        (b"5\r\nhello\r\n0\r\n", "http: unexpected EOF reading trailer"),
        (b"", "unexpected EOF"),
    ] {
        check(&judged(&[head, chunks].concat(), Fin), Error, Phase::Body, Some(200), message);
    }
    let endless_line = [&head[..], b"5;", &[b'x'; 5000]].concat();
    check(&judged(&endless_line, Hang), Error, Phase::Body, Some(200), "header line too long");
}

#[test]
fn lines_of_chunks_are_as_strict_as_gos() {
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let extension = |size| [b"5;", vec![b'x'; size].as_slice(), b"\r\nhello\r\n"].concat();
    for (chunks, message) in [
        (b"5\r \r\nhello\r\n0\r\n\r\n".to_vec(), "invalid CR in chunked line"),
        (b"5\r\r\nhello\r\n0\r\n\r\n".to_vec(), "invalid CR in chunked line"),
        (b"5;a\rb\r\nhello\r\n0\r\n\r\n".to_vec(), "invalid CR in chunked line"),
        (b"5\x0c\r\nhello\r\n0\r\n\r\n".to_vec(), "invalid byte in chunk length"),
        (
            [extension(3000).repeat(10).as_slice(), b"0\r\n\r\n"].concat(),
            "chunked encoding contains too much non-data",
        ),
        (b"5\r\nhello\r\n0\r\nX: y\n\n".to_vec(), "http: suspiciously long trailer after chunked body"),
        (b"5\r\nhello\r\n0\r\nX\r\n\r\n".to_vec(), "malformed MIME header: missing colon: \"X\""),
    ] {
        check(&judged(&[head, &*chunks].concat(), Fin), Error, Phase::Body, Some(200), message);
    }
    for chunks in
        [b"5;a=b \t\r\nhello\r\n0\r\n\r\n".to_vec(), [extension(3000).as_slice(), b"0\r\n\r\n"].concat()]
    {
        check(&judged(&[head, &*chunks].concat(), Fin), Success, Phase::Complete, Some(200), "");
    }
}

#[test]
fn an_invalid_chunk_right_after_10_kib_is_an_error_and_one_further_on_is_not_seen() {
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = |size: usize| [format!("{size:x}\r\n").as_bytes(), &vec![b'x'; size]].concat();
    for (chunks, message) in [
        ([chunk(10_240).as_slice(), b"zzzz"].concat(), "malformed chunked encoding"),
        ([chunk(10_240).as_slice(), b"\r\nzzzz\r\n"].concat(), "invalid byte in chunk length"),
        (
            [chunk(10_240).as_slice(), b"\r\n0\r\nX\r\n\r\n"].concat(),
            "malformed MIME header: missing colon: \"X\"",
        ),
    ] {
        check(&judged(&[head, &*chunks].concat(), Fin), Error, Phase::Body, Some(200), message);
    }
    let beyond = [head, chunk(10_241).as_slice(), b"zzzz"].concat();
    check(&judged(&beyond, Fin), Success, Phase::Complete, Some(200), "");
}

#[test]
fn whole_bodies_of_every_framing_are_read() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnot in chunks",
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok and more",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    ] {
        check(&judged(answer, Fin), Success, Phase::Complete, Some(200), "");
    }
}

#[test]
fn a_body_of_10_kib_is_enough_even_if_its_end_never_comes() {
    for (status, result) in [(200, Success), (500, Failure)] {
        for framing in ["Content-Length: 99999\r\n\r\n", "\r\n", "Transfer-Encoding: chunked\r\n\r\n9999\r\n"]
        {
            let head = format!("HTTP/1.1 {status} x\r\n{framing}");
            let answer = |size| [head.as_bytes(), &vec![b'x'; size]].concat();
            let outcome = judged(&answer(10_240), Hang);
            assert_eq!((outcome.result, outcome.status), (result, Some(status)), "{framing}");
            let outcome = Server::new(&[(&answer(10_239), Hang)]).probe(SHORT);
            check(&outcome, Error, Phase::Body, Some(status), READING);
        }
    }
}

#[test]
fn answers_without_a_body_end_with_their_head_whatever_their_length_says() {
    for (status, result) in [(204, Success), (304, Warning)] {
        let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: 5\r\n\r\n");
        assert_eq!(judged(answer.as_bytes(), Hang).result, result);
    }
}
