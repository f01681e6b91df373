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

/// Size of a read if there is no memory for a larger one, in bytes.
const SMALL_READ: usize = 4 << 10;

/// A remainder of up to this many bytes is copied out of its buffer, so that waiting connections hold little memory.
const MAX_COPY: usize = 16 << 10;

/// Memory of a waiting chunk in addition to its bytes.
const OVERHEAD: usize = 128;

/// Why relaying in one direction stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// The source failed.
    Source,
    /// The sink failed.
    Sink,
    /// There is no memory for the bytes to hold.
    Memory,
    /// The limit of a rule is reached.
    Truncated,
}

/// One direction of a connection.
pub(super) struct Pipe {
    stream: Stream,
    /// Bytes that were read and not written yet.
    held: VecDeque<Chunk>,
    held_bytes: usize,
    /// Lengths and due times of the pieces of the first chunk.
    pieces: VecDeque<(usize, Duration)>,
    /// Delay, throttle, slice and corruption by rules.
    shape: Option<Box<Shape>>,
    end: End,
    /// Whether a rule hangs this direction.
    is_hung: bool,
    /// How many more bytes a rule lets pass.
    limit: Option<u64>,
    /// When the next bytes are due, on the engine's clock.
    wakes_at: Option<Duration>,
}

/// Bytes that wait to be written.
struct Chunk {
    bytes: Box<[u8]>,
    from: usize,
    to: usize,
    /// When the bytes were read, on the engine's clock.
    read_at: Duration,
    memory: Reservation,
}

/// State of the end of the source. Times are on the engine's clock.
enum End {
    /// Not reached.
    Open,
    /// Read at this time.
    Read(Duration),
    /// To be passed on at this time.
    Due(Duration),
    /// Passed on to the sink.
    Sent,
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

    /// Whether everything was passed on, including the end.
    pub(super) const fn is_done(&self) -> bool {
        matches!(self.end, End::Sent)
    }

    /// When the next bytes are due, on the engine's clock.
    pub(super) const fn wakes_at(&self) -> Option<Duration> {
        self.wakes_at
    }

    /// The current shape.
    pub(super) fn shape(&self) -> Option<&Shape> {
        self.shape.as_deref()
    }

    /// Replaces the shape. Bytes that are held follow the new one, counted from when they were read.
    pub(super) fn reshape(&mut self, shape: Option<Shape>) {
        self.shape = shape.map(Box::new);
        self.pieces.clear();
        if let End::Due(_) = self.end {
            self.end = End::Read(Duration::ZERO);
        }
    }

    /// Stops or continues.
    pub(super) const fn hang(&mut self, is_hung: bool) {
        self.is_hung = is_hung;
    }

    /// Lets `limit` more bytes pass, or all of them. A limit that `continues` still counts the bytes that have passed.
    pub(super) const fn limit(&mut self, limit: Option<u64>, continues: bool) {
        if !(continues && limit.is_some() && self.limit.is_some()) {
            self.limit = limit;
        }
    }

    /// Relays bytes until the source has none or the sink accepts none. Ready when everything was passed on, including the
    /// end.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut UpstreamStream,
        sink: &mut UpstreamStream,
        proxy: &TcpProxy,
    ) -> Poll<Result<(), Stopped>> {
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

    /// Writes the bytes that are due.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut UpstreamStream,
        proxy: &TcpProxy,
    ) -> Result<Poll<()>, Stopped> {
        while let Some(chunk) = self.held.front_mut() {
            if self.pieces.is_empty() {
                let length = chunk.to - chunk.from;
                match &mut self.shape {
                    // A written chunk that still waits in the TLS buffer has no pieces.
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
                // Flush the TLS buffer first.
                if *limit == 0 && state.is_ready() {
                    return Err(Stopped::Truncated);
                }
            }
            match state {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Err(Stopped::Sink),
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

    /// Passes the end on to the sink once it is due.
    fn poll_end(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut UpstreamStream,
        proxy: &TcpProxy,
    ) -> Poll<Result<(), Stopped>> {
        if let End::Read(at) = self.end {
            self.end = End::Due(self.shape.as_mut().map_or(at, |shape| shape.end(at)));
        }
        if let End::Due(at) = self.end {
            if at > proxy.shared.engine.elapsed() {
                self.wakes_at = Some(at);
                return Poll::Pending;
            }
            ready!(Pin::new(sink).poll_shutdown(cx)).map_err(|_| Stopped::Sink)?;
            self.end = End::Sent;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once. Without a shape, writes as much as the sink accepts at once.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut UpstreamStream,
        sink: &mut UpstreamStream,
        proxy: &TcpProxy,
    ) -> Poll<Result<(), Stopped>> {
        let wanted = self.shape.as_ref().map_or(SIZE, |shape| shape.read_size());
        let budget = &proxy.shared.budget;
        let (memory, size) = if let Some(memory) = budget.reserve(charge(wanted), BudgetShare::Bulk) {
            (memory, wanted)
        } else {
            let small = wanted.min(SMALL_READ);
            (budget.reserve(charge(small), BudgetShare::Ordinary).ok_or(Stopped::Memory)?, small)
        };
        let mut buffer = proxy.shared.buffers.take();
        let mut read = ReadBuf::new(&mut buffer[..size]);
        let polled = Pin::new(source).poll_read(cx, &mut read);
        let to = read.filled().len();
        if !matches!(polled, Poll::Ready(Ok(()))) || to == 0 {
            proxy.shared.buffers.give(buffer);
            ready!(polled).map_err(|_| Stopped::Source)?;
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
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Stopped::Sink)),
                Poll::Pending => from = count,
            }
        }
        let read_at = self.now(proxy);
        let chunk = Chunk { bytes: buffer, from, to, read_at, memory };
        self.keep(chunk, proxy);
        Poll::Ready(Ok(()))
    }

    /// The time on the engine's clock, if the shape needs it.
    fn now(&self, proxy: &TcpProxy) -> Duration {
        if self.shape.is_some() { proxy.shared.engine.elapsed() } else { Duration::ZERO }
    }

    fn keep(&mut self, mut chunk: Chunk, proxy: &TcpProxy) {
        let length = chunk.to - chunk.from;
        // With a shape, many chunks may wait.
        if length <= MAX_COPY || self.shape.is_some() {
            let copy: Box<[u8]> = chunk.bytes[chunk.from..chunk.to].into();
            proxy.shared.buffers.give(std::mem::replace(&mut chunk.bytes, copy));
            (chunk.from, chunk.to) = (0, length);
            chunk.memory.shrink_to(charge(length));
        }
        self.held_bytes += length + OVERHEAD;
        self.held.push_back(chunk);
    }
}

/// Memory to reserve for a chunk of this many bytes. Measured: the allocator takes half as much again, because it rounds
/// sizes up and keeps freed blocks.
const fn charge(length: usize) -> usize {
    length + length * 3 / 4 + OVERHEAD
}

/// Writes and flushes as much as the sink accepts. Returns the number of bytes, and ready if that was everything.
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
