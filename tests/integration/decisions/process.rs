//! When rules act on the process.

use kube_probesim::fault::{
    Action, ActivePlan, ClientFilter, Origin, Plan, ProcessMode, Rate, Replica, RequestWindow, Rule,
    RuleName, Seed, Size, TimeWindow, Timestamp, Trigger,
};

use super::draft::{changes, s};
use super::replicas::at;

fn plan(trigger: Trigger, mode: ProcessMode) -> ActivePlan {
    let action = Action::Process { mode, allow_node_pressure: false };
    let rule = Rule::new(RuleName::new("a").unwrap(), ClientFilter::Any, trigger, action).unwrap();
    ActivePlan::new(Plan::new(vec![rule]).unwrap(), Seed(42), true)
}

fn window(after: u64, length: Option<u64>, period: Option<u64>) -> TimeWindow {
    TimeWindow::new(s(after), length.map(s), period.map(s)).unwrap()
}

/// The seconds up to `end` at which the window is open, as every view of the plan has them.
fn open(plan: &ActivePlan, end: u64) -> Vec<u64> {
    let is_open = |t: u64| plan.process(s(t)).next().is_some();
    let expected: Vec<u64> = (1..end).filter(|t| is_open(*t) != is_open(t - 1)).collect();
    assert_eq!(changes(plan, end), expected);
    for t in 0..end {
        assert_eq!(plan.open_time(0, s(t), s(t + 1)), s(u64::from(is_open(t))), "at {t} s");
        assert_eq!(plan.is_in_time(0, s(t)), is_open(t), "at {t} s");
    }
    (0..end).filter(|t| is_open(*t)).collect()
}

#[test]
fn windows_count_from_each_start_of_the_process_even_with_a_kept_clock() {
    let trigger = Trigger { time: Some(window(10, Some(5), Some(20))), ..Trigger::ALWAYS };
    let first = plan(trigger, ProcessMode::Fds);
    assert_eq!(open(&first, 40), [10, 11, 12, 13, 14, 30, 31, 32, 33, 34]);
    let second = first.at(Replica { starts: 2, resumed: s(23), ..Replica::default() });
    assert_eq!(open(&second, 43), [33, 34, 35, 36, 37]);
    let added = second.with_origins(|_| Origin { elapsed: s(25), ..Origin::default() });
    assert_eq!(open(&added, 43), [35, 36, 37, 38, 39], "one that was added later counts from then on");
}

#[test]
fn the_calendar_bounds_a_window_that_counts_from_the_start_of_the_process() {
    let dated = |start: Option<u64>, until: Option<u64>, time| {
        let trigger = Trigger { time, start: start.map(at), until: until.map(at), ..Trigger::ALWAYS };
        plan(trigger, ProcessMode::Exit(1)).at(Replica { epoch: at(0), ..Replica::default() })
    };
    assert_eq!(open(&dated(Some(20), Some(23), None), 60), [20, 21, 22]);
    assert_eq!(open(&dated(Some(20), None, Some(window(25, Some(2), None))), 60), [25, 26]);
    assert_eq!(open(&dated(Some(26), None, Some(window(25, Some(2), Some(30)))), 60), [26, 55, 56]);
    assert_eq!(open(&dated(Some(30), Some(40), Some(window(25, Some(2), None))), 60), [0_u64; 0]);
    assert_eq!(open(&dated(Some(30), Some(56), Some(window(25, Some(2), Some(30)))), 60), [55]);
    // A process that starts after the instant is within it at once.
    let late = dated(Some(20), None, None).at(Replica { epoch: Timestamp(at(32).0), ..Replica::default() });
    assert_eq!(open(&late, 5), [0, 1, 2, 3, 4]);
}

#[test]
fn a_rate_is_drawn_once_for_each_start() {
    let trigger = Trigger { rate: Rate::from_percent(30.0).unwrap(), ..Trigger::ALWAYS };
    let plan = plan(trigger, ProcessMode::Exit(1));
    let fires = |start: u64| {
        let plan = plan.clone().at(Replica { starts: start, ..Replica::default() });
        let fired = |t| plan.process(s(t)).next().unwrap().fired;
        assert!((0..50).all(|t| fired(t) == fired(0)), "it stays the same within a start");
        assert_eq!(plan.fires_in_start(0), fired(0));
        fired(0)
    };
    let count = (1..=10_000).filter(|start| fires(*start)).count();
    assert!((2_800..=3_200).contains(&count), "{count}");
}

#[test]
fn the_first_starts_fail_and_the_next_succeeds() {
    let starts = Some(RequestWindow::new(0, Some(2), None).unwrap());
    let plan = plan(Trigger { starts, ..Trigger::ALWAYS }, ProcessMode::Exit(1));
    let acts =
        |starts| plan.clone().at(Replica { starts, ..Replica::default() }).process(s(0)).next().is_some();
    assert_eq!([1, 2, 3, 4].map(acts), [true, true, false, false]);
}

#[test]
fn memory_grows_over_its_ramp_and_a_stop_ends_it() {
    let trigger = Trigger { time: Some(window(10, Some(20), None)), ramp: Some(s(8)), ..Trigger::ALWAYS };
    let plan = plan(trigger, ProcessMode::Memory(Size::Bytes(1000)));
    let share = |plan: &ActivePlan, t| plan.process(s(t)).next().map(|hit| hit.share);
    assert_eq!(
        [9, 10, 12, 18, 29, 30].map(|t| share(&plan, t)),
        [None, Some(0.0), Some(0.25), Some(1.0), Some(1.0), None]
    );
    assert_eq!(share(&plan.stopped(true), 20), None);
}
