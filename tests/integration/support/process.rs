//! The program as a process.
#![allow(dead_code, unreachable_pub, clippy::missing_panics_doc)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

pub use super::PATIENCE;

/// The program, with an empty environment.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kube-probesim"));
    command.env_clear();
    command
}

/// The service on free ports, with these variables.
pub fn command(vars: &[(&str, &str)]) -> Command {
    let mut command = program();
    command.envs([("PORT", "0"), ("ADMIN_ADDRESS", "127.0.0.1:0"), ("SEED", "42")]);
    command.envs(vars.iter().copied());
    command
}

/// A process that serves.
pub struct Process {
    pub child: Child,
    pub log: BufReader<ChildStdout>,
    pub started: serde_json::Value,
    pub probe: SocketAddr,
    pub admin: SocketAddr,
}

impl Process {
    pub fn start(vars: &[(&str, &str)]) -> Self {
        Self::of(command(vars))
    }

    pub fn of(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stdout.take().unwrap());
        let started = event(&mut log, "started");
        let port = |name: &str| -> u16 {
            started[name].as_str().unwrap().rsplit(':').next().unwrap().parse().unwrap()
        };
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let (probe, admin) = (local(port("probe")), local(port("admin")));
        let process = Self { child, log, started, probe, admin };
        process.until(|| process.get(process.admin, "/healthz").is_some());
        process
    }

    #[allow(clippy::unused_self)]
    pub fn until(&self, condition: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition() {
            assert!(Instant::now() < deadline, "never");
            sleep(Duration::from_millis(10));
        }
    }

    pub fn open(&self, path: &str) -> Option<TcpStream> {
        let mut stream = TcpStream::connect(self.probe).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").ok()?;
        Some(stream)
    }

    #[allow(clippy::unused_self)]
    pub fn get(&self, addr: SocketAddr, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(addr).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        (!text.is_empty()).then_some(text)
    }

    pub fn status(&self, path: &str) -> Option<u16> {
        self.get(self.probe, path)?.get(9..12)?.parse().ok()
    }

    pub fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    pub fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// Waits for its exit, and returns the time from now.
    pub fn end(&mut self) -> (ExitStatus, Duration) {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, began.elapsed());
            }
            assert!(began.elapsed() < PATIENCE, "it does not end");
            sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal, named without `SIG`.
pub fn signal(child: &Child, name: &str) {
    let signal = match name {
        "CONT" => Signal::CONT,
        "HUP" => Signal::HUP,
        "INT" => Signal::INT,
        "KILL" => Signal::KILL,
        "STOP" => Signal::STOP,
        "TERM" => Signal::TERM,
        _ => panic!("no signal {name}"),
    };
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// The next line of the log with this message.
pub fn event(log: &mut impl BufRead, message: &str) -> serde_json::Value {
    loop {
        let mut line = String::new();
        assert!(log.read_line(&mut line).unwrap() > 0, "the log ended without {message:?}");
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        if value["message"] == message {
            return value;
        }
    }
}
