//! Partitions.

use kube_probesim::fault::{Client, Cut, Link, LinkCut, ListenerId};

use crate::decisions::draft::{active, explain, failure, partition, probe, s};

const NEAR: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
const FAR: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 0, 1));

#[test]
fn without_a_partition_nobody_is_cut_off() {
    let plan = active([failure("fails")]);
    assert_eq!(plan.link(ListenerId::Probe, s(0)), Link::default());
    assert_eq!(plan.cut(ListenerId::Probe, s(0), NEAR, Some(Client::Kubelet)), None);
}

#[test]
fn a_partition_cuts_everybody_only_in_its_window() {
    let plan = active([failure("fails"), partition("cut", Cut::Refuse).window(10, 5, 0)]);
    for (elapsed, open) in [(9, false), (10, true), (14, true), (15, false)] {
        let cut = open.then_some(LinkCut { rule: 1, cut: Cut::Refuse });
        assert_eq!(
            plan.link(ListenerId::Probe, s(elapsed)),
            Link { whole: cut, partial: false },
            "at {elapsed} s"
        );
        assert_eq!(plan.cut(ListenerId::Probe, s(elapsed), FAR, None), cut, "at {elapsed} s");
    }
}

#[test]
fn a_partition_does_not_act_on_requests() {
    let plan = active([partition("cut", Cut::Drop)]);
    assert!(explain(&plan, &probe(1, s(0))).1.is_empty());
}

#[test]
fn the_first_partition_decides() {
    let plan = active([partition("first", Cut::Reset), partition("second", Cut::Drop)]);
    let first = Some(LinkCut { rule: 0, cut: Cut::Reset });
    assert_eq!(plan.link(ListenerId::Probe, s(0)).whole, first);
    assert_eq!(plan.cut(ListenerId::Probe, s(0), NEAR, None), first);
}

#[test]
fn a_cut_of_networks_spares_the_others() {
    let plan = active([partition("near", Cut::Drop).from(&["10.0.0.0/8"])]);
    assert_eq!(plan.link(ListenerId::Probe, s(0)), Link { whole: None, partial: true });
    let cut = Some(LinkCut { rule: 0, cut: Cut::Drop });
    assert_eq!(plan.cut(ListenerId::Probe, s(0), NEAR, None), cut);
    assert_eq!(plan.cut(ListenerId::Probe, s(0), "::ffff:10.0.0.1".parse().unwrap(), None), cut);
    assert_eq!(plan.cut(ListenerId::Probe, s(0), FAR, None), None);
}

#[test]
fn a_cut_of_a_client_class_waits_until_it_is_known() {
    let plan = active([partition("others", Cut::Reset).client(Client::Other)]);
    assert_eq!(plan.link(ListenerId::Probe, s(0)), Link { whole: None, partial: true });
    assert_eq!(plan.cut(ListenerId::Probe, s(0), NEAR, None), None);
    assert_eq!(plan.cut(ListenerId::Probe, s(0), NEAR, Some(Client::Kubelet)), None);
    assert_eq!(
        plan.cut(ListenerId::Probe, s(0), NEAR, Some(Client::Other)),
        Some(LinkCut { rule: 0, cut: Cut::Reset })
    );
}

#[test]
fn the_second_partition_cuts_those_whom_the_first_spares() {
    let plan = active([
        partition("near", Cut::Reset).from(&["10.0.0.0/8"]),
        partition("all", Cut::Drop).window(10, 0, 0),
    ]);
    assert_eq!(plan.cut(ListenerId::Probe, s(0), FAR, None), None);
    assert_eq!(plan.cut(ListenerId::Probe, s(10), FAR, None), Some(LinkCut { rule: 1, cut: Cut::Drop }));
    assert_eq!(plan.cut(ListenerId::Probe, s(10), NEAR, None), Some(LinkCut { rule: 0, cut: Cut::Reset }));
    assert_eq!(
        plan.link(ListenerId::Probe, s(10)),
        Link { whole: Some(LinkCut { rule: 1, cut: Cut::Drop }), partial: true }
    );
}
