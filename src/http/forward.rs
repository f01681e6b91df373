//! Requests whose answers are lost: they reach their application all the same, and are completed there.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::Service;

use crate::listener::ConnectionHandle;

/// How many such requests there may be at a time. Their clients may be gone, so that no limit of connections holds.
const MOST: usize = 256;

/// How much of a lost answer is read, and for how long, so that its connection to the application can be used again.
const READ_BYTES: usize = 1 << 20;
const READ_TIME: Duration = Duration::from_secs(5);

/// Calls services in tasks of their own, which outlive the clients.
#[derive(Clone, Debug)]
pub(super) struct Forwarding(Arc<Semaphore>);

impl Default for Forwarding {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST)))
    }
}

/// An answer that nobody is to get.
pub(super) struct Lost {
    response: Response,
    permit: OwnedSemaphorePermit,
}

impl Forwarding {
    /// The answer of `inner`, which completes it whether or not this future is dropped. `None` where it fell over.
    pub(super) async fn call<S>(
        &self,
        mut inner: S,
        request: Request,
        connection: Option<ConnectionHandle>,
    ) -> Option<Lost>
    where
        S: Service<Request, Response = Response, Error = Infallible> + Send + 'static,
        S::Future: Send,
    {
        let permit = self.0.clone().acquire_owned().await.ok()?;
        let call = async move {
            let Ok(response) = inner.call(request).await;
            Lost { response, permit }
        };
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let task = async move {
            // Whoever waited for it has left.
            if let Err(lost) = sender.send(call.await) {
                lost.read().await;
            }
        };
        match connection {
            Some(connection) => tokio::spawn(connection.serves(task)),
            None => tokio::spawn(task),
        };
        receiver.await.ok()
    }
}

impl Lost {
    /// The answer after all.
    pub(super) fn found(self) -> Response {
        self.response
    }

    /// Reads it in the background, and forgets it.
    pub(super) fn discard(self) {
        tokio::spawn(self.read());
    }

    async fn read(self) {
        let Self { response, permit } = self;
        let mut body = response.into_body();
        let read = async {
            let mut left = READ_BYTES;
            while let Some(Ok(frame)) = next(&mut body).await {
                let size = frame.data_ref().map_or(0, bytes::Bytes::len);
                match left.checked_sub(size) {
                    Some(rest) => left = rest,
                    None => break,
                }
            }
        };
        let _ = tokio::time::timeout(READ_TIME, read).await;
        drop(permit);
    }
}

async fn next(body: &mut Body) -> Option<Result<http_body::Frame<bytes::Bytes>, axum::Error>> {
    std::future::poll_fn(|cx| http_body::Body::poll_frame(Pin::new(&mut *body), cx)).await
}
