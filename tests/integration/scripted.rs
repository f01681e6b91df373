//! Servers that send exactly the bytes that a test wants, over real sockets.

#![allow(dead_code, reason = "each test file needs another part of it")]
#![allow(clippy::unwrap_used, reason = "the lint knows test functions, not their helpers")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use kube_probesim::prober::{Outcome, Phase, Probe, ProbeResult};
use socket2::{Domain, SockRef, Socket, Type};

/// For attempts that are to end by themselves.
pub(crate) const LONG: Duration = Duration::from_secs(20);
/// For attempts that are to run out of time.
pub(crate) const SHORT: Duration = Duration::from_millis(300);

/// The behaviour of a server after its bytes.
#[derive(Clone, Copy)]
pub(crate) enum End {
    Fin,
    Reset,
    /// Nothing, until the client has gone.
    Hang,
}

pub(crate) use End::{Fin, Hang, Reset};

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    requests: Receiver<Vec<u8>>,
}

impl Server {
    /// Gives each connection one of the answers; all further connections get the last one.
    pub(crate) fn new(answers: &[(&[u8], End)]) -> Self {
        Self::on("127.0.0.1:0", answers)
    }

    pub(crate) fn on(address: &str, answers: &[(&[u8], End)]) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let answers: Vec<_> = answers.iter().map(|(bytes, end)| (bytes.to_vec(), *end)).collect();
        let (sender, requests) = channel();
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let (bytes, end) = answers[number.min(answers.len() - 1)].clone();
                let sender = sender.clone();
                std::thread::spawn(move || answer(stream.unwrap(), &bytes, end, &sender));
            }
        });
        Self { address, requests }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/p", self.address)
    }

    pub(crate) fn probe(&self, timeout: Duration) -> Outcome {
        attempt(&self.url(), &[], timeout)
    }

    pub(crate) fn request(&self) -> String {
        String::from_utf8(self.requests.recv_timeout(LONG).unwrap()).unwrap()
    }
}

/// Reads a head, hands it on, and answers.
fn answer(mut stream: TcpStream, bytes: &[u8], end: End, requests: &Sender<Vec<u8>>) {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(read @ 1..) => request.extend_from_slice(&buffer[..read]),
            _ => break,
        }
    }
    // Before the answer, which a redirect's next request may follow at once.
    let _ = requests.send(request);
    let _ = stream.write_all(bytes);
    match end {
        Fin => {}
        Reset => SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap(),
        Hang => while matches!(stream.read(&mut buffer), Ok(1..)) {},
    }
}

pub(crate) fn attempt(url: &str, headers: &[&str], timeout: Duration) -> Outcome {
    let headers = headers.iter().map(|header| header.parse().unwrap()).collect();
    let probe = Probe::parse(url, headers).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(probe.attempt(timeout))
}

/// The result of an attempt that gets this answer, without a short timeout.
pub(crate) fn judged(bytes: &[u8], end: End) -> Outcome {
    Server::new(&[(bytes, end)]).probe(LONG)
}

#[track_caller]
pub(crate) fn check(
    outcome: &Outcome,
    result: ProbeResult,
    phase: Phase,
    status: Option<u16>,
    message: &str,
) {
    assert_eq!(
        (outcome.result, outcome.phase, outcome.status, outcome.message.as_str()),
        (result, phase, status, message)
    );
}

pub(crate) const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
pub(crate) const AWAITING: &str =
    "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
pub(crate) const READING: &str =
    "context deadline exceeded (Client.Timeout or context cancellation while reading body)";

pub(crate) fn redirect(status: u16, location: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} Found\r\nLocation: {location}\r\nContent-Length: 4\r\n\r\nbody").into_bytes()
}

/// An address without a listener.
pub(crate) fn closed() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A listener whose queue is full, so that a connection attempt gets no answer.
pub(crate) fn silent() -> (Socket, Vec<TcpStream>, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut held = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        held.push(stream);
    }
    (socket, held, address)
}
