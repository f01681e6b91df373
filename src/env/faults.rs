//! The parsed variables that act on targets.

use std::time::Duration;

use super::raw::FaultVariables;
use super::reader::{ParseResult, Parsed, VariableReader, count, duration, percent, word};
use crate::fault::{Burst, GrpcStatus, MAX_BODY, MAX_GRPC_MESSAGE, MAX_SPEED, ModeInfo, Rate, RuleError};
use crate::plan;
use crate::plan::error::Reason;
use crate::units::{self, Bare};

/// The shape of a delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DelayShape {
    Uniform,
    Normal,
    LogNormal,
    Exponential,
}

const SHAPES: &[(&str, DelayShape)] = &[
    ("uniform", DelayShape::Uniform),
    ("normal", DelayShape::Normal),
    ("lognormal", DelayShape::LogNormal),
    ("exponential", DelayShape::Exponential),
];

type Optional<T> = Option<Parsed<T>>;

/// The variables with one prefix, or without any.
#[derive(Debug)]
pub(super) struct FaultSettings {
    pub(super) rate: Optional<f64>,
    pub(super) burst: Optional<f64>,
    pub(super) after_time: Optional<Duration>,
    pub(super) length: Optional<Duration>,
    pub(super) period: Optional<Duration>,
    pub(super) after_requests: Optional<u64>,
    pub(super) requests: Optional<u64>,
    pub(super) latency: Optional<Duration>,
    pub(super) jitter: Optional<Duration>,
    pub(super) shape: Optional<DelayShape>,
    pub(super) p50: Optional<Duration>,
    pub(super) p90: Optional<Duration>,
    pub(super) p99: Optional<Duration>,
    pub(super) startup: Optional<Duration>,
    pub(super) mode: Optional<&'static ModeInfo>,
    pub(super) status: Optional<u16>,
    pub(super) body: Optional<u64>,
    pub(super) drip: Optional<Duration>,
    pub(super) location: Optional<String>,
    pub(super) speed: Optional<u64>,
    pub(super) share: Optional<Rate>,
    pub(super) grpc_status: Optional<GrpcStatus>,
    pub(super) grpc_message: Optional<String>,
}

impl FaultSettings {
    pub(super) fn read(reader: &mut VariableReader, prefix: &str, raw: FaultVariables) -> Self {
        let name = |name: &str| [prefix, name].concat();
        let (s, ms) = (duration(Bare::Seconds), duration(Bare::Milliseconds));
        let after_requests = reader.read(&name("FAIL_AFTER_REQUESTS"), raw.fail_after_requests, count);
        let fail_count = reader.read(&name("FAIL_COUNT"), raw.fail_count, count);
        let requests = reader.read(&name("FAIL_REQUESTS"), raw.fail_requests, count);
        let recovery_period = reader.read(&name("RECOVERY_PERIOD"), raw.recovery_period, count);
        Self {
            rate: reader.read(&name("FAILURE_RATE"), raw.failure_rate, percent),
            burst: reader.read(&name("FAILURE_BURST"), raw.failure_burst, burst),
            after_time: reader.read(&name("FAIL_AFTER_TIME"), raw.fail_after_time, &s),
            length: reader.read(&name("FAIL_FOR"), raw.fail_for, &s),
            period: reader.read(&name("FAIL_EVERY"), raw.fail_every, &s),
            after_requests: reader.either(after_requests, fail_count),
            requests: reader.either(requests, recovery_period),
            latency: reader.read(&name("LATENCY"), raw.latency, &ms),
            jitter: reader.read(&name("LATENCY_JITTER"), raw.latency_jitter, &ms),
            shape: reader.read(&name("LATENCY_DISTRIBUTION"), raw.latency_distribution, word(SHAPES)),
            p50: reader.read(&name("LATENCY_P50"), raw.latency_p50, &ms),
            p90: reader.read(&name("LATENCY_P90"), raw.latency_p90, &ms),
            p99: reader.read(&name("LATENCY_P99"), raw.latency_p99, &ms),
            startup: reader.read(&name("STARTUP_DELAY"), raw.startup_delay, &s),
            mode: reader.read(&name("FAILURE_MODE"), raw.failure_mode, mode),
            status: reader.read(&name("FAILURE_STATUS"), raw.failure_status, status),
            body: reader.read(&name("FAILURE_BODY"), raw.failure_body, body),
            drip: reader.read(&name("FAILURE_DRIP"), raw.failure_drip, &s),
            location: reader.read(&name("FAILURE_LOCATION"), raw.failure_location, location),
            speed: reader.read(&name("FAILURE_SPEED"), raw.failure_speed, speed),
            share: reader.read(&name("FAILURE_SHARE"), raw.failure_share, share),
            grpc_status: reader.read(&name("FAILURE_GRPC_STATUS"), raw.failure_grpc_status, grpc_status),
            grpc_message: reader.read(&name("FAILURE_GRPC_MESSAGE"), raw.failure_grpc_message, grpc_message),
        }
    }
}

fn burst(text: &str) -> ParseResult<f64> {
    let mean: f64 = text.parse().map_err(|_| Reason::Expected("a number of requests such as 5"))?;
    if mean == 0.0 {
        return Ok((None, String::new()));
    }
    // Checked against the rate later; at a rate of 0, only the range matters.
    Burst::new(mean, Rate::from_percent(0.0)?)?;
    Ok((Some(mean), format!("{mean} requests")))
}

fn mode(text: &str) -> ParseResult<&'static ModeInfo> {
    if text == "0" {
        return Ok((None, String::new()));
    }
    let info = plan::request_mode(text, "requests (only PARTITION_MODE has it)")?;
    Ok((Some(info), info.name.to_owned()))
}

fn status(text: &str) -> ParseResult<u16> {
    if text == "0" {
        return Ok((None, String::new()));
    }
    let status = plan::status(text)?;
    Ok((Some(status), status.to_string()))
}

fn body(text: &str) -> ParseResult<u64> {
    let bytes = units::size(text)?;
    if bytes > MAX_BODY {
        return Err(RuleError::Body(bytes).into());
    }
    Ok((Some(bytes), format!("{bytes}B")))
}

fn speed(text: &str) -> ParseResult<u64> {
    match plan::speed(text)? {
        0 => Ok((None, String::new())),
        speed if speed > MAX_SPEED => Err(RuleError::Speed(speed).into()),
        speed => Ok((Some(speed), format!("{speed}B/s"))),
    }
}

fn share(text: &str) -> ParseResult<Rate> {
    let share = plan::share(text)?;
    let given = (share.percent() > 0.0).then_some(share);
    Ok((given, format!("{}%", share.percent())))
}

fn grpc_status(text: &str) -> ParseResult<GrpcStatus> {
    if text == "0" {
        return Ok((None, String::new()));
    }
    let status = plan::grpc_status(text)?;
    Ok((Some(status), status.to_string()))
}

fn grpc_message(text: &str) -> ParseResult<String> {
    if text.len() > MAX_GRPC_MESSAGE {
        return Err(RuleError::GrpcMessage(text.len()).into());
    }
    Ok((Some(text.to_owned()), text.to_owned()))
}

fn location(text: &str) -> ParseResult<String> {
    if text.bytes().all(|c| c.is_ascii_graphic()) {
        Ok((Some(text.to_owned()), text.to_owned()))
    } else {
        Err(Reason::Expected("a URL of printable ASCII characters"))
    }
}
