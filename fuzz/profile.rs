//! Profiles, and measurements that become profiles.

use std::time::Duration;

use kube_probesim::predict::manifest::{self, Input};
use kube_probesim::predict::profile::{ProfileSet, measured};
use kube_probesim::predict::run::{Options, Replicas, run};

use super::MOST_TEXT;

/// A Pod that runs another program.
const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: web
          image: nginx
          livenessProbe: {httpGet: {path: /, port: 80}}
          readinessProbe: {httpGet: {path: /, port: 80}}
";

/// A profile in YAML or JSON, or measured latencies: refused with the reason, or a Pod that behaves so can be predicted.
pub fn profile(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut set = ProfileSet::default();
    match set.add_file(text) {
        Ok(()) => predict(&set),
        Err(errors) => {
            assert!(!errors.is_empty());
            let length: usize =
                errors.iter().map(|(place, error)| place.len() + error.to_string().len()).sum();
            assert!(length < MOST_TEXT, "{length} bytes of errors");
        }
    }
    match measured(text, None) {
        Ok(profile) => {
            let mut set = ProfileSet::default();
            set.insert("*", profile);
            predict(&set);
        }
        Err(error) => assert!(error.to_string().len() < MOST_TEXT),
    }
}

fn predict(set: &ProfileSet) {
    let input = Input { name: "web.yaml".to_owned(), text: DEPLOYMENT.to_owned() };
    let mut manifests = manifest::read(&[input]).expect("a manifest");
    let workload = &mut manifests.workloads[0];
    if set.apply(workload).is_err() {
        return;
    }
    let options = Options { horizon: Duration::from_secs(120), pods: Some(2), ..Options::default() };
    run(workload, &Replicas::new(workload, &options), &options, &mut |_| {});
}
