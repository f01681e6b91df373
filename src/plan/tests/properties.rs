//! Any rule that is written reads back.

use proptest::prelude::*;

use super::*;
use crate::fault::{HandshakeFault, ListenerName, MIN_WINDOW, Match};

fn millis(range: std::ops::Range<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(Duration::from_millis)
}

fn delays() -> impl Strategy<Value = Delay> {
    (millis(1..100_000), millis(1..100_000), 0..6).prop_map(|(a, b, kind)| {
        let (low, high) = (a.min(b), a.max(b));
        match kind {
            0 => Delay::fixed(a),
            1 => Delay::uniform(a, b),
            2 => Delay::normal(a, b),
            3 => Delay::log_normal(low, high),
            4 => Delay::exponential(a),
            _ => Delay::percentiles(vec![(12.5, low), (99.9, high)]),
        }
        .unwrap()
    })
}

fn modes() -> impl Strategy<Value = Mode> {
    let kind = 0..request_modes().len();
    let status = proptest::option::of(200..600_u16);
    let speed_and_share = (1..1_000_000_u64, 1..10_000_u32);
    let grpc = (0..17_u8, "[ -~ä]{0,20}");
    (kind, status, 0..100_000_u64, millis(1..100_000), "[!-~]{1,20}", speed_and_share, grpc).prop_map(
        |(kind, status, body, drip, location, (speed, share), (code, message))| {
            let status = status.filter(|status| !matches!(status, 204 | 304));
            let info = ModeInfo::of_requests(request_modes()[kind]).unwrap();
            info.mode(ModeParts {
                status,
                body,
                drip,
                location,
                speed,
                share: Rate::from_percent(f64::from(share) / 100.0).unwrap(),
                grpc_status: GrpcStatus::parse(&code.to_string()).unwrap(),
                grpc_message: message.trim().to_owned(),
                slices: ModeParts::default().slices,
            })
            .unwrap()
        },
    )
}

prop_compose! {
    fn windows()(after in 0..1000_u64, length in 1..1000_u64, more in 1..1000_u64, kind in 0..3)
        -> (u64, Option<u64>, Option<u64>) {
        (after, (kind > 0).then_some(length), (kind > 1).then_some(length + more))
    }
}

fn triggers() -> impl Strategy<Value = Trigger> {
    use prop::option::of;
    let plain = (of(windows()), of(windows()), 0..=1000_u32, of(1.0..100.0_f64), of(millis(10..100_000)));
    (plain, fleets()).prop_map(|((time, requests, permille, burst, ramp), fleet)| {
        let ms = Duration::from_millis;
        let rate = Rate::from_percent(f64::from(permille) / 10.0).unwrap();
        Trigger {
            time: time.map(|(after, length, period)| {
                let longer = |value| MIN_WINDOW + ms(value);
                TimeWindow::new(ms(after), length.map(longer), period.map(longer)).unwrap()
            }),
            requests: requests
                .map(|(after, length, period)| RequestWindow::new(after, length, period).unwrap()),
            rate,
            burst: burst.and_then(|mean| Burst::new(mean, rate).ok()),
            ramp,
            ..fleet
        }
    })
}

/// Conditions of replicas, starts and the calendar alone.
fn fleets() -> impl Strategy<Value = Trigger> {
    use prop::option::of;
    let share = (0..=1000_u32)
        .prop_map(|permille| Pods::Share(Rate::from_percent(f64::from(permille) / 10.0).unwrap()));
    let ordinals = prop::collection::vec(any::<u32>(), 1..5).prop_map(Pods::Ordinals);
    let instants = (0..4_000_000_000_000_u64, 1..1_000_000_000_u64);
    (
        of(prop_oneof![share, ordinals]),
        of(windows()),
        of(instants),
        any::<[bool; 2]>(),
        of(millis(1..100_000)),
    )
        .prop_map(|(pods, starts, instants, [from, to], stagger)| {
            let instant = |ms| Timestamp(Duration::from_millis(ms));
            Trigger {
                pods,
                starts: starts
                    .map(|(after, length, period)| RequestWindow::new(after, length, period).unwrap()),
                start: instants.filter(|_| from).map(|(start, _)| instant(start)),
                until: instants.filter(|_| to).map(|(start, length)| instant(start + length)),
                stagger,
                ..Trigger::ALWAYS
            }
        })
}

fn matches() -> impl Strategy<Value = Match> {
    let entries = || prop::collection::btree_map("[a-zA-Z0-9-]{1,6}", "[!-~]{0,5}|\\*|true|1\\.50", 0..4);
    let methods = prop::collection::vec("[A-Z]{1,6}", 0..3);
    let path = prop::option::of("/[a-z%.]{0,5}(/\\*)?");
    (path, methods, prop::option::of("[a-z.]{1,6}(:[0-9]{1,4})?"), entries(), entries()).prop_map(
        |(path, methods, host, headers, query)| {
            let mut wanted = Match::default();
            if let Some(path) = &path {
                wanted.set_path(path).unwrap();
            }
            for method in &methods {
                wanted.add_method(method).unwrap();
            }
            if let Some(host) = &host {
                wanted.set_host(host).unwrap();
            }
            for (name, value) in &headers {
                // Names that differ in case alone are one name.
                let _ = wanted.add_header(name, value);
            }
            for (name, value) in &query {
                wanted.add_query(name, value).unwrap();
            }
            wanted
        },
    )
}

fn rules() -> impl Strategy<Value = Rule> {
    let clients = prop::sample::select(CLIENTS).prop_map(|name| ClientFilter::from_name(name).unwrap());
    let targets = prop::collection::vec(prop::sample::select(&Target::ALL[..]), 1..5);
    let networks = prop::collection::vec((any::<IpAddr>(), 0..=32_u8, any::<bool>()), 0..4);
    let matches = prop::option::of(matches());
    let requests = (
        clients.clone(),
        triggers(),
        targets,
        prop::option::of(delays()),
        prop::option::of(modes()),
        matches,
    )
        .prop_filter_map("does nothing", |(client, trigger, targets, delay, mode, wanted)| {
            let targets = targets.into_iter().collect();
            let name = RuleName::new("drill").unwrap();
            let rule = Rule::new(name, client, trigger, Action::Requests { targets, delay, mode }).ok()?;
            match wanted {
                Some(wanted) => rule.with_match(wanted).ok(),
                None => Some(rule),
            }
        });
    let handshakes = (triggers(), prop::sample::select(&HandshakeFault::ALL[..]), networks.clone())
        .prop_filter_map("counts requests", |(trigger, fault, networks)| {
            let from = Networks {
                within: networks.iter().map(|(ip, ..)| IpNet::from(ip.to_canonical())).collect(),
                except: Vec::new(),
            };
            let name = RuleName::new("handshake").unwrap();
            Rule::new(name, ClientFilter::Unset, trigger, Action::Handshake { fault, from }).ok()
        });
    let listeners = (clients, windows(), fleets(), prop::sample::select(&Cut::ALL[..]), networks).prop_map(
        |(client, (after, length, period), fleet, cut, networks)| {
            let s = Duration::from_secs;
            let time = TimeWindow::new(s(after), length.map(s), period.map(s)).unwrap();
            let mut from = Networks::default();
            for (address, prefix, spared) in networks {
                let network = IpNet::new(address, prefix).unwrap().trunc();
                if spared { &mut from.except } else { &mut from.within }.push(network);
            }
            let trigger = Trigger { time: Some(time), ..fleet };
            Rule::new(
                RuleName::new("cut").unwrap(),
                client,
                trigger,
                Action::Listener { listener: ListenerName::Probe, cut, from },
            )
            .unwrap()
        },
    );
    prop_oneof![requests, listeners, handshakes]
}

proptest! {
    #[test]
    fn a_written_rule_reads_back(rule in rules()) {
        let value = write_rule(&rule);
        prop_assert_eq!(read_rule(&value, ""), Ok(rule), "{}", value);
    }
}
