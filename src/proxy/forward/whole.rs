//! Answers that are passed on without hyper.

use std::mem::MaybeUninit;

use httparse::{ParserConfig, Response, Status};

use crate::proxy::headers::{AnswerField, answer_field};

/// The most fields of an answer that is passed on here.
const MOST_FIELDS: usize = 64;

/// What was received of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// All of it; its status.
    Whole(u16),
    /// The beginning.
    Partly,
    /// Something that only hyper understands.
    Other,
}

/// Writes an answer to a GET as its client gets it, if exactly one is in `received` and it needs no interpretation: over
/// HTTP/1.1, with a `Date`, and with a body of a known length. `closes` if the client's connection ends with it.
pub(super) fn pass_on(received: &[u8], closes: bool, answer: &mut Vec<u8>) -> Received {
    let mut fields = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let mut response = Response::new(&mut []);
    let parsed =
        ParserConfig::default().parse_response_with_uninit_headers(&mut response, received, &mut fields);
    let head = match parsed {
        Ok(Status::Complete(head)) => head,
        Ok(Status::Partial) => return Received::Partly,
        Err(_) => return Received::Other,
    };
    let (Some(1), Some(status @ 200..=599), Some(reason)) =
        (response.version, response.code, response.reason)
    else {
        return Received::Other;
    };
    let (mut length, mut has_date) = (None, false);
    for field in &*response.headers {
        match answer_field(field.name) {
            AnswerField::Length if length.is_none() => match number(field.value) {
                Some(number) => length = Some(number),
                None => return Received::Other,
            },
            AnswerField::Connection if field.value.eq_ignore_ascii_case(b"keep-alive") => {}
            AnswerField::Date => has_date = true,
            AnswerField::KeepAlive | AnswerField::Ordinary => {}
            _ => return Received::Other,
        }
    }
    let length = match (status, length) {
        (204 | 304, None) => 0,
        (200..=203 | 206..=303 | 305.., Some(length)) => length,
        _ => return Received::Other,
    };
    // An empty reason may have been left out together with the space before it.
    if !has_date || reason.is_empty() {
        return Received::Other;
    }
    let body = &received[head..];
    if body.len() < length {
        return if head + length > super::plain::LARGEST_ANSWER { Received::Other } else { Received::Partly };
    }
    if body.len() > length {
        return Received::Other;
    }
    answer.reserve(received.len() + 32);
    for part in [b"HTTP/1.1 ", status.to_string().as_bytes(), b" ", reason.as_bytes(), b"\r\n"] {
        answer.extend_from_slice(part);
    }
    for field in &*response.headers {
        if !matches!(answer_field(field.name), AnswerField::Connection | AnswerField::KeepAlive) {
            for part in [field.name.as_bytes(), b": ", field.value, b"\r\n"] {
                answer.extend_from_slice(part);
            }
        }
    }
    if closes {
        answer.extend_from_slice(b"connection: close\r\n");
    }
    answer.extend_from_slice(b"\r\n");
    answer.extend_from_slice(body);
    Received::Whole(status)
}

/// A length of at most six digits.
fn number(text: &[u8]) -> Option<usize> {
    let is_number = (1..=6).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    is_number.then(|| text.iter().fold(0, |number, digit| number * 10 + usize::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(received: &str, closes: bool) -> (Received, String) {
        let mut answer = Vec::new();
        let end = pass_on(received.as_bytes(), closes, &mut answer);
        (end, String::from_utf8(answer).unwrap())
    }

    #[test]
    fn an_answer_keeps_its_reason_and_the_spelling_and_order_of_its_fields() {
        let received = "HTTP/1.1 404 Nothing Here\r\nX-b: 1\r\nDATE: now\r\nConnection: Keep-Alive\r\nx-A:2\r\n\
                        Keep-Alive: timeout=5\r\nX-b:  3 \r\nX-Empty:\r\nContent-length: 2\r\n\r\nhi";
        let kept = "HTTP/1.1 404 Nothing Here\r\nX-b: 1\r\nDATE: now\r\nx-A: 2\r\nX-b: 3\r\nX-Empty: \r\nContent-length: 2\r\n";
        assert_eq!(passed(received, false), (Received::Whole(404), format!("{kept}\r\nhi")));
        assert_eq!(passed(received, true).1, format!("{kept}connection: close\r\n\r\nhi"));
        for end in 0..received.len() {
            assert_eq!(passed(&received[..end], false).0, Received::Partly, "{end} bytes");
        }
        assert_eq!(passed("HTTP/1.1 304 Not Modified\r\ndate: now\r\n\r\n", false).0, Received::Whole(304));
    }

    #[test]
    fn all_other_answers_are_left_to_hyper() {
        for received in [
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
            "HTTP/1.1 200 OK\r\ndate: now\r\n\r\nhi",
            "HTTP/1.1 200 OK\r\ndate: now\r\ncontent-length: 2\r\n\r\nhi!",
            "HTTP/1.1 200 OK\r\ndate: now\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nhi",
            "HTTP/1.1 200 OK\r\ndate: now\r\ncontent-length: +2\r\n\r\nhi",
            "HTTP/1.1 200 OK\r\ndate: now\r\ncontent-length: 2, 2\r\n\r\nhi",
            "HTTP/1.1 200 OK\r\ndate: now\r\ncontent-length:\r\n\r\n",
            "HTTP/1.1 200 OK\r\ndate: now\r\ncontent-length: 9000\r\n\r\nhi",
            "HTTP/1.1 200 OK\r\ndate: now\r\ntransfer-encoding: chunked\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ndate: now\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ndate: now\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi",
            "HTTP/1.1 200 OK\r\ndate: now\r\nconnection: keep-alive, x\r\ncontent-length: 2\r\n\r\nhi",
            "HTTP/1.1 200 OK\r\ndate: now\r\nupgrade: x\r\ncontent-length: 2\r\n\r\nhi",
            "HTTP/1.1 200 OK\r\ndate: now\r\ntrailer: x\r\ncontent-length: 2\r\n\r\nhi",
            "HTTP/1.1 200 OK\r\ndate: now\r\ncontent-length : 2\r\n\r\nhi",
            "HTTP/1.1 200 OK\r\ndate: now\r\n folded: x\r\ncontent-length: 2\r\n\r\nhi",
            "HTTP/1.1 200 \r\ndate: now\r\ncontent-length: 2\r\n\r\nhi",
            "HTTP/1.1 204 No Content\r\ndate: now\r\ncontent-length: 2\r\n\r\nhi",
            "HTTP/1.1 304 Not Modified\r\ndate: now\r\ncontent-length: 2\r\n\r\n",
            "HTTP/1.1 205 Reset Content\r\ndate: now\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 103 Early Hints\r\ndate: now\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\ndate: now\r\n\r\n",
            "HTTP/1.1 600 Odd\r\ndate: now\r\ncontent-length: 2\r\n\r\nhi",
            "HTTP/1.0 200 OK\r\ndate: now\r\ncontent-length: 2\r\n\r\nhi",
            "this is not HTTP\r\n\r\n",
        ] {
            assert_eq!(passed(received, false), (Received::Other, String::new()), "{received:?}");
        }
    }
}
