//! One unary call over HTTP/2, with the results of grpc-go.

use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream};
use hyper::{HeaderMap, Request, Response};
use tokio::task::JoinHandle;

use super::health;
use super::settings::FirstFrame;
use super::status::{Status, broken, code, trailers_status, wrong_head};
use crate::prober::outcome::Phase;
use crate::prober::stream::Stream;
use crate::prober::version::KUBERNETES_VERSION;
use crate::rpc::PREFIX;
use crate::task;

/// Limit of the header of a response, in bytes: far above that of any health check.
const MAX_HEAD: u32 = 64 << 10;
/// Limit of a message, in bytes, as in grpc-go.
const MAX_MESSAGE: usize = 4 << 20;

/// One connection, for one call. Dropping the value closes it.
pub(super) struct Connection {
    sender: SendRequest<Bytes>,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    /// Starts HTTP/2 and waits for the settings of the server. `None`: it does not start with them.
    pub(super) async fn begin(stream: Stream) -> Option<Self> {
        let (stream, begun) = FirstFrame::of(stream);
        let handshake =
            Builder::new().enable_push(false).max_header_list_size(MAX_HEAD).handshake(stream).await;
        let (sender, connection) = handshake.ok()?;
        let connection = Self { sender, driver: task::drive(connection) };
        begun.await.unwrap_or(false).then_some(connection)
    }

    /// Requests the health of a service. Returns the message of the response if its status is OK. `left` is the remaining
    /// time of the call. Updates `phase`.
    pub(super) async fn call(
        &mut self,
        scheme: &str,
        authority: &str,
        service: &str,
        left: Duration,
        phase: &mut Phase,
    ) -> Result<Vec<u8>, Status> {
        let request = Request::post(format!("{scheme}://{authority}/grpc.health.v1.Health/Check"))
            .version(hyper::Version::HTTP_2)
            .header("content-type", "application/grpc")
            .header("user-agent", format!("kube-probe/{KUBERNETES_VERSION}"))
            .header("te", "trailers")
            // At most eight digits.
            .header("grpc-timeout", format!("{}m", left.as_millis().min(99_999_999)))
            .body(())
            .map_err(|error| Status::new(code::INTERNAL, error.to_string()))?;
        let answer = self.head(request, health::request(service)).await?;
        let (head, mut body) = answer.into_parts();
        let last = body.is_end_stream();
        *phase = if last { Phase::Complete } else { Phase::Body };
        wrong_head(head.status, &head.headers)?;
        if last {
            trailers_status(&head.headers)?;
            return Err(Status::new(code::INTERNAL, health::NO_MESSAGE));
        }
        let encoding = head.headers.get("grpc-encoding").map(|value| value.as_bytes().to_vec());
        let message = message(&mut body, encoding.as_deref()).await?;
        let rest = message.as_ref().map_or(0, |(_, rest)| *rest);
        if let Some((message, _)) = &message
            && health::serving_status(message).is_none()
        {
            let text = "grpc: failed to unmarshal the received message: proto: cannot parse invalid wire-format data";
            return Err(Status::new(code::INTERNAL, text));
        }
        let trailers = trailers(&mut body, rest).await?;
        *phase = Phase::Complete;
        trailers_status(&trailers)?;
        message.map(|(message, _)| message).ok_or_else(|| Status::new(code::INTERNAL, health::NO_MESSAGE))
    }

    /// Sends the request and waits for the header of the response. Repeats the request once if the server refuses it without
    /// processing (`REFUSED_STREAM`).
    async fn head(&mut self, request: Request<()>, message: Vec<u8>) -> Result<Response<RecvStream>, Status> {
        let message = Bytes::from(message);
        let answer = self.send(request.clone(), message.clone())?.await;
        match answer {
            Err(error) if error.is_remote() && error.reason() == Some(Reason::REFUSED_STREAM) => {
                self.send(request, message)?.await
            }
            answer => answer,
        }
        .map_err(|error| broken(&error))
    }

    fn send(&mut self, request: Request<()>, message: Bytes) -> Result<ResponseFuture, Status> {
        let sent = self.sender.send_request(request, false);
        let (answer, mut body) = sent.map_err(|error| broken(&error))?;
        body.send_data(message, true).map_err(|error| broken(&error))?;
        Ok(answer)
    }
}

/// Reads the first message and returns it with the number of bytes after it. `None`: the data ends without a message.
async fn message(body: &mut RecvStream, encoding: Option<&[u8]>) -> Result<Option<(Vec<u8>, usize)>, Status> {
    let mut data = Vec::new();
    let mut length = None;
    loop {
        if let ([kind, a, b, c, d, ..], None) = (data.as_slice(), length) {
            let whole = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
            if whole > MAX_MESSAGE {
                let text = format!("grpc: received message larger than max ({whole} vs. {MAX_MESSAGE})");
                return Err(Status::new(code::RESOURCE_EXHAUSTED, text));
            }
            length = Some((*kind, whole));
        }
        if let Some((kind, whole)) = length
            && data.len() >= PREFIX + whole
        {
            health::check_kind(kind, encoding)?;
            let rest = data.len() - PREFIX - whole;
            data.drain(..PREFIX);
            data.truncate(whole);
            return Ok(Some((data, rest)));
        }
        match next(body).await? {
            Some(piece) => data.extend_from_slice(&piece),
            // Fewer bytes than the prefix of a message count as no message.
            None if data.len() < PREFIX => return Ok(None),
            None => return Err(Status::new(code::INTERNAL, "unexpected EOF")),
        }
    }
}

/// Reads the trailers. `rest` is the number of bytes that were received after the message. As many bytes as the prefix of
/// a message count as another message.
async fn trailers(body: &mut RecvStream, mut rest: usize) -> Result<HeaderMap, Status> {
    loop {
        if rest >= PREFIX {
            return Err(Status::new(code::INTERNAL, health::ANOTHER_MESSAGE));
        }
        let Some(piece) = next(body).await? else { break };
        rest += piece.len();
    }
    let trailers = body.trailers().await.map_err(|error| broken(&error))?;
    trailers.ok_or_else(|| Status::new(code::INTERNAL, "server closed the stream without sending trailers"))
}

async fn next(body: &mut RecvStream) -> Result<Option<Bytes>, Status> {
    match body.data().await {
        None => Ok(None),
        Some(Ok(piece)) => {
            // An error here is an error of the stream, which the next read returns.
            let _ = body.flow_control().release_capacity(piece.len());
            Ok(Some(piece))
        }
        // The server may end a complete stream with NO_ERROR.
        Some(Err(error)) if error.is_remote() && error.reason() == Some(Reason::NO_ERROR) => Ok(None),
        Some(Err(error)) => Err(broken(&error)),
    }
}
