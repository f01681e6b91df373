//! Answers and problem details (RFC 9457).

use axum::body::Body;
use axum::response::Response;
use hyper::StatusCode;
use hyper::header::{
    ALLOW, CONNECTION, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use serde::Serialize;
use serde_json::json;

use crate::listener::ConnectionHandle;
use crate::plan::{ConfigError, Errors};
use crate::sources::{ChangeRefusal, ChangeResult};

/// Why a request is rejected.
#[derive(Debug)]
pub(super) struct ProblemDetails {
    status: StatusCode,
    detail: String,
    errors: Errors,
    headers: Vec<(HeaderName, String)>,
}

impl ProblemDetails {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), errors: Errors::new(), headers: Vec::new() }
    }

    fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not found; /openapi.json lists the paths")
    }

    pub(super) fn method(allowed: &[&str]) -> Self {
        let allowed = allowed.join(", ");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, format!("allowed are {allowed}")).header(ALLOW, allowed)
    }

    pub(super) fn busy(why: &str) -> Self {
        // Close the connection: the admin listener has few, and another caller may need it.
        Self::new(StatusCode::SERVICE_UNAVAILABLE, format!("{why}; try again"))
            .header(RETRY_AFTER, "1")
            .header(CONNECTION, "close")
    }

    pub(super) fn unauthorized(detail: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, detail).header(WWW_AUTHENTICATE, "Bearer realm=\"probesim\"")
    }

    pub(super) fn no_fault(name: &str) -> Self {
        let shown: String = name.chars().take(64).collect();
        Self::new(StatusCode::NOT_FOUND, format!("no rule in force is named {shown:?}"))
    }

    pub(super) fn refused(refusal: ChangeRefusal) -> Self {
        match refusal {
            ChangeRefusal::NotFound { name } => Self::no_fault(&name),
            ChangeRefusal::NoProxy { name } => {
                let shown: String = name.chars().take(64).collect();
                Self::new(StatusCode::NOT_FOUND, format!("there is no proxy {shown:?}"))
            }
            ChangeRefusal::Stale { generation } => {
                let detail = format!("the plan is at generation {generation}, not at the one in If-Match");
                Self::new(StatusCode::PRECONDITION_FAILED, detail).header(ETAG, etag(generation))
            }
            ChangeRefusal::Invalid(errors) => {
                let noun = if errors.len() == 1 { "error" } else { "errors" };
                let detail = format!("{} {noun}; the previous plan stays in force", errors.len());
                Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail) }
            }
        }
    }

    pub(super) fn answer(self) -> Response {
        let error = |error: &ConfigError| {
            json!({
                "place": error.place,
                "field": error.field,
                "value": error.value,
                "reason": error.reason.to_string(),
                "message": error.to_string(),
            })
        };
        let mut problem = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason(),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if !self.errors.is_empty() {
            problem["errors"] = self.errors.iter().map(error).collect();
            if self.errors.omitted() > 0 {
                problem["more"] = self.errors.omitted().into();
            }
        }
        let mut response = with_type(self.status, "application/problem+json", problem.to_string());
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

/// A generation as an entity tag.
fn etag(generation: u64) -> String {
    format!("\"{generation}\"")
}

pub(super) fn json(status: StatusCode, value: &impl Serialize, generation: Option<u64>) -> Response {
    // Our own values always serialize.
    written(status, serde_json::to_string(value).unwrap_or_default() + "\n", generation)
}

/// An answer whose JSON is already serialized.
pub(super) fn written(status: StatusCode, text: String, generation: Option<u64>) -> Response {
    let Some(body) = ConnectionHandle::reserved(text) else {
        return ProblemDetails::busy("no memory is left for the answer").answer();
    };
    let mut response = with_type(status, "application/json", body);
    if let Some(tag) = generation.and_then(|generation| HeaderValue::from_str(&etag(generation)).ok()) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

pub(super) fn changed(changed: ChangeResult) -> Response {
    let status = if changed.created { StatusCode::CREATED } else { StatusCode::OK };
    let body = super::changed_body(changed);
    json(status, &body, Some(changed.generation))
}

pub(super) fn with_type(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
