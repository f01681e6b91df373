//! Conditions on replicas, starts of the container and the calendar.

use std::collections::BTreeSet;
use std::time::Duration;

use kube_probesim::fault::{
    ActivePlan, Origin, Pods, Rate, Replica, RequestCounts, RequestWindow, Seed, Target, Timestamp, Trigger,
};
use proptest::prelude::*;

use crate::decisions::draft::{Draft, active, changes, failure, fires, plan, probe, s};

fn replica(seed: u64, name: &str) -> Replica {
    Replica::named(Some(seed), Some(name))
}

fn share(percent: f64) -> impl Fn(&mut Trigger) {
    move |trigger| trigger.pods = Some(Pods::Share(Rate::from_percent(percent).unwrap()))
}

pub(crate) fn at(seconds: u64) -> Timestamp {
    Timestamp(s(1_800_000_000 + seconds))
}

/// A plan whose clock stood at zero at [`at(0)`](at).
fn dated(draft: Draft) -> ActivePlan {
    active([draft]).at(Replica { epoch: at(0), ..replica(42, "web-0") })
}

/// The seconds below `end` in which the rule fires, as `[first, last + 1)` ranges, compared with the announced changes.
fn open(plan: &ActivePlan, end: u64) -> Vec<(u64, u64)> {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for t in 0..end {
        let fires = fires(plan, &probe(1, s(t)));
        assert_eq!(fires, plan.is_in_time(0, s(t)), "at {t} s");
        assert_eq!(fires, plan.is_down(Target::Liveness, s(t), &RequestCounts::default()), "at {t} s");
        let counted = plan.open_time(0, s(t), s(t + 1));
        assert_eq!(counted, if fires { s(1) } else { s(0) }, "at {t} s");
        if fires {
            match ranges.last_mut().filter(|(_, last)| *last == t) {
                Some((_, last)) => *last += 1,
                None => ranges.push((t, t + 1)),
            }
        }
    }
    let expected: Vec<u64> =
        ranges.iter().flat_map(|(from, to)| [*from, *to]).filter(|t| (1..end).contains(t)).collect();
    assert_eq!(changes(plan, end), expected, "the announced changes");
    ranges
}

#[test]
fn a_rule_acts_in_the_replicas_it_names_and_has_no_window_in_others() {
    let mut hit = BTreeSet::new();
    for i in 0..1_000 {
        let plan = active([failure("some").with(share(30.0))]).at(replica(7, &format!("web-{i}")));
        let fired = fires(&plan, &probe(1, s(0)));
        assert_eq!(plan.is_selected(0), fired);
        assert_eq!(plan.is_active(0, s(0), &RequestCounts::default()), fired);
        if fired {
            hit.insert(i);
        }
    }
    assert!((250..=350).contains(&hit.len()), "{}", hit.len());
    let others = (0..1_000).filter(|i| {
        active([failure("other-rule").with(share(30.0))]).at(replica(7, &format!("web-{i}"))).is_selected(0)
    });
    assert_eq!(others.collect::<BTreeSet<_>>(), hit, "the replicas do not depend on the rule");

    let ordinals = failure("two").with(|trigger| trigger.pods = Some(Pods::Ordinals(vec![0, 2])));
    let selected = |i| active([ordinals.clone()]).at(replica(7, &format!("web-{i}"))).is_selected(0);
    assert_eq!([0, 1, 2, 3].map(selected), [true, false, true, false]);
    let elsewhere = active([ordinals]).at(replica(7, "web-1"));
    assert_eq!(elsewhere.next_change(s(0)), None);
    assert_eq!(elsewhere.open_time(0, s(0), s(60)), s(0));
}

#[test]
fn a_stagger_shifts_each_replica_by_its_own_share() {
    let mut starts = BTreeSet::new();
    for i in 0..100 {
        let draft = failure("late").window(10, 5, 0).with(|trigger| trigger.stagger = Some(s(60)));
        let plan = active([draft]).at(replica(7, &format!("web-{i}")));
        let start = plan.next_change(s(0)).unwrap();
        assert!((s(10)..s(70)).contains(&start), "{start:?}");
        assert_eq!(plan.next_change(start), Some(start + s(5)));
        starts.insert(start);
    }
    assert_eq!(starts.len(), 100);
    let mean = starts.iter().sum::<Duration>().as_secs_f64() / 100.0;
    assert!((30.0..50.0).contains(&mean), "{mean}");
}

#[test]
fn a_window_in_starts_counts_from_the_start_in_which_the_rule_appeared() {
    let window = RequestWindow::new(2, Some(1), None).unwrap();
    let draft = || failure("third").with(|trigger| trigger.starts = Some(window));
    let in_start = |starts| active([draft()]).at(Replica { starts, ..replica(1, "web-0") });
    let acts: Vec<u64> = (1..=6).filter(|starts| fires(&in_start(*starts), &probe(1, s(0)))).collect();
    assert_eq!(acts, [3]);
    let later = Origin { starts: 4, ..Origin::default() };
    let acts: Vec<u64> = (5..=9)
        .filter(|starts| fires(&in_start(*starts).with_origins(|_| later.clone()), &probe(1, s(0))))
        .collect();
    assert_eq!(acts, [7]);
}

#[test]
fn each_start_after_the_first_has_its_own_seed() {
    let seeds: BTreeSet<u64> = (0..100).map(|start| Seed(42).for_start(start).0).collect();
    assert_eq!((seeds.len(), Seed(42).for_start(1)), (99, Seed(42)));
}

#[test]
fn a_start_on_the_calendar_takes_the_place_of_the_origin() {
    let start = |seconds| move |trigger: &mut Trigger| trigger.start = Some(at(seconds));
    let until = |seconds| move |trigger: &mut Trigger| trigger.until = Some(at(seconds));
    assert_eq!(open(&dated(failure("a").with(start(20))), 60), [(20, 60)]);
    assert_eq!(open(&dated(failure("a").with(start(20)).with(until(40))), 60), [(20, 40)]);
    assert_eq!(open(&dated(failure("a").with(until(40))), 60), [(0, 40)]);
    assert_eq!(
        open(&dated(failure("a").window(10, 5, 20).with(start(20))), 90),
        [(30, 35), (50, 55), (70, 75)]
    );
    assert_eq!(
        open(&dated(failure("a").window(10, 5, 20).with(start(20)).with(until(52))), 90),
        [(30, 35), (50, 52)]
    );
    assert_eq!(open(&dated(failure("a").window(10, 5, 0).with(start(20)).with(until(25))), 90), []);
    // A container that starts later joins the running schedule.
    let late = |draft: Draft| active([draft]).at(Replica { epoch: at(32), ..replica(42, "web-0") });
    assert_eq!(
        open(&late(failure("a").window(10, 5, 20).with(start(20))), 60),
        [(0, 3), (18, 23), (38, 43), (58, 60)]
    );
    assert_eq!(open(&late(failure("a").with(start(20)).with(until(30))), 60), []);
    assert_eq!(open(&late(failure("a").with(start(20)).with(until(40))), 60), [(0, 8)]);
}

#[test]
fn time_before_a_rule_appeared_is_not_counted_as_open() {
    let draft = failure("a").with(|trigger| trigger.start = Some(at(0)));
    let before = active([]).at(Replica { epoch: at(0), ..replica(42, "web-0") });
    let now = Origin { elapsed: s(100), ..Origin::default() };
    let after = before.successor(plan([draft]), Seed(42), &now);
    assert!(after.is_in_time(0, s(100)));
    assert_eq!(after.open_time(0, s(0), s(130)), s(30));
}

proptest! {
    #[test]
    fn announced_window_changes_happen_at_their_time(
        after in 0..20_u64, length in 0..20_u64, more in 1..20_u64, repeats: bool,
        start in prop::option::of(0..60_u64), lasts in prop::option::of(1..60_u64), began in 0..60_u64,
    ) {
        let draft = failure("a").window(after, length, if repeats && length > 0 { length + more } else { 0 });
        let draft = draft.with(|trigger| {
            trigger.start = start.map(at);
            trigger.until = lasts.map(|lasts| at(start.unwrap_or(0) + lasts));
        });
        let plan = active([draft]).at(Replica { epoch: at(began), ..replica(42, "web-0") });
        open(&plan, 150);
    }
}
