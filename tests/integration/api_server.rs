//! A Kubernetes API server that sends exactly what a test wants, over plain HTTP or TLS.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

/// The parts of a request that tests check.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// With the query.
    pub(crate) path: String,
    pub(crate) body: String,
    pub(crate) token: Option<String>,
    /// Counted over all connections, from 0.
    pub(crate) number: usize,
}

impl Request {
    pub(crate) fn is_watch(&self) -> bool {
        self.path.contains("watch=1")
    }
}

/// The server's reaction to a request.
pub(crate) enum Answer {
    Json(u16, Value),
    /// With one more header.
    JsonWith(u16, &'static str, Value),
    /// Events of a watch, then silence until the client or the server ends it.
    Watch(Vec<Value>),
    /// Events of a watch, then its end.
    WatchThenEnd(Vec<Value>),
    /// Events of a watch, the last after a pause; then silence.
    WatchLater(Duration, Value),
    /// An event of a watch, which breaks off after this many bytes. The answer ends with it, or the connection alone.
    WatchCut {
        event: Value,
        bytes: usize,
        ends: bool,
    },
    /// The end of the connection, without an answer.
    Close,
    /// This text as a body of status 200.
    Text(String),
}

type Handler = Arc<dyn Fn(&Request) -> Answer + Send + Sync>;

pub(crate) struct ApiServer {
    pub(crate) address: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
    handler: Handler,
    requests: Arc<Mutex<Vec<Request>>>,
    count: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
    connections: Arc<Mutex<Vec<TcpStream>>>,
}

impl ApiServer {
    pub(crate) fn new(handler: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        Self::with(None, handler)
    }

    pub(crate) fn with(
        tls: Option<ServerConfig>,
        handler: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            tls: tls.map(Arc::new),
            handler: Arc::new(handler),
            requests: Arc::default(),
            count: Arc::default(),
            stopped: Arc::default(),
            connections: Arc::default(),
        };
        server.accept(listener, server.tls.clone());
        server
    }

    fn accept(&self, listener: TcpListener, tls: Option<Arc<ServerConfig>>) {
        let handler = Arc::clone(&self.handler);
        let (requests, count) = (Arc::clone(&self.requests), Arc::clone(&self.count));
        let (stopped, connections) = (Arc::clone(&self.stopped), Arc::clone(&self.connections));
        thread::spawn(move || {
            for socket in listener.incoming() {
                let socket = socket.unwrap();
                if stopped.load(SeqCst) {
                    return;
                }
                let closing = socket.try_clone().unwrap();
                connections.lock().unwrap().push(socket.try_clone().unwrap());
                let (tls, handler) = (tls.clone(), Arc::clone(&handler));
                let (requests, count) = (Arc::clone(&requests), Arc::clone(&count));
                thread::spawn(move || {
                    match tls {
                        None => serve(socket, &handler, &requests, &count),
                        Some(config) => {
                            let session = ServerConnection::new(config).unwrap();
                            serve(StreamOwned::new(session, socket), &handler, &requests, &count);
                        }
                    }
                    let _ = closing.shutdown(std::net::Shutdown::Both);
                });
            }
        });
    }

    /// Ends all connections and stops listening.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, SeqCst);
        // Wake the accept loop.
        drop(TcpStream::connect(self.address));
        for connection in self.connections.lock().unwrap().drain(..) {
            let _ = connection.shutdown(std::net::Shutdown::Both);
        }
    }

    /// Listens again on the same port.
    pub(crate) fn start_again(&self) {
        self.start_again_with(self.tls.clone());
    }

    /// The same, with another certificate.
    pub(crate) fn start_again_with(&self, tls: Option<Arc<ServerConfig>>) {
        let listener = loop {
            match TcpListener::bind(self.address) {
                Ok(listener) => break listener,
                Err(_) => thread::sleep(Duration::from_millis(20)),
            }
        };
        self.stopped.store(false, SeqCst);
        self.accept(listener, tls);
    }

    pub(crate) fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(
    mut stream: impl Read + Write,
    handler: &Handler,
    requests: &Mutex<Vec<Request>>,
    count: &AtomicUsize,
) {
    while let Some(head) = head(&mut stream) {
        let [method, path] = [0, 1].map(|word| head.split(' ').nth(word).unwrap().to_owned());
        let Some(body) = body(&mut stream, &head) else { return };
        let token =
            head.lines().find_map(|line| line.strip_prefix("authorization: Bearer ").map(ToOwned::to_owned));
        let request = Request { method, path, body, token, number: count.fetch_add(1, SeqCst) };
        requests.lock().unwrap().push(request.clone());
        if answer(&mut stream, handler(&request)).is_err() {
            return;
        }
    }
}

fn head(stream: &mut impl Read) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    Some(String::from_utf8(head).unwrap())
}

/// The body that follows a head.
fn body(stream: &mut impl Read, head: &str) -> Option<String> {
    let head = head.to_ascii_lowercase();
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let mut body = Vec::new();
    if field("transfer-encoding:") == Some("chunked") {
        loop {
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).ok()?;
                line.push(byte[0]);
            }
            let size = usize::from_str_radix(std::str::from_utf8(&line).ok()?.trim(), 16).ok()?;
            let mut chunk = vec![0; size + 2];
            stream.read_exact(&mut chunk).ok()?;
            if size == 0 {
                break;
            }
            body.extend_from_slice(&chunk[..size]);
        }
    } else if let Some(length) = field("content-length:") {
        body.resize(length.parse().ok()?, 0);
        stream.read_exact(&mut body).ok()?;
    }
    String::from_utf8(body).ok()
}

/// Answers; an error is the end of the connection.
fn answer(stream: &mut (impl Read + Write), answer: Answer) -> io::Result<()> {
    let events = |events: Vec<Value>| {
        let lines = events.into_iter().map(|event| format!("{event}\n"));
        let chunks: Vec<String> = lines.map(|line| format!("{:x}\r\n{line}\r\n", line.len())).collect();
        chunks.concat()
    };
    let begin = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    let hang = |stream: &mut dyn Read| {
        while matches!(stream.read(&mut [0]), Ok(1)) {}
        Err(io::Error::other("the client has gone"))
    };
    match answer {
        Answer::Json(status, body) => json_with(stream, status, "", &body.to_string()),
        Answer::JsonWith(status, header, body) => json_with(stream, status, header, &body.to_string()),
        Answer::Text(body) => json_with(stream, 200, "", &body),
        Answer::Watch(list) => {
            write!(stream, "{begin}{}", events(list))?;
            stream.flush()?;
            hang(stream)
        }
        Answer::WatchThenEnd(list) => {
            write!(stream, "{begin}{}0\r\n\r\n", events(list))?;
            stream.flush()
        }
        Answer::WatchLater(pause, event) => {
            write!(stream, "{begin}")?;
            stream.flush()?;
            thread::sleep(pause);
            write!(stream, "{}", events(vec![event]))?;
            stream.flush()?;
            hang(stream)
        }
        Answer::WatchCut { event, bytes, ends } => {
            let line = event.to_string();
            write!(stream, "{begin}{bytes:x}\r\n{}\r\n", &line[..bytes])?;
            if ends {
                write!(stream, "0\r\n\r\n")?;
                return stream.flush();
            }
            stream.flush()?;
            Err(io::Error::other("as the test wants"))
        }
        Answer::Close => Err(io::Error::other("as the test wants")),
    }
}

fn json_with(stream: &mut impl Write, status: u16, header: &str, body: &str) -> io::Result<()> {
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status} x\r\nContent-Type: application/json\r\n{header}Content-Length: {length}\r\n\r\n{body}"
    )?;
    stream.flush()
}

/// A list of objects, at a version.
pub(crate) fn list(version: &str, items: &[Value]) -> Answer {
    Answer::Json(200, json!({"metadata": {"resourceVersion": version}, "items": items}))
}

pub(crate) fn event(kind: &str, object: &Value) -> Value {
    json!({"type": kind, "object": object})
}

/// The answer of the API to a failed request.
pub(crate) fn status(code: u16, message: &str) -> Value {
    json!({"kind": "Status", "status": "Failure", "code": code, "message": message})
}
