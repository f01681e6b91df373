//! Requested faults: by our own header or query parameter, or by the headers of Envoy's fault filter.

mod envoy;

use std::fmt::Write as _;
use std::time::Duration;

use axum::extract::Request;
use hyper::Uri;
use hyper::header::HeaderName;
use hyper::http::uri::PathAndQuery;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::fault::{Action, Distribution, Mode, ModeField, Rule};
use crate::plan;
use crate::units::Show;

static HEADER: HeaderName = HeaderName::from_static("x-probesim-fault");
const PARAMETER: &str = "probesim-fault";

/// Limit of a requested delay or drip time.
pub(super) const MAX_DURATION: Duration = Duration::from_secs(60);

/// The fields a request may set: modes of requests with their fields, a delay and a rate. `headers` and `body_text`
/// are not allowed.
fn field_names() -> impl Iterator<Item = &'static str> {
    let of_modes = ModeField::ALL.into_iter();
    let of_modes = of_modes.filter(|field| !matches!(field, ModeField::Headers | ModeField::BodyText));
    ["mode"].into_iter().chain(of_modes.map(ModeField::name)).chain(["delay", "rate"])
}

/// Why a requested fault is rejected; one line for each error.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct WrongRequest(String);

impl WrongRequest {
    fn new(place: &str, value: &str, reason: &str) -> Self {
        let shown: String = value.chars().take(80).collect();
        Self(format!("{place}: {shown:?} {reason}"))
    }
}

/// Takes the requested rules out of a request, in order. Our header takes precedence over our parameter, and both
/// over Envoy's headers, which are left in place.
pub(super) fn take(request: &mut Request) -> Result<Vec<Rule>, WrongRequest> {
    let mut headers = Vec::new();
    while let Some(value) = request.headers_mut().remove(&HEADER) {
        // `remove` returns the first value and drops the others.
        headers.push(value);
    }
    let parameters = take_parameters(request);
    if let Some(value) = headers.first() {
        let text = value.to_str().map_err(|_| WrongRequest::new(HEADER.as_str(), "", "is not text"))?;
        return Ok(vec![parse(HEADER.as_str(), text)?]);
    }
    if let Some(text) = parameters.first() {
        let spaced = text.replace('+', " ");
        let decoded = percent_decode_str(&spaced)
            .decode_utf8()
            .map_err(|_| WrongRequest::new(PARAMETER, text, "is not UTF-8, percent-encoded"))?;
        return Ok(vec![parse(PARAMETER, &decoded)?]);
    }
    envoy::rules(request.headers())
}

/// Removes our parameter from the query; the other bytes are unchanged.
fn take_parameters(request: &mut Request) -> Vec<String> {
    let uri = request.uri();
    let Some(query) = uri.query().filter(|query| query.contains(PARAMETER)) else { return Vec::new() };
    let is_ours = |pair: &&str| pair.split('=').next() == Some(PARAMETER);
    let ours: Vec<String> = query
        .split('&')
        .filter(is_ours)
        .map(|pair| pair.split_once('=').map_or("", |(_, value)| value).to_owned())
        .collect();
    let others: Vec<&str> = query.split('&').filter(|pair| !is_ours(pair)).collect();
    let mut target = uri.path().to_owned();
    if !others.is_empty() {
        // Writing to a `String` cannot fail.
        let _ = write!(target, "?{}", others.join("&"));
    }
    let mut parts = uri.clone().into_parts();
    if let Ok(target) = PathAndQuery::try_from(target) {
        parts.path_and_query = Some(target);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    ours
}

/// Parses a rule such as `mode=status; status=503; delay=2s`.
fn parse(place: &str, text: &str) -> Result<Rule, WrongRequest> {
    let mut fields = Map::new();
    for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        let Some((name, value)) = part.split_once('=') else {
            return Err(WrongRequest::new(place, part, "is not a field such as mode=status"));
        };
        let (name, value) = (name.trim(), value.trim());
        if !field_names().any(|field| field == name) {
            let fields = field_names().collect::<Vec<_>>().join(", ");
            return Err(WrongRequest::new(place, name, &format!("is not one of {fields}")));
        }
        let value = match (name, value) {
            ("forward" | "connection", "true") => Value::Bool(true),
            ("forward" | "connection", "false") => Value::Bool(false),
            _ => value.into(),
        };
        if fields.insert(name.to_owned(), value).is_some() {
            return Err(WrongRequest::new(place, name, "is given twice"));
        }
    }
    let rule = plan::read_requested(fields, place).map_err(|errors| WrongRequest(errors.to_string()))?;
    let Action::Requests { delay, mode, .. } = rule.action() else { return Ok(rule) };
    let delay = delay.as_ref().map(|delay| match delay.distribution() {
        Distribution::Fixed(delay) => *delay,
        _ => Duration::MAX,
    });
    let drip = match mode {
        Some(Mode::Drip { over, .. }) => Some(*over),
        _ => None,
    };
    for (field, time) in [("delay", delay), ("drip", drip)] {
        if let Some(time) = time.filter(|time| *time > MAX_DURATION) {
            let reason = format!("is above {}, the limit for a requested fault", Show(MAX_DURATION));
            return Err(WrongRequest::new(&format!("{place}: {field}"), &Show(time).to_string(), &reason));
        }
    }
    Ok(rule)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn request(target: &str, headers: &[(&str, &str)]) -> Request {
        let mut request = Request::builder().uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::empty()).unwrap()
    }

    fn effects(request: &mut Request) -> Vec<(&'static str, f64)> {
        let rules = take(request).unwrap();
        assert!(rules.iter().all(|rule| rule.name().as_str() == "request"));
        rules.iter().map(|rule| (rule.effect(), rule.trigger().rate.percent())).collect()
    }

    fn error(target: &str, headers: &[(&str, &str)]) -> String {
        take(&mut request(target, headers)).unwrap_err().to_string()
    }

    #[test]
    fn a_fault_is_read_from_the_header_or_the_query_and_removed() {
        let mut by_header =
            request("/a?b=c", &[("x-probesim-fault", "mode=status; status=503;delay=2s; rate=20%")]);
        assert_eq!(effects(&mut by_header), [("status", 20.0)]);
        assert!(by_header.headers().is_empty());
        for (target, left) in [
            ("/a?probesim-fault=mode%3Dclose", "/a"),
            ("/a?x=%2f&probesim-fault=mode=close&y", "/a?x=%2f&y"),
            ("/a?probesim-fault=mode%3Dclose%3B+rate%3D100%25&probesim-faults=1", "/a?probesim-faults=1"),
        ] {
            let mut by_query = request(target, &[]);
            assert_eq!(effects(&mut by_query), [("close", 100.0)], "{target}");
            assert_eq!(by_query.uri().to_string(), left);
        }
        let mut plain = request("/a?xprobesim-fault=1", &[("x-other", "y")]);
        assert!(effects(&mut plain).is_empty());
        assert_eq!(plain.uri(), "/a?xprobesim-fault=1");
    }

    #[test]
    fn envoy_headers_request_up_to_three_faults_and_are_forwarded() {
        let mut all = request(
            "/",
            &[
                ("x-envoy-fault-delay-request", "250"),
                ("x-envoy-fault-delay-request-percentage", "30"),
                ("x-envoy-fault-abort-request", "503"),
                ("x-envoy-fault-abort-request-percentage", "10"),
                ("x-envoy-fault-throughput-response", "64"),
            ],
        );
        assert_eq!(effects(&mut all), [("delay", 30.0), ("status", 10.0), ("throttle", 100.0)]);
        assert_eq!(all.headers().len(), 5);
        let mut grpc = request(
            "/",
            &[
                ("x-envoy-fault-abort-grpc-request", "14"),
                ("x-envoy-fault-abort-grpc-request-percentage", "50"),
            ],
        );
        assert_eq!(effects(&mut grpc), [("grpc", 50.0)]);
        let mut own =
            request("/", &[("x-envoy-fault-abort-request", "503"), ("x-probesim-fault", "delay=1s")]);
        assert_eq!(effects(&mut own), [("delay", 100.0)]);
    }

    #[test]
    fn errors_name_the_wrong_value() {
        for (header, value, expected) in [
            (
                "x-probesim-fault",
                "mode=status; status=99",
                "x-probesim-fault: status=\"99\": is not a whole number from 200 to 599",
            ),
            ("x-probesim-fault", "status", "x-probesim-fault: \"status\" is not a field such as mode=status"),
            ("x-probesim-fault", "delay=1s;delay=2s", "x-probesim-fault: \"delay\" is given twice"),
            (
                "x-probesim-fault",
                "delay=61s",
                "x-probesim-fault: delay: \"1m1s\" is above 1m, the limit for a requested fault",
            ),
            (
                "x-probesim-fault",
                "mode=drip; drip=2m",
                "x-probesim-fault: drip: \"2m\" is above 1m, the limit for a requested fault",
            ),
            (
                "x-probesim-fault",
                "",
                "x-probesim-fault: the rule has no effect: set a `mode`, a `delay` or both",
            ),
            (
                "x-envoy-fault-abort-request",
                "99",
                "x-envoy-fault-abort-request: \"99\" is not a whole number from 200 to 599",
            ),
            (
                "x-envoy-fault-abort-grpc-request",
                "17",
                "x-envoy-fault-abort-grpc-request: \"17\" is not a whole number from 0 to 16",
            ),
            (
                "x-envoy-fault-delay-request",
                "60001",
                "x-envoy-fault-delay-request: \"60001\" is not a whole number from 1 to 60000",
            ),
            (
                "x-envoy-fault-throughput-response",
                "0",
                "x-envoy-fault-throughput-response: \"0\" is not a whole number from 1 to 1048576",
            ),
        ] {
            assert_eq!(error("/", &[(header, value)]), expected);
        }
        assert_eq!(
            error(
                "/",
                &[("x-envoy-fault-delay-request", "5"), ("x-envoy-fault-delay-request-percentage", "101")]
            ),
            "x-envoy-fault-delay-request-percentage: \"101\" is not a whole number from 0 to 100"
        );
        assert!(error("/", &[("x-probesim-fault", "mode=drop")]).contains("is not a mode of requests"));
        assert!(
            error("/", &[("x-probesim-fault", "target=process")])
                .starts_with("x-probesim-fault: \"target\" is not one of mode, status")
        );
        assert_eq!(
            error("/?probesim-fault=mode%3Dx%FF", &[]),
            "probesim-fault: \"mode%3Dx%FF\" is not UTF-8, percent-encoded"
        );
    }
}
