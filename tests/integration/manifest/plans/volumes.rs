//! Volumes with wrong, missing or unusual values.

use super::*;

/// All fields of volumes that are read, one value per line.
const VOLUMES: &str = "apiVersion: v1
kind: Pod
metadata:
  name: web
  annotations:
    probesim.io/faults: '{}'
spec:
  containers:
  - name: probesim
    image: kube-probesim
    workingDir: /etc
    readinessProbe:
      httpGet:
        port: 8080
    env:
    - name: FAULTS_FILE
      value: faults/plan
    - name: STATE_DIR
      value: /state/x
    volumeMounts:
    - name: faults
      mountPath: /etc/faults
      subPath: sub
      readOnly: true
    - name: state
      mountPath: /state
    - name: notes
      mountPath: /etc/downwardapi
  volumes:
  - name: faults
    configMap:
      name: plans
      optional: false
      items:
      - key: plan
        path: sub/plan
  - name: state
    emptyDir: {}
  - name: notes
    projected:
      sources:
      - downwardAPI:
          items:
          - path: faults
            fieldRef:
              fieldPath: metadata.annotations['probesim.io/faults']
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: plans
data:
  plan: '{faults: [{name: down, target: readiness, mode: hang}]}'
";

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// With one value replaced, each error still names the file on one line.
    #[test]
    fn no_value_of_a_volume_makes_the_reader_panic(
        at in 0_usize..200,
        value in prop_oneof![
            Just("[]"), Just("{}"), Just("~"), Just("-1"), Just("''"), Just("[[]]"), Just("{a: 1}"), Just("\"\\0\\n\""),
            Just("'..'"), Just("/"), Just("'$('"), Just("true"), Just("\"metadata.annotations['\""), Just("'{faults: é'"),
        ],
    ) {
        prop_assert_eq!(rules(&workload(VOLUMES)), from_file());
        let values: Vec<usize> = VOLUMES.match_indices(": ").map(|(at, _)| at).collect();
        let start = values[at % values.len()] + 2;
        let end = start + VOLUMES[start..].find('\n').unwrap_or_default();
        let broken = format!("{}{value}{}", &VOLUMES[..start], &VOLUMES[end..]);
        if let Err(errors) = read(&[input("pod.yaml", &broken)]) {
            prop_assert!(!errors.errors.is_empty());
            for line in errors.to_string().lines() {
                prop_assert!(line.starts_with("pod.yaml"), "{}", line);
            }
        }
    }
}
