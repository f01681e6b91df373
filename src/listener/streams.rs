//! The streams of an HTTP/2 connection.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;

use super::script::StreamReset;
use crate::engine::Injection;
use crate::fault::Client;

/// A stream reset this soon after its head counts as a rapid reset.
const RAPID: Duration = Duration::from_millis(50);

/// Limit of rapid resets in excess of other stream ends. Each causes useless work (CVE-2023-44487).
const MAX_RAPID_RESETS: u32 = 100;

/// A request of an HTTP/2 connection. Its handler, its body and the connection's task share it; all run in that task.
#[derive(Debug)]
pub(super) struct StreamState {
    client: Client,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    begins: Instant,
    waits_until: Option<Instant>,
    /// The decision on the request, if it was made before the request was routed.
    injection: Option<Box<Injection>>,
    /// The reset that the handler requests instead of an answer.
    reset: Option<StreamReset>,
    /// Whether it has ended, or its answer has started.
    is_answered: bool,
    /// Whether the body is exempt from time limits.
    is_patient: bool,
    /// Since when the client has to read a part of the body before more is produced.
    offered: Option<Instant>,
    /// The body that waits until the connection's client reads on.
    blocked: Option<Waker>,
}

impl StreamState {
    fn new(client: Client) -> Arc<Self> {
        let inner = Inner {
            begins: Instant::now(),
            waits_until: None,
            injection: None,
            reset: None,
            is_answered: false,
            is_patient: false,
            offered: None,
            blocked: None,
        };
        Arc::new(Self { client, inner: Mutex::new(inner) })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The class of the client that sent the request.
    pub(super) fn client(&self) -> Client {
        self.client
    }

    /// When its head was complete.
    pub(super) fn begins(&self) -> Instant {
        self.lock().begins
    }

    /// Keeps the decision on the request that is about to be routed.
    pub(super) fn set_injection(&self, injection: Option<Box<Injection>>) {
        self.lock().injection = injection;
    }

    /// The decision on the request, once.
    pub(super) fn take_injection(&self) -> Option<Box<Injection>> {
        self.lock().injection.take()
    }

    pub(super) fn waits_until(&self, instant: Instant) {
        self.lock().waits_until = Some(instant);
    }

    pub(super) fn is_patient(&self) {
        self.lock().is_patient = true;
    }

    pub(super) fn reset(&self, reset: StreamReset) {
        self.lock().reset = Some(reset);
    }

    pub(super) fn take_reset(&self) -> Option<StreamReset> {
        let mut inner = self.lock();
        inner.is_answered |= inner.reset.is_some();
        inner.reset.take()
    }

    pub(super) fn answer_begins(&self) {
        let mut inner = self.lock();
        inner.is_answered = true;
        inner.waits_until = None;
    }

    /// Records whether hyper has a part of the body to send, or requests the next one.
    pub(super) fn offers(&self, offers: bool) {
        let mut inner = self.lock();
        inner.offered = (offers && !inner.is_patient).then(Instant::now);
    }

    /// Lets its body wait until the connection's client reads on.
    pub(super) fn blocks(&self, waker: &Waker) {
        self.lock().blocked.get_or_insert_with(|| waker.clone()).clone_from(waker);
    }

    pub(super) fn is_stalled_since(&self, instant: Instant) -> bool {
        self.lock().offered.is_some_and(|since| since <= instant)
    }
}

/// The open streams of a connection.
#[derive(Debug, Default)]
pub(super) struct OpenStreams {
    open: Vec<Arc<StreamState>>,
    rapid_resets: u32,
    /// Whether the client sends too many frames that only cause work.
    floods: bool,
    output: Output,
    /// Requests that wait to be admitted when the cut of their client class ends.
    admissions: Vec<Waker>,
}

/// What happens to bytes that the connection sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Output {
    /// They are written at once.
    #[default]
    Open,
    /// They wait, so that the answers to several streams are written together.
    Held,
    /// They wait, and there are some.
    Wanted,
}

impl OpenStreams {
    pub(super) fn begin(&mut self, client: Client) -> Arc<StreamState> {
        let stream = StreamState::new(client);
        self.open.push(stream.clone());
        stream
    }

    /// Removes a stream that has ended; true if none is left.
    pub(super) fn end(&mut self, stream: &Arc<StreamState>) -> bool {
        if let Some(position) = self.open.iter().position(|open| Arc::ptr_eq(open, stream)) {
            self.open.swap_remove(position);
        }
        let is_rapid = {
            let inner = stream.lock();
            !inner.is_answered && inner.begins.elapsed() < RAPID
        };
        self.rapid_resets =
            if is_rapid { self.rapid_resets + 1 } else { self.rapid_resets.saturating_sub(1) };
        self.open.is_empty()
    }

    pub(super) fn hold_output(&mut self) {
        self.output = Output::Held;
    }

    /// Lets output go on; true if some was held.
    pub(super) fn release_output(&mut self) -> bool {
        std::mem::take(&mut self.output) == Output::Wanted
    }

    /// Whether output has to wait. It is written after [`release_output`](Self::release_output).
    pub(super) fn holds_output(&mut self) -> bool {
        if self.output == Output::Held {
            self.output = Output::Wanted;
        }
        self.output == Output::Wanted
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Records that the client sends too many frames that only cause work.
    pub(super) fn is_flooding(&mut self) {
        self.floods = true;
    }

    /// Whether the client causes useless work: by such frames, or because it resets more streams than it lets be
    /// answered.
    pub(super) fn is_flooded(&self) -> bool {
        self.floods || self.rapid_resets > MAX_RAPID_RESETS
    }

    /// Whether there are streams, and all of them wait until after `instant`.
    pub(super) fn wait_beyond(&self, instant: Instant) -> bool {
        !self.open.is_empty()
            && self.open.iter().all(|stream| stream.lock().waits_until.is_some_and(|until| until > instant))
    }

    /// Since when the longest-stalled stream has stalled.
    pub(super) fn stalled(&self) -> Option<Instant> {
        self.open.iter().filter_map(|stream| stream.lock().offered).min()
    }

    /// Extends the client's time limits by a silence.
    pub(super) fn forgive(&self, silence: Duration) {
        for stream in &self.open {
            if let Some(since) = &mut stream.lock().offered {
                *since += silence;
            }
        }
    }

    /// The connection's client reads on.
    pub(super) fn go_on(&self) {
        for stream in &self.open {
            if let Some(blocked) = stream.lock().blocked.take() {
                blocked.wake();
            }
        }
    }

    pub(super) fn await_admission(&mut self, waker: Waker) {
        self.admissions.push(waker);
    }

    pub(super) fn admit(&mut self) {
        self.admissions.drain(..).for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_rapid_resets_that_outnumber_answers_are_a_flood() {
        let mut streams = OpenStreams::default();
        for _ in 0..10 * MAX_RAPID_RESETS {
            let (answered, left) = (streams.begin(Client::Other), streams.begin(Client::Other));
            answered.answer_begins();
            assert!(!streams.end(&answered) && streams.end(&left));
        }
        assert!(!streams.is_flooded(), "as many were answered");
        for _ in 0..10 * MAX_RAPID_RESETS {
            let late = streams.begin(Client::Other);
            tokio::time::advance(RAPID).await;
            streams.end(&late);
        }
        assert!(!streams.is_flooded(), "a client that gives up is no flood");
        for _ in 0..=MAX_RAPID_RESETS {
            assert!(!streams.is_flooded());
            let left = streams.begin(Client::Other);
            streams.end(&left);
        }
        assert!(streams.is_flooded());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_waits_as_long_as_its_shortest_waiting_stream() {
        let mut streams = OpenStreams::default();
        let now = Instant::now();
        assert!(!streams.wait_beyond(now));
        let (hang, quick) = (streams.begin(Client::Other), streams.begin(Client::Other));
        hang.waits_until(now + Duration::from_secs(9));
        assert!(!streams.wait_beyond(now));
        streams.end(&quick);
        assert!(streams.wait_beyond(now) && !streams.wait_beyond(now + Duration::from_secs(9)));
    }
}
