//! `probe` and the signals of its process.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::Stdio;

use crate::support::process::{program, signal};

#[test]
fn an_observer_that_is_interrupted_prints_its_summary() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let mut command = program();
    let mut observer =
        command.args(["probe", "--every=50ms", &address]).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(observer.stdout.take().unwrap());
    let mut text = String::new();
    out.read_line(&mut text).unwrap();
    // Without the signal it would not end.
    signal(&observer, "INT");
    out.read_to_string(&mut text).unwrap();
    assert!(text.contains("availability 100.000%") && text.contains("latency p50 "), "{text}");
    assert_eq!(observer.wait().unwrap().code(), Some(0));
}
