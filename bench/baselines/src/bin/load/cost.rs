//! As many requests as the server answers, each connection with one under way.

use std::error::Error;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};

use super::Goal;
use super::connection::{Connection, Received};

/// When a run is over.
#[derive(Clone, Copy)]
pub enum End {
    /// After so many answers.
    Requests(u64),
    /// After so long.
    After(Duration),
}

/// Runs and gives the figures as JSON: `busy` is the share of its core that this client took.
pub fn run(goal: &Goal, count: usize, end: End, close: bool) -> Result<String, Box<dyn Error>> {
    let request = goal.request(close);
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let open = |index: usize| -> Result<Connection, Box<dyn Error>> {
        let connection = Connection::open(goal.address)?;
        epoll::add(&epoll, &connection.socket, EventData::new_u64(index as u64), EventFlags::IN)?;
        Ok(connection)
    };
    let mut connections = (0..count).map(open).collect::<Result<Vec<_>, _>>()?;
    let (began, cpu) = (Instant::now(), cpu_time()?);
    for connection in &mut connections {
        connection.send(&request)?;
    }
    let (mut answered, mut failed) = (0_u64, 0_u64);
    let mut events = Vec::with_capacity(count);
    let over = |answered| match end {
        End::Requests(requests) => answered >= requests,
        End::After(length) => began.elapsed() >= length,
    };
    while !over(answered) {
        epoll::wait(&epoll, spare_capacity(&mut events), None)?;
        for event in events.drain(..) {
            let index = event.data.u64() as usize;
            let connection = &mut connections[index];
            match connection.receive()? {
                Received::Part => {}
                Received::Answer(status) => {
                    answered += 1;
                    failed += u64::from(status != 200);
                    if !close {
                        connection.send(&request)?;
                    }
                }
                Received::End if close => {
                    connections[index] = open(index)?;
                    connections[index].send(&request)?;
                }
                Received::End => return Err("the server closed a connection that was to be kept".into()),
            }
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let busy = cpu_time()?.saturating_sub(cpu).as_secs_f64() / seconds;
    Ok(format!(r#"{{"requests": {answered}, "failed": {failed}, "seconds": {seconds}, "busy": {busy}}}"#))
}

/// CPU time of this thread, to the nanosecond.
fn cpu_time() -> Result<Duration, Box<dyn Error>> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = text.split(' ').next().ok_or("schedstat is empty")?.parse()?;
    Ok(Duration::from_nanos(nanoseconds))
}
