//! A bare epoll loop: the least a server on this kernel can cost. With a delay, one timerfd and a heap: the most exact
//! a server on this kernel can be.
//!
//! `epoll-server PORT [DELAY_MS]`

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

const KEEP: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok";
const CLOSE: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";

const LISTENER: u64 = 0;
const TIMER: u64 = 1;
const FIRST_CONNECTION: u64 = 2;

struct Connection {
    socket: TcpStream,
    /// Bytes of a head that is not complete.
    head: Vec<u8>,
}

/// An answer that is due later.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: Instant,
    connection: u64,
    close: bool,
}

struct Server {
    epoll: OwnedFd,
    timer: OwnedFd,
    listener: TcpListener,
    delay: Option<Duration>,
    connections: HashMap<u64, Connection>,
    next: u64,
    due: BinaryHeap<Reverse<Due>>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let port: u16 = args.next().ok_or("epoll-server PORT [DELAY_MS]")?.parse()?;
    let delay = args.next().map(|ms| ms.parse()).transpose()?.map(Duration::from_millis);
    Server::new(port, delay)?.run()?;
    Ok(())
}

impl Server {
    fn new(port: u16, delay: Option<Duration>) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        let listener = TcpListener::bind(("127.0.0.1", port))?;
        rustix::net::listen(&listener, 4096)?;
        listener.set_nonblocking(true)?;
        epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
        epoll::add(&epoll, &timer, EventData::new_u64(TIMER), EventFlags::IN)?;
        Ok(Self {
            epoll,
            timer,
            listener,
            delay,
            connections: HashMap::new(),
            next: FIRST_CONNECTION,
            due: BinaryHeap::new(),
        })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(256);
        loop {
            epoll::wait(&self.epoll, spare_capacity(&mut events), None)?;
            for event in events.drain(..) {
                match event.data.u64() {
                    LISTENER => self.accept()?,
                    TIMER => self.fire()?,
                    id => self.read(id)?,
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            match self.listener.accept() {
                Ok((socket, _)) => {
                    socket.set_nonblocking(true)?;
                    epoll::add(&self.epoll, &socket, EventData::new_u64(self.next), EventFlags::IN)?;
                    self.connections.insert(self.next, Connection { socket, head: Vec::new() });
                    self.next += 1;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn read(&mut self, id: u64) -> io::Result<()> {
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        let mut buffer = [0; 2048];
        let count = match connection.socket.read(&mut buffer) {
            Ok(0) => 0,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(_) => 0,
        };
        let bytes = &buffer[..count];
        // The usual case is a whole head at once, which needs no copy.
        let close = if count == 0 {
            self.connections.remove(&id);
            return Ok(());
        } else if connection.head.is_empty() && bytes.ends_with(b"\r\n\r\n") {
            asks_to_close(bytes)
        } else {
            connection.head.extend_from_slice(bytes);
            if !connection.head.ends_with(b"\r\n\r\n") {
                return Ok(());
            }
            let close = asks_to_close(&connection.head);
            connection.head.clear();
            close
        };
        let Some(delay) = self.delay else {
            self.answer(id, close);
            return Ok(());
        };
        let due = Due { at: Instant::now() + delay, connection: id, close };
        let earliest = self.due.peek().is_none_or(|Reverse(first)| due.at < first.at);
        self.due.push(Reverse(due));
        if earliest { self.arm() } else { Ok(()) }
    }

    fn answer(&mut self, id: u64, close: bool) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let sent = connection.socket.write_all(if close { CLOSE } else { KEEP });
        if close || sent.is_err() {
            self.connections.remove(&id);
        }
    }

    fn fire(&mut self) -> io::Result<()> {
        let mut expirations = [0; 8];
        let _ = rustix::io::read(&self.timer, &mut expirations);
        while let Some(Reverse(due)) = self.due.peek() {
            if due.at > Instant::now() {
                return self.arm();
            }
            let (id, close) = (due.connection, due.close);
            self.due.pop();
            self.answer(id, close);
        }
        Ok(())
    }

    /// Sets the timer to the first answer that is due.
    fn arm(&self) -> io::Result<()> {
        let Some(Reverse(first)) = self.due.peek() else { return Ok(()) };
        // Zero would disarm it.
        let wait = first.at.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value = Timespec { tv_sec: wait.as_secs().cast_signed(), tv_nsec: wait.subsec_nanos().into() };
        timerfd_settime(
            &self.timer,
            TimerfdTimerFlags::empty(),
            &Itimerspec { it_interval: zero, it_value: value },
        )?;
        Ok(())
    }
}

fn asks_to_close(head: &[u8]) -> bool {
    head.windows(17).any(|window| window.eq_ignore_ascii_case(b"connection: close"))
}
