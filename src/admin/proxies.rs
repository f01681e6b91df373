//! `/v1/proxies`.

use std::net::SocketAddr;

use axum::body::Body;
use axum::response::Response;
use hyper::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

use super::answer::{self, ProblemDetails};
use super::body::{expect_empty, read};
use crate::plan::{Proxy, Source, write_proxy};
use crate::sources::{ApiChange, ChangeRefusal, ChangeResult, Control};

/// Serves a request to the list of proxies, or to the proxy named by the `rest` of the path.
pub(super) async fn serve(
    control: &Control,
    rest: &[&str],
    method: &Method,
    (headers, body): (&HeaderMap, Body),
    change: impl Fn(ApiChange) -> Result<ChangeResult, ProblemDetails>,
) -> Result<Response, ProblemDetails> {
    match (rest, method) {
        ([], &Method::GET) => {
            let proxies: Vec<Value> = control.proxies().iter().map(shown).collect();
            Ok(answer::json(StatusCode::OK, &json!({ "proxies": proxies }), None))
        }
        ([], _) => Err(ProblemDetails::method(&["GET", "HEAD"])),
        ([name], &Method::GET) => {
            let proxies = control.proxies();
            let found = proxies.iter().find(|(proxy, ..)| proxy.name.as_str() == *name);
            let found = found.ok_or_else(|| {
                ProblemDetails::refused(ChangeRefusal::NoProxy { name: (*name).to_owned() })
            })?;
            Ok(answer::json(StatusCode::OK, &shown(found), None))
        }
        ([name], &Method::PUT) => {
            let proxy = read(headers, body, &["application/json"]).await?;
            Ok(answer::changed(change(ApiChange::PutProxy { name: (*name).to_owned(), proxy })?))
        }
        ([name], &Method::DELETE) => {
            expect_empty(headers, body).await?;
            Ok(answer::changed(change(ApiChange::DeleteProxy { name: (*name).to_owned() })?))
        }
        ([_], _) => Err(ProblemDetails::method(&["GET", "HEAD", "PUT", "DELETE"])),
        _ => Err(ProblemDetails::not_found()),
    }
}

/// A proxy in the form that `PUT` accepts, with its source and its listening address.
fn shown((proxy, source, address): &(Proxy, Source, Option<SocketAddr>)) -> Value {
    let mut value = write_proxy(proxy);
    value["source"] = source.name().into();
    if let Some(address) = address {
        value["address"] = address.to_string().into();
    }
    value
}
