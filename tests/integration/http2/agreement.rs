//! Counters of rules agree with what clients observed.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use tokio::net::TcpListener;
use tokio::time::Instant;

use super::h2c::Application;
use super::*;
use crate::support::read_until_silent;

/// Requests of one plan.
const REQUESTS: usize = 2_000;

/// The body of the application's answers.
const DONE: &[u8] = b"done";

/// The delay of the rule "late", and how long the body takes at least with the rule "slow".
const LATE: Duration = Duration::from_millis(30);
const SLOW: Duration = Duration::from_millis(10);

/// Rules on traffic by name: their fields, and which requests they act on, by number.
type Rules = &'static [(&'static str, &'static str, fn(usize) -> bool)];

/// Ten plans. The first rule of each is eligible for all requests on which it acts.
const PLANS: [Rules; 10] = [
    &[
        ("busy", "rate: 20%, mode: status, status: 503", |_| true),
        ("torn", "mode: reset, rate: 20%", |_| true),
    ],
    &[
        ("closed", "mode: close, rate: 30%", |_| true),
        ("busy", "mode: status, status: 500, rate: 50%", |_| true),
    ],
    &[("items", "match: {path: /items/*}, mode: status, status: 404, rate: 40%", |n| n % 4 == 0)],
    &[
        ("posts", "match: {method: [POST]}, mode: close, rate: 50%", |n| n % 3 == 0),
        ("items", "match: {path: /items/*}, mode: reset", |n| n % 4 == 0),
    ],
    &[
        ("users", "match: {headers: {x-user: b}}, mode: status, status: 429", |n| n % 5 != 0),
        ("late", "match: {headers: {x-user: a}}, delay: 30ms, rate: 12%", |n| n % 5 == 0),
    ],
    &[
        ("query", "match: {query: {v: '2'}}, mode: truncate, body: 1, rate: 60%", |n| n % 7 == 2),
        ("wrong", "mode: corrupt, share: 100%, rate: 30%", |_| true),
    ],
    &[
        (
            "window",
            "match: {path: /items/*}, when: {requests: {after: 50, for: 25, every: 100}}, mode: status, status: 504",
            |n| n % 4 == 0,
        ),
        ("rest", "burst: 5, rate: 10%, mode: status, status: 502", |_| true),
    ],
    &[
        ("call", "mode: grpc, grpc_status: ABORTED, rate: 25%", |_| true),
        ("slow", "mode: throttle, speed: 200B, rate: 3%", |_| true),
    ],
    &[
        ("lost", "mode: reset, forward: true, rate: 30%", |_| true),
        ("gone", "mode: close, rate: 30%", |_| true),
    ],
    &[
        ("both", "match: {path: /items/*, method: [POST]}, mode: status, status: 503", |n| n % 12 == 0),
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

/// What a client saw of one request.
struct Saw {
    /// The mode whose end of the connection or stream it was; `None` if there was an answer.
    ended_by: Option<&'static str>,
    /// 0 without an answer.
    status: u16,
    /// The rule that the answer names.
    fault: String,
    grpc_status: String,
    body: Vec<u8>,
    took: Duration,
}

impl Saw {
    fn end(mode: &'static str, took: Duration) -> Self {
        let (fault, grpc_status, body) = Default::default();
        Self { ended_by: Some(mode), status: 0, fault, grpc_status, body, took }
    }

    /// The name of the rule that acted, or nothing. Asserts that its effect is the one of its mode.
    fn rule(self, rules: Rules) -> &'static str {
        let Self { ended_by, status, fault, grpc_status, body, took } = self;
        let found = rules.iter().find(|(name, fields, _)| match ended_by {
            // Such an end does not carry the rule's name.
            Some(mode) => fields.contains(mode),
            None => *name == fault,
        });
        let Some((name, fields, _)) = found else {
            assert_eq!((ended_by, fault.as_str(), status, &body[..]), (None, "", 200, DONE));
            return "";
        };
        let mode = fields.split("mode: ").nth(1).map_or("delay", |rest| rest.split(',').next().unwrap());
        let expected = fields.split("status: ").last().and_then(|code| code.get(..3)?.parse().ok());
        let is_right = match mode {
            "close" | "reset" => ended_by.is_some(),
            "status" => Some(status) == expected,
            "truncate" => status == 200 && body.len() < DONE.len() && DONE.starts_with(&body),
            "corrupt" => status == 200 && body.len() == DONE.len() && body != DONE,
            "grpc" => (status, grpc_status.as_str(), &body[..]) == (200, "10", b""),
            "throttle" => (status, &body[..]) == (200, DONE) && took >= SLOW,
            _ => (status, &body[..]) == (200, DONE) && took >= LATE,
        };
        assert!(is_right, "{name}: {fields}: {status} {grpc_status:?} {body:?} after {took:?}");
        name
    }
}

async fn over_http1(service: &Service, number: usize) -> Saw {
    let (method, target, user) = parts(number);
    let length = if method == "POST" { "content-length: 0\r\n" } else { "" };
    let head = format!("{method} {target} HTTP/1.1\r\nhost: a\r\nx-user: {user}\r\n{length}");
    let began = Instant::now();
    let mut stream = TcpStream::connect(service.probe).await.unwrap();
    stream.write_all(format!("{head}connection: close\r\n\r\n").as_bytes()).await.unwrap();
    let reply = read_until_silent(&mut stream, PATIENCE).await;
    let took = began.elapsed();
    let field = |name: &str| reply.header(name).unwrap_or_default();
    match (reply.ok_status(), reply.end) {
        (Some(status), End::Fin) => {
            let (fault, grpc_status) = (field("x-probesim-fault"), field("grpc-status"));
            let body = reply.bytes[reply.head().len() + 4..].to_vec();
            Saw { ended_by: None, status, fault, grpc_status, body, took }
        }
        (None, End::Fin) => Saw::end("mode: close", took),
        (None, End::Reset) => Saw::end("mode: reset", took),
        (_, end) => panic!("{end:?} after {:?}", reply.text()),
    }
}

async fn over_http2(client: &mut Client, number: usize) -> Saw {
    let (method, target, user) = parts(number);
    let uri = format!("http://probesim.test{target}");
    let request = Request::builder().method(method).uri(uri).header("x-user", user).body(()).unwrap();
    let began = Instant::now();
    let answer = client.send(request).await.unwrap();
    match timeout(PATIENCE, answer).await.unwrap() {
        Ok(answer) => {
            let answer = read(answer).await;
            assert!(answer.end.is_ok(), "{answer:?}");
            let field = |name: &str| {
                answer
                    .head
                    .headers()
                    .get(name)
                    .map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
            };
            let (fault, grpc_status) = (field("x-probesim-fault"), field("grpc-status"));
            let status = answer.head.status().as_u16();
            Saw { ended_by: None, status, fault, grpc_status, body: answer.body, took: began.elapsed() }
        }
        Err(error) if error.reason() == Some(Reason::CANCEL) => Saw::end("mode: close", began.elapsed()),
        Err(error) => {
            assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR), "{error:?}");
            Saw::end("mode: reset", began.elapsed())
        }
    }
}

/// An application of HTTP/1.1 whose answers can be forwarded without hyper.
async fn plain_application() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut got, mut buffer) = (Vec::new(), [0; 1024]);
                while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                    got.extend_from_slice(&buffer[..count]);
                    if got.ends_with(b"\r\n\r\n") {
                        got.clear();
                        let head = "HTTP/1.1 200 OK\r\ndate: now\r\ncontent-length: 4\r\n\r\n";
                        stream.write_all(&[head.as_bytes(), DONE].concat()).await.unwrap();
                    }
                }
            });
        }
    });
    url
}

/// The rules that clients saw in consecutive requests under a plan, and the metrics afterwards, in which requests are counted
/// by the status that clients saw.
async fn seen(upstream: &str, rules: Rules, is_http2: bool, many: usize) -> (Vec<&'static str>, String) {
    let plan = plan(rules);
    let service = Service::start(&[("UPSTREAM", upstream), ("FAULTS", &plan)]).await;
    let mut client = Client::connect(&service).await;
    let (mut seen, mut statuses) = (Vec::new(), BTreeMap::new());
    for number in 0..many {
        let saw =
            if is_http2 { over_http2(&mut client, number).await } else { over_http1(&service, number).await };
        *statuses.entry(saw.status).or_insert(0_u32) += 1;
        seen.push(saw.rule(rules));
    }
    let metrics = service.metrics().await;
    let requests = |labels: &[&str]| crate::support::sum(&metrics, "probesim_requests_total", labels) as u32;
    for (status, clients) in statuses {
        let code = if status == 0 { "code=\"none\"".to_owned() } else { format!("code=\"{status}\"") };
        assert_eq!(requests(&["target=\"traffic\"", &code]), clients, "{code}: {plan}");
    }
    assert_eq!(requests(&["target=\"traffic\""]), many as u32);
    service.stop().await;
    (seen, metrics)
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_agree_with_what_clients_saw_of_twenty_thousand_requests() {
    let application = Application::done().await;
    let plain_application = plain_application().await;
    for (at, rules) in PLANS.into_iter().enumerate() {
        let is_http2 = at % 2 == 0;
        let upstream = if is_http2 { &application.url } else { &plain_application };
        let (seen, metrics) = seen(upstream, rules, is_http2, REQUESTS).await;
        let mut counts = BTreeMap::new();
        for name in &seen {
            *counts.entry(*name).or_insert(0_u32) += 1;
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
    let (application, plain_application) = (Application::done().await, plain_application().await);
    for rules in [PLANS[1], PLANS[3], PLANS[6]] {
        let (first, _) = seen(&plain_application, rules, false, 400).await;
        let (again, _) = seen(&plain_application, rules, false, 400).await;
        let (over_http2, _) = seen(&application.url, rules, true, 400).await;
        assert_eq!(first, again);
        assert_eq!(first, over_http2);
    }
}
