//! The admin API: `/v1` to inspect and control the service, and `/openapi.json`, which describes it.
//!
//! One function serves all requests: it checks the caller, then dispatches on path and method.

mod answer;
mod duration;
mod events;
mod guard;
mod proxies;
mod state;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::any;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, IF_MATCH};
use hyper::{HeaderMap, Method, StatusCode};
use serde_json::{Map, Value, json};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::env::{Identity, Token};
use crate::listener::ConnectionHandle;
use crate::listener::budget::Reservation;
use crate::plan::document;
use crate::plan::write_rule;
use crate::sources::{Change, Changed, Control};
use crate::units::Show;
use answer::Problem;
use duration::rounded_up;
use guard::{Caller, Guard};

/// Limit of a request body: the largest plan.
const MAX_BODY: usize = document::MAX_PLAN;

/// Time limit for receiving a request body.
const BODY_TIME: Duration = Duration::from_secs(10);

/// Limit of requests served at the same time.
const MAX_REQUESTS: usize = 32;

/// Limit of open event streams: below the connection limit of the admin listener.
const MAX_STREAMS: usize = 16;

/// State that the handlers share.
struct Api {
    control: Control,
    identity: Identity,
    guard: Guard,
    requests: Semaphore,
    listeners: Arc<Semaphore>,
    /// Held while an answer with all rules is built.
    reading: Mutex<()>,
}

/// Routes of `/v1` and `/openapi.json`.
///
/// With a `token`, every caller of `/v1` must send it. Without one, loopback callers are allowed if `loopback` is
/// true, and nobody is otherwise.
pub fn router(control: Control, identity: Identity, token: Option<Token>, loopback: bool) -> Router {
    let api = Arc::new(Api {
        control,
        identity,
        guard: Guard::new(token, loopback),
        requests: Semaphore::new(MAX_REQUESTS),
        listeners: Arc::new(Semaphore::new(MAX_STREAMS)),
        reading: Mutex::default(),
    });
    let handler = move |request: Request| {
        let api = api.clone();
        async move { serve(&api, request).await.unwrap_or_else(Problem::answer) }
    };
    Router::new()
        .route("/v1/{*rest}", any(handler.clone()))
        .route("/v1", any(handler))
        .route("/openapi.json", any(|request: Request| std::future::ready(openapi(request.method()))))
}

fn openapi(method: &Method) -> Response {
    match *method {
        Method::GET | Method::HEAD => answer::document(include_str!("admin/openapi.json")),
        _ => Problem::method(&["GET", "HEAD"]).answer(),
    }
}

/// Serves one request.
async fn serve(api: &Api, request: Request) -> Result<Response, Problem> {
    // Without a connection, the peer is unknown and the caller is treated as remote.
    let connection = ConnectionHandle::current();
    let peer = connection.as_ref().map(ConnectionHandle::peer);
    let peer = peer.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)));
    let local = connection.as_ref().and_then(ConnectionHandle::local);
    api.guard.check(&Caller { peer, local }, &request)?;
    let _permit = api.requests.try_acquire().map_err(|_| Problem::busy("32 requests are in progress"))?;

    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let method = if parts.method == Method::HEAD { &Method::GET } else { &parts.method };
    let by = format!("api {}", SocketAddr::new(peer.ip().to_canonical(), peer.port()));
    let change = |change| {
        let expected = generations(&parts.headers)?;
        api.control.change(&by, expected.as_deref(), change).map_err(Problem::refused)
    };
    // An answer with a thousand rules takes milliseconds: build one at a time, so that probes are served in between.
    let is_large = method == Method::GET && matches!(segments[1..], ["plan" | "state" | "faults"]);
    let _turn = if is_large {
        let turn = api.reading.lock().await;
        yield_now().await;
        Some(turn)
    } else {
        None
    };
    match (&segments[1..], method) {
        (["plan"], &Method::GET) => {
            let status = api.control.status();
            Ok(answer::json(StatusCode::OK, &plan(&status), Some(status.snapshot.active.generation)))
        }
        (["plan"], &Method::PUT) => {
            let plan = read(&parts.headers, body, &["application/json"]).await?;
            Ok(answer::changed(change(Change::PutPlan(plan))?))
        }
        (["plan"], _) => Err(Problem::method(&["GET", "HEAD", "PUT"])),
        (["faults"], &Method::GET) => {
            let status = api.control.status();
            let faults = json!({ "faults": rules(&status) });
            Ok(answer::json(StatusCode::OK, &faults, Some(status.snapshot.active.generation)))
        }
        (["faults", name], &Method::GET) => {
            let status = api.control.status();
            let plan = &status.snapshot.active.plan;
            let found = plan.rules().zip(&status.rules).find(|(rule, _)| rule.name().as_str() == *name);
            let rule = rule(found.ok_or_else(|| Problem::no_fault(name))?);
            Ok(answer::json(StatusCode::OK, &rule, Some(status.snapshot.active.generation)))
        }
        (["faults", name], &Method::PUT) => {
            let rule = read(&parts.headers, body, &["application/json"]).await?;
            Ok(answer::changed(change(Change::PutFault { name: (*name).to_owned(), rule })?))
        }
        (["faults", name], &Method::PATCH) => {
            let types = &["application/merge-patch+json", "application/json"];
            let fields = read(&parts.headers, body, types).await?;
            Ok(answer::changed(change(Change::PatchFault { name: (*name).to_owned(), patch: fields })?))
        }
        (["faults", name], &Method::DELETE) => {
            Ok(answer::changed(change(Change::DeleteFault { name: (*name).to_owned() })?))
        }
        (["faults", _], _) => Err(Problem::method(&["GET", "HEAD", "PUT", "PATCH", "DELETE"])),
        (["proxies", rest @ ..], method) => {
            proxies::serve(&api.control, rest, method, (&parts.headers, body), change).await
        }
        (["reset"], &Method::POST) => {
            let renew = read_renew(&parts.headers, body).await?;
            Ok(answer::changed(change(Change::Reset { renew })?))
        }
        (["stop"], &Method::POST) => {
            expect_empty(&parts.headers, body).await?;
            change(Change::Stop)?;
            Ok(stop_answer(api).await)
        }
        (["resume"], &Method::POST) => {
            expect_empty(&parts.headers, body).await?;
            change(Change::Resume)?;
            Ok(stop_answer(api).await)
        }
        (["reset" | "stop" | "resume"], _) => Err(Problem::method(&["POST"])),
        (["state"], &Method::GET) => {
            let status = api.control.status();
            let state = state::text(&status, &api.identity);
            Ok(answer::written(StatusCode::OK, state, Some(status.snapshot.active.generation)))
        }
        (["events"], &Method::GET) => {
            let query = parts.uri.query().unwrap_or_default();
            events::serve(
                api.control.events(),
                &api.listeners,
                &parts.headers,
                query,
                parts.method == Method::HEAD,
            )
        }
        (["faults" | "state" | "events"], _) => Err(Problem::method(&["GET", "HEAD"])),
        _ => Err(Problem::not_found()),
    }
}

/// The plan in force, in the form that `PUT` accepts.
fn plan(status: &crate::sources::Status) -> Map<String, Value> {
    let mut plan = Map::new();
    if let Some((seed, _)) = status.seed {
        plan.insert("seed".to_owned(), seed.into());
    }
    plan.insert("faults".to_owned(), rules(status).into());
    plan
}

/// The rules in force, each with its remaining time as `ttl`.
fn rules(status: &crate::sources::Status) -> Vec<Value> {
    status.snapshot.active.plan.rules().zip(&status.rules).map(rule).collect()
}

fn rule((rule, of_rule): (&crate::fault::Rule, &crate::sources::RuleStatus)) -> Value {
    let mut value = write_rule(rule);
    if let Some(left) = of_rule.expires_in {
        value["ttl"] = Show(rounded_up(left)).to_string().into();
    }
    value
}

/// The generations in `If-Match`; `None` if it accepts any.
fn generations(headers: &HeaderMap) -> Result<Option<Vec<u64>>, Problem> {
    let mut expected = None;
    for header in headers.get_all(IF_MATCH) {
        let generations = expected.get_or_insert_with(Vec::new);
        for tag in header.to_str().unwrap_or_default().split(',').map(str::trim) {
            if tag == "*" {
                return Ok(None);
            }
            // Also accept a generation without quotes.
            let tag = tag.strip_prefix('"').unwrap_or(tag);
            let tag = tag.strip_suffix('"').unwrap_or(tag);
            let digits = Some(tag).filter(|tag| tag.bytes().all(|c| c.is_ascii_digit()));
            let generation = digits.and_then(|generation| generation.parse().ok()).ok_or_else(|| {
                let shown: String = tag.chars().take(40).collect();
                let detail = format!("If-Match: {shown:?} is neither a generation in the form of ETag nor *");
                Problem::new(StatusCode::BAD_REQUEST, detail)
            })?;
            generations.push(generation);
        }
    }
    Ok(expected)
}

/// Reads a JSON body of one of the given media types.
async fn read(headers: &HeaderMap, body: Body, types: &[&str]) -> Result<Value, Problem> {
    let given = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = given.split(';').next().unwrap_or_default().trim();
    if !types.iter().any(|known| known.eq_ignore_ascii_case(kind)) {
        let wanted = types.join(" or ");
        let detail = format!("the Content-Type is {given:?}; send {wanted}");
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let (bytes, mut held) = bytes(headers, body).await?;
    parse(&bytes, &mut held)
}

/// Upper limit of the memory of a JSON value besides its text, in bytes.
const JSON_VALUE: usize = 160;

fn parse(bytes: &[u8], held: &mut Option<Reservation>) -> Result<Value, Problem> {
    let values = bytes.iter().filter(|c| matches!(c, b',' | b':' | b'[' | b'{')).count();
    reserve_at_least(held, 3 * bytes.len() + values * JSON_VALUE)?;
    document::parse_json(bytes, MAX_BODY)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, format!("the body cannot be read: {error}")))
}

/// Rejects a body other than empty or `{}`.
async fn expect_empty(headers: &HeaderMap, body: Body) -> Result<(), Problem> {
    let (bytes, mut held) = bytes(headers, body).await?;
    let is_empty = bytes.is_empty() || parse(&bytes, &mut held)?.as_object().is_some_and(Map::is_empty);
    let wrong = || Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "the body is neither empty nor {}");
    if is_empty { Ok(()) } else { Err(wrong()) }
}

async fn bytes(headers: &HeaderMap, body: Body) -> Result<(Bytes, Option<Reservation>), Problem> {
    let too_large = || {
        let detail = format!("the body is larger than the {MAX_BODY} bytes allowed");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    };
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > MAX_BODY as u64) {
        return Err(too_large());
    }
    let read = async {
        let mut body = Limited::new(body, MAX_BODY);
        let (mut bytes, mut held) = (BytesMut::new(), None);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                let is_too_large = error.is::<LengthLimitError>();
                let cut = || Problem::new(StatusCode::BAD_REQUEST, "the body is incomplete");
                if is_too_large { too_large() } else { cut() }
            })?;
            if let Ok(data) = frame.into_data() {
                // While the buffer grows, both copies exist.
                reserve_at_least(&mut held, 2 * (bytes.len() + data.len()))?;
                bytes.extend_from_slice(&data);
            }
        }
        Ok((bytes.freeze(), held))
    };
    match timeout(BODY_TIME, read).await {
        Ok(read) => read,
        Err(_) => {
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "the body was not received within 10 seconds"))
        }
    }
}

/// Grows `held` to a reservation of at least `bytes` from the connection's memory budget.
fn reserve_at_least(held: &mut Option<Reservation>, bytes: usize) -> Result<(), Problem> {
    let fits = match (held.as_mut(), ConnectionHandle::current()) {
        (Some(held), _) => held.grow_to(bytes),
        (None, Some(connection)) => {
            *held = connection.reserve(bytes);
            held.is_some()
        }
        // No connection, as in tests of the router alone.
        (None, None) => true,
    };
    if fits { Ok(()) } else { Err(Problem::busy("no memory is left for the body")) }
}

/// Reads the body of a reset, which may be empty, and returns `renew`.
async fn read_renew(headers: &HeaderMap, body: Body) -> Result<bool, Problem> {
    let (bytes, mut held) = bytes(headers, body).await?;
    if bytes.is_empty() {
        return Ok(false);
    }
    let wrong =
        || Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "the body is not {} or {\"renew\": true or false}");
    let value = parse(&bytes, &mut held)?;
    let fields = value.as_object().ok_or_else(wrong)?;
    let renew = fields.get("renew").map_or(Some(false), Value::as_bool).ok_or_else(wrong)?;
    if fields.keys().any(|field| field != "renew") { Err(wrong()) } else { Ok(renew) }
}

/// The answer to a change; `stopped` is present while a stop is in force.
fn changed_body(changed: Changed) -> Value {
    let mut body = json!({ "generation": changed.generation });
    if changed.stopped {
        body["stopped"] = true.into();
    }
    body
}

/// The answer to a stop or a resume: whether rules are stopped, by whom, and, if the stop is not kept, which sources
/// bring rules back at the container's next start. The state is saved first, so a reported result survives a kill.
async fn stop_answer(api: &Api) -> Response {
    let saved = api.control.save().await;
    let status = api.control.status();
    let generation = status.snapshot.active.generation;
    let stop = status.snapshot.active.stop.as_ref();
    let mut body = json!({ "generation": generation, "stopped": stop.is_some() });
    if let Some(stop) = stop {
        body["stop"] = state::stop(stop);
    }
    let is_kept = matches!(saved, Some(Ok(())));
    if stop.is_some() || saved.is_some() {
        body["kept"] = is_kept.into();
    }
    if let Some(Err(error)) = &saved {
        body["reason"] = error.to_string().into();
    }
    if stop.is_some() && !is_kept {
        body["returning"] = status.returning.iter().map(state::returning).collect();
    }
    answer::json(StatusCode::OK, &body, Some(generation))
}
