//! A service on free ports, and clients that see bytes and socket errors.
#![allow(dead_code, unreachable_pub, clippy::missing_panics_doc)]

pub mod authority;
pub mod kubectl;
pub mod manifests;
pub mod process;
pub mod real_server;
pub mod tools;

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kube_probesim::cli;
use kube_probesim::env::{self, Config};
use kube_probesim::server::{Server, Signals};
use kube_probesim::sources::start::EarlierStarts;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// Longer than any expected event takes on a slow, shared machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A connection without data for this time counts as silent.
pub const SILENCE: Duration = Duration::from_millis(400);

/// A path of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The output of `predict`, run in this process. Asserts that it exits with 0 and prints no error.
pub fn predict(arguments: &[&str], input: &str) -> String {
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let arguments = arguments.iter().map(OsString::from);
    let code = cli::predict::run(
        arguments,
        &mut input.as_bytes(),
        &cli::predict::Terminal::default(),
        &mut output,
        &mut errors,
    );
    assert_eq!((code, String::from_utf8(errors).unwrap().as_str()), (0, ""));
    String::from_utf8(output).unwrap()
}

/// The configuration of these variables, on free ports.
pub fn config(vars: &[(&str, &str)]) -> Config {
    let basics = [("PORT", "0"), ("ADMIN_ADDRESS", "127.0.0.1:0"), ("SEED", "42")];
    let basics = basics.iter().filter(|(name, _)| vars.iter().all(|(other, _)| other != name));
    let pairs = basics.chain(vars).map(|(name, value)| (OsString::from(name), OsString::from(value)));
    env::load(pairs).unwrap_or_else(|errors| panic!("{errors}")).config
}

/// A running service.
pub struct Service {
    pub probe: SocketAddr,
    pub admin: SocketAddr,
    /// The address of toxiproxy's API.
    pub toxiproxy: Option<SocketAddr>,
    stop: oneshot::Sender<()>,
    running: JoinHandle<()>,
}

impl Service {
    pub async fn start(vars: &[(&str, &str)]) -> Self {
        Self::start_with(config(vars)).await
    }

    pub async fn start_with(config: Config) -> Self {
        let service = Self::run(config);
        // The admin listener opens after the probe listener.
        eventually("the admin listener answers", || async {
            get(service.admin, "/healthz").await.ok_status() == Some(200)
        })
        .await;
        service
    }

    /// A service whose admin listener does not answer plain HTTP with 200.
    pub async fn start_unchecked(vars: &[(&str, &str)]) -> Self {
        let service = Self::run(config(vars));
        eventually("the admin listener answers", || async {
            get(service.admin, "/healthz").await.ok_status().is_some()
        })
        .await;
        service
    }

    fn run(config: Config) -> Self {
        let kept = EarlierStarts::open(config.files.state.as_deref());
        let server = Server::bind(config, kept).unwrap();
        let local = |addr: SocketAddr| SocketAddr::from(([127, 0, 0, 1], addr.port()));
        let (probe, admin) = (local(server.probe_addr()), local(server.admin_addr()));
        let toxiproxy = server.toxiproxy_addr();
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(async move {
            let shutdown = async {
                let _ = stopped.await;
            };
            server.run(Signals::once(shutdown)).await.unwrap();
        });
        Self { probe, admin, toxiproxy, stop, running }
    }

    /// A service in a process of its own, which shares no memory, descriptors or runtime with the test.
    pub async fn start_process(vars: &[(&str, &str)]) -> Self {
        let command = process::command(vars);
        let mut process = tokio::task::spawn_blocking(|| process::Process::of(command)).await.unwrap();
        let (probe, admin) = (process.probe, process.admin);
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(async move {
            let _ = stopped.await;
            process.signal("TERM");
            tokio::task::spawn_blocking(move || process.end()).await.unwrap();
        });
        Self { probe, admin, toxiproxy: None, stop, running }
    }

    pub async fn get(&self, path: &str) -> Reply {
        get(self.probe, path).await
    }

    /// The text of `/metrics`, without a timeout.
    pub async fn metrics(&self) -> String {
        let mut stream = TcpStream::connect(self.admin).await.unwrap();
        stream.write_all(request("/metrics").as_bytes()).await.unwrap();
        read_until_silent(&mut stream, PATIENCE).await.body()
    }

    /// The sum of all series whose line begins with `name` and holds each of `labels`.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        sum(&self.metrics().await, name, labels)
    }

    /// Calls the admin API, and returns the status and the answer as JSON; null if it is not JSON.
    pub async fn api(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let reply = call(self.admin, method, path, "content-type: application/json\r\n", body).await;
        (reply.status(), serde_json::from_str(&reply.body()).unwrap_or_default())
    }

    /// The address of the proxy of this name.
    pub async fn proxy(&self, name: &str) -> SocketAddr {
        let (status, proxy) = self.api("GET", &format!("/v1/proxies/{name}"), &Value::Null).await;
        assert_eq!(status, 200, "{proxy}");
        proxy["address"].as_str().unwrap().parse().unwrap()
    }

    /// Ends the service and returns how long that took.
    pub async fn stop(self) -> Duration {
        let began = Instant::now();
        self.stop.send(()).unwrap();
        timeout(PATIENCE, self.running).await.expect("the service ends").unwrap();
        began.elapsed()
    }
}

/// Sends a request with a JSON body, or without a body if it is null.
pub async fn call(addr: SocketAddr, method: &str, path: &str, headers: &str, body: &Value) -> Reply {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}"
    );
    exchange(addr, request).await
}

/// The sum of all series of `metrics` called `name` that have each of `labels`, such as `code="200"`.
pub fn sum(metrics: &str, name: &str, labels: &[&str]) -> f64 {
    let series = metrics.lines().filter(|line| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
            && labels.iter().all(|label| line.contains(label))
    });
    series.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

/// How a connection ended, as its client saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Fin,
    Reset,
    /// No data for the reader's time limit.
    Silence,
}

/// Everything a client received.
#[derive(Clone, Debug)]
pub struct Reply {
    pub bytes: Vec<u8>,
    pub end: End,
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub fn ok_status(&self) -> Option<u16> {
        self.text().strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
    }

    pub fn status(&self) -> u16 {
        self.ok_status().unwrap_or_else(|| panic!("no status in {:?}", self.text()))
    }

    pub fn head(&self) -> String {
        self.text().split_once("\r\n\r\n").map(|(head, _)| head.to_owned()).expect("a whole head")
    }

    pub fn header(&self, name: &str) -> Option<String> {
        let head = self.head();
        let lines = head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    }

    pub fn body(&self) -> String {
        self.text().split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).expect("a whole head")
    }
}

pub fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")
}

/// A request as the kubelet makes it.
pub fn kubelet_request(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: 10.0.0.1:8080\r\nUser-Agent: kube-probe/1.36\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    )
}

pub async fn get(addr: SocketAddr, path: &str) -> Reply {
    exchange(addr, request(path)).await
}

/// Sends bytes on a new connection and reads to its end. A connection that fails counts as reset.
pub async fn exchange(addr: SocketAddr, request: impl AsRef<[u8]>) -> Reply {
    match TcpStream::connect(addr).await {
        Ok(mut stream) => {
            // The server may have reset it already.
            let _ = stream.write_all(request.as_ref()).await;
            read_to_end(&mut stream).await
        }
        Err(_) => Reply { bytes: Vec::new(), end: End::Reset },
    }
}

/// Reads until the connection ends or falls silent.
pub async fn read_to_end(stream: &mut TcpStream) -> Reply {
    read_until_silent(stream, SILENCE).await
}

/// Reads until the connection ends, or is silent for that long.
pub async fn read_until_silent(stream: &mut TcpStream, silence: Duration) -> Reply {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 65_536];
    let end = loop {
        match timeout(silence, stream.read(&mut buffer)).await {
            Err(_) => break End::Silence,
            Ok(Ok(0)) => break End::Fin,
            Ok(Ok(count)) => bytes.extend_from_slice(&buffer[..count]),
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => break End::Reset,
            Ok(Err(error)) => panic!("{error}"),
        }
    };
    Reply { bytes, end }
}

/// Waits for a condition, at most [`PATIENCE`].
pub async fn eventually<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < deadline, "never: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}
