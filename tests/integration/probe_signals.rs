//! `probe` and signals, in a process of its own: a signal to this process would reach all tests.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use crate::support::tools;

#[test]
fn an_observer_that_is_interrupted_prints_its_summary() {
    if !tools::are_there(&["kill"]) {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_kube-probesim"));
    command.args(["probe", "--every=50ms", &address]).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    // The first attempt has ended, so signal handlers are installed. Without the signal, `probe` would not end.
    out.read_line(&mut text).unwrap();
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    out.read_to_string(&mut text).unwrap();
    assert!(text.contains("availability 100.000%") && text.contains("latency p50 "), "{text}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
