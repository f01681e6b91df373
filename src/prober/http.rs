//! The HTTP probe.

use std::fmt::Write;

use tokio::time::{Instant, timeout_at};

use super::address::{AddressError, Endpoint, Header};
use super::body::Framing;
use super::dial::dial;
use super::head::{Connection, Head};
use super::quote::quoted;
use super::url::Url;
use super::{Ended, KUBERNETES_VERSION, Phase, ProbeResult};

/// What is read of a body at most, in bytes.
const MAX_BODY: usize = 10 << 10;

/// A body up to this length is read before a redirect is followed, as Go does; of one without a length, so much.
const MAX_DRAINED: usize = 2 << 10;

/// Redirects that are followed.
const MAX_REDIRECTS: usize = 9;

/// An HTTP probe.
#[derive(Clone, Debug)]
pub struct Get {
    url: Url,
    /// What is sent, but for `Host`, `Referer` and `Connection`: sorted by name, as Go sends them.
    headers: Vec<Header>,
    host: Option<String>,
    user_agent: String,
}

/// How far an attempt is, for the case that its time runs out.
struct Progress {
    /// The URL under way, as the event will show it.
    url: String,
    phase: Phase,
    status: Option<u16>,
}

impl Progress {
    /// An attempt that ended before there was an answer to judge: a failure.
    fn no_answer(&self, reason: &str) -> Ended {
        let message = format!("Get {}: {reason}", quoted(self.url.as_bytes()));
        Ended { result: ProbeResult::Failure, phase: self.phase, status: self.status, message }
    }

    /// An attempt that ended inside a body: an error, whatever the status.
    fn no_body(&self, reason: String) -> Ended {
        Ended { result: ProbeResult::Error, phase: Phase::Body, status: self.status, message: reason }
    }
}

/// What to do with a head.
enum Next {
    /// Its body decides.
    Answer,
    /// Another request: where, and whether the location named a scheme of its own.
    Follow(Url, bool),
}

impl Get {
    /// A probe of `url` with the `httpHeaders` of a probe.
    pub(super) fn new(url: Url, mut headers: Vec<Header>) -> Self {
        let first = |name: &str| headers.iter().find(|h| h.name == name).map(|h| h.value.clone());
        let host = first("Host").filter(|host| !host.is_empty());
        let user_agent = first("User-Agent").unwrap_or_else(|| format!("kube-probe/{KUBERNETES_VERSION}"));
        match first("Accept") {
            None => headers.push(Header { name: "Accept".to_owned(), value: "*/*".to_owned() }),
            Some(value) if value.is_empty() => headers.retain(|header| header.name != "Accept"),
            Some(_) => {}
        }
        // Go sends what it knows better itself, or not at all.
        headers.retain(|header| {
            !matches!(
                header.name.as_str(),
                "Host" | "User-Agent" | "Content-Length" | "Transfer-Encoding" | "Trailer"
            )
        });
        headers.sort_by(|a, b| a.name.cmp(&b.name));
        Self { url, headers, host, user_agent }
    }

    pub(super) async fn attempt(&self, deadline: Instant) -> Ended {
        let mut progress = Progress { url: self.url.to_string(), phase: Phase::Connect, status: None };
        match timeout_at(deadline, self.run(&mut progress)).await {
            Ok(ended) => ended,
            Err(_) if progress.phase == Phase::Body => progress.no_body(
                "context deadline exceeded (Client.Timeout or context cancellation while reading body)"
                    .to_owned(),
            ),
            Err(_) => progress
                .no_answer("context deadline exceeded (Client.Timeout exceeded while awaiting headers)"),
        }
    }

    async fn run(&self, progress: &mut Progress) -> Ended {
        let mut url = self.url.clone();
        let mut host = self.host.clone();
        let mut referer = None;
        let mut followed = 0;
        loop {
            if url.scheme == "https" {
                // The kubelet would go on, and nobody can tell what it would find.
                let ended = progress.no_answer("redirected to https, which is not supported yet");
                return Ended { result: ProbeResult::Error, ..ended };
            }
            let request = self.request(&url, host.as_deref(), referer.as_deref());
            let (mut connection, head) = match exchange(&url, &request, progress).await {
                Ok(answer) => answer,
                Err(reason) => return progress.no_answer(&reason),
            };
            progress.status = Some(head.status);
            let (next, own) = match self.next(&url, &head) {
                Ok(Next::Follow(next, own)) => (next, own),
                Ok(Next::Answer) => {
                    progress.phase = Phase::Body;
                    return match connection.body(head.framing, MAX_BODY).await {
                        Ok(body) => judge(head.status, &body),
                        Err(reason) => progress.no_body(reason),
                    };
                }
                Err(reason) => {
                    progress.phase = Phase::Redirect;
                    return progress.no_answer(&reason);
                }
            };
            progress.phase = Phase::Redirect;
            progress.url = match head.location.clone() {
                Some(location) if followed == MAX_REDIRECTS => location,
                _ => next.to_string(),
            };
            connection.drain(&head).await;
            if followed == MAX_REDIRECTS {
                return progress.no_answer(&format!("stopped after {} redirects", MAX_REDIRECTS + 1));
            }
            followed += 1;
            if own || host.as_deref() == Some(url.authority.as_str()) {
                host = None;
            }
            referer = Some(url.to_string());
            url = next;
        }
    }

    fn next(&self, url: &Url, head: &Head) -> Result<Next, String> {
        let location = match &head.location {
            Some(location) if matches!(head.status, 301 | 302 | 303 | 307 | 308) => location,
            _ => return Ok(Next::Answer),
        };
        let (next, own) = url.join(location).map_err(|error| {
            let location = quoted(location.as_bytes());
            format!("failed to parse Location header {location}: parse {location}: {error}")
        })?;
        // Compared with the first request's host, and as written.
        Ok(if next.host() == self.url.host() { Next::Follow(next, own) } else { Next::Answer })
    }

    /// The head of a request, byte for byte as the kubelet sends it.
    fn request(&self, url: &Url, host: Option<&str>, referer: Option<&str>) -> String {
        let mut text = format!("GET {} HTTP/1.1\r\n", url.request_target());
        let mut put = |name: &str, value: &str| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{name}: {value}\r\n");
        };
        put("Host", host.unwrap_or(&url.authority));
        if !self.user_agent.is_empty() {
            put("User-Agent", &self.user_agent);
        }
        let mut referer = referer.filter(|_| self.headers.iter().all(|header| header.name != "Referer"));
        for header in &self.headers {
            if header.name.as_str() > "Referer"
                && let Some(referer) = referer.take()
            {
                put("Referer", referer);
            }
            put(&header.name, &header.value);
        }
        if let Some(referer) = referer {
            put("Referer", referer);
        }
        let is_close = |token: &str| token.trim().eq_ignore_ascii_case("close");
        let closes = |h: &Header| h.name == "Connection" && h.value.split(',').any(is_close);
        if !self.headers.iter().any(closes) {
            put("Connection", "close");
        }
        text.push_str("\r\n");
        text
    }
}

/// Sends a request over a new connection and reads the head of its answer. An error is in Go's words.
async fn exchange(url: &Url, request: &str, progress: &mut Progress) -> Result<(Connection, Head), String> {
    if url.scheme != "http" {
        return Err(format!("unsupported protocol scheme {}", quoted(url.scheme.as_bytes())));
    }
    progress.status = None;
    progress.phase = Phase::Connect;
    let endpoint = Endpoint::of(url, Some(80)).map_err(|error| match error {
        AddressError::Port => format!("dial tcp: address {}: invalid port", url.port().unwrap_or_default()),
        _ => format!("dial tcp: lookup {}: no such host", url.host()),
    })?;
    let stream = match dial(&endpoint, &mut progress.phase).await {
        Ok(stream) => stream,
        Err(error) => return Err(error.message),
    };
    progress.phase = Phase::Head;
    let mut connection = Connection::new(stream);
    connection.write(request.as_bytes()).await?;
    let head = connection.head().await?;
    Ok((connection, head))
}

impl Connection {
    /// Reads a redirect's body as Go does, whatever comes of it; one that hangs uses up the time of the attempt.
    async fn drain(&mut self, head: &Head) {
        match head.framing {
            Framing::Length(length) if length > MAX_DRAINED as u64 => {}
            framing => drop(self.body(framing, MAX_DRAINED).await),
        }
    }
}

fn judge(status: u16, body: &[u8]) -> Ended {
    match status {
        200..300 => Ended::success(Some(status)),
        300..400 => {
            let body = String::from_utf8_lossy(body);
            Ended {
                result: ProbeResult::Warning,
                phase: Phase::Complete,
                status: Some(status),
                message: format!("Probe terminated redirects, Response body: {body}"),
            }
        }
        _ => Ended {
            status: Some(status),
            ..Ended::failure(Phase::Complete, format!("HTTP probe failed with statuscode: {status}"))
        },
    }
}
