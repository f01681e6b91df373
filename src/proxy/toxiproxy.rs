//! The HTTP API of toxiproxy (version 2). Its proxies become TCP proxies, and its toxics become rules.
//!
//! They form a source of their own. The API does not change proxies and rules of other sources.

mod answer;
mod collection;
mod fields;
mod toxic;

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::response::Response;
use hyper::header::USER_AGENT;
use hyper::{Method, StatusCode};
use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tracing::{error, info};

use crate::fault::{ProxyName, Stream};
use crate::file;
use crate::listener::{ConnectionHandle, ReadBody, Routes};
use crate::plan::document;
use crate::sources::Control;
use answer::{ApiError, empty, json_answer, text, with_type};
use collection::Collection;
use fields::Fields;

/// The version of toxiproxy whose API this is.
pub const VERSION: &str = "2.12.0";

/// Limit of a request's body, in bytes.
const MAX_BODY: usize = document::MAX_PLAN;

/// Limit of the time to receive a body.
const BODY_TIME: Duration = Duration::from_secs(15);

/// The API.
pub struct Toxiproxy {
    control: Control,
    collection: Collection,
    /// Networks that may use the API, in addition to loopback.
    allowed: Vec<IpNet>,
}

impl Toxiproxy {
    /// An API that answers clients on loopback and in `allowed`.
    pub fn new(control: Control, allowed: Vec<IpNet>) -> Arc<Self> {
        Arc::new(Self { collection: Collection::new(control.clone()), control, allowed })
    }

    /// The routes of its listener.
    pub fn routes(self: Arc<Self>) -> Routes {
        Routes::all(Box::new(move |request| {
            let api = self.clone();
            Box::pin(async move { Ok(api.answer(request).await) })
        }))
    }

    /// Adds the proxies of a file in the format of `/populate`. Logs an error; the proxies before it stay.
    pub async fn load(&self, path: &Path) {
        let by = path.display().to_string();
        let read = file::read_text(path, MAX_BODY).map_err(|error| ApiError::new(500, error.to_string()));
        let value =
            read.and_then(|text| document::parse_json(text.as_bytes(), MAX_BODY).map_err(ApiError::bad_body));
        let populated = match value {
            Ok(value) => self.populate(&value, &by).await,
            Err(error) => (Vec::new(), Err(error)),
        };
        match populated {
            (proxies, Ok(())) => info!(file = by, proxies = proxies.len(), "toxiproxy: proxies added"),
            (_, Err(ApiError { message, .. })) => error!(file = by, "{message}"),
        }
    }

    async fn answer(&self, request: Request) -> Response {
        let agent = request.headers().get(USER_AGENT).map_or(&b""[..], |agent| agent.as_bytes());
        if agent.starts_with(b"Mozilla/") {
            return text(StatusCode::FORBIDDEN, "User agent not allowed\n");
        }
        let peer = ConnectionHandle::current().map(|connection| connection.peer());
        if !peer.is_some_and(|peer| self.allows(peer.ip())) {
            return text(StatusCode::FORBIDDEN, "TOXIPROXY_ALLOW does not contain your address\n");
        }
        let by = peer.map_or_else(String::new, |peer| format!("toxiproxy {peer}"));
        let is_of_proxies = request.method() != Method::GET && !request.uri().path().contains("/toxics");
        let answer = self.respond(request, &by).await;
        if is_of_proxies {
            self.collection.settle().await;
        }
        answer
    }

    /// Answers a request of a client that may use the API; `by` names the client in events.
    pub async fn respond(&self, request: Request, by: &str) -> Response {
        self.serve(request, by).await.unwrap_or_else(|error| error.answer())
    }

    fn allows(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_loopback() || self.allowed.iter().any(|network| network.contains(&ip))
    }

    async fn serve(&self, request: Request, by: &str) -> Result<Response, ApiError> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path();
        let segments: Vec<String> = path
            .split('/')
            .skip(1)
            .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
            .collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        if segments.contains(&"") {
            return Ok(unknown_path());
        }
        let read = || async {
            let mut read = ReadBody::collect(&parts.headers, body, MAX_BODY, BODY_TIME).await?;
            let value = read.json(MAX_BODY)?.map_err(ApiError::bad_body)?;
            Ok::<_, ApiError>(Read { value, _memory: read })
        };
        let changes = matches!(parts.method, Method::POST | Method::PATCH);
        let ok = |value: &Value| Ok(json_answer(StatusCode::OK, value));
        let done = || Ok(empty(StatusCode::NO_CONTENT));
        let collection = &self.collection;
        match (&segments[..], &parts.method) {
            (["reset"], &Method::POST) => collection.reset(by).and_then(|()| done()),
            (["proxies"], &Method::GET) => ok(&collection.all()),
            (["proxies"], &Method::POST) => {
                let fields = Fields::read(&read().await?.value).await?;
                if let Some(field) = fields.missing() {
                    return Err(ApiError::missing(field));
                }
                Ok(json_answer(StatusCode::CREATED, &collection.create(fields, by)?))
            }
            (["populate"], &Method::POST) => {
                let (proxies, result) = self.populate(&read().await?.value, by).await;
                Ok(match result {
                    Ok(()) => json_answer(StatusCode::CREATED, &json!({ "proxies": proxies })),
                    Err(ApiError { message, status }) => {
                        let code = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                        let body = json!({ "error": message, "status": status, "proxies": proxies });
                        json_answer(code, &body)
                    }
                })
            }
            (["proxies", proxy], &Method::GET) => ok(&collection.proxy(proxy)?),
            (["proxies", proxy], _) if changes => {
                collection.proxy(proxy)?;
                ok(&self.update(proxy, Fields::read(&read().await?.value).await?, by).await?)
            }
            (["proxies", proxy], &Method::DELETE) => {
                collection.interrupt(proxy, by).await?;
                collection.remove(proxy, by).and_then(|()| done())
            }
            (["proxies", proxy, "toxics"], &Method::GET) => ok(&collection.toxics(proxy)?),
            (["proxies", proxy, "toxics"], &Method::POST) => {
                collection.proxy(proxy)?;
                ok(&collection.add_toxic(proxy, &read().await?.value, by)?)
            }
            (["proxies", proxy, "toxics", toxic], &Method::GET) => ok(&collection.toxic(proxy, toxic)?),
            (["proxies", proxy, "toxics", toxic], _) if changes => {
                collection.toxic(proxy, toxic)?;
                ok(&collection.update_toxic((proxy, toxic), &read().await?.value, by)?)
            }
            (["proxies", proxy, "toxics", toxic], &Method::DELETE) => {
                collection.remove_toxic(proxy, toxic, by).and_then(|()| done())
            }
            (["version"], &Method::GET) => {
                let version = format!("{{\"version\": \"{VERSION}\"}}\n");
                Ok(with_type(StatusCode::OK, "application/json;charset=utf-8", version))
            }
            (["metrics"], _) => {
                let kind = "text/plain; version=0.0.4; charset=utf-8";
                let body = ConnectionHandle::reserved(self.metrics());
                Ok(with_type(
                    StatusCode::OK,
                    kind,
                    body.ok_or_else(|| ApiError::new(503, "no memory is left"))?,
                ))
            }
            (
                ["reset" | "populate" | "version" | "proxies"]
                | ["proxies", _]
                | ["proxies", _, "toxics"]
                | ["proxies", _, "toxics", _],
                _,
            ) => Ok(empty(StatusCode::METHOD_NOT_ALLOWED)),
            _ => Ok(unknown_path()),
        }
    }

    /// Updates a proxy. As in toxiproxy, its connections end if it gets another address or upstream.
    async fn update(&self, proxy: &str, mut fields: Fields, by: &str) -> Result<Value, ApiError> {
        if !self.collection.moves(proxy, &fields)? {
            return self.collection.update(proxy, fields, by);
        }
        let enabled = Some(self.collection.interrupt(proxy, by).await?);
        fields.enabled = fields.enabled.or(enabled);
        let updated = self.collection.update(proxy, fields, by);
        if updated.is_err() {
            self.collection.update(proxy, Fields { enabled, ..Fields::default() }, by)?;
        }
        updated
    }

    async fn populate(&self, value: &Value, by: &str) -> (Vec<Value>, Result<(), ApiError>) {
        let Value::Array(items) = value else {
            return (Vec::new(), Err(ApiError::bad_body("not a JSON array")));
        };
        let mut all = Vec::new();
        for (i, item) in items.iter().enumerate() {
            let fields = match Fields::read(item).await {
                Ok(fields) => fields,
                Err(error) => return (Vec::new(), Err(error)),
            };
            if let Some(field) = fields.missing() {
                let missing = ApiError::missing(format_args!("{field} at proxy {}", i + 1));
                return (Vec::new(), Err(missing));
            }
            all.push(fields);
        }
        self.collection.populate(all, by)
    }

    /// This program's metrics, and toxiproxy's metrics of its proxies.
    fn metrics(&self) -> String {
        let metrics = self.control.metrics();
        let mut text = metrics.encode();
        for (name, help, received) in [
            ("toxiproxy_proxy_received_bytes_total", "Bytes that a proxy has read.", true),
            ("toxiproxy_proxy_sent_bytes_total", "Bytes that a proxy has passed on.", false),
        ] {
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} counter\n");
            self.collection.for_each(|proxy, ours: &ProxyName, listen, upstream| {
                let counters = metrics.tcp_proxy(ours.as_str());
                for stream in Stream::ALL {
                    let bytes = counters.bytes(stream, received);
                    let _ = writeln!(
                        text,
                        "{name}{{direction=\"{}\",listener=\"{listen}\",proxy=\"{}\",upstream=\"{}\"}} {bytes}",
                        stream.name(),
                        escaped(proxy),
                        escaped(upstream)
                    );
                }
            });
        }
        text
    }
}

fn unknown_path() -> Response {
    text(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// A body, and the memory reserved for it.
struct Read {
    value: Value,
    _memory: ReadBody,
}

/// A label value in Prometheus' text format.
fn escaped(text: &str) -> String {
    text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}
