//! Forwarding for `forward: true`: the request reaches the application and is completed, but its answer is lost.

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
use crate::task;

/// Limit of such requests at a time. Their clients may have left, so no connection limit applies to them.
const MAX_FORWARDED: usize = 256;

/// How many bytes of a lost answer are read, and for how long, so that the upstream connection can be reused.
const READ_BYTES: usize = 1 << 20;
const READ_TIME: Duration = Duration::from_secs(5);

/// Calls services in separate tasks, which outlive the client's connection.
#[derive(Clone, Debug)]
pub(super) struct Forwarding(Arc<Semaphore>);

impl Default for Forwarding {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_FORWARDED)))
    }
}

/// An answer that the client will not get.
pub(super) struct LostAnswer {
    response: Response,
    permit: OwnedSemaphorePermit,
}

impl Forwarding {
    /// The answer of `inner`. The call completes even if this future is dropped. `None` if the call panicked.
    pub(super) async fn call<S>(
        &self,
        mut inner: S,
        request: Request,
        connection: Option<ConnectionHandle>,
    ) -> Option<LostAnswer>
    where
        S: Service<Request, Response = Response, Error = Infallible> + Send + 'static,
        S::Future: Send,
    {
        let permit = self.0.clone().acquire_owned().await.ok()?;
        let call = async move {
            let Ok(response) = inner.call(request).await;
            LostAnswer { response, permit }
        };
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let task = async move {
            // The client has left: read the answer here.
            if let Err(lost) = sender.send(call.await) {
                lost.read().await;
            }
        };
        match connection {
            Some(connection) => task::spawn(connection.serves(task)),
            None => task::spawn(task),
        };
        receiver.await.ok()
    }
}

impl LostAnswer {
    /// Returns the answer to the client after all.
    pub(super) fn into_response(self) -> Response {
        self.response
    }

    /// Reads the answer in the background and discards it.
    pub(super) fn discard(self) {
        task::spawn(self.read());
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
