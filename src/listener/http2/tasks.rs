//! The tasks of streams, which stay with their connection.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use hyper::rt::Executor;
use tokio::time::Instant;

use crate::listener::ConnectionHandle;

/// Runs the stream tasks that hyper spawns, and collects those that wait, for the connection's task to poll.
#[derive(Clone, Default)]
pub(super) struct StreamExecutor(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    /// The stream whose task comes next: hyper spawns it right after calling the handler.
    next: Option<ConnectionHandle>,
    tasks: Vec<StreamTask>,
}

impl StreamExecutor {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn announce(&self, handle: ConnectionHandle) {
        self.lock().next = Some(handle);
    }

    pub(super) fn take_tasks(&self) -> Vec<StreamTask> {
        std::mem::take(&mut self.lock().tasks)
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for StreamExecutor {
    fn execute(&self, future: F) {
        let next = self.lock().next.take();
        let Some(handle) = next else { return };
        let mut task = StreamTask { future: Box::pin(future), handle };
        // Most streams are answered at once, and leave their memory to the next one. The others are polled again, with
        // a waker, before the connection's task waits.
        if Pin::new(&mut task).poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            self.lock().tasks.push(task);
        }
    }
}

/// A stream, from its head to its end.
pub(super) struct StreamTask {
    future: Pin<Box<dyn Future<Output = ()> + Send>>,
    handle: ConnectionHandle,
}

impl StreamTask {
    pub(super) fn is_stalled_since(&self, instant: Instant) -> bool {
        self.handle.stream.as_ref().is_some_and(|stream| stream.is_stalled_since(instant))
    }
}

impl Future for StreamTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { future, handle } = &mut *self;
        handle.enter(|| future.as_mut().poll(cx))
    }
}

impl Drop for StreamTask {
    fn drop(&mut self) {
        if let Some(stream) = &self.handle.stream {
            self.handle.connection.stream_ends(stream);
        }
    }
}
