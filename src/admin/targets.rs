//! `/v1/targets`: the state of each target and the outcomes of its requests. Small, for frequent polling.

use serde_json::{Map, Value, json};

use crate::clock::wall_clock;
use crate::engine::Snapshot;
use crate::fault::{ListenerId, Target, TargetId};
use crate::telemetry::metrics::{BUCKETS, Metrics, Traffic};
use crate::units::show_timestamp;

/// All targets; the classes of the probe listener come first.
pub(super) fn document(snapshot: &Snapshot, metrics: &Metrics) -> Value {
    let plan = &snapshot.active.plan;
    let traffic = metrics.traffic();
    let connections = metrics.tcp_connections();
    let classes = Target::ALL.into_iter().map(|target| (TargetId::Class(target), ListenerId::Probe));
    let proxies = plan.proxies().present().map(|(slot, _)| (TargetId::Proxy(slot), ListenerId::Proxy(slot)));
    let active: Vec<usize> = (0..plan.len()).filter(|position| snapshot.is_active(*position)).collect();
    let targets = classes.chain(proxies).map(|(target, listener)| {
        let name = plan.proxies().target_name(target);
        let link = plan.link(listener, snapshot.elapsed);
        let cut = match link.whole {
            Some(cut) => cut.cut.name(),
            None if link.partial => "some",
            None => "none",
        };
        let mut value = json!({
            "name": name,
            "up": !plan.is_down(target, snapshot.elapsed, &snapshot.counts),
            "faulted": active.iter().filter(|position| plan.acts_on(**position, target)).count(),
            "cut": cut,
            "proxy": matches!(target, TargetId::Proxy(_)),
        });
        let of_target = traffic.iter().find(|traffic| traffic.target == name);
        let mut codes = Map::new();
        for (code, count) in of_target.map_or(&[][..], |traffic: &Traffic| &traffic.codes) {
            codes.insert(code.clone(), (*count).into());
        }
        value["codes"] = codes.into();
        value["gone"] = of_target.map_or(0, |traffic| traffic.gone).into();
        value["durations"] = of_target.map(|traffic| traffic.durations.clone()).unwrap_or_default().into();
        if let Some(of_proxy) = connections.iter().find(|of_proxy| of_proxy.proxy == name) {
            value["connections"] = json!({
                "open": of_proxy.open,
                "ended": counts(&of_proxy.ended),
                "bytes": counts(&of_proxy.bytes),
            });
        }
        value
    });
    json!({
        "time": show_timestamp(wall_clock()),
        "generation": snapshot.active.generation,
        "stopped": snapshot.active.stop.is_some(),
        "bounds": BUCKETS,
        "targets": targets.collect::<Vec<_>>(),
    })
}

fn counts(of: &[(&'static str, u64)]) -> Map<String, Value> {
    of.iter().map(|(name, count)| ((*name).to_owned(), (*count).into())).collect()
}
