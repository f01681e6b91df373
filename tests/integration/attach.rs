//! `attach`: the port of a running application is taken over and given back.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod refusals;
mod tcp;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::PATIENCE;
use crate::support::authority::Authority;
use crate::support::process::{Process, program, signal};
use crate::support::tools;

/// A running `attach`.
struct Attached {
    child: Child,
    lines: BufReader<ChildStdout>,
    /// Where it listens, and its admin listener.
    address: SocketAddr,
    admin: SocketAddr,
}

impl Attached {
    /// Attaches to `port`; the test is skipped if this machine does not allow it.
    fn start(port: u16, options: &str) -> Option<Self> {
        Self::start_with(port, options, &[])
    }

    fn start_with(port: u16, options: &str, variables: &[(&str, &str)]) -> Option<Self> {
        let mut command = attach(port, options);
        command.envs(variables.iter().copied());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let first = line(&mut lines);
        if first.get("refused").is_some() {
            child.wait().unwrap();
            tools::skip(&format!("attach is refused: {first}"));
            return None;
        }
        let of = |value: &Value| value.as_str().unwrap().parse().unwrap();
        let attached = &first["attached"];
        let (address, admin) = (of(&attached["listen"][0]), of(&attached["admin"]));
        assert_eq!(attached["upstream"], format!("127.0.0.1:{port}"));
        Some(Self { child, lines, address, admin })
    }

    /// Its last line, once it has ended.
    fn released(mut self) -> Value {
        let last = line(&mut self.lines)["released"].clone();
        assert!(self.child.wait().unwrap().success());
        last
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn attach(port: u16, options: &str) -> std::process::Command {
    let mut command = program();
    command.args(["attach", "--port", &port.to_string()]).args(options.split_whitespace());
    command
}

fn line(lines: &mut impl BufRead) -> Value {
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
}

/// The exit code, and the last line of standard output.
fn run(port: u16, options: &str) -> (i32, Value) {
    let output = attach(port, options).output().unwrap();
    let last = output.stdout.split_inclusive(|byte| *byte == b'\n').next_back().unwrap_or_default();
    (output.status.code().unwrap(), serde_json::from_slice(last).unwrap_or_default())
}

/// An application that listens on all addresses: this program.
fn application(port: u16) -> Process {
    Process::start(&[("PORT", &port.to_string()), ("POD_NAME", "application")])
}

fn send(stream: &mut TcpStream, agent: &str, connection: &str) {
    write!(stream, "GET / HTTP/1.1\r\nhost: a\r\nuser-agent: {agent}\r\nconnection: {connection}\r\n\r\n")
        .unwrap();
}

/// The status of an answer to a request of `agent` over a new connection.
fn status_for(address: SocketAddr, agent: &str) -> u16 {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    send(&mut stream, agent, "close");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer[9..12].parse().unwrap()
}

fn status(address: SocketAddr) -> u16 {
    status_for(address, "curl")
}

/// A change of the running service by `fault`, and what it says of an error.
fn fault(attached: &Attached, words: &str) -> Result<(), String> {
    let admin = format!("--admin={}", attached.admin);
    let output = program().arg("fault").args(words.split_whitespace()).arg(admin).output().unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8(output.stderr).unwrap()) }
}

#[test]
fn new_connections_pass_the_rule_until_the_signal_and_reach_the_application_again_after_it() {
    let application = application(0);
    let port = application.probe.port();
    let Some(attached) = Attached::start(port, "--status 503 --name down") else { return };
    let address = attached.address;
    assert_eq!((status(address), status(application.probe)), (503, 200), "loopback goes around the proxy");
    assert_eq!(status_for(address, "kube-probe/1.36"), 200, "the kubelet is spared");
    let metrics = application.get(attached.admin, "/metrics").unwrap();
    assert!(metrics.contains("fault=\"down\""), "{metrics}");
    signal(&attached.child, "TERM");
    let released = attached.released();
    assert_eq!(status(address), 200);
    let expected = serde_json::json!({
        "reason": "stop",
        "totals": [{"rule": "down", "eligible": 1, "injected": 1}],
        "next_connection": "application",
    });
    assert_eq!(released, expected);
    // Nothing is left on the socket: it can be taken once more.
    assert_eq!(run(port, "--dry-run").1["checked"]["method"], "copy");
}

#[test]
fn probes_are_included_on_request_and_the_time_limit_is_kept() {
    let application = application(0);
    let Some(attached) = Attached::start(application.probe.port(), "--status 418 --include-probes --for 1s")
    else {
        return;
    };
    let began = Instant::now();
    assert_eq!(status_for(attached.address, "kube-probe/1.36"), 418);
    assert_eq!(attached.released()["reason"], "time limit");
    assert!(began.elapsed() < Duration::from_secs(1) + PATIENCE);
}

#[test]
fn the_application_gets_the_fields_that_the_client_sent_and_no_others() {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let Some(attached) = Attached::start(listener.local_addr().unwrap().port(), "") else { return };
    // With a body, it is forwarded by other code.
    for body in ["", "content-length: 2\r\n\r\nhi"] {
        let head =
            "/orders?a=%20 HTTP/1.1\r\nHost: Shop.example\r\nX-Odd: v\r\nX-Odd: w\r\nuser-agent: x\r\n";
        let request = if body.is_empty() { format!("GET {head}\r\n") } else { format!("POST {head}{body}") };
        let mut client = TcpStream::connect(attached.address).unwrap();
        client.write_all(request.as_bytes()).unwrap();
        let (mut application, peer) = listener.accept().unwrap();
        assert_eq!(peer.ip(), attached.address.ip());
        application.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut received = vec![0; request.len()];
        application.read_exact(&mut received).unwrap();
        assert_eq!(String::from_utf8(received).unwrap(), request);
        application.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
        let mut status = [0; 12];
        client.read_exact(&mut status).unwrap();
        assert_eq!(&status, b"HTTP/1.1 200");
    }
}

#[test]
fn open_connections_stay_with_the_application_unless_they_are_to_end() {
    let application = application(0);
    let port = application.probe.port();
    let Some(attached) = Attached::start(port, "") else { return };
    let address = attached.address;
    signal(&attached.child, "INT");
    assert_eq!(attached.released()["reason"], "signal");
    let mut open = TcpStream::connect(address).unwrap();
    open.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut byte = [0];
    send(&mut open, "curl", "keep-alive");
    assert_eq!(open.read(&mut byte).unwrap(), 1);

    let attached = Attached::start(port, "--status 503").unwrap();
    send(&mut open, "curl", "close");
    let mut answers = String::new();
    open.read_to_string(&mut answers).unwrap();
    assert_eq!(
        (answers.matches("200 OK").count(), answers.matches("503 Service").count()),
        (2, 0),
        "{answers}"
    );
    drop(attached);

    let mut open = TcpStream::connect(address).unwrap();
    open.set_read_timeout(Some(PATIENCE)).unwrap();
    let _attached = Attached::start(port, "--existing").unwrap();
    assert!(matches!(open.read(&mut byte), Ok(0) | Err(_)), "it is still open");
    assert_eq!(status(address), 200);
}

#[test]
fn an_application_that_ends_finds_its_port_free_at_once() {
    let mut first = application(0);
    let port = first.probe.port();
    let Some(attached) = Attached::start(port, "") else { return };
    let _idle = TcpStream::connect(attached.address).unwrap();
    first.signal("KILL");
    first.end();
    let second = application(port);
    let released = attached.released();
    assert_eq!(
        (&released["reason"], &released["next_connection"]),
        (&"application ended".into(), &"application".into())
    );
    assert!(second.status("/").is_some());
}

#[test]
fn a_listener_that_the_application_closes_is_let_go() {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let Some(attached) = Attached::start(port, "") else { return };
    drop(listener);
    let released = attached.released();
    assert_eq!(released["reason"], "listener closed");
    assert_eq!(released["next_connection"], "refused");
}

#[test]
fn the_port_is_free_at_once_for_an_application_that_does_not_share_addresses() {
    // The standard library would set SO_REUSEADDR.
    let bound = |port: u16| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        socket.bind(&SocketAddr::from(([0, 0, 0, 0], port)).into())?;
        socket.listen(16).map(|()| socket)
    };
    let application = bound(0).unwrap();
    let port = application.local_addr().unwrap().as_socket().unwrap().port();
    let Some(mut attached) = Attached::start(port, "") else { return };
    drop(application);
    let began = Instant::now();
    let again = loop {
        match bound(port) {
            Ok(socket) => break socket,
            Err(error) => assert!(began.elapsed() < PATIENCE, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(attached.child.try_wait().unwrap().is_none(), "the port was kept until the end");
    assert_eq!(attached.released()["reason"], "listener closed");
    drop(again);
}

#[test]
fn clients_of_tls_reach_the_application_which_speaks_it_itself() {
    let authority = Authority::new();
    let (chain, key) = authority.pem_files(&["app.test"]);
    let variables = [("TLS_CERT_FILE", chain.to_str().unwrap()), ("TLS_KEY_FILE", key.to_str().unwrap())];
    let application = Process::start(&variables);
    let Some(attached) = Attached::start(application.probe.port(), "--status 503") else { return };
    let over_tls = || {
        let name = "app.test".try_into().unwrap();
        let mut session = rustls::ClientConnection::new(authority.client_config(&["client"]), name).unwrap();
        let mut socket = TcpStream::connect(attached.address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut stream = rustls::Stream::new(&mut session, &mut socket);
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    for _ in 0..2 {
        assert!(over_tls().starts_with("HTTP/1.1 200"), "{}", over_tls());
    }
    assert_eq!(status(attached.address), 503, "rules act on requests without TLS");
    signal(&attached.child, "TERM");
    assert_eq!(attached.released()["next_connection"], "application");
}
