//! One direction of a connection.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::TcpProxy;
use super::buffers::SIZE;
use crate::fault::{Shape, Stream};
use crate::listener::budget::{BudgetShare, Reservation};
use crate::proxy::stream::UpstreamStream;

/// What is read where the memory does not suffice for more, in bytes.
const LITTLE: usize = 4 << 10;

/// A remainder up to this size is copied out of its buffer, so that a connection that waits holds little.
const COPIED: usize = 16 << 10;

/// What a chunk that waits takes beside its bytes.
const OVERHEAD: usize = 128;

/// Why a direction does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// The source broke off.
    Source,
    /// The sink broke off.
    Sink,
    /// There is no memory for what the connection would hold.
    Memory,
    /// A rule let no more than so many bytes pass.
    Truncated,
}

/// One direction of a connection.
pub(super) struct Pipe {
    stream: Stream,
    /// What was read and is not written yet.
    held: VecDeque<Chunk>,
    held_bytes: usize,
    /// The pieces in which the first of them leaves.
    pieces: VecDeque<(usize, Duration)>,
    /// How rules shape it.
    shape: Option<Box<Shape>>,
    end: End,
    /// Whether a rule stops it.
    is_hung: bool,
    /// How many bytes a rule still lets pass.
    limit: Option<u64>,
    /// When it goes on by itself, on the engine's clock.
    wakes_at: Option<Duration>,
}

/// Bytes that wait to be written.
struct Chunk {
    bytes: Box<[u8]>,
    from: usize,
    to: usize,
    /// When they were read, on the engine's clock.
    read_at: Duration,
    memory: Reservation,
}

/// How far the end of the source is.
enum End {
    /// It has not come.
    Open,
    /// It came at this time.
    Read(Duration),
    /// It leaves at this time.
    Due(Duration),
    /// The sink was told.
    Told,
}

impl Pipe {
    pub(super) const fn new(stream: Stream) -> Self {
        Self {
            stream,
            held: VecDeque::new(),
            held_bytes: 0,
            pieces: VecDeque::new(),
            shape: None,
            end: End::Open,
            is_hung: false,
            limit: None,
            wakes_at: None,
        }
    }

    /// Whether all has been passed on, the end included.
    pub(super) const fn is_done(&self) -> bool {
        matches!(self.end, End::Told)
    }

    /// When it goes on by itself, on the engine's clock.
    pub(super) const fn wakes_at(&self) -> Option<Duration> {
        self.wakes_at
    }

    /// How rules shape it.
    pub(super) fn shape(&self) -> Option<&Shape> {
        self.shape.as_deref()
    }

    /// Is shaped in another way from here on. What is held leaves as the new rules have it, counted from when it came in.
    pub(super) fn reshape(&mut self, shape: Option<Shape>) {
        self.shape = shape.map(Box::new);
        self.pieces.clear();
        if let End::Due(_) = self.end {
            self.end = End::Read(Duration::ZERO);
        }
    }

    /// Stops, or goes on.
    pub(super) const fn hang(&mut self, is_hung: bool) {
        self.is_hung = is_hung;
    }

    /// Lets so many bytes pass; all of them without a limit. One that goes on counts what has passed already.
    pub(super) const fn limit(&mut self, limit: Option<u64>, goes_on: bool) {
        if !(goes_on && limit.is_some() && self.limit.is_some()) {
            self.limit = limit;
        }
    }

    /// Passes bytes on until there are none, or the sink takes none. Ready when all is passed on, the end included.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut UpstreamStream,
        sink: &mut UpstreamStream,
        proxy: &TcpProxy,
    ) -> Poll<Result<(), Broken>> {
        self.wakes_at = None;
        if self.is_hung || self.is_done() {
            return if self.is_done() { Poll::Ready(Ok(())) } else { Poll::Pending };
        }
        loop {
            let write = self.poll_write(cx, sink, proxy)?;
            if !matches!(self.end, End::Open) {
                ready!(write);
                return self.poll_end(cx, sink, proxy);
            }
            let most = self.shape.as_ref().map_or(1, |shape| shape.most_held());
            if self.held_bytes >= most {
                return Poll::Pending;
            }
            ready!(self.poll_read(cx, source, sink, proxy))?;
        }
    }

    /// Writes what is held and due.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut UpstreamStream,
        proxy: &TcpProxy,
    ) -> Result<Poll<()>, Broken> {
        while let Some(chunk) = self.held.front_mut() {
            if self.pieces.is_empty() {
                let length = chunk.to - chunk.from;
                match &mut self.shape {
                    // One that is written, and waits in TLS, has no pieces.
                    Some(shape) if length > 0 => self.pieces.extend(shape.pieces(length, chunk.read_at)),
                    _ => self.pieces.push_back((length, Duration::ZERO)),
                }
            }
            let Some((length, due)) = self.pieces.front_mut() else { break };
            if *due > Duration::ZERO && *due > proxy.shared.engine.elapsed() {
                self.wakes_at = Some(*due);
                return Ok(Poll::Pending);
            }
            let allowed = self.limit.map_or(*length, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
            let end = chunk.from + allowed.min(*length);
            let (count, state) = write_all(cx, sink, &chunk.bytes[chunk.from..end]);
            chunk.from += count;
            *length -= count;
            self.held_bytes -= count;
            proxy.metrics.passed(self.stream, count);
            if let Some(limit) = &mut self.limit {
                *limit -= count as u64;
                // What waits in TLS is to be sent, too.
                if *limit == 0 && state.is_ready() {
                    return Err(Broken::Truncated);
                }
            }
            match state {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Err(Broken::Sink),
                Poll::Pending => return Ok(Poll::Pending),
            }
            self.pieces.pop_front();
            if chunk.from == chunk.to
                && let Some(chunk) = self.held.pop_front()
            {
                self.held_bytes -= OVERHEAD;
                proxy.shared.buffers.give(chunk.bytes);
            }
        }
        Ok(Poll::Ready(()))
    }

    /// Tells the sink that the source has ended, once that is due.
    fn poll_end(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut UpstreamStream,
        proxy: &TcpProxy,
    ) -> Poll<Result<(), Broken>> {
        if let End::Read(at) = self.end {
            self.end = End::Due(self.shape.as_mut().map_or(at, |shape| shape.end(at)));
        }
        if let End::Due(at) = self.end {
            if at > proxy.shared.engine.elapsed() {
                self.wakes_at = Some(at);
                return Poll::Pending;
            }
            ready!(Pin::new(sink).poll_shutdown(cx)).map_err(|_| Broken::Sink)?;
            self.end = End::Told;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once. Without a shape, writes as much of it as the sink takes.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut UpstreamStream,
        sink: &mut UpstreamStream,
        proxy: &TcpProxy,
    ) -> Poll<Result<(), Broken>> {
        let wanted = self.shape.as_ref().map_or(SIZE, |shape| shape.read_size());
        let budget = &proxy.shared.budget;
        let (memory, size) = if let Some(memory) = budget.reserve(charge(wanted), BudgetShare::Bulk) {
            (memory, wanted)
        } else {
            let little = wanted.min(LITTLE);
            (budget.reserve(charge(little), BudgetShare::Ordinary).ok_or(Broken::Memory)?, little)
        };
        let mut buffer = proxy.shared.buffers.take();
        let mut read = ReadBuf::new(&mut buffer[..size]);
        let polled = Pin::new(source).poll_read(cx, &mut read);
        let to = read.filled().len();
        if !matches!(polled, Poll::Ready(Ok(()))) || to == 0 {
            proxy.shared.buffers.give(buffer);
            ready!(polled).map_err(|_| Broken::Source)?;
            self.end = End::Read(self.now(proxy));
            return Poll::Ready(Ok(()));
        }
        proxy.metrics.received(self.stream, to);
        let mut from = 0;
        if let Some(shape) = &mut self.shape {
            shape.corrupt(&mut buffer[..to]);
        } else if self.limit.is_none() {
            let (count, state) = write_all(cx, sink, &buffer[..to]);
            proxy.metrics.passed(self.stream, count);
            match state {
                Poll::Ready(Ok(())) => {
                    proxy.shared.buffers.give(buffer);
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken::Sink)),
                Poll::Pending => from = count,
            }
        }
        let read_at = self.now(proxy);
        let chunk = Chunk { bytes: buffer, from, to, read_at, memory };
        self.keep(chunk, proxy);
        Poll::Ready(Ok(()))
    }

    /// The time on the engine's clock, where anything depends on it.
    fn now(&self, proxy: &TcpProxy) -> Duration {
        if self.shape.is_some() { proxy.shared.engine.elapsed() } else { Duration::ZERO }
    }

    fn keep(&mut self, mut chunk: Chunk, proxy: &TcpProxy) {
        let length = chunk.to - chunk.from;
        // Behind a shape, many chunks may wait.
        if length <= COPIED || self.shape.is_some() {
            let copy: Box<[u8]> = chunk.bytes[chunk.from..chunk.to].into();
            proxy.shared.buffers.give(std::mem::replace(&mut chunk.bytes, copy));
            (chunk.from, chunk.to) = (0, length);
            chunk.memory.shrink_to(charge(length));
        }
        self.held_bytes += length + OVERHEAD;
        self.held.push_back(chunk);
    }
}

/// What a chunk of so many bytes is charged. It was measured to take half as much again, since the allocator rounds sizes
/// up and keeps what others have freed.
const fn charge(length: usize) -> usize {
    length + length * 3 / 4 + OVERHEAD
}

/// Writes and flushes as much as the sink takes; gives how much that is, and whether it is all.
fn write_all(cx: &mut Context<'_>, sink: &mut UpstreamStream, bytes: &[u8]) -> (usize, Poll<io::Result<()>>) {
    let mut count = 0;
    while count < bytes.len() {
        match Pin::new(&mut *sink).poll_write(cx, &bytes[count..]) {
            Poll::Ready(Ok(0)) => return (count, Poll::Ready(Err(io::ErrorKind::WriteZero.into()))),
            Poll::Ready(Ok(written)) => count += written,
            Poll::Ready(Err(error)) => return (count, Poll::Ready(Err(error))),
            Poll::Pending => return (count, Poll::Pending),
        }
    }
    (count, Pin::new(sink).poll_flush(cx))
}
