//! Requests to an HTTP/2 upstream. They share its connections.

use std::error::Error as _;
use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use socket2::SockRef;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::timeout;

use super::repeat::copy;
use super::{Inner, SendOptions};
use crate::proxy::connect::Source;
use crate::proxy::error::ForwardError;
use crate::proxy::memory::MAX_BUFFER;
use crate::proxy::shared::{MAX_STREAMS, Stream};
use crate::proxy::stream::UpstreamStream;
use crate::task;
use crate::tls::Negotiated;

/// Flow-control window of a stream, in bytes: how much of an answer's body the upstream may send ahead.
const WINDOW: u32 = 65_535;

/// How much of a request's body hyper buffers for a stream, in bytes.
const SEND_BUFFER: usize = 16 << 10;

/// How often a request is sent at most. It may be sent again if the upstream has not processed it.
const MAX_TRIES: usize = 3;

/// How long sent data may stay unacknowledged. Otherwise, later requests would join those that wait for a host that is
/// gone.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

impl Inner {
    /// Sends a request. Sends it again if the upstream certainly has not processed it, or if the connection was lost and the
    /// request is repeatable.
    pub(super) async fn send_multiplexed(
        &self,
        mut request: Request<Body>,
        options: &SendOptions,
        body_ended: Option<oneshot::Receiver<()>>,
    ) -> Result<(Response<Incoming>, Stream), ForwardError> {
        let late = self.late(body_ended);
        tokio::pin!(late);
        let mut tries = 0;
        loop {
            let (mut sender, stream) = self.stream(options).await?;
            let copy = request.body().is_end_stream().then(|| copy(&request));
            let sent = tokio::select! {
                biased;
                sent = sender.try_send_request(request) => sent,
                error = &mut late => return Err(error),
            };
            let mut error = match sent {
                Ok(response) => return Ok((response, stream)),
                Err(error) => error,
            };
            tries += 1;
            let unsent = error.take_message();
            let failed = failure(error.error());
            let is_safe = match &failed {
                ForwardError::Unprocessed | ForwardError::Reset(h2::Reason::REFUSED_STREAM) => true,
                ForwardError::Closed => options.repeatable && tries == 1,
                _ => false,
            };
            request = match unsent.or(copy.filter(|_| is_safe)) {
                Some(again) if tries < MAX_TRIES => again,
                _ => return Err(failed),
            };
            self.shared.retire(&stream);
        }
    }

    /// A stream of an open connection, or of a new one.
    async fn stream(&self, options: &SendOptions) -> Result<(SendRequest<Body>, Stream), ForwardError> {
        let taken = || self.shared.take(options.source, options.repeatable);
        if let Some(taken) = taken() {
            return Ok(taken);
        }
        let time = self.options.connect_timeout;
        let connected = async {
            let _connecting = self.shared.connecting().await;
            match taken() {
                Some(taken) => Ok(taken),
                None => self.connect_http2(options.source).await,
            }
        };
        timeout(time, connected).await.map_err(|_| ForwardError::ConnectTimeout(time))?
    }

    async fn connect_http2(&self, source: Source) -> Result<(SendRequest<Body>, Stream), ForwardError> {
        let (stream, permit, agreed) = self.open(source, &["h2"]).await?;
        if let Some(tls) = self.tls.as_ref().filter(|_| agreed != Negotiated::Http2) {
            tls.forget();
            let changed = "it no longer speaks HTTP/2; try again";
            return Err(ForwardError::Tls(changed.to_owned()));
        }
        self.begin_http2(stream, permit, source).await
    }

    /// Starts HTTP/2 on a connection and takes a stream of it.
    pub(super) async fn begin_http2(
        &self,
        stream: UpstreamStream,
        permit: OwnedSemaphorePermit,
        source: Source,
    ) -> Result<(SendRequest<Body>, Stream), ForwardError> {
        if let Some(tcp) = stream.tcp() {
            let _ = SockRef::from(tcp).set_tcp_user_timeout(Some(UNACKNOWLEDGED));
        }
        let (sender, mut connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(WINDOW)
            // Large enough for all streams, so that a slow client does not block the others.
            .initial_connection_window_size(WINDOW * MAX_STREAMS)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(MAX_BUFFER as u32)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failure(&error))?;
        let max_streams = Arc::new(AtomicUsize::new(connection.current_max_send_streams()));
        let updated = max_streams.clone();
        // The requests in progress get the errors.
        task::spawn(poll_fn(move |cx| {
            let polled = Pin::new(&mut connection).poll(cx).map(|_| ());
            updated.store(connection.current_max_send_streams(), Ordering::Relaxed);
            polled
        }));
        Ok(self.shared.add(sender, source, max_streams, permit))
    }
}

/// Converts an error of a stream.
fn failure(error: &hyper::Error) -> ForwardError {
    let Some(error) = error.source().and_then(|source| source.downcast_ref::<h2::Error>()) else {
        return if error.is_user() { ForwardError::Client } else { ForwardError::Closed };
    };
    match error.reason() {
        Some(reason) if error.is_remote() && error.is_reset() => ForwardError::Reset(reason),
        // GOAWAY: the upstream still completes the requests that it has begun to process.
        Some(_) if error.is_remote() => ForwardError::Unprocessed,
        Some(_) if error.is_library() => {
            ForwardError::Invalid(format!("{error}; h2c:// requires an upstream that speaks HTTP/2"))
        }
        // The client aborted the request's body.
        Some(_) => ForwardError::Client,
        None => ForwardError::Closed,
    }
}
