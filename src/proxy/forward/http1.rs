//! Requests to an HTTP/1.1 upstream. Each occupies a connection of its own.

use std::error::Error as _;

use axum::body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use super::repeat::copy;
use super::{Inner, SendOptions};
use crate::listener::ConnectionHandle;
use crate::proxy::connect::Source;
use crate::proxy::error::ForwardError;
use crate::proxy::memory::MAX_BUFFER;
use crate::proxy::pool::Pooled;
use crate::proxy::stream::UpstreamStream;
use crate::task;

impl Inner {
    /// Sends a request over an idle or a new connection. A repeatable request is sent once more if an idle connection turns
    /// out to be closed.
    pub(super) async fn send(
        &self,
        request: &mut Request<Body>,
        options: &SendOptions,
        client: Option<&ConnectionHandle>,
        body_ended: Option<oneshot::Receiver<()>>,
    ) -> Result<(Response<Incoming>, Pooled), ForwardError> {
        let late = self.late(body_ended);
        tokio::pin!(late);
        // An upgrade uses up its connection, so it takes a new one.
        while let Some(mut pooled) =
            if options.upgrade { None } else { self.pool.take(options.source, client, options.repeatable) }
        {
            if pooled.sender.ready().await.is_err() {
                continue;
            }
            let next = if options.repeatable { copy(request) } else { Request::default() };
            let sent = tokio::select! {
                biased;
                sent = pooled.sender.try_send_request(std::mem::replace(request, next)) => sent,
                error = &mut late => return Err(error),
            };
            match sent {
                Ok(response) => return Ok((response, pooled)),
                Err(mut error) => match error.take_message() {
                    // No byte of it was sent.
                    Some(unsent) => *request = unsent,
                    None if options.repeatable && !error.error().is_parse() => break,
                    None => return Err(failure(error.error())),
                },
            }
        }
        // Boxed, so that the future stays small: most requests need no new connection.
        let mut pooled = Box::pin(self.connect(options.source, client)).await?;
        tokio::select! {
            biased;
            sent = pooled.sender.send_request(std::mem::take(request)) => {
                sent.map(|response| (response, pooled)).map_err(|error| failure(&error))
            }
            error = &mut late => Err(error),
        }
    }

    /// Opens a connection, which a task of its own drives.
    async fn connect(
        &self,
        source: Source,
        client: Option<&ConnectionHandle>,
    ) -> Result<Pooled, ForwardError> {
        let (stream, permit, _) = self.open(source, &["http/1.1"]).await?;
        self.begin_http1(stream, permit, source, client).await
    }

    /// Starts HTTP/1.1 on a connection.
    pub(super) async fn begin_http1(
        &self,
        stream: UpstreamStream,
        permit: OwnedSemaphorePermit,
        source: Source,
        client: Option<&ConnectionHandle>,
    ) -> Result<Pooled, ForwardError> {
        let (sender, connection) = http1::Builder::new()
            .preserve_header_case(true)
            .max_buf_size(MAX_BUFFER)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failure(&error))?;
        task::spawn(async move {
            let _permit = permit;
            // The request in progress gets the error.
            let _ = connection.with_upgrades().await;
        });
        Ok(Pooled { sender, source, owner: client.cloned(), created: Instant::now(), memory: None })
    }
}

/// Converts an error of a connection.
fn failure(error: &hyper::Error) -> ForwardError {
    if error.is_parse() {
        let detail = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        return ForwardError::Invalid(detail);
    }
    // hyper's user error: the request's body failed.
    if error.is_user() { ForwardError::Client } else { ForwardError::Closed }
}
