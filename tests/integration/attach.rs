//! `attach`: the port of a running application is taken over and given back.

#![allow(clippy::unwrap_used, clippy::expect_used)]

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
fn what_cannot_be_taken_is_refused_with_the_reason_and_what_helps() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (code, line) = run(port, "--dry-run");
    let reason = line["refused"]["reason"].as_str().unwrap();
    assert_eq!(code, 78);
    assert!(reason.ends_with("which nobody outside the Pod can reach"), "{reason}");
    assert!(line["refused"]["remedy"].as_str().unwrap().contains("0.0.0.0"));
    drop(listener);
    assert_eq!(
        run(port, "").1["refused"]["reason"],
        format!("nobody listens on port {port} in this network namespace")
    );

    let application = application(0);
    let port = application.probe.port();
    let Some(attached) = Attached::start(port, "") else { return };
    let (code, line) = run(port, "");
    let reason = format!("process {} is attached to port {port} already", attached.child.id());
    assert_eq!((code, &line["refused"]["reason"]), (78, &reason.into()));
}

#[test]
fn a_dry_run_says_what_would_be_taken() {
    let application = application(0);
    let (code, line) = run(application.probe.port(), "--status 503 --dry-run");
    if line.get("refused").is_some() {
        return tools::skip(&format!("attach is refused: {line}"));
    }
    let checked = &line["checked"];
    assert_eq!((code, &checked["pid"]), (0, &application.child.id().into()));
    assert_eq!(checked["comm"], "kube-probesim");
    assert_eq!(application.status("/"), Some(200));
}

#[test]
fn wrong_rules_and_options_end_before_anything_is_taken() {
    for (options, error) in [
        ("--rate 101%", "the options of the rule: faults[0]"),
        ("--mode nonsense", "the options of the rule: faults[0]"),
        ("--admin nowhere", "--admin"),
        ("--file /no/such", "--file \"/no/such\" is not there"),
        ("--colour", "--colour is not an option of attach"),
        ("--protocol udp", "--protocol \"udp\" is not http or tcp"),
        ("--protocol tcp --status 503", "application-status"),
        ("--protocol tcp --path /orders", "match: applies to HTTP requests"),
        ("--stream upstream --delay 1s", "stream: applies to TCP proxies"),
    ] {
        let output = attach(1, options).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(64), 0), "{options}: {errors}");
        assert!(errors.contains(error), "{options}: {errors}");
    }
}

#[test]
fn rules_that_cannot_act_on_the_application_are_refused_by_the_file_and_by_the_api() {
    let application = application(0);
    let port = application.probe.port();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plan.yaml");
    let options = format!("--dry-run --file {}", file.display());
    for (target, reason) in [
        ("liveness", "in attach, where every request is traffic"),
        ("[readiness, startup]", "in attach, where every request is traffic"),
        ("process", "would act on attach itself"),
    ] {
        let mode = if target == "process" { "exit" } else { "hang" };
        std::fs::write(&file, format!("{{name: down, target: {target}, mode: {mode}}}")).unwrap();
        let output = attach(port, &options).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{errors}");
        let place = format!("--file {}: down: target=", file.display());
        assert!(errors.contains(&place) && errors.contains(reason), "{errors}");
    }
    let Some(attached) = Attached::start(port, "") else { return };
    let add = |rule: &str| {
        let admin = format!("--admin={}", attached.admin);
        let mut command = program();
        command.args(["fault", "add"]).args(rule.split_whitespace()).arg(admin);
        let output = command.output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    for (rule, reason) in [
        ("liveness --status 503", "target=\"liveness\": has no effect in attach"),
        ("process --mode exit", "target=\"process\": would act on attach itself"),
    ] {
        let (is_added, errors) = add(rule);
        assert!(!is_added && errors.contains(reason), "{rule}: {errors}");
    }
    assert_eq!(status(attached.address), 200);
    assert!(add("traffic --status 503").0);
    assert_eq!(status(attached.address), 503);
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

/// An application of another protocol than HTTP, on all addresses: it speaks first, then sends back what it gets.
fn echo() -> u16 {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let (mut read, mut write) = (&stream, &stream);
                write.write_all(b"hello\n").and_then(|()| std::io::copy(&mut read, &mut write))
            });
        }
    });
    port
}

/// A client of the application that has read its greeting.
fn greeted(address: SocketAddr) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut greeting = [0; 6];
    stream.read_exact(&mut greeting)?;
    assert_eq!(&greeting, b"hello\n");
    Ok(stream)
}

fn answers(mut stream: &TcpStream) -> bool {
    let mut answer = [0; 4];
    stream.write_all(b"ping").is_ok() && stream.read_exact(&mut answer).is_ok() && answer == *b"ping"
}

/// A change of the running service by `fault`, and what it says of an error.
fn fault(attached: &Attached, words: &str) -> Result<(), String> {
    let admin = format!("--admin={}", attached.admin);
    let output = program().arg("fault").args(words.split_whitespace()).arg(admin).output().unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8(output.stderr).unwrap()) }
}

#[test]
fn with_protocol_tcp_rules_act_on_connections_and_bytes_of_any_protocol() {
    let port = echo();
    let Some(attached) =
        Attached::start(port, "--protocol tcp --delay 300ms --stream upstream --name slow --include-probes")
    else {
        return;
    };
    let began = Instant::now();
    let open = greeted(attached.address).unwrap();
    assert!(answers(&open) && began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
    fault(&attached, "add application --mode reset --name cut").unwrap();
    assert!(greeted(attached.address).is_err());
    assert!(greeted(SocketAddr::from(([127, 0, 0, 1], port))).is_ok(), "loopback goes around the proxy");
    fault(&attached, "rm cut").unwrap();
    for (words, reason) in [
        (
            "add traffic --status 503",
            "has no effect in attach with --protocol tcp: use the target application",
        ),
        ("add listener --mode refuse", "has no effect in attach with --protocol tcp"),
        ("add application --status 503", "TCP"),
        ("rm slow", ""),
        ("proxy rm application", "it stays until attach ends"),
        ("proxy add application --listen :1 --upstream 127.0.0.1:1", "it stays until attach ends"),
    ] {
        let told = fault(&attached, words).err().unwrap_or_default();
        assert!(told.contains(reason) && told.is_empty() == reason.is_empty(), "{words}: {told}");
    }
    let open = greeted(attached.address).unwrap();
    let mut admin = TcpStream::connect(attached.admin).unwrap();
    admin.write_all(b"GET /metrics HTTP/1.0\r\nhost: localhost\r\n\r\n").unwrap();
    let mut metrics = String::new();
    admin.read_to_string(&mut metrics).unwrap();
    let counted = "probesim_proxy_bytes_total{proxy=\"application\",stream=\"upstream\"} 4\n";
    assert!(metrics.contains(counted), "{metrics}");
    signal(&attached.child, "TERM");
    // An open connection goes on during the drain, while new ones reach the application.
    assert!(answers(&open));
    drop(open);
    let address = attached.address;
    let released = attached.released();
    assert_eq!((&released["reason"], &released["next_connection"]), (&"stop".into(), &"application".into()));
    assert!(answers(&greeted(address).unwrap()));
}

#[test]
fn over_tcp_connections_of_the_node_are_spared_unless_probes_are_included() {
    let port = echo();
    let Some(attached) = Attached::start(port, "--protocol tcp") else { return };
    let address = attached.address;
    drop(attached);
    // Clients on this machine come from this address.
    let node = address.ip().to_string();
    for (options, rule, is_spared) in [
        ("", "--mode reset", true),
        ("", "--mode refuse", true),
        ("", "--mode drop", true),
        ("--include-probes", "--mode reset", false),
        ("--include-probes", "--mode refuse", false),
    ] {
        let options = format!("--protocol tcp {options} {rule}");
        let attached = Attached::start_with(port, &options, &[("NODE_IP", &node)]).unwrap();
        assert_eq!(greeted(address).is_ok(), is_spared, "{options}");
        drop(attached);
    }
}
