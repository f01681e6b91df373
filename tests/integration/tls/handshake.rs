//! Faults of the handshake.

use super::*;

#[tokio::test]
async fn a_handshake_that_hangs_gets_no_answer_until_the_client_gives_up() {
    let faults = plan("mode: tls-hang");
    let service = self_signed(&[("FAULTS", &faults), ("HEAD_TIMEOUT", "100ms")]).await;
    let mut stream = TcpStream::connect(service.probe).await.unwrap();
    stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00").await.unwrap();
    assert_eq!(read_to_end(&mut stream).await.end, End::Silence);
    drop(stream);
    eventually("the connection is closed", || async {
        service.metric("probesim_connections", &[]).await == 0.0
    })
    .await;
    assert_eq!(service.metric("probesim_limits_hit_total", &[]).await, 0.0);
    assert_eq!(service.get("/healthz").await.status(), 200, "plain HTTP goes on");
    assert_eq!(service.metric("probesim_listener_up", &[]).await, 1.0);
    let labels = ["fault=\"drill\"", "target=\"listener\""];
    assert_eq!(service.metric("probesim_faults_eligible_total", &labels).await, 1.0);
    let labels = ["fault=\"drill\"", "target=\"listener\"", "mode=\"tls-hang\""];
    assert_eq!(service.metric("probesim_faults_injected_total", &labels).await, 1.0);
}

#[tokio::test]
async fn a_handshake_gets_fin_or_an_alert() {
    for (fields, bytes) in [
        ("mode: tls-close", &b""[..]),
        ("mode: tls-alert", b"\x15\x03\x03\x00\x02\x02\x28"),
        ("mode: tls-alert, alert: unknown_ca", b"\x15\x03\x03\x00\x02\x02\x30"),
        ("mode: tls-alert, alert: 70", b"\x15\x03\x03\x00\x02\x02\x46"),
    ] {
        let service = self_signed(&[("FAULTS", &plan(fields))]).await;
        let mut hello = b"\x16\x03\x01\x02\x00".to_vec();
        hello.resize(517, 0);
        let reply = exchange(service.probe, hello).await;
        assert_eq!((reply.bytes.as_slice(), reply.end), (bytes, End::Fin), "{fields}");
    }
}

#[tokio::test]
async fn wrong_certificates_have_one_flaw_each() {
    for (mode, wrong) in [
        ("tls-expired", "certificate expired"),
        ("tls-wrong-name", "not valid for name"),
        ("tls-untrusted", "UnknownIssuer"),
    ] {
        let faults = plan(&format!("mode: {mode}, when: {{after: 1s}}"));
        let service = self_signed(&[("FAULTS", &faults)]).await;
        // The authority of the good certificate is trusted.
        let stream = connect(service.probe, &[]).await;
        let chain = stream.get_ref().1.peer_certificates().unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(chain.last().unwrap().clone()).unwrap();
        let trusting = client_config(&Trust::Roots(Arc::new(roots)), &[]);
        connect_with(service.probe, trusting.clone()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let error = connect_with(service.probe, trusting).await.unwrap_err().to_string();
        assert!(error.contains(wrong), "{mode}: {error}");
        // A client that verifies nothing, such as the kubelet, gets its answer.
        let (answer, _) = get(service.probe, "/healthz").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{mode}: {answer}");
        assert_eq!(service.metric("probesim_faults_injected_total", &[mode]).await, 2.0);
    }
}

#[tokio::test]
async fn a_rate_draws_by_the_number_of_the_handshake_and_can_be_replayed() {
    let mut seen = Vec::new();
    for _ in 0..2 {
        let service = self_signed(&[("FAULTS", &plan("mode: tls-close, rate: 50%"))]).await;
        let mut outcomes = Vec::new();
        for _ in 0..20 {
            // Requests without TLS take no number.
            service.get("/healthz").await;
            outcomes.push(connected(service.probe).await.is_ok());
        }
        let injected = outcomes.iter().filter(|is_ok| !**is_ok).count();
        assert!((3..=17).contains(&injected), "{outcomes:?}");
        assert_eq!(service.metric("probesim_faults_eligible_total", &["drill"]).await, 20.0);
        assert_eq!(service.metric("probesim_faults_injected_total", &["drill"]).await, injected as f64);
        seen.push(outcomes);
    }
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test]
async fn faults_of_the_handshake_can_spare_networks() {
    let service = self_signed(&[("FAULTS", &plan("mode: tls-close, from: [10.0.0.0/8]"))]).await;
    connected(service.probe).await.unwrap();
    assert_eq!(service.metric("probesim_faults_eligible_total", &["drill"]).await, 0.0);
    let service = self_signed(&[("FAULTS", &plan("mode: tls-close, from: [127.0.0.0/8]"))]).await;
    connected(service.probe).await.unwrap_err();
}

#[test]
fn faults_of_the_handshake_need_tls_and_know_no_requests() {
    for (fields, tls, error) in [
        ("mode: tls-hang", "", "drill: mode: tls-hang needs TLS on the probe listener"),
        (
            "mode: tls-hang, client: kubelet",
            "self-signed",
            "`client` does not go with faults of the TLS handshake",
        ),
        ("mode: tls-hang, when: {requests: {for: 3}}", "self-signed", "use `rate` or a window in time"),
        (
            "mode: tls-hang, alert: unknown_ca",
            "self-signed",
            "alert=\"unknown_ca\": does not go with mode tls-hang",
        ),
        ("mode: tls-alert, alert: oops", "self-signed", "alert=\"oops\""),
        ("mode: tls-hang, delay: 3s", "self-signed", "delay"),
        ("mode: tls-hang, status: 500", "self-signed", "status"),
        ("mode: tls-hang, match: {path: /x}", "self-signed", "match"),
    ] {
        let variables = [("FAULTS", plan(fields)), ("TLS", tls.to_owned())];
        let errors =
            kube_probesim::env::load(variables.into_iter().map(|(name, value)| (name.into(), value.into())));
        let errors = errors.map(|_| fields).unwrap_err().to_string();
        assert!(errors.contains(error), "{errors}");
    }
    // Request rules do not have these modes.
    let faults = "{faults: [{name: a, target: liveness, mode: tls-hang}]}";
    let errors = kube_probesim::env::load([("FAULTS".into(), faults.into())].into_iter()).unwrap_err();
    assert!(errors.to_string().contains("only target listener has it"), "{errors}");
}
