//! The admin API: `/v1` to inspect and control the service, `/openapi.json`, which describes it, and the page.
//!
//! One function serves all requests: it checks the caller, then dispatches on path and method.

mod answer;
mod body;
mod duration;
mod events;
mod guard;
mod page;
mod preview;
mod proxies;
mod query;
mod state;
mod targets;

use std::future::ready;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::any;
use hyper::header::IF_MATCH;
use hyper::{HeaderMap, Method, StatusCode};
use miniz_oxide::inflate::decompress_to_vec;
use serde_json::{Map, Value, json};
use tokio::sync::{Mutex, MutexGuard, Semaphore};
use tokio::task::yield_now;

use crate::env::{Identity, Token};
use crate::listener::ConnectionHandle;
use crate::plan::{write_proxy, write_rule};
use crate::sources::{ApiChange, ChangeResult, Control};
use crate::units::Show;
use answer::ProblemDetails;
use body::{YAML, expect_empty, read, read_renew};
use duration::rounded_up;
use guard::{Caller, Guard};

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

/// Routes of `/v1`, `/openapi.json` and the page. The page needs no token: it contains no data of the service.
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
        async move { serve(&api, request).await.unwrap_or_else(ProblemDetails::answer) }
    };
    Router::new()
        .route("/v1/{*rest}", any(handler.clone()))
        .route("/v1", any(handler))
        .route("/", any(|request: Request| ready(index(request.method(), request.headers()))))
        .route("/page/{*name}", any(|request: Request| ready(page_file(&request))))
        .route("/openapi.json", any(|request: Request| ready(openapi(request.method()))))
}

/// The description of the API, which `build.rs` has compressed.
static OPENAPI: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/openapi.deflate"));

fn openapi(method: &Method) -> Response {
    match *method {
        Method::GET | Method::HEAD => {
            // The build compressed it: it is whole, and it is UTF-8.
            let text = decompress_to_vec(OPENAPI).unwrap_or_default();
            answer::written(StatusCode::OK, String::from_utf8(text).unwrap_or_default(), None)
        }
        _ => ProblemDetails::method(&["GET", "HEAD"]).answer(),
    }
}

/// The page for browsers; 404 for other clients.
fn index(method: &Method, headers: &HeaderMap) -> Response {
    if page::is_wanted(headers) {
        page::serve(method, headers, "index.html")
    } else {
        answer::with_type(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "not found")
    }
}

fn page_file(request: &Request) -> Response {
    let name = request.uri().path().strip_prefix("/page/").unwrap_or_default();
    page::serve(request.method(), request.headers(), name)
}

/// Both ends of the current connection.
fn caller() -> Caller {
    // Without a connection, the peer is unknown and the caller is treated as remote.
    let connection = ConnectionHandle::current();
    let peer = connection.as_ref().map(ConnectionHandle::peer);
    let local = connection.as_ref().and_then(ConnectionHandle::local);
    Caller { peer: peer.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0))), local }
}

/// Waits until no other answer with all rules is being built. One with a thousand rules takes milliseconds: they are built
/// one at a time, so that probes are served in between.
async fn turn(api: &Api) -> MutexGuard<'_, ()> {
    let turn = api.reading.lock().await;
    yield_now().await;
    turn
}

/// Serves one request.
async fn serve(api: &Api, request: Request) -> Result<Response, ProblemDetails> {
    let caller = caller();
    api.guard.check(&caller, &request)?;
    let peer = caller.peer;
    let _permit =
        api.requests.try_acquire().map_err(|_| ProblemDetails::busy("32 requests are in progress"))?;

    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let method = if parts.method == Method::HEAD { &Method::GET } else { &parts.method };
    let by = format!("api {}", SocketAddr::new(peer.ip().to_canonical(), peer.port()));
    let change = |change| {
        let expected = generations(&parts.headers)?;
        api.control.change(&by, expected.as_deref(), change).map_err(ProblemDetails::refused)
    };
    let query = parts.uri.query().unwrap_or_default();
    query::check(&segments[1..], query)?;
    let is_large = method == Method::GET && matches!(segments[1..], ["plan" | "state" | "faults"]);
    let _turn = if is_large { Some(turn(api).await) } else { None };
    match (&segments[1..], method) {
        (["plan"], &Method::GET) => {
            let status = api.control.status();
            Ok(answer::json(StatusCode::OK, &plan(&status), Some(status.snapshot.active.generation)))
        }
        (["plan"], &Method::PUT) => {
            let plan = read(&parts.headers, body, &["application/json", YAML]).await?;
            Ok(answer::changed(change(ApiChange::PutPlan(plan))?))
        }
        (["plan"], _) => Err(ProblemDetails::method(&["GET", "HEAD", "PUT"])),
        (["faults"], &Method::GET) => {
            let status = api.control.status();
            let faults = json!({ "faults": rules(&status) });
            Ok(answer::json(StatusCode::OK, &faults, Some(status.snapshot.active.generation)))
        }
        (["faults", name], &Method::GET) => {
            let status = api.control.status();
            let plan = &status.snapshot.active.plan;
            let found = plan.rules().zip(&status.rules).find(|(rule, _)| rule.name().as_str() == *name);
            let rule = rule(found.ok_or_else(|| ProblemDetails::no_fault(name))?);
            Ok(answer::json(StatusCode::OK, &rule, Some(status.snapshot.active.generation)))
        }
        (["faults", name], &Method::PUT) => {
            let rule = read(&parts.headers, body, &["application/json"]).await?;
            Ok(answer::changed(change(ApiChange::PutFault { name: (*name).to_owned(), rule })?))
        }
        (["faults", name], &Method::PATCH) => {
            let types = &["application/merge-patch+json", "application/json"];
            let fields = read(&parts.headers, body, types).await?;
            Ok(answer::changed(change(ApiChange::PatchFault { name: (*name).to_owned(), patch: fields })?))
        }
        (["faults", name], &Method::DELETE) => {
            expect_empty(&parts.headers, body).await?;
            Ok(answer::changed(change(ApiChange::DeleteFault { name: (*name).to_owned() })?))
        }
        (["faults", _], _) => Err(ProblemDetails::method(&["GET", "HEAD", "PUT", "PATCH", "DELETE"])),
        (["proxies", rest @ ..], method) => {
            proxies::serve(&api.control, rest, method, (&parts.headers, body), change).await
        }
        (["preview"], &Method::POST) => {
            let asked = read(&parts.headers, body, &["application/json"]).await?;
            // Only once the body has arrived, which may take long.
            let _turn = turn(api).await;
            Ok(answer::json(StatusCode::OK, &preview::document(&api.control, asked)?, None))
        }
        (["reset"], &Method::POST) => {
            let renew = read_renew(&parts.headers, body).await?;
            Ok(answer::changed(change(ApiChange::Reset { renew })?))
        }
        (["stop"], &Method::POST) => {
            expect_empty(&parts.headers, body).await?;
            let released = state::held(&api.control);
            change(ApiChange::Stop)?;
            Ok(stop_answer(api, Some(released)).await)
        }
        (["resume"], &Method::POST) => {
            expect_empty(&parts.headers, body).await?;
            change(ApiChange::Resume)?;
            Ok(stop_answer(api, None).await)
        }
        (["preview" | "reset" | "stop" | "resume"], _) => Err(ProblemDetails::method(&["POST"])),
        (["targets"], &Method::GET) => {
            let snapshot = api.control.engine().snapshot();
            let targets = targets::document(&snapshot, api.control.metrics());
            Ok(answer::json(StatusCode::OK, &targets, Some(snapshot.active.generation)))
        }
        (["state"], &Method::GET) => {
            let status = api.control.status();
            let state = state::text(&status, &api.identity, api.control.engine().uptime());
            Ok(answer::written(StatusCode::OK, state, Some(status.snapshot.active.generation)))
        }
        (["events"], &Method::GET) => events::serve(
            api.control.events(),
            &api.listeners,
            &parts.headers,
            query,
            parts.method == Method::HEAD,
        ),
        (["faults" | "targets" | "state" | "events"], _) => Err(ProblemDetails::method(&["GET", "HEAD"])),
        _ => Err(ProblemDetails::not_found()),
    }
}

/// The plan in force, in the form that `PUT` accepts.
fn plan(status: &crate::sources::SourcesStatus) -> Map<String, Value> {
    let mut plan = Map::new();
    if let Some((seed, _)) = status.seed {
        plan.insert("seed".to_owned(), seed.into());
    }
    plan.insert("faults".to_owned(), rules(status).into());
    plan.insert("proxies".to_owned(), status.proxies.iter().map(write_proxy).collect());
    plan
}

/// The rules in force, each with its remaining time as `ttl`.
fn rules(status: &crate::sources::SourcesStatus) -> Vec<Value> {
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
fn generations(headers: &HeaderMap) -> Result<Option<Vec<u64>>, ProblemDetails> {
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
                ProblemDetails::new(StatusCode::BAD_REQUEST, detail)
            })?;
            generations.push(generation);
        }
    }
    Ok(expected)
}

/// The answer to a change; `stopped` is present while a stop is in force.
fn changed_body(changed: ChangeResult) -> Value {
    let mut body = json!({ "generation": changed.generation });
    if changed.stopped {
        body["stopped"] = true.into();
    }
    body
}

/// The answer to a stop or a resume: whether rules are stopped, by whom, and, if the stop is not kept, which sources
/// bring rules back at the container's next start. The state is saved first, so a reported result survives a kill.
/// `released` lists the effects that ended.
async fn stop_answer(api: &Api, released: Option<Value>) -> Response {
    let saved = api.control.save().await;
    let status = api.control.status();
    let generation = status.snapshot.active.generation;
    let stop = status.snapshot.active.stop.as_ref();
    let mut body = json!({ "generation": generation, "stopped": stop.is_some() });
    if let Some(stop) = stop {
        body["stop"] = state::stop(stop);
    }
    if let Some(released) = released {
        body["released"] = released;
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
