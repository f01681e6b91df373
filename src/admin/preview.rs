//! `/v1/preview`: past and future windows of rules, without changing anything.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::answer::ProblemDetails;
use crate::clock::wall_clock;
use crate::fault::Rule;
use crate::plan::{ConfigError, Errors, Reason};
use crate::sources::{ApiChange, ChangeRefusal, Control, Preview};
use crate::units::{self, Bare, show_timestamp};

/// Default time to look ahead.
const AHEAD: Duration = Duration::from_secs(3600);

/// Maximum time to look in either direction.
const FARTHEST: Duration = Duration::from_secs(24 * 3600);

/// Limit of listed windows per rule.
const WINDOWS_OF_RULE: usize = 200;

/// Limit of listed windows of all rules.
const WINDOWS: usize = 5_000;

const FIELDS: [&str; 4] = ["fault", "plan", "past", "ahead"];

/// Answers a body with `fault`, `plan`, or neither for the plan in force, and optional `past` and `ahead`.
pub(super) fn document(control: &Control, body: Value) -> Result<Value, ProblemDetails> {
    let Value::Object(mut fields) = body else {
        return Err(invalid(ConfigError::new("", Reason::ExpectedMapping(FIELDS.to_vec()))));
    };
    let (fault, plan) = (fields.remove("fault"), fields.remove("plan"));
    let past = time(&mut fields, "past", Duration::ZERO)?;
    let ahead = time(&mut fields, "ahead", AHEAD)?;
    if let Some(name) = fields.keys().next() {
        return Err(invalid(ConfigError::new("", Reason::unknown_field(name, &FIELDS))));
    }
    let mut only = None;
    let change = match (fault, plan) {
        (Some(_), Some(_)) => {
            return Err(invalid(ConfigError::new("", Reason::NotWith("plan".to_owned())).field("fault")));
        }
        (Some(rule), None) => {
            let name = rule.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
            only = Some(name.clone());
            Some(ApiChange::PutFault { name, rule })
        }
        (None, Some(plan)) => Some(ApiChange::PutPlan(plan)),
        (None, None) => None,
    };
    let preview = control.preview(change).map_err(ProblemDetails::refused)?;
    let mut left = WINDOWS;
    let wanted = |rule: &Rule| only.as_ref().is_none_or(|name| rule.name().as_str() == name);
    let rules = preview.plan.rules().enumerate().filter(|(_, rule)| wanted(rule));
    let rules: Vec<Value> =
        rules.map(|(at, rule)| of_rule(&preview, at, rule, (past, ahead), &mut left)).collect();
    Ok(json!({
        "time": show_timestamp(wall_clock()),
        "generation": preview.generation,
        "stopped": preview.stopped,
        "created": preview.created,
        "past_s": past.as_secs_f64(),
        "ahead_s": ahead.as_secs_f64(),
        "rules": rules,
    }))
}

/// One rule: its windows in seconds from now, and the share of requests that it will act on.
fn of_rule(
    preview: &Preview,
    position: usize,
    rule: &Rule,
    (past, ahead): (Duration, Duration),
    left: &mut usize,
) -> Value {
    let (plan, now) = (&preview.plan, preview.elapsed);
    let from = now.saturating_sub(past).max(plan.origin(position).elapsed.min(now));
    let end = preview.ends[position];
    let to = end.map_or(now + ahead, |end| end.min(now + ahead));
    let most = WINDOWS_OF_RULE.min(*left);
    let mut windows = windows(preview, position, (from, to), most);
    let more = windows.len() >= most && windows.last().is_some_and(|(_, closes)| *closes < to);
    *left -= windows.len();

    // The share within the listed windows; the total open time is exact.
    let coming: Vec<(Duration, Duration)> = windows
        .iter()
        .filter(|(_, closes)| *closes > now)
        .map(|(opens, closes)| (*opens.max(&now), *closes))
        .collect();
    let listed: f64 = coming.iter().map(|(opens, closes)| closes.saturating_sub(*opens).as_secs_f64()).sum();
    let hit: f64 = coming.iter().map(|window| hit(preview, position, *window)).sum();
    let share = if listed > 0.0 { hit / listed } else { rule.trigger().rate.percent() / 100.0 };
    let open = if more { open_time(preview, position, to) } else { listed };
    let seconds = |at: Duration| round(at.as_secs_f64() - now.as_secs_f64());
    let windows: Vec<Value> = windows
        .drain(..)
        // A window that is still open at the end of the preview has no end.
        .map(|(opens, closes)| {
            if closes >= now + ahead {
                json!([seconds(opens)])
            } else {
                json!([seconds(opens), seconds(closes)])
            }
        })
        .collect();
    let mut value = json!({
        "name": rule.name().as_str(),
        "mode": rule.effect(),
        "targets": plan.targets(position).map(|target| plan.proxies().target_name(target)).collect::<Vec<_>>(),
        "selected": plan.is_selected(position),
        "by_requests": rule.trigger().requests.is_some(),
        "windows": windows,
        "more": more,
        "open_s": round(open),
        "share": round(share * 100.0),
        "expected": round(if ahead.is_zero() { 0.0 } else { share * open / ahead.as_secs_f64() * 100.0 }),
    });
    if let Some(end) = end {
        value["ends_s"] = seconds(end).into();
    }
    value
}

/// The first `most` time windows of a rule, as opening and closing times on the engine's clock.
fn windows(
    preview: &Preview,
    position: usize,
    (from, to): (Duration, Duration),
    most: usize,
) -> Vec<(Duration, Duration)> {
    let plan = &preview.plan;
    let mut windows = Vec::new();
    let (mut at, mut opened) = (from, plan.is_in_time(position, from).then_some(from));
    while windows.len() < most && at < to {
        let next =
            plan.next_change_of(position, at).filter(|next| *next > at).map_or(to, |next| next.min(to));
        match opened {
            Some(opens) if next >= to || !plan.is_in_time(position, next) => {
                windows.push((opens, next));
                opened = None;
            }
            None if next < to && plan.is_in_time(position, next) => opened = Some(next),
            _ => {}
        }
        at = next;
    }
    windows
}

/// Total open time of a rule's time window from now.
fn open_time(preview: &Preview, position: usize, to: Duration) -> f64 {
    preview.plan.open_time(position, preview.elapsed, to).as_secs_f64()
}

/// The share that a rule acts on, integrated over a window in seconds: it rises during the ramp, then is constant.
fn hit(preview: &Preview, position: usize, (opens, closes): (Duration, Duration)) -> f64 {
    let trigger = preview.plan.rule(position).trigger();
    let full = trigger.rate.percent() / 100.0;
    let length = closes.saturating_sub(opens).as_secs_f64();
    let Some(ramp) = trigger.ramp.map(|ramp| ramp.as_secs_f64()).filter(|_| full > 0.0) else {
        return full * length;
    };
    let first = preview.plan.share(position, opens).unwrap_or(full);
    let rising = (ramp * (1.0 - first / full)).clamp(0.0, length);
    let last = first + full * rising / ramp;
    rising * f64::midpoint(first, last) + (length - rising) * full
}

/// Milliseconds and thousandths of a percent suffice.
fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

fn time(fields: &mut Map<String, Value>, name: &str, default: Duration) -> Result<Duration, ProblemDetails> {
    let Some(value) = fields.remove(name) else { return Ok(default) };
    let text = match &value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return Err(invalid(ConfigError::new("", Reason::Expected("a duration")).field(name))),
    };
    let error = |reason: Reason| invalid(ConfigError::new("", reason).field(name).value(&text));
    let time = units::duration(&text, Bare::Seconds).map_err(|wrong| error(wrong.into()))?;
    if time > FARTHEST { Err(error(Reason::Expected("at most 24h"))) } else { Ok(time) }
}

fn invalid(error: ConfigError) -> ProblemDetails {
    ProblemDetails::refused(ChangeRefusal::Invalid(Errors::from(error)))
}
