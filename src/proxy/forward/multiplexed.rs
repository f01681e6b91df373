//! Requests to an upstream that speaks HTTP/2: they share its connections.

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
use super::{Inner, Manner};
use crate::proxy::connect::Source;
use crate::proxy::error::ForwardError;
use crate::proxy::memory::MAX_BUFFER;
use crate::proxy::shared::{MAX_STREAMS, Stream};
use crate::proxy::stream::UpstreamStream;
use crate::task;
use crate::tls::Negotiated;

/// How much of an answer's body an upstream may send ahead.
const WINDOW: u32 = 65_535;

/// How much of a request's body hyper buffers for a stream.
const SEND_BUFFER: usize = 16 << 10;

/// How often a request is sent at most. An upstream that has not begun with it may be asked again.
const MAX_TRIES: usize = 3;

/// How long an upstream may leave what was sent unacknowledged. A host that is gone must not keep requests that come
/// later: they would join those that wait for it.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

impl Inner {
    /// Sends a request, again if the upstream has surely not begun with it, or if the connection is lost and the request
    /// may be repeated.
    pub(super) async fn send_multiplexed(
        &self,
        mut request: Request<Body>,
        manner: &Manner,
        told: Option<oneshot::Receiver<()>>,
    ) -> Result<(Response<Incoming>, Stream), ForwardError> {
        let late = self.late(told);
        tokio::pin!(late);
        let mut tries = 0;
        loop {
            let (mut sender, stream) = self.stream(manner).await?;
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
                ForwardError::Closed => manner.repeatable && tries == 1,
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
    async fn stream(&self, manner: &Manner) -> Result<(SendRequest<Body>, Stream), ForwardError> {
        let taken = || self.shared.take(manner.source, manner.repeatable);
        if let Some(taken) = taken() {
            return Ok(taken);
        }
        let time = self.options.connect_timeout;
        let connected = async {
            let _turn = self.shared.turn().await;
            match taken() {
                Some(taken) => Ok(taken),
                None => self.connect_http2(manner.source).await,
            }
        };
        timeout(time, connected).await.map_err(|_| ForwardError::ConnectTimeout(time))?
    }

    async fn connect_http2(&self, source: Source) -> Result<(SendRequest<Body>, Stream), ForwardError> {
        let (stream, place, agreed) = self.open(source, &["h2"]).await?;
        if let Some(tls) = self.tls.as_ref().filter(|_| agreed != Negotiated::Http2) {
            tls.forget();
            let changed = "it spoke HTTP/2 before, and does not any more; try again";
            return Err(ForwardError::Tls(changed.to_owned()));
        }
        self.begin_http2(stream, place, source).await
    }

    /// Speaks HTTP/2 on a connection, and takes a share of it.
    pub(super) async fn begin_http2(
        &self,
        stream: UpstreamStream,
        place: OwnedSemaphorePermit,
        source: Source,
    ) -> Result<(SendRequest<Body>, Stream), ForwardError> {
        if let Some(tcp) = stream.tcp() {
            let _ = SockRef::from(tcp).set_tcp_user_timeout(Some(UNACKNOWLEDGED));
        }
        let (sender, mut connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(WINDOW)
            // Enough for all streams, so that a client that reads slowly holds up no other.
            .initial_connection_window_size(WINDOW * MAX_STREAMS)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(MAX_BUFFER as u32)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failure(&error))?;
        let most = Arc::new(AtomicUsize::new(connection.current_max_send_streams()));
        let told = most.clone();
        // What goes wrong is told to the requests.
        task::spawn(poll_fn(move |cx| {
            let polled = Pin::new(&mut connection).poll(cx).map(|_| ());
            told.store(connection.current_max_send_streams(), Ordering::Relaxed);
            polled
        }));
        Ok(self.shared.add(sender, source, most, place))
    }
}

/// What an error of a stream means.
fn failure(error: &hyper::Error) -> ForwardError {
    let Some(error) = error.source().and_then(|source| source.downcast_ref::<h2::Error>()) else {
        return if error.is_user() { ForwardError::Client } else { ForwardError::Closed };
    };
    match error.reason() {
        Some(reason) if error.is_remote() && error.is_reset() => ForwardError::Reset(reason),
        // An upstream that says goodbye completes all requests that it has begun with.
        Some(_) if error.is_remote() => ForwardError::Unprocessed,
        Some(_) if error.is_library() => {
            ForwardError::Invalid(format!("{error}; h2c:// is for an upstream that speaks HTTP/2"))
        }
        // The client has broken off the request's body.
        Some(_) => ForwardError::Client,
        None => ForwardError::Closed,
    }
}
