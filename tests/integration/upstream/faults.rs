//! Faults in the application's answers, and lost answers.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::backend::{Backend, OK};
use super::{count, in_front_of};
use crate::support::{
    End, PATIENCE, Service, eventually, exchange, kubelet_request, read_until_silent, request,
};

const CHUNKED: &[u8] =
    b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\nX-App: yes\r\n\r\n4\r\nchun\r\n3\r\nked\r\n0\r\n\r\n";

async fn faulted(backend: &Backend, fields: &str) -> Service {
    let plan = format!("{{seed: 5, faults: [{{name: drill, target: traffic, {fields}}}]}}");
    in_front_of(backend, &[("FAULTS", &plan)]).await
}

async fn injected(service: &Service) -> u64 {
    count(service, "probesim_faults_injected_total", &["fault=\"drill\""]).await
}

async fn eligible(service: &Service) -> u64 {
    count(service, "probesim_faults_eligible_total", &["fault=\"drill\""]).await
}

#[tokio::test]
async fn body_faults_break_off_the_applications_answer_before_its_last_byte() {
    for (fields, status, body, end) in [
        ("mode: truncate, body: 1", 200, "a", End::Fin),
        ("mode: truncate", 200, "ap", End::Fin),
        ("mode: truncate, status: 503", 503, "ap", End::Fin),
        ("mode: body-reset, body: 2", 200, "ap", End::Reset),
        ("mode: body-reset, body: 0", 200, "", End::Reset),
        ("mode: body-hang, body: 2", 200, "ap", End::Silence),
        ("mode: malformed, body: 2", 200, "2\r\nap\r\nnot a size\r\n", End::Fin),
    ] {
        let backend = Backend::answering(OK).await;
        let service = faulted(&backend, fields).await;
        let reply = service.get("/x").await;
        assert_eq!((reply.status(), reply.body().as_str(), reply.end), (status, body, end), "{fields}");
        assert_eq!(reply.header("x-probesim-fault").as_deref(), Some("drill"), "{fields}");
        let length = (!fields.contains("malformed")).then(|| "3".to_owned());
        assert_eq!(reply.header("content-length"), length, "{fields}");
        assert_eq!((backend.count(), injected(&service).await), (1, 1), "{fields}");
        let code = format!("code=\"{status}\"");
        assert_eq!(count(&service, "probesim_requests_total", &[&code]).await, 1, "{fields}");
    }
}

#[tokio::test]
async fn an_answer_of_unknown_length_is_also_broken_off_before_its_last_byte() {
    for (fields, data, end) in [
        ("mode: truncate, body: 5", "chunk", End::Fin),
        ("mode: truncate, body: 50", "chunke", End::Fin),
        ("mode: body-reset, body: 50", "chunke", End::Reset),
        ("mode: body-hang, body: 4", "chun", End::Silence),
    ] {
        let backend = Backend::answering(CHUNKED).await;
        let service = faulted(&backend, fields).await;
        let reply = service.get("/x").await;
        let body = reply.body();
        // However the body is chunked, its last chunk is missing.
        let sent: String = body.lines().skip(1).step_by(2).collect();
        assert_eq!((reply.status(), sent.as_str(), reply.end), (201, data, end), "{fields} {body:?}");
        assert_eq!(reply.header("x-app").as_deref(), Some("yes"), "{fields}");
        assert!(!body.ends_with("0\r\n\r\n"), "{fields} {body:?}");
        assert_eq!(injected(&service).await, 1, "{fields}");
    }
}

#[tokio::test]
async fn throttle_drip_and_corrupt_act_on_the_applications_body() {
    for (reply, fields, whole) in [
        (OK, "mode: throttle, speed: 6", "app"),
        (OK, "mode: drip, drip: 500ms", "app"),
        (CHUNKED, "mode: drip, drip: 500ms, body: 3", "chunked"),
        (CHUNKED, "mode: drip, drip: 500ms, body: 30", "chunked"),
        (CHUNKED, "mode: throttle, speed: 14", "chunked"),
    ] {
        let backend = Backend::answering(reply).await;
        let service = faulted(&backend, fields).await;
        let began = Instant::now();
        let mut client = TcpStream::connect(service.probe).await.unwrap();
        client.write_all(request("/x").as_bytes()).await.unwrap();
        let reply = read_until_silent(&mut client, PATIENCE).await;
        assert!(began.elapsed() >= Duration::from_millis(500), "{fields}: {:?}", began.elapsed());
        let body = reply.body();
        let data: String = if reply.header("content-length").is_some() {
            body
        } else {
            body.lines().skip(1).step_by(2).collect()
        };
        assert_eq!((data.as_str(), reply.end), (whole, End::Fin), "{fields}");
        assert_eq!(injected(&service).await, 1, "{fields}");
    }
    let backend = Backend::answering(OK).await;
    let service = faulted(&backend, "mode: corrupt").await;
    let reply = service.get("/x").await;
    let differing = reply.bytes[reply.bytes.len() - 3..].iter().zip(b"app").filter(|(a, b)| a != b).count();
    assert_eq!((reply.status(), differing, injected(&service).await), (200, 1, 1));
}

#[tokio::test]
async fn a_large_body_is_reset_after_exactly_its_bytes() {
    let backend = Backend::serving(|mut stream, notes, _| async move {
        while notes.read_request(&mut stream).await.is_some() {
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n";
            let _ = stream.write_all(&[&head[..], &vec![b'x'; 1_000_000]].concat()).await;
        }
    })
    .await;
    let service = faulted(&backend, "mode: body-reset, body: 200000").await;
    let reply = service.get("/x").await;
    assert_eq!((reply.body().len(), reply.end), (200_000, End::Reset));
}

#[tokio::test]
async fn an_answer_without_a_body_makes_the_rule_eligible_but_not_injected() {
    for (answer, method) in [
        (OK, "HEAD"),
        (&b"HTTP/1.1 204 No Content\r\nX-App: yes\r\n\r\n"[..], "GET"),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", "GET"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "GET"),
    ] {
        // The head of an answer to HEAD has no body after it.
        let answer = if method == "HEAD" { &answer[..answer.len() - 3] } else { answer };
        let backend = Backend::answering(answer).await;
        for fields in ["mode: truncate, status: 500", "mode: corrupt", "mode: throttle, speed: 1"] {
            let service = faulted(&backend, fields).await;
            let reply = exchange(service.probe, request("/x").replacen("GET", method, 1)).await;
            let status: u16 = std::str::from_utf8(&answer[9..12]).unwrap().parse().unwrap();
            assert_eq!(
                (reply.status(), reply.body().as_str(), reply.end),
                (status, "", End::Fin),
                "{fields}"
            );
            assert_eq!(reply.header("x-probesim-fault"), None, "{fields} {method}");
            assert_eq!((eligible(&service).await, injected(&service).await), (1, 0), "{fields} {method}");
        }
    }
}

#[tokio::test]
async fn body_faults_do_not_act_on_the_proxys_own_error_answers() {
    let backend = Backend::answering(OK).await;
    let service = faulted(&backend, "mode: truncate, status: 200").await;
    let addr = backend.addr;
    drop(backend);
    eventually("the application is gone", || async { TcpStream::connect(addr).await.is_err() }).await;
    let reply = service.get("/x").await;
    assert_eq!((reply.status(), reply.end), (502, End::Fin));
    assert!(!reply.body().is_empty());
    assert_eq!((eligible(&service).await, injected(&service).await), (1, 0));
}

#[tokio::test]
async fn modes_that_replace_the_answer_reach_the_application_only_with_forward() {
    for (fields, seen) in [
        ("mode: status, status: 503", (Some(503), End::Fin)),
        ("mode: redirect", (Some(302), End::Fin)),
        ("mode: grpc", (Some(200), End::Fin)),
        ("mode: hang", (None, End::Silence)),
        ("mode: close", (None, End::Fin)),
        ("mode: reset", (None, End::Reset)),
        ("mode: garbage", (None, End::Fin)),
    ] {
        for forward in [false, true] {
            let backend = Backend::answering(OK).await;
            let service = faulted(&backend, &format!("{fields}, forward: {forward}")).await;
            let post = request("/x").replacen("GET", "POST", 1).replacen(
                "\r\n\r\n",
                "\r\ncontent-length: 2\r\n\r\nhi",
                1,
            );
            let reply = exchange(service.probe, post).await;
            assert_eq!((reply.ok_status(), reply.end), seen, "{fields} {forward}");
            assert!(!reply.text().ends_with("app"), "{fields} {forward}");
            assert_eq!(backend.count(), usize::from(forward), "{fields} {forward}");
            assert!(!forward || backend.last().ends_with("hi"), "{fields}: {}", backend.last());
            assert_eq!(injected(&service).await, 1, "{fields} {forward}");
            let answered = count(&service, "probesim_upstream_requests_total", &["code=\"200\""]).await;
            assert_eq!(answered, u64::from(forward), "{fields} {forward}");
        }
    }
}

#[tokio::test]
async fn with_forward_the_application_completes_the_request_even_if_the_client_has_left() {
    let backend = Backend::serving(|mut stream, notes, _| async move {
        while notes.read_request(&mut stream).await.is_some() {
            sleep(Duration::from_millis(300)).await;
            if stream.write_all(OK).await.is_ok() {
                notes.note("answered");
            }
        }
    })
    .await;
    let service = faulted(&backend, "client: any, mode: close, forward: true").await;
    let mut client = TcpStream::connect(service.probe).await.unwrap();
    client.write_all(kubelet_request("/x").as_bytes()).await.unwrap();
    eventually("the application has the request", || async { backend.count() == 1 }).await;
    drop(client);
    eventually("it answers", || async { backend.count() == 2 }).await;
    eventually("its answer is counted", || async {
        count(&service, "probesim_upstream_requests_total", &["code=\"200\""]).await == 1
    })
    .await;
    assert_eq!(count(&service, "probesim_clients_gone_total", &["traffic"]).await, 1);
}

#[tokio::test]
async fn a_delay_comes_before_forwarding_or_with_forward_after_the_answer() {
    for (fields, is_early) in [
        ("delay: 400ms", false),
        ("mode: truncate, delay: 400ms", false),
        ("mode: status, forward: true, delay: 400ms", true),
    ] {
        let backend = Backend::answering(OK).await;
        let service = faulted(&backend, fields).await;
        let began = Instant::now();
        let mut client = TcpStream::connect(service.probe).await.unwrap();
        client.write_all(request("/x").as_bytes()).await.unwrap();
        sleep(Duration::from_millis(200)).await;
        assert_eq!(backend.count(), usize::from(is_early), "{fields}");
        let mut reply = Vec::new();
        client.read_to_end(&mut reply).await.unwrap();
        assert!(began.elapsed() >= Duration::from_millis(400), "{fields}");
        assert_eq!(backend.count(), 1, "{fields}");
    }
}

#[tokio::test]
async fn a_requested_fault_is_not_forwarded_and_acts_on_the_applications_answer() {
    let backend = Backend::answering(OK).await;
    let service = in_front_of(&backend, &[("REQUEST_FAULTS", "true")]).await;
    let head = "GET /x?a=%20&probesim-fault=mode%3Dtruncate HTTP/1.1\r\nhost: a\r\nx-envoy-fault-delay-request: 1\r\n\r\n";
    let reply = exchange(service.probe, head).await;
    assert_eq!((reply.status(), reply.body().as_str(), reply.end), (200, "ap", End::Fin));
    assert!(backend.last().starts_with("GET /x?a=%20 HTTP/1.1\r\n"), "{}", backend.last());
    let head = "GET /x HTTP/1.1\r\nhost: a\r\nx-probesim-fault: mode=close; forward=true\r\n\r\n";
    let reply = exchange(service.probe, head).await;
    assert_eq!((reply.bytes.len(), reply.end, backend.count()), (0, End::Fin, 2));
    assert!(!backend.last().to_lowercase().contains("probesim-fault"), "{}", backend.last());
    let injected = count(&service, "probesim_faults_injected_total", &["fault=\"request\""]).await;
    assert_eq!(injected, 2);
}

/// A client's view of one answer.
fn name_of(reply: &crate::support::Reply) -> String {
    let fault = reply.ok_status().and_then(|_| reply.header("x-probesim-fault")).unwrap_or_default();
    match (reply.ok_status(), fault.as_str(), reply.end) {
        (None, _, End::Fin) => "closed".to_owned(),
        (None, _, End::Reset) => "torn".to_owned(),
        (_, fault, _) => fault.to_owned(),
    }
}

#[tokio::test]
async fn the_counters_of_rules_agree_with_what_clients_saw_of_two_thousand_requests() {
    let plan = "{seed: 11, faults: [
        {name: busy, target: traffic, mode: status, status: 503, rate: 10%},
        {name: closed, target: traffic, mode: close, forward: true, rate: 10%},
        {name: torn, target: traffic, mode: reset, rate: 10%},
        {name: short, target: traffic, mode: truncate, rate: 20%},
        {name: wrong, target: traffic, mode: corrupt, rate: 20%},
        {name: call, target: traffic, mode: grpc, rate: 10%, forward: true},
        {name: late, target: traffic, mode: throttle, speed: 1MiB, rate: 30%}]}";
    // Every third answer has no body.
    let backend = Backend::serving(|mut stream, notes, _| async move {
        while let Some(head) = notes.read_request(&mut stream).await {
            let empty = head.starts_with("GET /empty");
            let answer = if empty { &b"HTTP/1.1 204 No Content\r\n\r\n"[..] } else { OK };
            if stream.write_all(answer).await.is_err() {
                return;
            }
        }
    })
    .await;
    let service = in_front_of(&backend, &[("FAULTS", plan)]).await;
    let mut seen = std::collections::BTreeMap::new();
    for number in 0..2_000_u32 {
        let path = if number % 3 == 0 { "/empty" } else { "/full" };
        let reply = service.get(path).await;
        let name = name_of(&reply);
        let body = reply.ok_status().map(|status| (status, reply.body()));
        let body = body.as_ref().map(|(status, body)| (*status, body.as_str()));
        match name.as_str() {
            "short" => assert_eq!((body, reply.end), (Some((200, "ap")), End::Fin)),
            "wrong" => assert!(body.is_some_and(|(status, body)| status == 200 && body != "app")),
            "late" => assert_eq!(body, Some((200, "app"))),
            "" if path == "/full" => assert_eq!(body, Some((200, "app"))),
            "" => assert_eq!(body, Some((204, ""))),
            _ => {}
        }
        *seen.entry(name).or_insert(0_u64) += 1;
    }
    let metrics = service.metrics().await;
    let sum = |name: &str, fault: &str| {
        crate::support::sum(&metrics, name, &[&format!("fault=\"{fault}\"")]) as u64
    };
    for fault in ["busy", "closed", "torn", "short", "wrong", "call", "late"] {
        let clients = seen.get(fault).copied().unwrap_or(0);
        assert!(clients > 20, "{fault}: {seen:?}");
        assert_eq!(sum("probesim_faults_injected_total", fault), clients, "{fault}: {seen:?}");
    }
    assert_eq!(sum("probesim_faults_eligible_total", "busy"), 2_000);
    assert!(
        sum("probesim_faults_injected_total", "short") < sum("probesim_faults_eligible_total", "short") / 5
    );
    // Only requests whose mode does not forward them have not reached the application.
    let spared = seen["busy"] + seen["torn"];
    assert_eq!(backend.count() as u64, 2_000 - spared);
}
