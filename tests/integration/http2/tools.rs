//! Results of curl over HTTP/2.

use tokio::process::Command;

use super::*;
use crate::support::tools;

/// Exit codes are those of curl(1).
#[tokio::test]
async fn curl_reports_each_mode_with_its_exit_code() {
    if !tools::are_there(&["curl"]) {
        return;
    }
    for (fields, code) in [
        ("delay: 1ms", 0),
        ("mode: status, status: 503", 0),
        ("mode: hang", 28),
        ("mode: close", 92),
        ("mode: reset", 92),
        ("mode: garbage", 52),
        ("mode: truncate", 92),
        ("mode: body-hang", 28),
        ("mode: body-reset", 92),
        ("mode: malformed", 52),
        ("mode: drip, drip: 300ms", 0),
    ] {
        let plan = format!("{{faults: [{{name: drill, target: liveness, {fields}}}]}}");
        let service = Service::start(&[("FAULTS", &plan)]).await;
        let curl = Command::new("curl")
            .args(["--http2-prior-knowledge", "--silent", "--show-error", "--max-time", "2"])
            .args(["--write-out", "\n%{http_version}", &format!("http://{}/healthz", service.probe)])
            .output()
            .await
            .unwrap();
        let output = String::from_utf8_lossy(&curl.stdout);
        assert_eq!(
            curl.status.code(),
            Some(code),
            "{fields}: {output} {:?}",
            String::from_utf8_lossy(&curl.stderr)
        );
        if code == 0 {
            assert!(output.ends_with("\n2"), "{fields}: {output}");
        }
    }
}
