//! `/v1/events`: a page of events, or a stream of server-sent events.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http_body::Frame;
use hyper::header::{ACCEPT, CACHE_CONTROL, HeaderValue};
use hyper::{HeaderMap, StatusCode};
use serde_json::json;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::answer::{self, ProblemDetails};
use super::query;
use crate::engine::events::{Event, Events};
use crate::listener::ConnectionHandle;
use crate::task;

/// Limit of events per page: as many as are kept.
const MAX_PAGE: usize = 512;

/// Events per page without `limit`.
const DEFAULT_PAGE: usize = 100;

/// Queue length of an event stream; a client that falls further behind is disconnected.
const MAX_QUEUED: usize = 64;

/// Memory of a stream with a full queue of ordinary events, in bytes.
const STREAM_MEMORY: usize = MAX_QUEUED * 512;

/// How often an idle stream sends a comment to keep the connection alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub(super) fn serve(
    events: &Arc<Events>,
    listeners: &Arc<Semaphore>,
    headers: &HeaderMap,
    query: &str,
    is_head: bool,
) -> Result<Response, ProblemDetails> {
    let (mut after, mut limit) = (None, DEFAULT_PAGE);
    for (name, value) in query::pairs(query) {
        let wrong = |range: &str| {
            let shown: String = value.chars().take(40).collect();
            ProblemDetails::new(
                StatusCode::BAD_REQUEST,
                format!("{name}={shown:?} is not a whole number {range}"),
            )
        };
        let number = Some(value).filter(|value| value.bytes().all(|c| c.is_ascii_digit()));
        let number = number.and_then(|value| value.parse::<u64>().ok());
        match name {
            "after" => {
                let number = events.number_of(value);
                after = Some(number.ok_or_else(|| wrong("of at most 64 bits, nor the id of an event"))?);
            }
            "limit" => {
                let number = number.filter(|number| (1..=MAX_PAGE as u64).contains(number));
                limit = number.ok_or_else(|| wrong("from 1 to 512"))? as usize;
            }
            _ => {}
        }
    }
    let wants_stream = headers
        .get_all(ACCEPT)
        .iter()
        .any(|accept| accept.to_str().is_ok_and(|accept| accept.contains("text/event-stream")));
    if wants_stream && !is_head {
        let last = headers.get("last-event-id").and_then(|id| events.number_of(id.to_str().ok()?.trim()));
        return stream(events, listeners, last.or(after));
    }
    let page = events.page(after, limit);
    let events: Vec<&Event> = page.events.iter().map(AsRef::as_ref).collect();
    Ok(answer::json(StatusCode::OK, &json!({ "events": events, "next": page.next, "lost": page.lost }), None))
}

fn stream(
    events: &Arc<Events>,
    listeners: &Arc<Semaphore>,
    after: Option<u64>,
) -> Result<Response, ProblemDetails> {
    let place = listeners
        .clone()
        .try_acquire_owned()
        .map_err(|_| ProblemDetails::busy("16 event streams are open already"))?;
    let memory = match ConnectionHandle::current() {
        Some(connection) => {
            let reserved = connection.reserve(STREAM_MEMORY);
            Some(reserved.ok_or_else(|| ProblemDetails::busy("no memory is left for an event stream"))?)
        }
        None => None,
    };
    let (sender, receiver) = mpsc::channel(MAX_QUEUED);
    let events = events.clone();
    task::spawn(async move {
        let _held = (place, memory);
        let mut next = events.subscribe();
        let mut alive = interval(KEEP_ALIVE);
        alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = after.unwrap_or(u64::MAX);
        // Subscribe before reading the page, so that no event is lost; `last` removes duplicates.
        if let Some(after) = after {
            last = 0;
            for event in events.page(Some(after), MAX_PAGE).events {
                last = event.id.number;
                if !matches!(timeout(KEEP_ALIVE, sender.send(encode(&event))).await, Ok(Ok(()))) {
                    return;
                }
            }
        }
        loop {
            let text = tokio::select! {
                event = next.recv() => match event {
                    Ok(event) if last != u64::MAX && event.id.number <= last => continue,
                    Ok(event) => encode(&event),
                    // The client was too slow. It may reconnect with the id of its last event.
                    Err(_) => return,
                },
                _ = alive.tick() => Bytes::from_static(b": alive\n\n"),
                () = sender.closed() => return,
            };
            if sender.try_send(text).is_err() {
                return;
            }
        }
    });
    let mut response =
        answer::with_type(StatusCode::OK, "text/event-stream", Body::new(EventStream(receiver)));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Encodes an event for server-sent events (HTML standard, section 9.2).
fn encode(event: &Event) -> Bytes {
    let data = serde_json::to_string(event).unwrap_or_default();
    Bytes::from(format!("id: {}\nevent: {}\ndata: {data}\n\n", event.id, event.kind.name()))
}

struct EventStream(mpsc::Receiver<Bytes>);

impl http_body::Body for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}
