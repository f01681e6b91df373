//! `probe` and the signals of its process, alone in a process of its own.

#![allow(clippy::unwrap_used, reason = "the lint knows test functions, not their helpers")]

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::TcpListener;
use std::process::Command;

use kube_probesim::cli::probe::run;

/// Interrupts this process once the first line is out.
#[derive(Default)]
struct Interrupting {
    text: Vec<u8>,
    sent: bool,
}

impl Write for Interrupting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.sent {
            self.sent = true;
            let pid = std::process::id().to_string();
            assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        }
        Ok(())
    }
}

#[test]
fn an_observer_that_is_interrupted_prints_its_summary() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let mut out = Interrupting::default();
    // Without the signal the test would not end.
    let code = run(["--every=50ms", &address].map(OsString::from), [], &mut out, &mut io::sink());
    let text = String::from_utf8(out.text).unwrap();
    assert!(text.contains("availability 100.000%") && text.contains("latency p50 "), "{text}");
    assert_eq!(code, 0);
}
