//! Plain requests to an upstream, which are forwarded without hyper.

use std::mem::MaybeUninit;
use std::task::{Context, Poll};

use httparse::{Header, ParserConfig, Request, Status};

use super::ConnectionHandle;
use super::authority::is_host;
use crate::fault::{Client, RequestView};

/// The largest head that is read without hyper, in bytes.
pub(super) const LARGEST_FORWARDED_HEAD: usize = 4096;

/// The most header fields of a plain request to an upstream.
pub(super) const MOST_FORWARDED_FIELDS: usize = 32;

/// The head of a GET over HTTP/1.1, with one valid host.
#[derive(Debug)]
pub struct PlainHead<'a> {
    /// The request target in origin form: a path and maybe a query.
    pub target: &'a str,
    /// All header fields, in order.
    pub fields: &'a [Header<'a>],
    /// Class of its client.
    pub client: Client,
    host: &'a str,
    /// Whether the client asks to close the connection.
    pub(super) closes: bool,
}

impl<'a> PlainHead<'a> {
    /// `None` if the bytes are anything but one such head, or frame a body, or ask for more than to keep or to close the
    /// connection.
    pub(super) fn parse(bytes: &'a [u8], fields: &'a mut [MaybeUninit<Header<'a>>]) -> Option<Self> {
        let mut request = Request::new(&mut []);
        let parsed = ParserConfig::default().parse_request_with_uninit_headers(&mut request, bytes, fields);
        let is_whole = matches!(parsed, Ok(Status::Complete(length)) if length == bytes.len());
        if !is_whole || request.method != Some("GET") || request.version != Some(1) {
            return None;
        }
        let target = request.path.filter(|target| is_origin_form(target))?;
        let fields: &'a [Header<'a>] = request.headers;
        let (mut host, mut client, mut closes) = (None, None, false);
        for field in fields {
            let is = |name: &str| field.name.eq_ignore_ascii_case(name);
            if is("host") {
                if host.is_some() || !is_host(field.value) {
                    return None;
                }
                host = std::str::from_utf8(field.value).ok();
            } else if is("user-agent") {
                client.get_or_insert(Client::from_user_agent(field.value));
            } else if is("connection") {
                let asks = |option: &[u8]| field.value.eq_ignore_ascii_case(option);
                if !asks(b"close") && !asks(b"keep-alive") {
                    return None;
                }
                closes |= asks(b"close");
            } else if is("content-length") || is("transfer-encoding") {
                return None;
            }
        }
        let client = client.unwrap_or(Client::from_user_agent(b""));
        Some(Self { target, fields, client, host: host?, closes })
    }
}

/// Whether a target begins with a path, and is a URI as RFC 3986 has it.
fn is_origin_form(target: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_graphic() && !b"\"#<>\\^`{|}".contains(&byte);
    target.starts_with('/') && !target.starts_with("//") && target.bytes().all(is_allowed)
}

impl RequestView for PlainHead<'_> {
    fn method(&self) -> &'static str {
        "GET"
    }

    fn path(&self) -> &str {
        self.target.split_once('?').map_or(self.target, |(path, _)| path)
    }

    fn query(&self) -> Option<&str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    fn host(&self) -> Option<&str> {
        Some(self.host)
    }

    fn header(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    }
}

/// How the forwarding of a plain request ended.
pub enum PlainEnd {
    /// The whole answer is there.
    Answered,
    /// Only hyper can continue.
    HandOver,
}

/// A plain request that is being forwarded. Dropping it aborts the request.
pub trait PlainExchange: Send {
    /// Continues. Writes the bytes for the client to `answer`, which is empty; `closes` if the connection ends with them.
    fn poll(&mut self, cx: &mut Context<'_>, closes: bool, answer: &mut Vec<u8>) -> Poll<PlainEnd>;

    /// Gives what was begun to the handler that hyper will call for the same request on this connection.
    fn hand_over(self: Box<Self>, connection: &ConnectionHandle);
}

/// Begins to forward a plain request; `None` if hyper has to take it.
pub type PlainForward =
    Box<dyn Fn(&PlainHead<'_>, &ConnectionHandle) -> Option<Box<dyn PlainExchange>> + Send + Sync>;

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(head: &str) -> Option<(String, bool)> {
        let mut fields = [const { MaybeUninit::uninit() }; MOST_FORWARDED_FIELDS];
        let head = PlainHead::parse(head.as_bytes(), &mut fields)?;
        Some((head.host.to_owned(), head.closes))
    }

    #[test]
    fn a_get_with_one_host_and_no_body_is_plain() {
        let usual = "GET /a?b=c HTTP/1.1\r\nHost: shop:80\r\nCookie: a=b\r\nX-Other: 1\r\nX-Other: 2\r\n\r\n";
        assert_eq!(parsed(usual), Some(("shop:80".to_owned(), false)));
        assert_eq!(
            parsed("GET / HTTP/1.1\r\nhost: a\r\nConnection: Keep-Alive\r\n\r\n"),
            Some(("a".to_owned(), false))
        );
        assert_eq!(
            parsed("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"),
            Some(("a".to_owned(), true))
        );
    }

    #[test]
    fn all_other_requests_are_left_to_hyper() {
        for head in [
            "GET / HTTP/1.1\r\nHost: a\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\r\nG",
            "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
            "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
            "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET //a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /#a HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /\u{e4} HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nTRANSFER-ENCODING: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: close, x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            assert_eq!(parsed(head), None, "{head:?}");
        }
    }
}
