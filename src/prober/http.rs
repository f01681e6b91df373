//! The HTTP probe.

use tokio::time::{Instant, timeout_at};

use super::address::{AddressError, Endpoint};
use super::connection::Connection;
use super::dial::dial;
use super::framing::Framing;
use super::handshake::handshake;
use super::head::Head;
use super::header::Header;
use super::outcome::{AttemptEnd, Phase, ProbeResult};
use super::quote::quoted;
use super::stream::Stream;
use super::url::{Url, User};
use super::version::KUBERNETES_VERSION;
use crate::fault::KUBELET_BODY_LIMIT;
use crate::order;
use crate::tls::Trust;

/// Limit of the bytes of a body that are read before a redirect is followed, as in Go. Longer bodies with a known length
/// are not read.
const MAX_DISCARDED: u64 = 2 << 10;

/// Limit of followed redirects.
const MAX_REDIRECTS: usize = 9;

/// An HTTP probe.
#[derive(Clone, Debug)]
pub struct HttpProbe {
    url: Url,
    /// The headers that are sent, except `Host`, `User-Agent` and `Connection`.
    headers: Vec<Header>,
    host: Option<String>,
    user_agent: String,
    pub(super) trust: Trust,
}

/// The progress of an attempt, for the message of a timeout.
struct Progress {
    /// The current URL, as shown in the event.
    url: Vec<u8>,
    phase: Phase,
    status: Option<u16>,
}

impl Progress {
    /// The failure of an attempt that ended before the head of a response.
    fn no_answer(&self, reason: &str) -> AttemptEnd {
        let message = format!("Get {}: {reason}", quoted(&self.url));
        AttemptEnd { result: ProbeResult::Failure, phase: self.phase, status: self.status, message }
    }

    /// The error of an attempt that ended inside a body, with any status.
    fn no_body(&self, reason: String) -> AttemptEnd {
        AttemptEnd { result: ProbeResult::Error, phase: Phase::Body, status: self.status, message: reason }
    }
}

/// The next step after a head.
enum Next {
    /// Judge the response.
    Judge,
    /// Request another URL. It is absolute if the `Location` has a scheme.
    Follow { url: Url, is_absolute: bool },
}

/// One request of an attempt.
struct Hop {
    url: Url,
    /// The `Host` header, if it differs from the URL.
    host: Option<String>,
    referer: Option<Vec<u8>>,
    /// Whether headers about a body are sent. They are not sent after a redirect that drops the body.
    describes_body: bool,
}

impl HttpProbe {
    /// A probe of `url` with these `httpHeaders`.
    pub(super) fn new(url: Url, mut headers: Vec<Header>) -> Self {
        let first = |name: &str| headers.iter().find(|h| h.name == name).map(|h| h.value.clone());
        let host = first("Host").filter(|host| !host.is_empty());
        let user_agent = first("User-Agent").unwrap_or_else(|| format!("kube-probe/{KUBERNETES_VERSION}"));
        match first("Accept") {
            None => headers.push(Header { name: "Accept".to_owned(), value: "*/*".to_owned() }),
            Some(value) if value.is_empty() => headers.retain(|header| header.name != "Accept"),
            Some(_) => {}
        }
        // Go sends these separately or not at all.
        headers.retain(|header| {
            !matches!(
                header.name.as_str(),
                "Host" | "User-Agent" | "Content-Length" | "Transfer-Encoding" | "Trailer"
            )
        });
        Self { url, headers, host, user_agent, trust: Trust::default() }
    }

    pub(super) async fn attempt(&self, deadline: Instant) -> AttemptEnd {
        let mut progress = Progress { url: self.url.redacted(), phase: Phase::Connect, status: None };
        match timeout_at(deadline, self.run(&mut progress)).await {
            Ok(end) => end,
            Err(_) if progress.phase == Phase::Body => progress.no_body(
                "context deadline exceeded (Client.Timeout or context cancellation while reading body)"
                    .to_owned(),
            ),
            Err(_) => progress
                .no_answer("context deadline exceeded (Client.Timeout exceeded while awaiting headers)"),
        }
    }

    async fn run(&self, progress: &mut Progress) -> AttemptEnd {
        let (url, host) = (self.url.clone(), self.host.clone());
        let mut hop = Hop { url, host, referer: None, describes_body: true };
        let mut followed = 0;
        loop {
            let (mut connection, head) = match self.exchange(&hop, progress).await {
                Ok(answer) => answer,
                Err(reason) => return progress.no_answer(&reason),
            };
            progress.status = Some(head.status);
            let (next, is_absolute) = match self.next(&hop.url, &head) {
                Ok(Next::Follow { url, is_absolute }) => (url, is_absolute),
                Ok(Next::Judge) => {
                    progress.phase = Phase::Body;
                    return match connection.body(head.framing, KUBELET_BODY_LIMIT as usize).await {
                        Ok(body) => {
                            connection.close().await;
                            judge(head.status, &body)
                        }
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
                _ => next.redacted(),
            };
            // As in Go, a hanging body uses the time of the attempt.
            if !matches!(head.framing, Framing::Length(length) if length > MAX_DISCARDED) {
                connection.discard_body(head.framing, MAX_DISCARDED as usize).await;
            }
            connection.close().await;
            if followed == MAX_REDIRECTS {
                return progress.no_answer(&format!("stopped after {} redirects", MAX_REDIRECTS + 1));
            }
            followed += 1;
            let host = hop.host.filter(|host| !is_absolute && host.as_bytes() != hop.url.authority());
            let describes_body = hop.describes_body && matches!(head.status, 307 | 308);
            // As in Go, an HTTPS URL is not sent as `Referer` to a plain HTTP server.
            let referer =
                (hop.url.scheme() != "https" || next.scheme() == "https").then(|| hop.url.without_user());
            hop = Hop { referer, url: next, host, describes_body };
        }
    }

    /// Sends a request over a new connection and reads the head of the response. Errors have Go's messages.
    async fn exchange(&self, hop: &Hop, progress: &mut Progress) -> Result<(Connection, Head), String> {
        let url = &hop.url;
        let Some(default_port) = default_port(url.scheme()) else {
            return Err(format!("unsupported protocol scheme {}", quoted(url.scheme().as_bytes())));
        };
        progress.status = None;
        progress.phase = Phase::Connect;
        let endpoint = Endpoint::of(url, Some(default_port)).map_err(|error| match error {
            AddressError::Port => {
                let port = String::from_utf8_lossy(url.port().unwrap_or_default());
                format!("dial tcp: address {port}: invalid port")
            }
            _ => format!("dial tcp: lookup {}: no such host", String::from_utf8_lossy(url.hostname())),
        })?;
        let socket = dial(&endpoint, &mut progress.phase).await.map_err(|error| error.message)?;
        let stream = if url.scheme() == "https" {
            progress.phase = Phase::Handshake;
            handshake(socket, &endpoint.host, &self.trust, &["http/1.1"]).await?
        } else {
            Stream::Plain(socket)
        };
        progress.phase = Phase::Head;
        let mut connection = Connection::new(stream);
        connection.write(&self.request(hop)).await?;
        let head = connection.head().await?;
        Ok((connection, head))
    }

    fn next(&self, url: &Url, head: &Head) -> Result<Next, String> {
        let location = match &head.location {
            Some(location) if matches!(head.status, 301 | 302 | 303 | 307 | 308) => location,
            _ => return Ok(Next::Judge),
        };
        let (next, is_absolute) = url
            .join(location)
            .map_err(|error| format!("failed to parse Location header {}: {error}", quoted(location)))?;
        // The kubelet compares the host names as they are written, with the first request.
        let is_same = next.hostname() == self.url.hostname();
        Ok(if is_same { Next::Follow { url: next, is_absolute } } else { Next::Judge })
    }

    /// The head of a request, byte for byte as the kubelet sends it.
    fn request(&self, hop: &Hop) -> Vec<u8> {
        let mut request = [b"GET ", hop.url.request_target().as_slice(), b" HTTP/1.1\r\n"].concat();
        let mut put = |name: &str, value: &[u8]| {
            for part in [name.as_bytes(), b": ", value, b"\r\n"] {
                request.extend_from_slice(part);
            }
        };
        put("Host", hop.host.as_ref().map_or(hop.url.authority(), |host| host.as_bytes()));
        if !self.user_agent.is_empty() {
            put("User-Agent", self.user_agent.as_bytes());
        }
        let mut headers: Vec<(&str, &[u8])> = self
            .headers
            .iter()
            .filter(|header| hop.describes_body || !is_about_body(&header.name))
            .map(|header| (header.name.as_str(), header.value.as_bytes()))
            .collect();
        let has = |name: &str| self.headers.iter().any(|h| h.name == name && !h.value.is_empty());
        if let Some(referer) = &hop.referer
            && !has("Referer")
        {
            headers.push(("Referer", referer));
        }
        let authorization = hop.url.user().map(basic);
        if let Some(authorization) = &authorization
            && !has("Authorization")
        {
            headers.retain(|(name, _)| *name != "Authorization");
            headers.push(("Authorization", authorization.as_bytes()));
        }
        // Go sorts the headers by name.
        order::sort_by_key(&mut headers, |(name, _)| *name);
        for (name, value) in headers {
            put(name, value);
        }
        let is_close = |token: &str| token.trim().eq_ignore_ascii_case("close");
        let closes = |h: &Header| h.name == "Connection" && h.value.split(',').any(is_close);
        if !self.headers.iter().any(closes) {
            put("Connection", b"close");
        }
        request.extend_from_slice(b"\r\n");
        request
    }
}

/// The default port of a scheme. `None`: the scheme is not HTTP or HTTPS.
pub(super) fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

fn is_about_body(header: &str) -> bool {
    matches!(header, "Content-Encoding" | "Content-Language" | "Content-Location" | "Content-Type")
}

/// The value of `Authorization` for user and password of a URL (RFC 7617).
fn basic(user: &User) -> String {
    let password = user.password.as_deref().unwrap_or_default();
    format!("Basic {}", base64(&[user.name.as_slice(), b":", password].concat()))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = bytes.chunks(3).flat_map(|chunk| {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        [18, 12, 6, 0].into_iter().enumerate().map(move |(at, shift)| {
            let digit = DIGITS[(bits >> shift & 63) as usize];
            if at > chunk.len() { '=' } else { char::from(digit) }
        })
    });
    digits.collect()
}

fn judge(status: u16, body: &[u8]) -> AttemptEnd {
    match status {
        200..300 => AttemptEnd::success(Some(status)),
        300..400 => {
            let body = String::from_utf8_lossy(body);
            AttemptEnd {
                result: ProbeResult::Warning,
                phase: Phase::Complete,
                status: Some(status),
                message: format!("Probe terminated redirects, Response body: {body}"),
            }
        }
        _ => AttemptEnd {
            status: Some(status),
            ..AttemptEnd::failure(Phase::Complete, format!("HTTP probe failed with statuscode: {status}"))
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_authorization_is_that_of_rfc_7617() {
        let user = |name: &str, password: Option<&str>| User {
            name: name.into(),
            password: password.map(Into::into),
        };
        assert_eq!(basic(&user("Aladdin", Some("open sesame"))), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(basic(&user("u", None)), "Basic dTo=");
        assert_eq!(basic(&user("ab", Some(""))), "Basic YWI6");
    }
}
