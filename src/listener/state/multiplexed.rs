//! State of HTTP/2 connections.

use std::sync::Arc;
use std::task::Waker;

use tokio::time::Instant;

use super::{Admission, ClientPhase, ConnectionState};
use crate::fault::Client;
use crate::listener::streams::StreamState;

impl ConnectionState {
    /// The client speaks HTTP/2.
    pub(in crate::listener) fn multiplexes(&self) {
        self.lock().streams = Some(Box::default());
    }

    /// Records whether an HTTP/2 client has started something that it must finish before it can send a request.
    pub(in crate::listener) fn set_unfinished(&self, is_unfinished: bool) {
        let mut inner = self.lock();
        match inner.phase {
            ClientPhase::Idle(_) if is_unfinished => {
                inner.phase = ClientPhase::Head(Instant::now());
                inner.head_noticed = false;
            }
            ClientPhase::Head(_) if !is_unfinished => inner.phase = ClientPhase::Idle(Instant::now()),
            _ => {}
        }
    }

    pub(in crate::listener) fn stream_begins(&self, client: Client) -> Arc<StreamState> {
        let mut inner = self.lock();
        inner.phase = ClientPhase::Waiting;
        inner.asked = true;
        inner.client = Some(client);
        inner.streams.get_or_insert_default().begin(client)
    }

    pub(in crate::listener) fn stream_ends(&self, stream: &Arc<StreamState>) {
        let mut inner = self.lock();
        let is_last = inner.streams.as_mut().is_some_and(|streams| streams.end(stream));
        if is_last && inner.phase == ClientPhase::Waiting {
            inner.phase = ClientPhase::Idle(Instant::now());
        }
    }

    /// Lets output wait until [`release_output`](Self::release_output).
    pub(in crate::listener) fn hold_output(&self) {
        if let Some(streams) = &mut self.lock().streams {
            streams.hold_output();
        }
    }

    /// Lets output go on; true if some was held.
    pub(in crate::listener) fn release_output(&self) -> bool {
        self.lock().streams.as_mut().is_some_and(|streams| streams.release_output())
    }

    /// Whether output has to wait.
    pub(in crate::listener) fn holds_output(&self) -> bool {
        self.lock().streams.as_mut().is_some_and(|streams| streams.holds_output())
    }

    /// Records that the client sends too many frames that only cause work.
    pub(in crate::listener) fn is_flooding(&self) {
        if let Some(streams) = &mut self.lock().streams {
            streams.is_flooding();
        }
    }

    /// Whether the client causes useless work by its frames or resets.
    pub(in crate::listener) fn is_flooded(&self) -> bool {
        self.lock().streams.as_ref().is_some_and(|streams| streams.is_flooded())
    }

    /// Whether this is an HTTP/2 connection without open streams.
    pub(in crate::listener) fn has_no_stream(&self) -> bool {
        self.lock().streams.as_ref().is_some_and(|streams| streams.is_empty())
    }

    /// Registers a request of `client` that is cut, to be woken when the cut ends.
    pub(in crate::listener) fn await_admission(&self, client: Client, waker: &Waker) {
        let mut inner = self.lock();
        inner.client = Some(client);
        inner.admission = Admission::Asked;
        if let Some(streams) = &mut inner.streams {
            streams.await_admission(waker.clone());
        }
    }
}
