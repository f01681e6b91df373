//! The service and the prediction make the same decisions.

use kube_probesim::fault::{RequestInfo, Verdict};
use kube_probesim::predict::run::Replicas;

use super::*;

#[tokio::test]
async fn the_service_decides_a_thousand_requests_as_the_prediction_does() {
    const REQUESTS: u64 = 1_000;
    let faults = "faults: [{name: some, target: [readiness], rate: 30%, burst: 4, mode: status, status: 503}, \
                   {name: others, target: [readiness], rate: 20%, mode: status, status: 418}, \
                   {name: upstream, target: [dependency], rate: 10%, mode: close}]";
    let env = [("FAULTS", faults), ("SEED", "4242"), ("SEED_SCOPE", "fleet")];
    let replicas = Replicas::new(&workload(Kind::StatefulSet, 1, &env), &Options::default());
    let plan = &replicas.pods[0].pod.containers[0].program.as_ref().unwrap().plan;
    let expected: Vec<u16> = (1..=REQUESTS)
        .map(|number| {
            let attempt = RequestInfo {
                target: Target::Readiness.into(),
                client: Client::Kubelet,
                elapsed: s(number),
                number,
            };
            match plan.decide(&attempt, |_| {}).verdict {
                Verdict::Pass => 200,
                Verdict::DependencyFailed(_) => 500,
                Verdict::Inject(rule) => plan.rule(rule).mode().unwrap().status().unwrap(),
            }
        })
        .collect();
    for status in [200, 418, 500, 503] {
        assert!(expected.contains(&status), "the plan gives each status, {status} among them");
    }

    let service = crate::support::Service::start(&env).await;
    let mut seen = Vec::new();
    for _ in 0..REQUESTS {
        seen.push(
            crate::support::exchange(service.probe, crate::support::kubelet_request("/readyz"))
                .await
                .status(),
        );
    }
    service.stop().await;
    assert_eq!(seen, expected);
}
