//! Requests that are answered without hyper, beside the same requests to hyper.

use std::net::SocketAddr;
use std::sync::LazyLock;

use super::service::{Connection, start};

/// A request that is plain, and one that is not because of its last field: the connection is hyper's from there on.
const PLAIN: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
const OTHER: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Other: a\r\n\r\n";

/// The end of the answer to both.
const ANSWERED: &[u8] = b"\r\n\r\nok";

/// Bytes that follow a plain request get the same answer as after a request that hyper has answered.
pub fn plain(data: &[u8]) {
    let (plain, other) = (after(PLAIN, data), after(OTHER, data));
    assert_eq!(plain, other, "{:?}", String::from_utf8_lossy(data));
}

/// `/readyz` tells kubelets from others, and a rule acts on `/startupz`.
static SERVICE: LazyLock<SocketAddr> = LazyLock::new(|| {
    let rules = "{faults: [{name: kubelet, target: readiness, client: kubelet, mode: status, status: 503}, \
                 {name: starts, target: startup, mode: status, status: 500}]}";
    start(&[("FAULTS", rules), ("MAX_HEAD_SIZE", "2KiB")])
});

/// The answer to `data` after the one to `first`, without what changes with time.
fn after(first: &[u8], data: &[u8]) -> Vec<String> {
    let mut connection = Connection::to(*SERVICE);
    connection.send(first);
    connection.read_until(ANSWERED);
    connection.send(data);
    let got = connection.finish();
    let text = String::from_utf8_lossy(&got);
    // Counters differ.
    let text = text.split_once("# HELP").map_or(&*text, |(head, _)| head);
    text.lines().filter(|line| !is_of_time(line)).map(str::to_owned).collect()
}

fn is_of_time(line: &str) -> bool {
    let name = line.split(':').next().unwrap_or_default();
    line.contains("metrics")
        || ["date", "content-length"].iter().any(|field| name.eq_ignore_ascii_case(field))
}
