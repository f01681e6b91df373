//! Answers plain requests without hyper: a GET of a known path with no field but the usual ones, received in one read,
//! on which no rule acts. This is what most probes are. hyper gets everything else, from its first byte.

use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use httparse::{ParserConfig, Request, Status};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use super::ListenerService;
use super::authority::is_host;
use super::event::DriverEvent;
use super::plain_answer::{PlainDecision, PlainRequest};
use super::stream::{HyperStream, ReceiveProgress};
use crate::fault::Client;

/// The largest head that is read here, in bytes: the least that `MAX_HEAD_SIZE` allows.
const LARGEST_HEAD: usize = 1024;

/// The most header fields of a plain request.
const MOST_FIELDS: usize = 8;

/// A connection whose requests were all plain so far.
pub(super) struct PlainConnection {
    stream: HyperStream,
    received: [u8; LARGEST_HEAD],
    /// The answer, and how much of it was sent.
    answer: Vec<u8>,
    sent: usize,
    /// Whether it closes after this answer.
    closes: bool,
}

impl PlainConnection {
    pub(super) fn new(stream: HyperStream) -> Self {
        Self { stream, received: [0; LARGEST_HEAD], answer: Vec::new(), sent: 0, closes: false }
    }

    /// Whether no answer is being sent.
    pub(super) fn is_idle(&self) -> bool {
        self.sent == self.answer.len()
    }

    /// Accepts no further request.
    pub(super) fn drain(&mut self) {
        self.closes = true;
    }

    /// The socket for hyper, which begins with the bytes that were read here.
    pub(super) fn into_stream(self, unread: Bytes) -> HyperStream {
        HyperStream { unread, progress: ReceiveProgress::Http1 { head: 0 }, ..self.stream }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>, service: &ListenerService) -> Poll<DriverEvent> {
        loop {
            if ready!(self.poll_send(cx)).is_err() || self.closes {
                return Poll::Ready(DriverEvent::Done { lingers: false });
            }
            let mut received = ReadBuf::new(&mut self.received);
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut received));
            let count = received.filled().len();
            if read.is_err() || count == 0 {
                return Poll::Ready(DriverEvent::Done { lingers: false });
            }
            if self.answer(count, service).is_none() {
                let received = Bytes::copy_from_slice(&self.received[..count]);
                return Poll::Ready(DriverEvent::NotPlain(received));
            }
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        if self.is_idle() {
            return Poll::Ready(Ok(()));
        }
        while !self.is_idle() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.answer[self.sent..]))? {
                0 => return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into())),
                count => self.sent += count,
            }
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Answers the request in the first `count` bytes that were received, if it is plain.
    fn answer(&mut self, count: usize, service: &ListenerService) -> Option<()> {
        let state = self.stream.state.clone();
        let head = Head::parse(&self.received[..count])?;
        let plain = service.routes.plain(head.path)?;
        let is_partial = service.faulted.is_some() && service.conditions.borrow().link.partial;
        if is_partial || state.refuses(head.client) {
            return None;
        }
        let arrived = state.head_since()?;
        if let PlainDecision::Other(injection) = (plain.decide)(PlainRequest { client: head.client, arrived })
        {
            state.set_injection(injection);
            return None;
        }
        state.is_answered_at_once(head.client);
        self.closes |= head.closes;
        self.sent = 0;
        self.answer.clear();
        plain.write(&mut self.answer, service.routes.date(), self.closes);
        Some(())
    }
}

/// The head of a plain request.
#[derive(Debug, PartialEq)]
struct Head<'a> {
    path: &'a str,
    client: Client,
    /// Whether the client asks to close the connection.
    closes: bool,
}

impl<'a> Head<'a> {
    /// `None` if the bytes are anything but one plain request.
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut fields = [const { MaybeUninit::uninit() }; MOST_FIELDS];
        let mut request = Request::new(&mut []);
        let parsed =
            ParserConfig::default().parse_request_with_uninit_headers(&mut request, bytes, &mut fields);
        let is_whole = matches!(parsed, Ok(Status::Complete(length)) if length == bytes.len());
        if !is_whole || request.method != Some("GET") || request.version != Some(1) {
            return None;
        }
        // The fields that kubelets and common clients send, none of which changes the answer.
        let (mut has_host, mut client, mut closes) = (false, None, false);
        for field in &*request.headers {
            let is = |name: &str| field.name.eq_ignore_ascii_case(name);
            if is("host") {
                if has_host || !is_host(field.value) {
                    return None;
                }
                has_host = true;
            } else if is("user-agent") {
                client.get_or_insert(Client::from_user_agent(field.value));
            } else if is("connection") {
                if !field.value.eq_ignore_ascii_case(b"close") {
                    return None;
                }
                closes = true;
            } else if !(is("accept") || is("accept-encoding")) {
                return None;
            }
        }
        let client = client.unwrap_or(Client::from_user_agent(b""));
        request.path.filter(|_| has_host).map(|path| Self { path, client, closes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(head: &str) -> Option<Head<'_>> {
        Head::parse(head.as_bytes())
    }

    #[test]
    fn requests_of_probes_are_plain() {
        let kubelet = "GET /healthz HTTP/1.1\r\nHost: 10.0.0.1:8080\r\nUser-Agent: kube-probe/1.36\r\n\
                       Accept: */*\r\nConnection: close\r\n\r\n";
        assert_eq!(parse(kubelet), Some(Head { path: "/healthz", client: Client::Kubelet, closes: true }));
        assert_eq!(
            parse("GET / HTTP/1.1\r\nhost:\r\n\r\n"),
            Some(Head { path: "/", client: Client::Other, closes: false })
        );
    }

    #[test]
    fn all_other_requests_are_left_to_hyper() {
        for head in [
            "",
            "GET / HTTP/1.1\r\nHost: a\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\r\nG",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
            "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
            "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX-Probesim-Target: traffic\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            assert_eq!(parse(head), None, "{head:?}");
        }
    }
}
