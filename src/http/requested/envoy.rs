//! The headers of Envoy's fault filter.

use std::time::Duration;

use hyper::HeaderMap;

use super::{MAX_DURATION, WrongRequest};
use crate::engine::REQUESTED_RULE;
use crate::fault::{
    Action, ClientFilter, Delay, GrpcStatus, MAX_SPEED, Mode, Rate, Rule, RuleName, Target, Targets, Trigger,
};

const DELAY: &str = "x-envoy-fault-delay-request";
const ABORT: &str = "x-envoy-fault-abort-request";
const ABORT_GRPC: &str = "x-envoy-fault-abort-grpc-request";
const THROUGHPUT: &str = "x-envoy-fault-throughput-response";

/// Rules for a delay, an abort and a throughput limit, each with its percentage. An HTTP status takes precedence over
/// a gRPC status.
pub(super) fn rules(headers: &HeaderMap) -> Result<Vec<Rule>, WrongRequest> {
    let mut rules = Vec::new();
    if let Some(millis) = number(headers, DELAY, 1, MAX_DURATION.as_millis() as u64)? {
        let delay = Delay::fixed(Duration::from_millis(millis)).ok();
        rules.extend(rule(headers, DELAY, delay, None)?);
    }
    let status = number(headers, ABORT, 200, 599)?;
    let grpc_status = number(headers, ABORT_GRPC, 0, 16)?;
    if let Some(status) = status {
        rules.extend(rule(headers, ABORT, None, Some(Mode::Status(status as u16)))?);
    } else if let Some(status) = grpc_status.and_then(|code| GrpcStatus::parse(&code.to_string())) {
        // Envoy has one percentage for both kinds of aborts.
        let share = if has_share(headers, ABORT_GRPC) { ABORT_GRPC } else { ABORT };
        rules.extend(rule(headers, share, None, Some(Mode::Grpc { status, message: String::new() }))?);
    }
    if let Some(kib) = number(headers, THROUGHPUT, 1, MAX_SPEED >> 10)? {
        rules.extend(rule(
            headers,
            THROUGHPUT,
            None,
            Some(Mode::Throttle { status: None, speed: kib << 10 }),
        )?);
    }
    Ok(rules)
}

fn share_of(name: &str) -> String {
    format!("{name}-percentage")
}

fn has_share(headers: &HeaderMap, name: &str) -> bool {
    headers.contains_key(share_of(name))
}

fn rule(
    headers: &HeaderMap,
    name: &str,
    delay: Option<Delay>,
    mode: Option<Mode>,
) -> Result<Option<Rule>, WrongRequest> {
    let percent = number(headers, &share_of(name), 0, 100)?.unwrap_or(100);
    let rate = Rate::from_percent(percent as f64).unwrap_or(Rate::ALWAYS);
    let action = Action::Requests { targets: Targets::NONE.with(Target::Traffic), delay, mode };
    let trigger = Trigger { rate, ..Trigger::ALWAYS };
    let rule =
        RuleName::new(REQUESTED_RULE).and_then(|name| Rule::new(name, ClientFilter::Any, trigger, action));
    // Every value was checked above.
    Ok(rule.ok())
}

fn number(headers: &HeaderMap, name: &str, low: u64, high: u64) -> Result<Option<u64>, WrongRequest> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let text = value.to_str().unwrap_or("").trim();
    let is_number = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    match text.parse() {
        Ok(number) if is_number && (low..=high).contains(&number) => Ok(Some(number)),
        _ => Err(WrongRequest::new(name, text, &format!("is not a whole number from {low} to {high}"))),
    }
}
