//! Lists objects and watches their changes.

use std::collections::hash_map::RandomState;
use std::fmt::{Display, Write};
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use http_body_util::BodyExt;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout_at};

use super::client::{Client, text_with_causes};
use super::error::ApiError;
use super::object::{Object, number, text};

/// All characters except the unreserved ones of RFC 3986, section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Objects per page of a list.
const PAGE_SIZE: usize = 20;
/// Time after which the server is asked to end a watch.
const WATCH_TIME: Duration = Duration::from_secs(240);
/// Additional time before the client ends it.
const WATCH_GRACE: Duration = Duration::from_secs(30);
/// Size limit of an event, in bytes. Objects have at most 1.5 MiB.
const MAX_EVENT: usize = 8 << 20;
/// The first pause after an error.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause, unless the server requests a longer one.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// The longest pause that a server may request.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// A query for objects.
#[derive(Clone, Debug)]
pub(super) struct Query {
    /// Path of the collection.
    pub(super) path: String,
    /// `fieldSelector` or `labelSelector`, and its value.
    pub(super) selector: Option<(&'static str, String)>,
    /// Whether complete objects are needed.
    pub(super) whole: bool,
}

/// Receives objects and errors.
pub(super) trait Sink: Send {
    fn clear(&mut self);
    fn put(&mut self, name: &str, object: &Value);
    fn remove(&mut self, name: &str);
    /// Called after each complete list, each change, and each error.
    fn report(&mut self, error: Option<&ApiError>);
}

#[derive(Deserialize)]
struct List<O> {
    metadata: ListMeta,
    // Go may encode an empty list as null.
    items: Option<Vec<O>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMeta {
    #[serde(default)]
    resource_version: String,
    #[serde(default)]
    r#continue: String,
}

#[derive(Deserialize)]
struct Event<O> {
    r#type: String,
    object: O,
}

/// Parses a page of a list.
fn read_list(body: &[u8], whole: bool) -> serde_json::Result<(ListMeta, Vec<Value>)> {
    fn read<const WHOLE: bool>(body: &[u8]) -> serde_json::Result<(ListMeta, Vec<Value>)> {
        let List::<Object<WHOLE>> { metadata, items } = serde_json::from_slice(body)?;
        Ok((metadata, items.unwrap_or_default().into_iter().map(|Object(object)| object).collect()))
    }
    if whole { read::<true>(body) } else { read::<false>(body) }
}

/// Parses an event into its type and object.
fn read_event(line: &[u8], whole: bool) -> serde_json::Result<(String, Value)> {
    fn read<const WHOLE: bool>(line: &[u8]) -> serde_json::Result<(String, Value)> {
        let Event { r#type, object: Object::<WHOLE>(object) } = serde_json::from_slice(line)?;
        Ok((r#type, object))
    }
    if whole { read::<true>(line) } else { read::<false>(line) }
}

/// Lists the objects and watches their changes, forever and despite errors.
pub(super) async fn follow(client: &mut Client, query: &Query, sink: &mut impl Sink) {
    let mut pause = Pause::new();
    loop {
        let mut version = match list(client, query, sink).await {
            Ok(version) => version,
            // The list expired between two pages.
            Err(ApiError::Expired) => {
                pause.after(None).await;
                continue;
            }
            Err(error) => {
                sink.report(Some(&error));
                pause.after(Some(&error)).await;
                continue;
            }
        };
        sink.report(None);
        loop {
            let start = Instant::now();
            let ended = watch(client, query, &mut version, sink).await;
            // A watch that lasted resets the pauses, however it ended.
            if start.elapsed() > MAX_PAUSE {
                pause = Pause::new();
            }
            match ended {
                Ok(()) => pause.after(None).await,
                Err(ApiError::Expired) => {
                    pause.after(None).await;
                    break;
                }
                Err(error) => {
                    sink.report(Some(&error));
                    pause.after(Some(&error)).await;
                    if !matches!(error, ApiError::Unreachable { .. }) {
                        break;
                    }
                }
            }
        }
    }
}

/// Lists all objects, page by page, and returns the version of the list.
async fn list(client: &mut Client, query: &Query, sink: &mut impl Sink) -> Result<String, ApiError> {
    let mut next = String::new();
    let mut first = true;
    loop {
        let mut path = query.path(&format!("limit={PAGE_SIZE}"));
        if !next.is_empty() {
            let _ = write!(path, "&continue={}", escaped(&next));
        }
        let body = client.get(&path).await?;
        let (metadata, items) =
            read_list(&body, query.whole).map_err(|error| client.invalid(&format!("{path}: {error}")))?;
        if std::mem::take(&mut first) {
            sink.clear();
        }
        for object in items {
            sink.put(text(&object, "/metadata/name"), &object);
        }
        if metadata.r#continue.is_empty() {
            return Ok(metadata.resource_version);
        }
        next = metadata.r#continue;
    }
}

/// Watches changes from `version` on, and updates it, until the server ends the watch.
async fn watch(
    client: &mut Client,
    query: &Query,
    version: &mut String,
    sink: &mut impl Sink,
) -> Result<(), ApiError> {
    let mut path = query.path("watch=1&allowWatchBookmarks=true");
    let _ = write!(path, "&timeoutSeconds={}&resourceVersion={}", WATCH_TIME.as_secs(), escaped(version));
    let deadline = Instant::now() + WATCH_TIME + WATCH_GRACE;
    let mut response = client.begin(&path).await?;
    // The server works again.
    sink.report(None);
    let mut line = Vec::new();
    loop {
        let frame = timeout_at(deadline, response.body_mut().frame()).await;
        let frame = frame.map_err(|_| client.unreachable("the server did not end the watch in time"))?;
        let Some(frame) = frame else { return Ok(()) };
        let frame = frame.map_err(|error| client.unreachable(&text_with_causes(&error)))?;
        for piece in frame.into_data().unwrap_or_default().split_inclusive(|c| *c == b'\n') {
            if line.len() + piece.len() > MAX_EVENT {
                return Err(client.invalid("an event is larger than 8 MiB"));
            }
            line.extend_from_slice(piece);
            if line.ends_with(b"\n") {
                apply(client, &line, query.whole, version, sink)?;
                // Release the memory of a large event.
                line = Vec::new();
            }
        }
    }
}

fn apply(
    client: &Client,
    line: &[u8],
    whole: bool,
    version: &mut String,
    sink: &mut impl Sink,
) -> Result<(), ApiError> {
    if line.trim_ascii().is_empty() {
        return Ok(());
    }
    let (r#type, object) =
        read_event(line, whole).map_err(|error| client.invalid(&format!("an event of a watch: {error}")))?;
    let name = text(&object, "/metadata/name");
    match r#type.as_str() {
        "ADDED" | "MODIFIED" => sink.put(name, &object),
        "DELETED" => sink.remove(name),
        "BOOKMARK" => {}
        "ERROR" => {
            let code = number(&object, "/code").and_then(|code| u16::try_from(code).ok()).unwrap_or(500);
            if code == 410 {
                return Err(ApiError::Expired);
            }
            let message = text(&object, "/message").chars().take(300).collect();
            return Err(ApiError::Status { code, message, retry_after: None });
        }
        _ => return Ok(()),
    }
    let seen = text(&object, "/metadata/resourceVersion");
    if !seen.is_empty() {
        seen.clone_into(version);
    }
    if r#type != "BOOKMARK" {
        sink.report(None);
    }
    Ok(())
}

impl Query {
    /// Returns the path with parameters and the selector.
    fn path(&self, parameters: &str) -> String {
        let mut path = format!("{}?{parameters}", self.path);
        if let Some((name, value)) = &self.selector {
            let _ = write!(path, "&{name}={}", escaped(value));
        }
        path
    }
}

/// Percent-encodes a value of a query.
fn escaped(text: &str) -> impl Display + '_ {
    utf8_percent_encode(text, RESERVED)
}

/// Pauses that grow with each error, with random jitter.
pub(super) struct Pause(Duration);

impl Pause {
    pub(super) const fn new() -> Self {
        Self(FIRST_PAUSE)
    }

    /// Waits, at least as long as the server requests.
    pub(super) async fn after(&mut self, error: Option<&ApiError>) {
        let requested = match error {
            Some(ApiError::Status { retry_after: Some(after), .. }) => (*after).min(MAX_RETRY_AFTER),
            // These do not end without a change by an administrator.
            Some(ApiError::Status { code: 403 | 404, .. }) => MAX_PAUSE,
            _ => Duration::ZERO,
        };
        let draw = RandomState::new().build_hasher().finish() % 1024;
        let pause = self.0.max(requested);
        self.0 = (self.0 * 2).min(MAX_PAUSE);
        sleep(pause + pause.mul_f64(draw as f64 / 4096.0)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_escaped() {
        let selector = Some(("labelSelector", "app in (a,b),tier!=x y".to_owned()));
        let query = Query { path: "/api/v1/pods".to_owned(), selector, whole: false };
        let expected = "/api/v1/pods?limit=20&labelSelector=app%20in%20%28a%2Cb%29%2Ctier%21%3Dx%20y";
        assert_eq!(query.path("limit=20"), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_and_are_at_least_as_long_as_the_server_requests() {
        let mut pause = Pause::new();
        let asked =
            ApiError::Status { code: 429, message: String::new(), retry_after: Some(Duration::from_secs(7)) };
        let rude = ApiError::Status {
            code: 503,
            message: String::new(),
            retry_after: Some(Duration::from_secs(9999)),
        };
        for (error, at_least) in [
            (None, 250),
            (None, 500),
            (None, 1000),
            (Some(&asked), 7000),
            (None, 4000),
            (None, 5000),
            (Some(&rude), 60_000),
        ] {
            let start = Instant::now();
            pause.after(error).await;
            let at_least = Duration::from_millis(at_least);
            let took = start.elapsed();
            assert!(
                took >= at_least && took <= at_least.mul_f64(1.26) + Duration::from_millis(2),
                "{took:?}"
            );
        }
    }
}
