//! Tasks.

use std::future::Future;
use std::pin::Pin;

use tokio::task::JoinHandle;

/// A future whose type does not show: tokio's code for tasks takes 2.5 kB of the binary for each type of future.
pub(crate) type Boxed = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs a future as a task.
///
/// # Panics
///
/// There is no runtime.
pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(Box::pin(future) as Boxed)
}

/// Runs the driver of a connection as a task. Whoever uses the connection gets its errors, too.
///
/// # Panics
///
/// There is no runtime.
pub(crate) fn drive<T>(connection: impl Future<Output = T> + Send + 'static) -> JoinHandle<()> {
    spawn(async {
        let _ = connection.await;
    })
}
