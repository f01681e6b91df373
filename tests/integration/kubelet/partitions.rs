//! How partitions of the listener affect an attempt.

use std::time::Duration;

use kube_probesim::fault::{
    Action, Client, ClientFilter, Cut, ListenerName, Mode, Networks, Rule, RuleName, Trigger,
};
use kube_probesim::kubelet::{ContainerSpec, PodEventKind, ProbeHandler, ProbeSpec, Symptom};

use super::*;

#[test]
fn a_tcp_probe_notices_only_partitions() {
    let tcp = |rules| {
        let probe =
            ProbeSpec { period: 2, failure_threshold: 1, ..ProbeSpec::new(ProbeHandler::Tcp { server: 0 }) };
        let container = ContainerSpec { liveness: Some(probe), ..probesim(rules) };
        let (_, events) = run(container.clone(), s(4));
        let text = events.iter().find(|event| matches!(event.kind, PodEventKind::Unhealthy { .. }));
        text.map(|event| (event.at, event.message(&container)))
    };
    assert_eq!(tcp(vec![always(Mode::Hang)]), None);
    assert_eq!(tcp(vec![cut(Cut::Reset, Trigger::ALWAYS)]), None, "it is accepted first");
    let failed = |at, text: &str| Some((at, format!("Liveness probe failed: {text}")));
    assert_eq!(
        tcp(vec![cut(Cut::Refuse, Trigger::ALWAYS)]),
        failed(s(2), "dial tcp 10.0.0.5:8080: connect: connection refused")
    );
    assert_eq!(
        tcp(vec![cut(Cut::Drop, Trigger::ALWAYS)]),
        failed(s(3), "dial tcp 10.0.0.5:8080: i/o timeout")
    );
}

fn first_failure(rules: Vec<Rule>) -> Option<(Duration, Symptom)> {
    let (_, events) = run(ContainerSpec { liveness: liveness(2, 9), ..probesim(rules) }, s(4));
    events.iter().find_map(|event| match event.kind {
        PodEventKind::Unhealthy { symptom, .. } => Some((event.at, symptom)),
        _ => None,
    })
}

#[test]
fn each_kind_of_partition_fails_an_attempt_with_its_symptom() {
    let of = |mode| first_failure(vec![cut(mode, Trigger::ALWAYS)]);
    assert_eq!(of(Cut::Refuse), Some((s(2), Symptom::Refused)));
    assert_eq!(of(Cut::Reset), Some((s(2), Symptom::Reset)));
    assert_eq!(of(Cut::Drop), Some((s(3), Symptom::HeadTimeout)));
}

#[test]
fn a_partition_of_one_class_or_network_acts_after_the_accept() {
    let one_sided = |mode, client, from: &str| {
        let from = Networks { within: vec![from.parse().unwrap()], except: vec![] };
        let action = Action::Listener { listener: ListenerName::Probe, cut: mode, from };
        first_failure(vec![
            Rule::new(RuleName::new("cut").unwrap(), client, Trigger::ALWAYS, action).unwrap(),
        ])
    };
    let kubelet = ClientFilter::Only(Client::Kubelet);
    assert_eq!(one_sided(Cut::Refuse, kubelet, "0.0.0.0/0"), Some((s(2), Symptom::Reset)));
    assert_eq!(one_sided(Cut::Drop, ClientFilter::Any, "0.0.0.0/8"), Some((s(3), Symptom::HeadTimeout)));
    assert_eq!(one_sided(Cut::Drop, ClientFilter::Any, "10.0.0.0/8"), None);
    assert_eq!(one_sided(Cut::Drop, ClientFilter::Only(Client::Other), "0.0.0.0/0"), None);
}

#[test]
fn a_partition_during_an_answer_breaks_or_delays_it() {
    // The first attempt is at 1 s of the process and answered at 1.5 s.
    let with = |mode, after, length: Option<u64>| {
        let slow = rule("slow", Trigger::ALWAYS, Some(ms(500)), None);
        first_failure(vec![slow, cut(mode, window(ms(after), length.map(ms)))])
    };
    assert_eq!(with(Cut::Refuse, 1200, None), Some((ms(2200), Symptom::Reset)));
    assert_eq!(with(Cut::Drop, 1200, None), Some((s(3), Symptom::HeadTimeout)));
    assert_eq!(with(Cut::Drop, 1200, Some(600)), None, "healed in time");
}
