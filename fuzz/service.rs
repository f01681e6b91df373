//! The service in a thread of its own, and clients of it.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use kube_probesim::env;
use kube_probesim::server::{Server, Signals};
use kube_probesim::sources::start::EarlierStarts;
use tokio::signal::unix::{SignalKind, signal};

/// Longer than the service takes over any input.
const PATIENCE: Duration = Duration::from_secs(20);

/// Starts the service with these variables besides its ports.
pub(super) fn start(variables: &[(&str, &str)]) -> SocketAddr {
    let ports = [("PORT", "0"), ("ADMIN_ADDRESS", "127.0.0.1:0")];
    let all = ports.iter().chain(variables);
    let variables: Vec<_> = all.map(|(name, value)| (OsString::from(name), OsString::from(value))).collect();
    let config = env::load(variables.into_iter()).expect("a configuration").config;
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            // libFuzzer's `main` does not ignore SIGPIPE, as that of Rust does.
            let _pipe = signal(SignalKind::pipe());
            let kept = EarlierStarts::open(config.files.state.as_deref());
            let server = Server::bind(config, kept).expect("ports");
            let _ = tell.send(server.probe_addr().port());
            let _ = server.run(Signals::once(std::future::pending())).await;
        });
    });
    SocketAddr::from(([127, 0, 0, 1], told.recv().expect("a port")))
}

/// A client of the service.
pub(super) struct Connection(TcpStream);

impl Connection {
    pub(super) fn to(service: SocketAddr) -> Self {
        let stream = TcpStream::connect(service).expect("the service listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        stream.set_nodelay(true).expect("small segments");
        Self(stream)
    }

    /// Sends as much as the service takes: it may refuse a request before it has come whole.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes);
    }

    /// Reads until what was read ends in `end`.
    pub(super) fn read_until(&mut self, end: &[u8]) {
        let (mut got, mut byte) = (Vec::new(), [0]);
        while !got.ends_with(end) {
            self.0.read_exact(&mut byte).expect("an answer");
            got.push(byte[0]);
        }
    }

    /// Ends the own side, and reads to the end.
    pub(super) fn finish(self) -> Vec<u8> {
        let _ = self.0.shutdown(Shutdown::Write);
        self.read_to_end()
    }

    /// Reads to the end.
    pub(super) fn read_to_end(mut self) -> Vec<u8> {
        let (mut got, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            match self.0.read(&mut buffer) {
                Ok(0) => return got,
                Ok(count) => got.extend_from_slice(&buffer[..count]),
                Err(error) => {
                    assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "the service never ends");
                    return got;
                }
            }
        }
    }
}
