//! An application that sends exactly the bytes that a test wants.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// An ordinary answer.
pub(super) const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\napp";

/// The application.
pub(super) struct Backend {
    pub(super) addr: SocketAddr,
    messages: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

/// The requests that a backend has received.
#[derive(Clone)]
pub(super) struct Notes(Arc<Mutex<Vec<String>>>);

impl Backend {
    /// Answers each request with these bytes.
    pub(super) async fn answering(reply: &'static [u8]) -> Self {
        Self::serving(move |mut stream, notes, _| async move {
            while notes.read_request(&mut stream).await.is_some() {
                if stream.write_all(reply).await.is_err() {
                    return;
                }
            }
        })
        .await
    }

    /// Serves each connection; they are numbered from 0.
    pub(super) async fn serving<F, S>(serve: S) -> Self
    where
        S: Fn(TcpStream, Notes, usize) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (messages, connections) = (Arc::default(), Arc::new(AtomicUsize::new(0)));
        let (notes, counted) = (Notes(Arc::clone(&messages)), connections.clone());
        let task = tokio::spawn(async move {
            // Dropping it ends its connections.
            let mut serving = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = counted.fetch_add(1, Ordering::Relaxed);
                serving.spawn(serve(stream, notes.clone(), number));
            }
        });
        Self { addr, messages, connections, task }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The requests so far, heads with their bodies.
    pub(super) fn messages(&self) -> Vec<String> {
        self.messages.lock().unwrap().clone()
    }

    pub(super) fn last(&self) -> String {
        self.messages().pop().expect("a request")
    }

    pub(super) fn count(&self) -> usize {
        self.messages.lock().unwrap().len()
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Notes {
    /// Reads and records one request with its body; `None` at the end of the connection.
    pub(super) async fn read_request(&self, stream: &mut TcpStream) -> Option<String> {
        let mut bytes = self.read_head(stream).await?;
        let head = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        let field = |name: &str| {
            head.lines().find_map(|line| line.strip_prefix(name).map(|value| value.trim().to_owned()))
        };
        if let Some(length) = field("content-length:") {
            let mut body = vec![0; length.parse().unwrap()];
            stream.read_exact(&mut body).await.ok()?;
            bytes.extend(body);
        } else if field("transfer-encoding:").is_some() {
            let begin = bytes.len();
            while !is_whole(&bytes[begin..]) {
                bytes.push(stream.read_u8().await.ok()?);
            }
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        self.0.lock().unwrap().push(text.clone());
        Some(text)
    }

    /// Records another text.
    pub(super) fn note(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }

    /// Reads up to the end of a head.
    pub(super) async fn read_head(&self, stream: &mut TcpStream) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            bytes.push(stream.read_u8().await.ok()?);
        }
        Some(bytes)
    }
}

/// Whether a chunked body is whole, with its trailers.
fn is_whole(mut rest: &[u8]) -> bool {
    loop {
        let Some(end) = rest.windows(2).position(|bytes| bytes == b"\r\n") else { return false };
        let size = String::from_utf8_lossy(&rest[..end]).into_owned();
        let size = usize::from_str_radix(size.split(';').next().unwrap().trim(), 16).unwrap();
        rest = &rest[end + 2..];
        if size == 0 {
            return rest == b"\r\n" || rest.ends_with(b"\r\n\r\n");
        }
        if rest.len() < size + 2 {
            return false;
        }
        rest = &rest[size + 2..];
    }
}
