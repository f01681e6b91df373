//! Requests to an upstream that speaks HTTP/1.1: each has a connection to itself.

use std::error::Error as _;

use axum::body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use super::repeat::copy;
use super::{Inner, Manner};
use crate::listener::ConnectionHandle;
use crate::proxy::connect::Source;
use crate::proxy::error::ForwardError;
use crate::proxy::memory::MAX_BUFFER;
use crate::proxy::pool::Pooled;
use crate::proxy::stream::UpstreamStream;
use crate::task;

impl Inner {
    /// Sends a request over an idle connection or a new one. One that may be repeated is so once, if an idle connection
    /// turns out to have ended.
    pub(super) async fn send(
        &self,
        mut request: Request<Body>,
        manner: &Manner,
        client: Option<&ConnectionHandle>,
        told: Option<oneshot::Receiver<()>>,
    ) -> Result<(Response<Incoming>, Pooled), ForwardError> {
        let late = self.late(told);
        tokio::pin!(late);
        // A change of protocol takes the connection away for good.
        while let Some(mut pooled) =
            if manner.upgrade { None } else { self.pool.take(manner.source, client, manner.repeatable) }
        {
            if pooled.sender.ready().await.is_err() {
                continue;
            }
            let copy = manner.repeatable.then(|| copy(&request));
            let sent = tokio::select! {
                biased;
                sent = pooled.sender.try_send_request(request) => sent,
                error = &mut late => return Err(error),
            };
            match sent {
                Ok(response) => return Ok((response, pooled)),
                Err(mut error) => match (error.take_message(), copy) {
                    // It has not been sent at all.
                    (Some(unsent), _) => request = unsent,
                    (None, Some(copy)) if !error.error().is_parse() => {
                        request = copy;
                        break;
                    }
                    _ => return Err(failure(error.error())),
                },
            }
        }
        // In a box of its own: most requests get by without a new connection, and take less memory so.
        let mut pooled = Box::pin(self.connect(manner.source, client)).await?;
        tokio::select! {
            biased;
            sent = pooled.sender.send_request(request) => {
                sent.map(|response| (response, pooled)).map_err(|error| failure(&error))
            }
            error = &mut late => Err(error),
        }
    }

    /// A new connection. A task of its own moves it.
    async fn connect(
        &self,
        source: Source,
        client: Option<&ConnectionHandle>,
    ) -> Result<Pooled, ForwardError> {
        let (stream, place, _) = self.open(source, &["http/1.1"]).await?;
        self.begin_http1(stream, place, source, client).await
    }

    /// Speaks HTTP/1.1 on a connection.
    pub(super) async fn begin_http1(
        &self,
        stream: UpstreamStream,
        place: OwnedSemaphorePermit,
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
            let _place = place;
            // What went wrong is told to the request.
            let _ = connection.with_upgrades().await;
        });
        Ok(Pooled { sender, source, owner: client.cloned(), born: Instant::now(), memory: None })
    }
}

/// What an error of a connection means.
fn failure(error: &hyper::Error) -> ForwardError {
    if error.is_parse() {
        let detail = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        return ForwardError::Invalid(detail);
    }
    // hyper calls the body of the request its user's.
    if error.is_user() { ForwardError::Client } else { ForwardError::Closed }
}
