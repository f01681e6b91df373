//! The gRPC health service.

mod watch;

use std::time::Instant;

use kube_probesim::prober::{Outcome, ProbeResult};

use tokio::net::TcpListener;

use super::*;
use crate::scripted::attempt;

const CHECK: &str = "Check";
const WATCH: &str = "Watch";

/// `HealthCheckResponse`s with their prefix.
pub(super) const SERVING: &[u8] = b"\0\0\0\0\x02\x08\x01";
pub(super) const NOT_SERVING: &[u8] = b"\0\0\0\0\x02\x08\x02";
const SERVICE_UNKNOWN: &[u8] = b"\0\0\0\0\x02\x08\x03";

/// A `HealthCheckRequest` with its prefix.
fn message(service: &str) -> Vec<u8> {
    let length = u8::try_from(service.len()).unwrap();
    let mut message = vec![0, 0, 0, 0, if length > 0 { length + 2 } else { 0 }];
    if length > 0 {
        message.extend([0x0a, length]);
    }
    [message, service.as_bytes().to_vec()].concat()
}

fn call(method: &str) -> hyper::http::request::Builder {
    Request::post(format!("http://probesim.test/grpc.health.v1.Health/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
}

impl Client {
    async fn post(&mut self, request: Request<()>, body: &[u8]) -> Result<Response<RecvStream>, h2::Error> {
        self.requests = self.requests.clone().ready().await?;
        let (answer, mut stream) = self.requests.send_request(request, false)?;
        stream.send_data(Bytes::copy_from_slice(body), true)?;
        timeout(PATIENCE, answer).await.expect("an answer or an error")
    }

    /// The complete answer to a call with this message.
    pub(super) async fn call(&mut self, method: &str, body: &[u8]) -> Answer {
        let request = call(method).body(()).unwrap();
        read(self.post(request, body).await.unwrap()).await
    }

    pub(super) async fn check(&mut self, service: &str) -> Answer {
        self.call(CHECK, &message(service)).await
    }

    pub(super) async fn watch(&mut self, service: &str) -> RecvStream {
        let request = call(WATCH).body(()).unwrap();
        self.post(request, &message(service)).await.unwrap().into_body()
    }
}

/// The status and the message of an answer without a message of the service.
fn refused(answer: &Answer) -> (&str, &str) {
    assert!(answer.body.is_empty() && answer.head.status() == StatusCode::OK, "{answer:?}");
    let text = |name| answer.head.headers()[name].to_str().unwrap();
    (text("grpc-status"), text("grpc-message"))
}

fn is_whole(answer: &Answer, message: &[u8]) -> bool {
    let trailers = answer.end.as_ref().unwrap().as_ref().unwrap();
    answer.head.headers()["content-type"] == "application/grpc"
        && answer.body == message
        && trailers["grpc-status"] == "0"
        && !trailers.contains_key("grpc-message")
}

/// The next message of a `Watch` stream.
pub(super) async fn next(stream: &mut RecvStream) -> Bytes {
    let data = timeout(PATIENCE, stream.data()).await.expect("a message").unwrap().unwrap();
    stream.flow_control().release_capacity(data.len()).unwrap();
    data
}

/// Whether a stream is silent for a while.
async fn is_silent(stream: &mut RecvStream) -> bool {
    timeout(Duration::from_millis(150), stream.data()).await.is_err()
}

/// The end of a stream: the status of its trailers.
pub(super) async fn end(stream: &mut RecvStream) -> String {
    assert!(timeout(PATIENCE, stream.data()).await.expect("an end").is_none());
    let trailers = stream.trailers().await.unwrap().expect("trailers");
    trailers["grpc-status"].to_str().unwrap().to_owned()
}

async fn steer(service: &Service, method: &str, path: &str, body: &str) {
    let head = format!("{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n");
    let request = format!("{head}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    let reply = exchange(service.admin, request).await;
    assert!((200..300).contains(&reply.status()), "{}", reply.text());
}

async fn probed(service: &Service, name: &str) -> Outcome {
    let url = format!("grpc://{}/{name}", service.probe);
    tokio::task::spawn_blocking(move || attempt(&url, &[], Duration::from_secs(1))).await.unwrap()
}

#[tokio::test]
async fn each_class_of_probes_is_a_service_and_other_names_are_not_found() {
    let service = Service::start(&[]).await;
    let mut client = Client::connect(&service).await;
    for name in ["", "liveness", "readiness", "startup", "dependency"] {
        let answer = client.check(name).await;
        assert!(is_whole(&answer, SERVING), "{name}: {answer:?}");
    }
    for name in ["traffic", "Liveness", "orders"] {
        let answer = client.check(name).await;
        let (status, why) = refused(&answer);
        assert!(status == "5" && why.contains(&format!("unknown service \"{name}\"")), "{status} {why}");
    }
    for (target, count) in [("liveness", 1.0), ("readiness", 2.0), ("startup", 1.0), ("traffic", 0.0)] {
        let counted = service
            .metric("probesim_requests_total", &[&format!("target=\"{target}\""), "code=\"200\""])
            .await;
        assert_eq!(counted, count, "{target}");
    }
    assert_eq!(probed(&service, "startup").await.result, ProbeResult::Success);
    let kubelet = ["target=\"startup\"", "client=\"kubelet\"", "code=\"200\""];
    assert_eq!(service.metric("probesim_requests_total", &kubelet).await, 1.0);
}

#[tokio::test]
async fn a_failing_status_is_not_serving_and_counts_as_its_http_status() {
    let plan = "{faults: [{name: drill, target: [liveness, dependency], mode: status, status: 503, \
                 body_text: down, headers: {x-why: drill}}]}";
    let service = Service::start(&[("FAULTS", plan), ("READINESS_CHECKS_DEPENDENCY", "true")]).await;
    let mut client = Client::connect(&service).await;
    let answer = client.check("liveness").await;
    assert!(is_whole(&answer, NOT_SERVING), "{answer:?}");
    assert_eq!(answer.head.headers()["x-probesim-fault"], "drill");
    assert_eq!(answer.head.headers()["x-why"], "drill");
    assert!(is_whole(&client.check("readiness").await, NOT_SERVING), "its dependency fails");
    assert!(is_whole(&client.check("startup").await, SERVING));
    for (target, code) in [("liveness", 503), ("readiness", 500), ("startup", 200)] {
        let labels = [format!("target=\"{target}\""), format!("code=\"{code}\"")];
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        assert_eq!(service.metric("probesim_requests_total", &labels).await, 1.0, "{target}");
    }
    assert_eq!(service.metric("probesim_faults_injected_total", &["liveness", "drill"]).await, 1.0);
}

#[tokio::test]
async fn each_mode_has_the_result_of_the_table_for_a_kubelet() {
    for (fields, sees) in [
        ("mode: status, status: 503", "service unhealthy (responded with \"NOT_SERVING\")"),
        ("mode: status, status: 204", ""),
        ("mode: redirect", "code = Unknown desc = unexpected HTTP status code received from server: 302"),
        ("mode: hang", "timeout: health rpc did not complete within 1s"),
        ("mode: close", "code = Canceled desc = stream terminated by RST_STREAM with error code: CANCEL"),
        ("mode: reset", "code = Internal desc = stream terminated by RST_STREAM"),
        ("mode: garbage", "code = Unavailable desc = "),
        ("mode: truncate", "code = Internal desc = "),
        ("mode: truncate, body: 0", "code = Internal desc = "),
        ("mode: body-hang", "timeout: health rpc did not complete within 1s"),
        ("mode: body-reset", "code = Internal desc = stream terminated by RST_STREAM"),
        ("mode: malformed", "code = Unavailable desc = "),
        ("mode: drip, drip: 200ms", ""),
        ("mode: drip, drip: 60s", "timeout: health rpc did not complete within 1s"),
        ("mode: throttle", ""),
        ("mode: grpc, grpc_status: ABORTED, grpc_message: 'ö'", "code = Aborted desc = ö"),
    ] {
        let plan = format!("{{faults: [{{name: drill, target: startup, {fields}}}]}}");
        let service = Service::start(&[("FAULTS", &plan)]).await;
        let outcome = probed(&service, "startup").await;
        let expected = if sees.is_empty() { ProbeResult::Success } else { ProbeResult::Failure };
        assert_eq!(outcome.result, expected, "{fields}: {}", outcome.message);
        assert!(outcome.message.contains(sees), "{fields}: {}", outcome.message);
        assert_eq!(service.metric("probesim_faults_injected_total", &["startup"]).await, 1.0, "{fields}");
        // A client that gives up may be faster than the service.
        let total = service.metric("probesim_requests_total", &["startup", "kubelet"]).await
            + service.metric("probesim_clients_gone_total", &["startup", "kubelet"]).await;
        assert_eq!(total, 1.0, "{fields}");
    }
}

#[tokio::test]
async fn corrupt_changes_the_message_and_delays_wait() {
    let plan = "{faults: [{name: drill, target: startup, mode: corrupt, share: 100%, delay: 300ms}]}";
    let service = Service::start(&[("FAULTS", plan)]).await;
    let began = Instant::now();
    let answer = Client::connect(&service).await.check("startup").await;
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert_eq!(answer.body.len(), SERVING.len());
    assert!(answer.body.iter().zip(SERVING).all(|(got, sent)| (got ^ sent).is_power_of_two()), "{answer:?}");
}

#[tokio::test]
async fn a_request_that_is_not_a_call_of_the_service_is_refused_with_a_reason() {
    let service = Service::start(&[]).await;
    let mut client = Client::connect(&service).await;
    let long = [&[0, 0, 0, 0x20, 0][..], &[0x0a; 0x2000]].concat();
    for (method, body, status, why) in [
        ("Nope", &b"\0\0\0\0\0"[..], "12", "unknown method Nope of service grpc.health.v1.Health"),
        (CHECK, b"\x01\0\0\0\x04\x0a\x02hi", "12", "the message is compressed"),
        (WATCH, b"\x01\0\0\0\x04\x0a\x02hi", "12", "the message is compressed"),
        (CHECK, b"", "13", "the request contains no message"),
        (CHECK, b"\0\0\0\0\x04\x0a\x09hi", "13", "not a HealthCheckRequest"),
        (CHECK, b"\0\0\0\0\x03\x0a\x01\xff", "13", "not UTF-8"),
        (CHECK, b"\0\0\0\0\0\0\0\0\0\0", "13", "5 bytes after its message"),
        (CHECK, &long, "8", "longer than 4096 bytes"),
    ] {
        let answer = client.call(method, body).await;
        let (got, message) = refused(&answer);
        assert!(got == status && message.contains(why), "{method} {body:?}: {got} {message}");
    }
    let other = Request::post("http://probesim.test/a.B/C").header("content-type", "application/grpc+proto");
    let answer = read(client.post(other.body(()).unwrap(), b"\0\0\0\0\0").await.unwrap()).await;
    assert_eq!(refused(&answer), ("12", "unknown method C of service a.B"));
    for (request, status) in [
        (Request::get("http://probesim.test/grpc.health.v1.Health/Check"), 405),
        (call(CHECK).header("content-type", "application/grpc"), 200),
        (Request::post("http://probesim.test/grpc.health.v1.Health/Check"), 415),
        (
            Request::post("http://probesim.test/grpc.health.v1.Health/Check")
                .header("content-type", "application/grpc-web"),
            415,
        ),
    ] {
        let answer = client.post(request.body(()).unwrap(), b"\0\0\0\0\0").await.unwrap();
        assert_eq!(answer.status(), status);
    }
    let reply = exchange(service.probe, "POST /grpc.health.v1.Health/Check HTTP/1.1\r\nhost: x\r\ncontent-type: application/grpc\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    assert_eq!(reply.status(), 505, "{}", reply.text());
    assert!(is_whole(&client.check("").await, SERVING), "the connection goes on");
}

#[tokio::test]
async fn a_call_ends_at_its_grpc_timeout() {
    let plan = "{faults: [{name: drill, target: startup, mode: hang}]}";
    let service = Service::start(&[("FAULTS", plan)]).await;
    let mut client = Client::connect(&service).await;
    for (method, name) in [(CHECK, "startup"), (WATCH, "startup")] {
        let request = call(method).header("grpc-timeout", "300m").body(()).unwrap();
        let began = Instant::now();
        let answer = read(client.post(request, &message(name)).await.unwrap()).await;
        assert!(began.elapsed() >= Duration::from_millis(300), "{method}");
        assert_eq!(refused(&answer).0, "4", "{method}");
    }
    let request = call(WATCH).header("grpc-timeout", "300m").body(()).unwrap();
    let mut stream = client.post(request, &message("liveness")).await.unwrap().into_body();
    assert_eq!(next(&mut stream).await, SERVING);
    assert_eq!(end(&mut stream).await, "4");
}

#[tokio::test]
async fn with_an_application_a_call_has_the_class_of_its_service_and_is_forwarded() {
    for (name, target) in [("", "readiness"), ("startup", "startup"), ("orders", "traffic")] {
        let backend = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", backend.local_addr().unwrap());
        let application = tokio::spawn(async move {
            let (mut socket, _) = backend.accept().await.unwrap();
            let (mut sent, mut buffer) = (Vec::new(), [0; 4096]);
            while !sent.ends_with(b"\r\n0\r\n\r\n") && !sent.ends_with(&message(name)) {
                let count = socket.read(&mut buffer).await.unwrap();
                assert!(count > 0, "{:?}", String::from_utf8_lossy(&sent));
                sent.extend_from_slice(&buffer[..count]);
            }
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\nconnection: close\r\n\r\n";
            socket.write_all(&[head.as_bytes(), NOT_SERVING].concat()).await.unwrap();
            String::from_utf8_lossy(&sent).into_owned()
        });
        let service = Service::start(&[("UPSTREAM", &address)]).await;
        let answer = Client::connect(&service).await.check(name).await;
        assert_eq!(answer.body, NOT_SERVING, "the application's own answer");
        let sent = application.await.unwrap();
        assert!(sent.starts_with("POST /grpc.health.v1.Health/Check HTTP/1.1\r\n"), "{sent}");
        let counted = ["client=\"other\"", "code=\"200\"", &format!("target=\"{target}\"")[..]];
        assert_eq!(service.metric("probesim_requests_total", &counted).await, 1.0, "{name}");
    }
}

#[tokio::test]
async fn with_upstream_probes_off_the_service_answers_calls_of_its_classes() {
    let plan = "{faults: [{name: drill, target: startup, mode: status}]}";
    let vars = [("UPSTREAM", "http://127.0.0.1:9"), ("UPSTREAM_PROBES", "false"), ("FAULTS", plan)];
    let service = Service::start(&vars).await;
    let mut client = Client::connect(&service).await;
    assert!(is_whole(&client.check("liveness").await, SERVING));
    assert!(is_whole(&client.check("startup").await, NOT_SERVING));
    assert_eq!(client.check("orders").await.head.status(), StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn list_returns_all_services_with_their_status() {
    let plan = "{faults: [{name: drill, target: readiness, mode: close}]}";
    let service = Service::start(&[("FAULTS", plan)]).await;
    let answer = Client::connect(&service).await.call("List", b"\0\0\0\0\0").await;
    let entry = |name: &str, status: u8| {
        let size = u8::try_from(name.len()).unwrap();
        [&[0x0a, size + 6, 0x0a, size][..], name.as_bytes(), &[0x12, 2, 8, status]].concat()
    };
    let statuses = [("", 2), ("liveness", 1), ("readiness", 2), ("startup", 1), ("dependency", 1)];
    let entries: Vec<u8> = statuses.iter().flat_map(|(name, status)| entry(name, *status)).collect();
    assert_eq!(answer.body[5..], entries);
    assert_eq!(service.metric("probesim_requests_total", &["readiness"]).await, 0.0, "it is no request");
}
