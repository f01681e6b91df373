//! Writes rules as JSON values.

use serde_json::{Map, Value};

use super::mode::percent_of;
use super::process;
use super::request_match;
use super::value::{decimal, duration};
use crate::fault::{
    Action, ClientFilter, Delay, Distribution, FaultAnswer, HandshakeFault, ListenerName, Mode, ModeField,
    ModeParts, Networks, Pods, Rate, RequestWindow, Rule, TimeWindow, TlsAlert, Trigger,
};
use crate::units::show_timestamp;

/// Writes a rule in the format of a plan, without fields at their default. [`read_rule`](super::read_rule) is the
/// inverse.
pub fn write_rule(rule: &Rule) -> Value {
    let mut fields = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            fields.insert(name.to_owned(), value);
        }
    };
    let (targets, from) = match rule.action() {
        Action::Requests { targets, .. } => (targets.names().map(Value::from).collect(), None),
        Action::Listener { listener, from, .. } => (vec![Value::from(listener.as_str())], networks(from)),
        Action::Handshake { from, .. } => (vec![ListenerName::Probe.as_str().into()], networks(from)),
        Action::Process { .. } => (vec![Value::from(process::PROCESS)], None),
    };
    put("name", Some(rule.name().as_str().into()));
    put("target", Some(Value::Array(targets)));
    put("match", rule.request_match().map(request_match::write));
    put("client", (rule.client() != ClientFilter::Unset).then(|| rule.client().name().into()));
    put("from", from);
    let Trigger { time, requests, rate, burst, ramp, starts, start, until, stagger, pods } = rule.trigger();
    put("when", when(*time, *requests, *starts));
    put("start", start.map(|start| show_timestamp(start).into()));
    put("until", until.map(|until| show_timestamp(until).into()));
    put("pods", pods.as_ref().map(write_pods));
    put("stagger", stagger.map(duration));
    put("rate", (*rate != Rate::ALWAYS).then(|| format!("{}%", percent_of(*rate)).into()));
    put("burst", burst.map(|burst| decimal(burst.mean())));
    put("ramp", ramp.map(duration));
    match rule.action() {
        Action::Requests { delay, mode, .. } => {
            put("delay", delay.as_ref().map(write_delay));
            put("mode", mode.as_ref().map(|mode| mode.name().into()));
            if let Some(mode) = mode {
                for (name, value) in mode_fields(mode) {
                    put(name, Some(value));
                }
                let FaultAnswer { headers, body_text, forward, ends_connection } = rule.answer();
                put("headers", (!headers.is_empty()).then(|| write_headers(headers)));
                put("body_text", body_text.as_deref().map(Value::from));
                put("forward", forward.then_some(true.into()));
                put("connection", ends_connection.then_some(true.into()));
            }
            super::connection::write(rule.on_connection(), &mut fields);
        }
        Action::Listener { cut, .. } => put("mode", Some(cut.name().into())),
        Action::Handshake { fault, .. } => {
            put("mode", Some(fault.name().into()));
            if let HandshakeFault::Alert(alert) = fault {
                put("alert", (*alert != TlsAlert::HANDSHAKE_FAILURE).then(|| alert.to_string().into()));
            }
        }
        Action::Process { mode, allow_node_pressure } => {
            process::write(mode, *allow_node_pressure, &mut fields);
        }
    }
    Value::Object(fields)
}

fn write_pods(pods: &Pods) -> Value {
    match pods {
        Pods::Share(rate) => format!("{}%", percent_of(*rate)).into(),
        Pods::Ordinals(ordinals) => ordinals.iter().copied().map(Value::from).collect(),
    }
}

fn when(
    time: Option<TimeWindow>,
    requests: Option<RequestWindow>,
    starts: Option<RequestWindow>,
) -> Option<Value> {
    let mut when = Map::new();
    if let Some(time) = time {
        when = window(
            duration(time.after()),
            time.after().is_zero(),
            time.length().map(duration),
            time.period().map(duration),
        );
    }
    for (name, counts) in [("requests", requests), ("starts", starts)] {
        if let Some(counts) = counts {
            let (after, length, period) = (counts.after(), counts.length(), counts.period());
            let fields = window(after.into(), after == 0, length.map(Value::from), period.map(Value::from));
            when.insert(name.to_owned(), Value::Object(fields));
        }
    }
    (!when.is_empty()).then_some(Value::Object(when))
}

/// Omits an `after` of zero, unless the window would have no field.
fn window(
    after: Value,
    after_is_zero: bool,
    length: Option<Value>,
    period: Option<Value>,
) -> Map<String, Value> {
    let after = (!after_is_zero || length.is_none()).then_some(after);
    let fields = [("after", after), ("for", length), ("every", period)];
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

fn networks(from: &Networks) -> Option<Value> {
    let within = from.within.iter().map(ToString::to_string);
    let except = from.except.iter().map(|network| format!("!{network}"));
    (!from.is_all()).then(|| within.chain(except).collect())
}

fn write_delay(delay: &Delay) -> Value {
    let mapping = |distribution: Option<&str>, fields: &[(&str, std::time::Duration)]| {
        let named = distribution.map(|name| ("distribution".to_owned(), Value::from(name)));
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), duration(*value)));
        Value::Object(named.into_iter().chain(fields).collect())
    };
    match delay.distribution() {
        Distribution::Fixed(delay) => duration(*delay),
        Distribution::Uniform { mean, jitter } => mapping(None, &[("fixed", *mean), ("jitter", *jitter)]),
        Distribution::Normal { mean, deviation } => {
            mapping(Some("normal"), &[("fixed", *mean), ("jitter", *deviation)])
        }
        Distribution::LogNormal { median, p99 } => {
            mapping(Some("lognormal"), &[("median", *median), ("p99", *p99)])
        }
        Distribution::Exponential { mean } => mapping(Some("exponential"), &[("mean", *mean)]),
        Distribution::Percentiles(table) => {
            table.iter().map(|(percentile, delay)| (format!("p{percentile}"), duration(*delay))).collect()
        }
    }
}

fn mode_fields(mode: &Mode) -> impl Iterator<Item = (&'static str, Value)> {
    let (parts, default) = (mode.parts(), ModeParts::default());
    ModeField::ALL.into_iter().chain(ModeField::OF_TCP).filter_map(move |field| {
        let value = match field {
            ModeField::Status => parts.status.map(Value::from),
            ModeField::Location => {
                (parts.location != default.location).then(|| parts.location.clone().into())
            }
            ModeField::Body => (parts.body != default.body).then(|| parts.body.into()),
            ModeField::Drip => (parts.drip != default.drip).then(|| duration(parts.drip)),
            ModeField::Speed => (parts.speed != default.speed).then(|| parts.speed.into()),
            ModeField::Share => {
                (parts.share != default.share).then(|| format!("{}%", percent_of(parts.share)).into())
            }
            ModeField::GrpcStatus => {
                (parts.grpc_status != default.grpc_status).then(|| parts.grpc_status.to_string().into())
            }
            ModeField::GrpcMessage => {
                (parts.grpc_message != default.grpc_message).then(|| parts.grpc_message.clone().into())
            }
            // Fields of the rule, not of the mode.
            ModeField::Headers
            | ModeField::BodyText
            | ModeField::Forward
            | ModeField::Connection
            | ModeField::Alert
            | ModeField::Stream
            | ModeField::After
            | ModeField::CloseAfter => None,
            ModeField::Piece | ModeField::PieceJitter | ModeField::Pause => {
                super::connection::write_slices(field, parts.slices, default.slices)
            }
        };
        Some((field.name(), value?))
    })
}

/// A header with several values becomes a list, in order.
fn write_headers(headers: &[(String, String)]) -> Value {
    let mut fields = Map::new();
    for (name, value) in headers {
        match fields.get_mut(name) {
            None => {
                fields.insert(name.clone(), value.as_str().into());
            }
            Some(Value::Array(values)) => values.push(value.as_str().into()),
            Some(first) => *first = Value::Array(vec![first.take(), value.as_str().into()]),
        }
    }
    Value::Object(fields)
}
