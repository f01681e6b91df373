//! Metric families, built for each scrape.

use prometheus::TextEncoder;
use prometheus::proto::MetricFamily;

use prometheus::core::Collector;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;

use super::family::Family;
use super::{Limit, Metrics, process, proxy, upstream};
use crate::engine::{REQUESTED_RULE, RuleCounters};
use crate::fault::{Target, TargetId};
use crate::plan::Source;

/// Version and source revision of this build.
const BUILD: [(&str, &str); 2] = [("version", crate::VERSION), ("revision", crate::REVISION)];

pub(super) fn encode(metrics: &Metrics) -> String {
    // First, since it creates the series of new proxies.
    let mut families = requests(metrics);
    families.extend(metrics.durations.collect());
    families.extend(faults(metrics));
    families.extend(state(metrics));
    families.extend(metrics.tls.collect());
    families.extend(upstreams(metrics));
    families.extend(proxy::collect(&metrics.proxies.shown(|_| {})));
    families.extend(held(metrics));
    families.extend(process::collect());
    // The encoder rejects families without metrics.
    families.retain(|family| !family.get_metric().is_empty());
    TextEncoder::new().encode_to_string(&families).unwrap_or_else(|error| format!("# {error}\n"))
}

fn requests(metrics: &Metrics) -> Vec<MetricFamily> {
    let mut requests = Family::counter(
        "probesim_requests_total",
        "Requests to a target that have ended, by status code; code is none where no head was sent.",
    );
    for total in metrics.totals() {
        let labels = [("target", &*total.target), ("client", total.client.name()), ("code", &total.code)];
        requests.add(&labels, total.count as f64);
    }
    let mut gone = Family::counter(
        "probesim_clients_gone_total",
        "Requests whose client left before the head of its answer: a probe timeout.",
    );
    metrics.for_each_target(|target, counters| gone.add(&[("target", target)], counters.gone() as f64));
    vec![requests.done(), gone.done()]
}

fn faults(metrics: &Metrics) -> Vec<MetricFamily> {
    let snapshot = metrics.engine.snapshot();
    let plan = &snapshot.active.plan;
    let mut eligible = Family::counter(
        "probesim_faults_eligible_total",
        "Requests, or connections of a partition, for which a rule was in its window and not passed over.",
    );
    let mut injected = Family::counter(
        "probesim_faults_injected_total",
        "Requests, or connections of a partition, that a rule acted on; divided by the eligible ones, its rate.",
    );
    let mut rate = Family::gauge(
        "probesim_fault_rate",
        "Share of the eligible requests that a rule is meant to act on, 0 to 1; absent outside its time window.",
    );
    let mut active = Family::gauge(
        "probesim_fault_active",
        "1 while a rule is in its window: in time and, for the next request of one of its targets, in requests.",
    );
    let mut seconds = Family::counter(
        "probesim_fault_active_seconds_total",
        "Seconds in which a rule's time window was open.",
    );
    let mut selected =
        Family::gauge("probesim_fault_selected", "1 if this Pod is selected by a rule with `pods`.");
    let mut add = |counters: &RuleCounters, open: bool, seconds_open: Duration| {
        let fault = counters.name().as_str();
        for (target, count) in counters.eligible() {
            eligible.add(&[("fault", fault), ("target", target)], count as f64);
        }
        for (mode, target, count) in counters.injected() {
            injected.add(&[("fault", fault), ("target", target), ("mode", mode)], count as f64);
        }
        active.add(&[("fault", fault)], f64::from(u8::from(open)));
        seconds.add(&[("fault", fault)], seconds_open.as_secs_f64());
    };
    for (position, rule) in plan.rules().enumerate() {
        let open = snapshot.is_active(position);
        let seconds_open = snapshot.active.open_time(position, snapshot.elapsed);
        add(snapshot.active.rule_counters(position), open, seconds_open);
        if let Some(share) = plan.share(position, snapshot.elapsed) {
            rate.add(&[("fault", rule.name().as_str())], share);
        }
        if rule.trigger().pods.is_some() {
            let is_selected = f64::from(u8::from(plan.is_selected(position)));
            selected.add(&[("fault", rule.name().as_str())], is_selected);
        }
    }
    for counters in snapshot.active.retired_counters() {
        add(counters, false, counters.open());
    }
    for (target, count) in metrics.engine.requested_eligible() {
        eligible.add(&[("fault", REQUESTED_RULE), ("target", &target)], count as f64);
    }
    for (target, mode, count) in metrics.engine.requested_injected() {
        injected.add(&[("fault", REQUESTED_RULE), ("target", &target), ("mode", mode)], count as f64);
    }
    let mut up = Family::gauge(
        "probesim_target_up",
        "0 while a rule that fails every request of the target is in its window, or a partition cuts all clients, or, for readiness, the process is shutting down; else 1.",
    );
    let mut stopped = Family::gauge("probesim_stopped", "1 while all rules of all sources are stopped.");
    stopped.add(&[], f64::from(u8::from(plan.is_stopped())));
    let draining = metrics.draining.load(Ordering::Relaxed);
    for target in Target::ALL {
        let down = plan.is_down(target, snapshot.elapsed, &snapshot.counts)
            || (draining && target == Target::Readiness);
        up.add(&[("target", target.name())], f64::from(u8::from(!down)));
    }
    for (slot, name) in plan.proxies().present() {
        let down = plan.is_down(TargetId::Proxy(slot), snapshot.elapsed, &snapshot.counts);
        up.add(&[("target", name.as_str())], f64::from(u8::from(!down)));
    }
    let mut info = Family::gauge(
        "probesim_plan_info",
        "The effective seed; with SEED_SCOPE=fleet it replays this replica.",
    );
    info.add(&[("seed", &plan.seed().0.to_string())], 1.0);
    let mut generation =
        Family::gauge("probesim_plan_generation", "Number of the active plan in this process, from 1.");
    generation.add(&[], snapshot.active.generation as f64);
    let mut starts = Family::gauge(
        "probesim_container_starts",
        "Number of this start of the container, from 1; above 1 only if STATE_DIR keeps count.",
    );
    starts.add(&[], plan.replica().starts as f64);
    let families =
        [eligible, injected, rate, active, seconds, selected, up, stopped, info, generation, starts];
    families.into_iter().map(Family::done).collect()
}

fn upstreams(metrics: &Metrics) -> Vec<MetricFamily> {
    let durations = &metrics.upstreams.durations;
    let all = metrics.upstreams.all.shown(|proxy| {
        let _ = durations.remove_label_values(&[proxy]);
    });
    let mut families = upstream::collect(all.iter().map(|upstream| &**upstream)).to_vec();
    families.extend(durations.collect());
    families
}

fn state(metrics: &Metrics) -> Vec<MetricFamily> {
    let mut build = Family::gauge("probesim_build_info", "Version and source revision of this build.");
    build.add(&BUILD, 1.0);
    let mut connections = Family::gauge("probesim_connections", "Open connections to the probe listener.");
    connections.add(&[], metrics.probe_listener.connections() as f64);
    let mut up = Family::gauge(
        "probesim_listener_up",
        "1 while the probe listener accepts connections and no partition cuts all of them.",
    );
    up.add(&[], f64::from(u8::from(metrics.probe_listener.is_up())));
    let mut limits = Family::counter("probesim_limits_hit_total", "How often a limit cut a client short.");
    for limit in Limit::ALL {
        limits.add(&[("limit", limit.name())], load(&metrics.limits[limit as usize]));
    }
    let mut reloads = Family::counter("probesim_plan_reloads_total", "Plans read, by source and result.");
    for source in Source::ALL {
        for (result, counts) in [("ok", &metrics.reloads.ok), ("error", &metrics.reloads.failed)] {
            reloads.add(&[("source", source.name()), ("result", result)], load(&counts[source as usize]));
        }
    }
    let mut memory = Family::gauge(
        "probesim_client_memory_bytes",
        "Memory reserved for what clients make the process hold: connections, heads, bodies, unread answers.",
    );
    memory.add(&[], metrics.client_memory.load(Ordering::Relaxed) as f64);
    let mut tasks = Family::gauge("probesim_tasks", "Tasks of the asynchronous runtime.");
    if let Ok(runtime) = Handle::try_current() {
        tasks.add(&[], runtime.metrics().num_alive_tasks() as f64);
    }
    let families = [build, connections, up, limits, memory, reloads, tasks];
    families.into_iter().map(Family::done).collect()
}

fn held(metrics: &Metrics) -> Vec<MetricFamily> {
    let mut memory = Family::gauge("probesim_process_memory_bytes", "Memory held by rules, in bytes.");
    memory.add(&[], load(&metrics.held.memory));
    let mut cpu = Family::gauge("probesim_process_cpu_cores", "CPU time used by rules, in cores.");
    cpu.add(&[], load(&metrics.held.milli_cores) / 1000.0);
    let mut disk = Family::gauge("probesim_process_disk_bytes", "Bytes of volumes filled by rules.");
    disk.add(&[], load(&metrics.held.disk));
    [memory, cpu, disk].into_iter().map(Family::done).collect()
}

fn load(counter: &AtomicU64) -> f64 {
    counter.load(Ordering::Relaxed) as f64
}
