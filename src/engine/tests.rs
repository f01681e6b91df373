use super::*;
use crate::fault::{Action, ClientFilter, Mode, Plan, Seed, Trigger, Verdict};
use crate::fault::{ProxyName, RequestWindow, RuleName, Targets, Timestamp};

fn engine() -> Engine {
    let action = Action::Requests {
        targets: Targets::NONE.with(Target::Dependency),
        delay: None,
        mode: Some(Mode::Status(500)),
    };
    let name = RuleName::new("down").unwrap();
    let rule = Rule::new(name, ClientFilter::Any, Trigger::ALWAYS, action).unwrap();
    Engine::new(ActivePlan::new(Plan::new(vec![rule]).unwrap(), Seed(1), true))
}

#[tokio::test]
async fn each_target_and_client_class_is_counted_separately() {
    let engine = engine();
    for _ in 0..3 {
        engine.decide(Target::Liveness, Client::Kubelet);
    }
    assert_eq!(engine.decide(Target::Liveness, Client::Other).number, 1);
    assert_eq!(engine.decide(Target::Liveness, Client::Kubelet).number, 4);
    assert_eq!(engine.snapshot().counts.get(Target::Liveness, Client::Kubelet), 4);
}

#[tokio::test]
async fn a_failed_dependency_is_counted_for_readiness() {
    let engine = engine();
    let ruling = engine.decide(Target::Readiness, Client::Kubelet);
    assert_eq!(ruling.decision.verdict, Verdict::DependencyFailed(0));
    let active = engine.active();
    let tallies: Vec<Tally> = active.tallies(0).collect();
    assert_eq!(
        tallies,
        [
            Tally { subject: "readiness", eligible: 1, injected: 1 },
            Tally { subject: "dependency", eligible: 0, injected: 0 },
        ]
    );
}

fn proxies(names: &[&str]) -> Vec<ProxyName> {
    names.iter().map(|name| ProxyName::new(name).unwrap()).collect()
}

/// An engine whose rule `broken` fails every request to the proxy `stock`, and those to `names` that it knows.
fn proxied(names: &[&str]) -> Engine {
    let targets = Targets::NONE.with_proxy(ProxyName::new("stock").unwrap());
    let action = Action::Requests { targets, delay: None, mode: Some(Mode::Status(500)) };
    let rule = Rule::new(RuleName::new("broken").unwrap(), ClientFilter::Any, Trigger::ALWAYS, action);
    let known = Proxies::default().with(&proxies(names)).unwrap();
    let plan = Plan::new(vec![rule.unwrap()]).unwrap();
    Engine::new(ActivePlan::new(plan, Seed(1), true).with_proxies(known))
}

fn slot(engine: &Engine, name: &str) -> TargetId {
    let name = ProxyName::new(name).unwrap();
    TargetId::Proxy(engine.active().plan.proxies().slot(&name).unwrap())
}

fn know(engine: &Engine, names: &[&str]) {
    let active = engine.active();
    let known = active.plan.proxies().with(&proxies(names)).unwrap();
    engine.apply(active.sources.clone(), None, |plan, _| plan.clone().with_proxies(known));
}

#[tokio::test]
async fn a_proxy_rule_acts_only_on_its_proxy_and_is_counted_under_its_name() {
    let engine = proxied(&["db", "stock"]);
    let verdict = |target| engine.decide(target, Client::Other).decision.verdict;
    assert_eq!(verdict(slot(&engine, "stock")), Verdict::Inject(0));
    assert_eq!(verdict(slot(&engine, "db")), Verdict::Pass);
    assert_eq!(verdict(Target::Traffic.into()), Verdict::Pass);
    let active = engine.active();
    let tallies: Vec<Tally> = active.tallies(0).collect();
    assert_eq!(tallies, [Tally { subject: "stock", eligible: 1, injected: 1 }]);
    let Snapshot { counts, elapsed, .. } = engine.snapshot();
    assert!(active.plan.is_down(slot(&engine, "stock"), elapsed, &counts));
    assert!(!active.plan.is_down(slot(&engine, "db"), elapsed, &counts));
}

#[tokio::test]
async fn the_counts_of_a_proxy_continue_when_it_returns() {
    let engine = proxied(&["stock"]);
    let stock = slot(&engine, "stock");
    for _ in 0..3 {
        engine.decide(stock, Client::Other);
    }
    know(&engine, &["db"]);
    assert_eq!(engine.decide(stock, Client::Other).decision.verdict, Verdict::Pass, "it was removed");
    know(&engine, &["db", "stock"]);
    assert_eq!(slot(&engine, "stock"), stock);
    let injection = engine.decide(stock, Client::Other);
    assert_eq!((injection.number, injection.decision.verdict), (5, Verdict::Inject(0)));
    let active = engine.active();
    let injected: Vec<_> = active.rule_counters(0).injected().collect();
    assert_eq!(injected, [("status", "stock", 4)]);
}

#[tokio::test]
async fn a_proxy_in_a_reused_slot_starts_from_zero() {
    let engine = proxied(&["stock"]);
    engine.decide(slot(&engine, "stock"), Client::Other);
    let others: Vec<String> = (0..MAX_PROXIES).map(|i| format!("p{i}")).collect();
    know(&engine, &others.iter().map(String::as_str).collect::<Vec<_>>());
    let taken = others.iter().map(|name| slot(&engine, name)).find(|slot| slot.index() == Target::COUNT);
    assert_eq!(engine.decide(taken.unwrap(), Client::Other).number, 1);
}

#[tokio::test(start_paused = true)]
async fn setting_the_wall_clock_moves_calendar_rules_and_no_counter_decreases() {
    let at = |seconds: u64| Timestamp(Duration::from_secs(1_800_000_000 + seconds));
    let targets = Targets::NONE.with(Target::Liveness);
    let action = Action::Requests { targets, delay: None, mode: Some(Mode::Status(500)) };
    let trigger = Trigger { start: Some(at(60)), ..Trigger::ALWAYS };
    let rule = Rule::new(RuleName::new("dated").unwrap(), ClientFilter::Any, trigger, action).unwrap();
    let replica = Replica { epoch: at(0), ..Replica::default() };
    let plan = ActivePlan::new(Plan::new(vec![rule]).unwrap(), Seed(1), true).at(replica);
    let engine = Engine::new(plan);
    let fails = || engine.decide(Target::Liveness, Client::Other).decision.verdict == Verdict::Inject(0);
    let open = || engine.active().open_time(0, engine.elapsed());
    tokio::time::advance(Duration::from_secs(70)).await;
    assert!(fails());
    assert_eq!(open(), Duration::from_secs(10));
    // The clock was 30 s ahead: the start is in the future again.
    engine.set_replica(Replica { epoch: Timestamp(Duration::from_secs(1_799_999_970)), ..replica });
    assert!(!fails());
    assert_eq!(open(), Duration::from_secs(10));
    tokio::time::advance(Duration::from_secs(25)).await;
    assert!(fails());
    assert_eq!((open(), engine.active().generation), (Duration::from_secs(15), 1));
}

/// A request with only a path.
struct Path(&'static str);

impl RequestView for Path {
    fn method(&self) -> &'static str {
        "GET"
    }

    fn path(&self) -> &str {
        self.0
    }

    fn query(&self) -> Option<&str> {
        None
    }

    fn host(&self) -> Option<&str> {
        None
    }

    fn header(&self, _: &str) -> impl Iterator<Item = &[u8]> {
        std::iter::empty()
    }
}

/// Fails the third and the fourth request to `/orders` of a target.
fn matching(name: &str, on: Target) -> Rule {
    let mut wanted = Match::default();
    wanted.set_path("/orders").unwrap();
    let trigger =
        Trigger { requests: Some(RequestWindow::new(2, Some(2), None).unwrap()), ..Trigger::ALWAYS };
    let targets = Targets::NONE.with(on);
    let action = Action::Requests { targets, delay: None, mode: Some(Mode::Status(503)) };
    let name = RuleName::new(name).unwrap();
    Rule::new(name, ClientFilter::Any, trigger, action).unwrap().with_match(wanted).unwrap()
}

fn with_rules(rules: Vec<Rule>) -> Engine {
    Engine::new(ActivePlan::new(Plan::new(rules).unwrap(), Seed(1), true))
}

#[tokio::test]
async fn a_match_counts_its_own_requests_for_each_client_class() {
    let engine = with_rules(vec![matching("third", Target::Traffic)]);
    let fails = |path, client| {
        engine.decide_for(Target::Traffic, client, &Path(path)).decision.verdict == Verdict::Inject(0)
    };
    for _ in 0..10 {
        assert!(!fails("/other", Client::Other));
    }
    assert_eq!([(); 5].map(|()| fails("/orders", Client::Other)), [false, false, true, true, false]);
    assert_eq!([(); 3].map(|()| fails("/orders", Client::Kubelet)), [false, false, true]);
    assert_eq!(engine.active().matched(0).unwrap().get(Target::Traffic, Client::Other), 5);
    assert_eq!(engine.snapshot().counts.get(Target::Traffic, Client::Other), 15);
}

#[tokio::test]
async fn a_match_counts_while_another_rule_decides_and_while_all_are_stopped() {
    let targets = Targets::NONE.with(Target::Traffic);
    let action = Action::Requests { targets, delay: None, mode: Some(Mode::Hang) };
    let first = Rule::new(RuleName::new("first").unwrap(), ClientFilter::Any, Trigger::ALWAYS, action);
    let engine = with_rules(vec![first.unwrap(), matching("third", Target::Traffic)]);
    let ask = || engine.decide_for(Target::Traffic, Client::Other, &Path("/orders")).decision.verdict;
    assert_eq!(ask(), Verdict::Inject(0));
    let stop = Stop { source: Source::Api, by: "test".to_owned(), since: Timestamp(Duration::ZERO) };
    let sources = engine.active().sources.clone();
    engine.apply(sources.clone(), Some(stop), |plan, _| plan.clone());
    assert_eq!(ask(), Verdict::Pass);
    engine.apply(sources, None, |plan, _| plan.clone());
    assert_eq!(ask(), Verdict::Inject(0));
    assert_eq!(engine.active().matched(1).unwrap().get(Target::Traffic, Client::Other), 3);
}

#[tokio::test]
async fn an_unchanged_rule_keeps_its_numbers_and_a_changed_one_starts_over() {
    let engine = with_rules(vec![matching("kept", Target::Traffic), matching("changed", Target::Startup)]);
    let ask = || engine.decide_for(Target::Traffic, Client::Other, &Path("/orders"));
    ask();
    ask();
    let rules = vec![matching("changed", Target::Traffic), matching("kept", Target::Traffic)];
    let plan = Plan::new(rules).unwrap();
    let sources = engine.active().sources.clone();
    engine.apply(sources, None, |before, now| before.successor(plan, Seed(1), &now));
    let matched = |position| engine.active().matched(position).unwrap().get(Target::Traffic, Client::Other);
    assert_eq!((matched(0), matched(1)), (0, 2));
    assert!(engine.snapshot().is_active(1), "the next request that matches is the third");
    assert!(!engine.snapshot().is_active(0));
    assert_eq!(ask().decision.verdict, Verdict::Inject(1));
}

#[tokio::test]
async fn a_rule_with_a_match_affects_neither_target_up_nor_readiness() {
    let mut wanted = Match::default();
    wanted.set_path("/*").unwrap();
    let targets = [Target::Dependency, Target::Liveness].into_iter().collect();
    let action = Action::Requests { targets, delay: None, mode: Some(Mode::Status(500)) };
    let rule = Rule::new(RuleName::new("some").unwrap(), ClientFilter::Any, Trigger::ALWAYS, action);
    let engine = with_rules(vec![rule.unwrap().with_match(wanted).unwrap()]);
    let verdict = |target| engine.decide_for(target, Client::Kubelet, &Path("/dependency")).decision.verdict;
    assert_eq!(verdict(Target::Dependency), Verdict::Inject(0));
    assert_eq!(verdict(Target::Readiness), Verdict::Pass);
    let Snapshot { active, elapsed, counts } = engine.snapshot();
    for target in [Target::Liveness, Target::Readiness, Target::Dependency] {
        assert!(!active.plan.is_down(target, elapsed, &counts), "{target}");
    }
}

#[tokio::test]
async fn with_an_upstream_a_traffic_rule_skips_the_kubelet_by_default() {
    let rule = |name, client| {
        let targets = [Target::Traffic, Target::Liveness].into_iter().collect();
        let action = Action::Requests { targets, delay: None, mode: Some(Mode::Status(500)) };
        Rule::new(RuleName::new(name).unwrap(), client, Trigger::ALWAYS, action).unwrap()
    };
    for (client, has_upstream, fails) in [
        (ClientFilter::Unset, false, true),
        (ClientFilter::Unset, true, false),
        (ClientFilter::Any, true, true),
        (ClientFilter::Only(Client::Kubelet), true, true),
    ] {
        let plan = ActivePlan::new(Plan::new(vec![rule("broken", client)]).unwrap(), Seed(1), true);
        let engine = Engine::new(plan.with_upstream(has_upstream));
        let verdict = |target, client| engine.decide(target, client).decision.verdict;
        let traffic = verdict(Target::Traffic, Client::Kubelet) != Verdict::Pass;
        assert_eq!(traffic, fails, "{client:?} {has_upstream}");
        assert_eq!(verdict(Target::Liveness, Client::Kubelet), Verdict::Inject(0), "a probe class");
    }
    let proxied = proxied(&["stock"]);
    let stock = slot(&proxied, "stock");
    assert_eq!(
        proxied.decide(stock, Client::Kubelet).decision.verdict,
        Verdict::Inject(0),
        "`client: any` is set"
    );
}
