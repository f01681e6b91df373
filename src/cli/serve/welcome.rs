//! The text that a terminal shows at the start.

use std::net::SocketAddr;

/// The addresses of the listeners, and commands to try.
pub(super) fn text(probe: SocketAddr, admin: SocketAddr, upstream: Option<&str>) -> String {
    let (probe, admin_host) = (host(probe), host(admin));
    let option = if admin.port() == 8081 { String::new() } else { format!(" --admin {admin_host}") };
    let what = upstream.map_or_else(
        || format!("Probes are answered on http://{probe}"),
        |upstream| {
            format!("Requests to http://{probe}, including / and /metrics, are forwarded to {upstream}")
        },
    );
    format!(
        "\
{what}; metrics and the API are on http://{admin_host}. Try:

  curl -i http://{probe}/readyz
  curl http://{admin_host}/metrics
  kube-probesim fault add readiness --for 1m{option}
  curl http://{admin_host}/v1/state

Ctrl-C ends it.

"
    )
}

/// An address that a client on this machine can use.
fn host(address: SocketAddr) -> String {
    if address.ip().is_unspecified() { format!("localhost:{}", address.port()) } else { address.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_that_a_client_can_use() {
        let shown = text("[::]:8080".parse().unwrap(), "[::]:8081".parse().unwrap(), None);
        for line in [
            "curl -i http://localhost:8080/readyz\n",
            "curl http://localhost:8081/metrics\n",
            "kube-probesim fault add readiness --for 1m\n",
        ] {
            assert!(shown.contains(line), "{shown}");
        }
        let shown = text("127.0.0.1:1".parse().unwrap(), "[::1]:9000".parse().unwrap(), Some("unix:/app"));
        assert!(shown.contains("forwarded to unix:/app; metrics"), "{shown}");
        for line in
            ["http://127.0.0.1:1/readyz\n", "http://[::1]:9000/metrics\n", "--for 1m --admin [::1]:9000\n"]
        {
            assert!(shown.contains(line), "{shown}");
        }
    }
}
