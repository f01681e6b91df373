//! Counters of rules agree with what clients observed.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::h2c::Application;
use super::*;

/// Requests of one plan.
const REQUESTS: usize = 2_000;

/// Rules on traffic by name: their fields, and which requests they act on, by number.
type Rules = &'static [(&'static str, &'static str, fn(usize) -> bool)];

/// Ten plans. The first rule of each is eligible for all requests on which it acts.
const PLANS: [Rules; 10] = [
    &[
        ("busy", "mode: status, status: 503, rate: 20%", |_| true),
        ("torn", "mode: reset, rate: 20%", |_| true),
    ],
    &[("closed", "mode: close, rate: 30%", |_| true), ("busy", "mode: status, rate: 50%", |_| true)],
    &[("items", "match: {path: /items/*}, mode: status, rate: 40%", |n| n % 4 == 0)],
    &[
        ("posts", "match: {method: [POST]}, mode: close, rate: 50%", |n| n % 3 == 0),
        ("items", "match: {path: /items/*}, mode: reset", |n| n % 4 == 0),
    ],
    &[("users", "match: {headers: {x-user: a}}, mode: status, status: 429", |n| n % 5 == 0)],
    &[
        ("query", "match: {query: {v: '2'}}, mode: truncate, body: 1, rate: 60%", |n| n % 7 == 2),
        ("wrong", "mode: corrupt, share: 100%, rate: 30%", |_| true),
    ],
    &[
        (
            "window",
            "match: {path: /items/*}, mode: status, when: {requests: {after: 50, for: 25, every: 100}}",
            |n| n % 4 == 0,
        ),
        ("rest", "mode: status, status: 502, burst: 5, rate: 10%", |_| true),
    ],
    &[
        ("call", "mode: grpc, grpc_status: ABORTED, rate: 25%", |_| true),
        ("late", "mode: throttle, speed: 1MiB, rate: 25%", |_| true),
    ],
    &[
        ("lost", "mode: reset, forward: true, rate: 30%", |_| true),
        ("gone", "mode: close, rate: 30%", |_| true),
    ],
    &[
        ("both", "match: {path: /items/*, method: [POST]}, mode: status", |n| n % 12 == 0),
        ("short", "mode: truncate, rate: 50%", |_| true),
    ],
];

fn plan(rules: Rules) -> String {
    let mut text = "{seed: 7, faults: [".to_owned();
    for (name, fields, _) in rules {
        let _ = write!(text, "{{name: {name}, target: traffic, {fields}}},");
    }
    text + "]}"
}

/// Method, target and user of a request.
fn parts(number: usize) -> (&'static str, String, &'static str) {
    let folder = if number.is_multiple_of(4) { "items" } else { "orders" };
    let method = if number.is_multiple_of(3) { "POST" } else { "GET" };
    let user = if number.is_multiple_of(5) { "a" } else { "b" };
    (method, format!("/{folder}/{number}?v={}", number % 7), user)
}

/// The name of the rule that a client of HTTP/1 saw.
async fn over_http1(service: &Service, number: usize) -> String {
    let (method, target, user) = parts(number);
    let head = format!("{method} {target} HTTP/1.1\r\nhost: a\r\nx-user: {user}\r\n");
    let reply =
        exchange(service.probe, format!("{head}content-length: 0\r\nconnection: close\r\n\r\n")).await;
    match (reply.ok_status(), reply.end) {
        (Some(_), _) => reply.header("x-probesim-fault").unwrap_or_default(),
        (None, End::Fin) => "FIN".to_owned(),
        (None, End::Reset) => "RST".to_owned(),
        (None, end) => panic!("no answer, and {end:?}"),
    }
}

/// The same over a stream.
async fn over_http2(client: &mut Client, number: usize) -> String {
    let (method, target, user) = parts(number);
    let uri = format!("http://probesim.test{target}");
    let request = Request::builder().method(method).uri(uri).header("x-user", user).body(()).unwrap();
    let answer = client.send(request).await.unwrap();
    match timeout(PATIENCE, answer).await.unwrap() {
        Ok(answer) => {
            let fault =
                answer.headers().get("x-probesim-fault").map(|name| name.to_str().unwrap().to_owned());
            read(answer).await;
            fault.unwrap_or_default()
        }
        Err(error) if error.reason() == Some(Reason::CANCEL) => "FIN".to_owned(),
        Err(error) => {
            assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR), "{error:?}");
            "RST".to_owned()
        }
    }
}

/// Results of consecutive requests under a plan, and the metrics afterwards.
async fn seen(application: &Application, rules: Rules, is_http2: bool, many: usize) -> (Vec<String>, String) {
    let plan = plan(rules);
    let service = Service::start(&[("UPSTREAM", &application.url), ("FAULTS", &plan)]).await;
    let mut client = Client::connect(&service).await;
    let mut seen = Vec::new();
    for number in 0..many {
        let saw =
            if is_http2 { over_http2(&mut client, number).await } else { over_http1(&service, number).await };
        seen.push(saw);
    }
    // The end of a connection or a stream does not carry the rule's name.
    let named =
        |mode: &str| rules.iter().find(|(_, fields, _)| fields.contains(mode)).map(|(name, ..)| *name);
    for saw in &mut seen {
        let mode = match saw.as_str() {
            "FIN" => named("mode: close"),
            "RST" => named("mode: reset"),
            _ => continue,
        };
        mode.expect("a rule that ends connections").clone_into(saw);
    }
    let metrics = service.metrics().await;
    service.stop().await;
    (seen, metrics)
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_agree_with_what_clients_saw_of_twenty_thousand_requests() {
    let application = Application::done().await;
    for (at, rules) in PLANS.into_iter().enumerate() {
        let (seen, metrics) = seen(&application, rules, at % 4 != 0, REQUESTS).await;
        let mut counts = BTreeMap::new();
        for name in &seen {
            *counts.entry(name.as_str()).or_insert(0_u32) += 1;
        }
        let sum = |metric: &str, name: &str| {
            crate::support::sum(&metrics, metric, &[&format!("fault=\"{name}\"")]) as u32
        };
        for (name, fields, _) in rules {
            let clients = counts.remove(name).unwrap_or(0);
            assert!(clients > 20, "plan {at}, {name}: {fields}: {counts:?}");
            assert_eq!(sum("probesim_faults_injected_total", name), clients, "plan {at}, {name}");
        }
        assert!(counts.keys().all(|name| name.is_empty()), "plan {at}: {counts:?}");
        let (first, fields, acts_on) = rules[0];
        let matching: Vec<usize> = (0..REQUESTS).filter(|number| acts_on(*number)).collect();
        if !fields.contains("when:") {
            assert_eq!(sum("probesim_faults_eligible_total", first), matching.len() as u32, "plan {at}");
        }
        let strays = |number: &usize| seen[*number] == first && !acts_on(*number);
        assert!(
            !(0..REQUESTS).any(|number| strays(&number)),
            "plan {at}: {first} acts on what it does not match"
        );
        if first == "window" {
            // Of the requests that match, those in the window and no other.
            let expected: Vec<usize> =
                (0..matching.len()).filter(|nth| *nth >= 50 && (nth - 50) % 100 < 25).collect();
            let got: Vec<usize> = (0..matching.len()).filter(|nth| seen[matching[*nth]] == first).collect();
            assert_eq!(got, expected);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_seed_gives_the_same_sequence_over_both_protocols() {
    let application = Application::done().await;
    for rules in [PLANS[1], PLANS[3], PLANS[6]] {
        let (first, _) = seen(&application, rules, false, 400).await;
        let (again, _) = seen(&application, rules, false, 400).await;
        let (over_http2, _) = seen(&application, rules, true, 400).await;
        assert_eq!(first, again);
        assert_eq!(first, over_http2);
    }
}
