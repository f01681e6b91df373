//! Requests to an HTTP/1.1 upstream. Each occupies a connection of its own.

use std::error::Error as _;

use axum::body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use super::plain::{Bare, Begun, Stage};
use super::repeat::copy;
use super::{Inner, SendOptions};
use crate::listener::ConnectionHandle;
use crate::listener::budget::Reservation;
use crate::proxy::connect::Source;
use crate::proxy::error::ForwardError;
use crate::proxy::memory::MAX_BUFFER;
use crate::proxy::pool::{Pooled, PooledLink};
use crate::proxy::stream::{BegunStream, UpstreamStream};
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
        begun: Option<Box<Begun>>,
    ) -> Result<(Response<Incoming>, Driven), ForwardError> {
        let is_begun = begun.is_some();
        if let Some(begun) = begun
            && let Some(continued) = Box::pin(self.resume(begun.stage, request, options, client)).await?
        {
            return Ok(continued);
        }
        let late = self.late(body_ended);
        tokio::pin!(late);
        // An upgrade uses up its connection, so it takes a new one.
        while let Some(pooled) = if options.upgrade || is_begun {
            None
        } else {
            self.pool.take(options.source, client, options.repeatable)
        } {
            let Ok(mut pooled) = Driven::of(pooled).await else { continue };
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

    /// Continues a request that was begun without hyper; `None` if it has to be sent over a new connection.
    async fn resume(
        &self,
        stage: Stage,
        request: &mut Request<Body>,
        options: &SendOptions,
        client: Option<&ConnectionHandle>,
    ) -> Result<Option<(Response<Incoming>, Driven)>, ForwardError> {
        let (bare, is_repeatable) = match stage {
            Stage::Unsent => return Ok(None),
            Stage::Failed(error) => return Err(error),
            Stage::Opening(opening) => (opening.await?, false),
            Stage::Sent { bare: Bare { stream, permit, created }, received, is_reused } => {
                let is_repeatable = is_reused && received.is_empty();
                let stream = UpstreamStream::Begun(Box::new(BegunStream::new(stream, received)));
                (Bare { stream, permit, created }, is_repeatable)
            }
        };
        let mut driven = Driven::begin(bare.stream, bare.permit, options.source, client.cloned()).await?;
        driven.created = bare.created;
        let next = if is_repeatable { copy(request) } else { Request::default() };
        match driven.sender.send_request(std::mem::replace(request, next)).await {
            Ok(response) => Ok(Some((response, driven))),
            Err(error) if is_repeatable && !error.is_parse() => Ok(None),
            Err(error) => Err(failure(&error)),
        }
    }

    /// Opens a connection, which a task of its own drives.
    async fn connect(
        &self,
        source: Source,
        client: Option<&ConnectionHandle>,
    ) -> Result<Driven, ForwardError> {
        let (stream, permit, _) = self.open(source, &["http/1.1"]).await?;
        Driven::begin(stream, permit, source, client.cloned()).await
    }
}

/// A connection that hyper drives.
pub(in crate::proxy) struct Driven {
    sender: SendRequest<Body>,
    source: Source,
    /// The only client that has used it; `None` if several have.
    owner: Option<ConnectionHandle>,
    created: Instant,
}

impl Driven {
    /// Starts HTTP/1.1 on a connection.
    pub(super) async fn begin(
        stream: UpstreamStream,
        permit: OwnedSemaphorePermit,
        source: Source,
        owner: Option<ConnectionHandle>,
    ) -> Result<Self, ForwardError> {
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
        Ok(Self { sender, source, owner, created: Instant::now() })
    }

    /// An idle connection.
    async fn of(pooled: Pooled) -> Result<Self, ForwardError> {
        let Pooled { link, source, owner, created, .. } = pooled;
        match link {
            PooledLink::Hyper(sender) => Ok(Self { sender, source, owner, created }),
            PooledLink::Bare(stream, permit) => {
                Ok(Self { created, ..Self::begin(stream, permit, source, owner).await? })
            }
        }
    }

    /// Becomes idle, with the memory that was reserved for its request.
    pub(in crate::proxy) fn rest(self, memory: Option<Reservation>) -> Pooled {
        let Self { sender, source, owner, created } = self;
        Pooled { link: PooledLink::Hyper(sender), source, owner, created, memory }
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
