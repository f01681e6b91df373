//! Answers plain requests without hyper. A plain request is a GET of a known path, received in one read, with no field but
//! the usual ones; no rule acts on it, or a rule fails it at once by a status. Most probes are plain. Before an upstream, a
//! plain request is a GET that can be forwarded as it is. hyper gets everything else, from its first byte.

use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use super::event::DriverEvent;
use super::plain_answer::{PlainDecision, PlainRequest};
use super::plain_forward::{
    LARGEST_FORWARDED_HEAD, MOST_FORWARDED_FIELDS, PlainEnd, PlainExchange, PlainForward, PlainHead,
};
use super::stream::{HyperStream, ReceiveProgress};
use super::{ConnectionHandle, ListenerService, ProcessStage};

/// The largest head of a probe that is read here, in bytes: the least that `MAX_HEAD_SIZE` allows.
const LARGEST_HEAD: usize = 1024;

/// The most header fields of a plain request.
const MOST_FIELDS: usize = 8;

/// A connection whose requests were all plain so far.
pub(super) struct PlainConnection {
    stream: HyperStream,
    /// What was received, if requests are forwarded.
    received: Box<[u8]>,
    /// The length of the request that is being forwarded.
    count: usize,
    exchange: Option<Box<dyn PlainExchange>>,
    /// The answer, and how much of it was sent.
    answer: Vec<u8>,
    sent: usize,
    /// Whether it closes after this answer.
    closes: bool,
}

impl PlainConnection {
    pub(super) fn new(stream: HyperStream, service: &ListenerService) -> Self {
        let forwards = service.routes.forward().is_some();
        let largest = if forwards { LARGEST_FORWARDED_HEAD.min(service.limits.head_size) } else { 0 };
        Self {
            stream,
            received: vec![0; largest].into(),
            count: 0,
            exchange: None,
            answer: Vec::new(),
            sent: 0,
            closes: false,
        }
    }

    /// Whether no request is being forwarded, and no answer is being sent.
    pub(super) fn is_idle(&self) -> bool {
        self.exchange.is_none() && self.is_sent()
    }

    fn is_sent(&self) -> bool {
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
            if self.exchange.is_some() && !ready!(self.poll_exchange(cx, service)) {
                return Poll::Ready(DriverEvent::NotPlain(self.unread(self.count)));
            }
            if ready!(self.poll_send(cx)).is_err() || self.closes {
                return Poll::Ready(DriverEvent::Done { lingers: false });
            }
            let unread = if let Some(forward) = service.routes.forward() {
                let count = ready!(poll_receive(&mut self.stream, cx, &mut ReadBuf::new(&mut self.received)));
                if count == 0 {
                    return Poll::Ready(DriverEvent::Done { lingers: false });
                }
                self.forward(count, service, forward).is_none().then(|| self.unread(count))
            } else {
                // On the stack: a request that is answered at once needs no buffer of its own.
                let mut space = [const { MaybeUninit::uninit() }; LARGEST_HEAD];
                let mut received = ReadBuf::uninit(&mut space);
                if ready!(poll_receive(&mut self.stream, cx, &mut received)) == 0 {
                    return Poll::Ready(DriverEvent::Done { lingers: false });
                }
                let received = received.filled();
                self.answer(received, service).is_none().then(|| Bytes::copy_from_slice(received))
            };
            if let Some(unread) = unread {
                return Poll::Ready(DriverEvent::NotPlain(unread));
            }
        }
    }

    /// What was received, for hyper to read.
    fn unread(&self, count: usize) -> Bytes {
        Bytes::copy_from_slice(&self.received[..count])
    }

    /// Continues to forward a request. Ready with false if hyper has to continue, which it also does as soon as the client
    /// sends more, or leaves.
    fn poll_exchange(&mut self, cx: &mut Context<'_>, service: &ListenerService) -> Poll<bool> {
        let Some(exchange) = &mut self.exchange else { return Poll::Ready(true) };
        let closes = self.closes || service.conditions.borrow().stage == ProcessStage::HandingOver;
        self.answer.clear();
        self.sent = 0;
        match exchange.poll(cx, closes, &mut self.answer) {
            Poll::Ready(PlainEnd::Answered) => {
                self.closes = closes;
                self.exchange = None;
                self.stream.state.request_ends();
                return Poll::Ready(true);
            }
            Poll::Ready(PlainEnd::HandOver) => {}
            Poll::Pending => ready!(self.stream.socket.poll_readable(cx)),
        }
        if let Some(exchange) = self.exchange.take() {
            exchange.hand_over(&self.handle());
        }
        Poll::Ready(false)
    }

    fn handle(&self) -> ConnectionHandle {
        ConnectionHandle { connection: self.stream.state.clone(), stream: None }
    }

    /// Begins to forward the request in the first `count` bytes that were received, if it is plain.
    fn forward(&mut self, count: usize, service: &ListenerService, forward: &PlainForward) -> Option<()> {
        let state = &self.stream.state;
        let mut fields = [const { MaybeUninit::uninit() }; MOST_FORWARDED_FIELDS];
        let head = PlainHead::parse(&self.received[..count], &mut fields)?;
        if is_partial(service) || state.refuses(head.client) {
            return None;
        }
        self.exchange = Some(forward(&head, &self.handle())?);
        state.request_begins(head.client, false);
        state.is_patient();
        self.closes |= head.closes;
        self.count = count;
        Some(())
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        if self.is_sent() {
            return Poll::Ready(Ok(()));
        }
        while !self.is_sent() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.answer[self.sent..]))? {
                0 => return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into())),
                count => self.sent += count,
            }
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Answers the request that was received, if it is plain.
    fn answer(&mut self, received: &[u8], service: &ListenerService) -> Option<()> {
        let state = self.stream.state.clone();
        let mut fields = [const { MaybeUninit::uninit() }; MOST_FIELDS];
        let head = PlainHead::parse(received, &mut fields).filter(has_usual_fields)?;
        let plain = service.routes.plain(head.target)?;
        if is_partial(service) || state.refuses(head.client) {
            return None;
        }
        let arrived = state.head_since()?;
        let decision = (plain.decide)(PlainRequest { client: head.client, arrived });
        if let PlainDecision::Other(injection) = decision {
            state.set_injection(injection);
            return None;
        }
        state.is_answered_at_once(head.client);
        self.closes |= head.closes;
        self.sent = 0;
        self.answer.clear();
        let (answer, date) = (&mut self.answer, service.routes.date());
        match decision {
            PlainDecision::Failure(failure) => failure.write(answer, date, self.closes),
            _ => plain.write(answer, date, self.closes),
        }
        Some(())
    }
}

/// Reads once. Ready with 0 if nothing will follow.
fn poll_receive(stream: &mut HyperStream, cx: &mut Context<'_>, received: &mut ReadBuf<'_>) -> Poll<usize> {
    let read = ready!(Pin::new(stream).poll_read(cx, received));
    Poll::Ready(if read.is_err() { 0 } else { received.filled().len() })
}

/// Whether a partition cuts off some clients.
fn is_partial(service: &ListenerService) -> bool {
    service.faulted.is_some() && service.conditions.borrow().link.partial
}

/// Whether all fields are those that kubelets and common clients send, none of which changes the answer.
fn has_usual_fields(head: &PlainHead<'_>) -> bool {
    head.fields.iter().all(|field| {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        ["host", "user-agent", "accept", "accept-encoding"].into_iter().any(is)
            || is("connection") && field.value.eq_ignore_ascii_case(b"close")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Client;

    /// The path of a plain request, its client, and whether it asks to close the connection.
    fn parse(head: &str) -> Option<(String, Client, bool)> {
        let mut fields = [const { MaybeUninit::uninit() }; MOST_FIELDS];
        let head = PlainHead::parse(head.as_bytes(), &mut fields).filter(has_usual_fields)?;
        Some((head.target.to_owned(), head.client, head.closes))
    }

    #[test]
    fn requests_of_probes_are_plain() {
        let kubelet = "GET /healthz HTTP/1.1\r\nHost: 10.0.0.1:8080\r\nUser-Agent: kube-probe/1.36\r\n\
                       Accept: */*\r\nConnection: close\r\n\r\n";
        assert_eq!(parse(kubelet), Some(("/healthz".to_owned(), Client::Kubelet, true)));
        assert_eq!(parse("GET / HTTP/1.1\r\nhost:\r\n\r\n"), Some(("/".to_owned(), Client::Other, false)));
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
