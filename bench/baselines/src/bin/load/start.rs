//! From exec to the first 200.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::Goal;

/// How long a service may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Starts the command on `core`, asks without a pause until it answers 200, ends it, and gives the time as JSON.
pub fn run(goal: &Goal, core: usize, command: &[&str]) -> Result<String, Box<dyn Error>> {
    if TcpStream::connect(goal.address).is_ok() {
        return Err(format!("something listens on {} already", goal.address).into());
    }
    let request = goal.request(true);
    // The child inherits the core; its parent goes back to its own.
    let own = sched_getaffinity(None)?;
    let mut one = CpuSet::new();
    one.set(core);
    sched_setaffinity(None, &one)?;
    let began = Instant::now();
    let spawned = Command::new(command[0])
        .args(&command[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    sched_setaffinity(None, &own)?;
    let mut child = spawned?;
    let took = loop {
        if let Ok(true) = ask(goal, &request) {
            break Ok(began.elapsed());
        }
        if began.elapsed() > PATIENCE {
            break Err("it does not answer 200");
        }
        if child.try_wait()?.is_some() {
            break Err("it has ended");
        }
    };
    child.kill()?;
    child.wait()?;
    Ok(format!(r#"{{"seconds": {}}}"#, took?.as_secs_f64()))
}

fn ask(goal: &Goal, request: &[u8]) -> io::Result<bool> {
    let mut socket = TcpStream::connect(goal.address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.write_all(request)?;
    let mut start = [0; 12];
    socket.read_exact(&mut start)?;
    Ok(start.ends_with(b" 200"))
}
