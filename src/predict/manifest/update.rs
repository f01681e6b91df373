//! Reads the update strategy of an object.

use std::time::Duration;

use serde_json::Value;

use super::findings::Reading;
use super::mapping::{Mapping, wrong};
use crate::predict::{Kind, Update};

const MOST: u32 = i32::MAX as u32;

/// Reads the update strategy and `minReadySeconds` of an object with `replicas` Pods.
pub(super) fn read(kind: &Kind, owner: &Mapping, replicas: u32) -> Reading<(Option<Update>, Duration)> {
    Reading::collect(|found| {
        let min_ready = match kind {
            Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet => {
                found.take(owner.number("minReadySeconds", 0, MOST)).unwrap_or(0)
            }
            _ => 0,
        };
        let update = match kind {
            Kind::Deployment => Some(found.take(of_deployment(owner, replicas))),
            Kind::StatefulSet => Some(found.take(of_stateful_set(owner, replicas))),
            Kind::DaemonSet => Some(found.take(of_daemon_set(owner, replicas))),
            _ => None,
        };
        (update, Duration::from_secs(u64::from(min_ready)))
    })
}

fn of_deployment(owner: &Mapping, replicas: u32) -> Reading<Update> {
    Reading::collect(|found| {
        let strategy = found.take(owner.mapping("strategy"));
        let kind = strategy.as_ref().and_then(|it| found.take(it.string("type")));
        if kind == Some("Recreate") {
            return Update::Recreate;
        }
        let rolling = strategy.and_then(|it| found.take(it.mapping("rollingUpdate")));
        let mut number = |field, up| {
            let given = rolling.as_ref().and_then(|rolling| found.take(pods(rolling, field, replicas, up)));
            given.unwrap_or_else(|| share(25.0, replicas, up))
        };
        let (surge, unavailable) = (number("maxSurge", true), number("maxUnavailable", false));
        // With both at zero, the controller uses `maxUnavailable` 1.
        Update::Rolling { surge, unavailable: if surge == 0 { unavailable.max(1) } else { unavailable } }
    })
}

fn of_stateful_set(owner: &Mapping, replicas: u32) -> Reading<Update> {
    Reading::collect(|found| {
        let strategy = found.take(owner.mapping("updateStrategy"));
        let kind = strategy.as_ref().and_then(|it| found.take(it.string("type")));
        if kind == Some("OnDelete") {
            return Update::OnDelete;
        }
        let rolling = strategy.and_then(|it| found.take(it.mapping("rollingUpdate")));
        let unavailable =
            rolling.and_then(|rolling| found.take(pods(&rolling, "maxUnavailable", replicas, true)));
        Update::Rolling { surge: 0, unavailable: unavailable.unwrap_or(1).max(1) }
    })
}

/// Reads the `partition` of a StatefulSet.
pub(super) fn partition(owner: &Mapping) -> Reading<u32> {
    Reading::collect(|found| {
        let rolling = found.take(owner.descend(&["updateStrategy", "rollingUpdate"]));
        rolling.and_then(|rolling| found.take(rolling.number("partition", 0, MOST))).unwrap_or(0)
    })
}

fn of_daemon_set(owner: &Mapping, nodes: u32) -> Reading<Update> {
    Reading::collect(|found| {
        let strategy = found.take(owner.mapping("updateStrategy"));
        let kind = strategy.as_ref().and_then(|it| found.take(it.string("type")));
        if kind == Some("OnDelete") {
            return Update::OnDelete;
        }
        let rolling = strategy.and_then(|it| found.take(it.mapping("rollingUpdate")));
        let mut number = |field, default| {
            rolling
                .as_ref()
                .and_then(|rolling| found.take(pods(rolling, field, nodes, true)))
                .unwrap_or(default)
        };
        let surge = number("maxSurge", 0);
        let unavailable = number("maxUnavailable", u32::from(surge == 0));
        Update::Rolling { surge, unavailable }
    })
}

/// A number of Pods, or a share of `replicas` in per cent, rounded up or down.
pub(super) fn pods(fields: &Mapping, name: &str, replicas: u32, up: bool) -> Reading<Option<u32>> {
    let Some(value) = fields.get(name) else { return Reading::of(None) };
    let pods = match value {
        Value::Number(number) => number.as_u64().and_then(|number| u32::try_from(number).ok()),
        Value::String(text) => text
            .strip_suffix('%')
            .and_then(|percent| percent.parse::<u32>().ok())
            .map(|percent| share(f64::from(percent), replicas, up)),
        _ => None,
    };
    match pods {
        Some(pods) => Reading::of(Some(pods)),
        None => Reading::wrong(fields.field(name), wrong("a number of Pods or a share such as 25%", value)),
    }
}

fn share(percent: f64, replicas: u32, up: bool) -> u32 {
    let exact = percent / 100.0 * f64::from(replicas);
    (if up { exact.ceil() } else { exact.floor() }) as u32
}
