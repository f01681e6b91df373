use std::time::Duration;

use super::*;
use crate::fault::{Burst, Rate, Target};

fn requests(mode: Mode) -> Action {
    Action::Requests { targets: Targets::NONE.with(Target::Liveness), delay: None, mode: Some(mode) }
}

fn error(trigger: Trigger, action: Action) -> String {
    let name = RuleName::new("drill").unwrap();
    Rule::new(name, ClientFilter::Any, trigger, action).unwrap_err().to_string()
}

#[test]
fn a_name_is_a_dns_label() {
    for good in ["a", "readiness-flaps", "0", "a--b"] {
        assert!(RuleName::new(good).is_ok(), "{good}");
    }
    for bad in ["", "-a", "a-", "A", "a_b", "a.b", "ä", &"a".repeat(64)] {
        assert!(RuleName::new(bad).is_err(), "{bad}");
    }
}

#[test]
fn inconsistent_parts_are_rejected_with_a_reason() {
    assert_eq!(error(Trigger::ALWAYS, requests(Mode::Status(103))), "status 103 is not between 200 and 599");
    assert_eq!(
        error(Trigger::ALWAYS, requests(Mode::Truncate(Partial { status: Some(204), body: 16 }))),
        "mode truncate needs a body, which an answer with status 204 cannot have"
    );
    let nothing = Action::Requests { targets: Targets::NONE.with(Target::Traffic), delay: None, mode: None };
    assert_eq!(error(Trigger::ALWAYS, nothing), "the rule has no effect: set a `mode`, a `delay` or both");
    let half = Trigger { rate: Rate::from_percent(50.0).unwrap(), ..Trigger::ALWAYS };
    let cut = Action::Listener { listener: ListenerName::Probe, cut: Cut::Drop, from: Networks::default() };
    assert!(error(half, cut).starts_with("`rate` does not go with target listener"));
    assert!(error(Trigger::ALWAYS, requests(Mode::Redirect("a\r\nb".into()))).contains("not a URL"));
}

#[test]
fn conditions_are_checked_in_combination() {
    let percent = |percent| Rate::from_percent(percent).unwrap();
    let burst = Some(Burst::new(2.0, percent(50.0)).unwrap());
    let torn = Trigger { rate: percent(90.0), burst, ..Trigger::ALWAYS };
    assert!(error(torn, requests(Mode::Hang)).contains("a burst of 2 is too short for a rate of 90%: 10"));
    let steep = Trigger { ramp: Some(Duration::ZERO), ..Trigger::ALWAYS };
    assert_eq!(error(steep, requests(Mode::Hang)), "`ramp` must be more than 0; omit it to disable it");
}

#[test]
fn networks_exclude_exceptions_and_treat_mapped_addresses_as_ipv4() {
    let networks = Networks {
        within: vec!["10.0.0.0/8".parse().unwrap()],
        except: vec!["10.1.2.3/32".parse().unwrap()],
    };
    for (peer, meant) in [
        ("10.0.0.1", true),
        ("10.1.2.3", false),
        ("::ffff:10.0.0.1", true),
        ("192.168.0.1", false),
        ("::1", false),
    ] {
        assert_eq!(networks.contains(peer.parse().unwrap()), meant, "{peer}");
    }
    let others = Networks { within: vec![], except: networks.within };
    assert!(others.contains("::1".parse().unwrap()) && !others.contains("10.9.9.9".parse().unwrap()));
}
