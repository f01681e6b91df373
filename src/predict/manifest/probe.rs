//! Reads the probes of a container.

mod handler;

use super::error::Problem;
use super::findings::Reading;
use super::ports::Ports;
use crate::kubelet::{ProbeKind, ProbeSpec};
use handler::HandlerReader;
pub(super) use handler::{Owner, field};

/// The longest time that the API accepts, in seconds.
const MAX_SECONDS: u32 = i32::MAX as u32;

/// A probe, and whether it asks this program.
#[derive(Clone, Debug)]
pub(super) struct ProbeReading {
    pub(super) probe: ProbeSpec,
    pub(super) asks_us: bool,
}

/// Reads a container's probe of a kind.
pub(super) fn read(kind: ProbeKind, owner: Owner, ports: &Ports) -> Reading<Option<ProbeReading>> {
    Reading::collect(|found| {
        let fields = found.take(owner.container.mapping(field(kind)))?;
        let asked = found.take(HandlerReader::read(kind, owner, ports, &fields));
        // As for the API server, 0 means the default.
        let mut number = |name, default| {
            found.take(fields.number(name, 0, MAX_SECONDS)).filter(|value| *value > 0).unwrap_or(default)
        };
        let mut probe = ProbeSpec {
            initial_delay: number("initialDelaySeconds", 0),
            timeout: number("timeoutSeconds", 1),
            period: number("periodSeconds", 10),
            success_threshold: number("successThreshold", 1),
            failure_threshold: number("failureThreshold", 3),
            address: asked.address,
            transport: asked.transport,
            headers: asked.headers,
            ..ProbeSpec::new(asked.handler)
        };
        if let Some(own) = asked.timeout {
            probe.timeout = probe.timeout.min(own);
        }
        let grace = "terminationGracePeriodSeconds";
        if kind == ProbeKind::Readiness {
            if fields.contains(grace) {
                found.error(
                    fields.field(grace),
                    Problem::NotHere("a readiness probe never kills a container; remove the field"),
                );
            }
        } else {
            probe.grace = found.take(fields.number(grace, 1, MAX_SECONDS));
            if probe.success_threshold != 1 {
                let value = i64::from(probe.success_threshold);
                found.error(fields.field("successThreshold"), Problem::Range { value, least: 1, most: 1 });
            }
        }
        Some(ProbeReading { probe, asks_us: asked.asks_us })
    })
}
