//! Variables that Kubernetes sets for the Services of a namespace.

use std::net::IpAddr;

/// Whether Kubernetes sets a variable like this for some Service: `X_SERVICE_HOST`, `X_SERVICE_PORT`,
/// `X_SERVICE_PORT_NAME`, `X_PORT`, `X_PORT_80_TCP`, with the suffixes `_PROTO`, `_PORT` and `_ADDR`; each with a
/// value in its format.
pub(super) fn is_service_link(name: &str, value: &str) -> bool {
    if let Some(service) = name.strip_suffix("_SERVICE_HOST") {
        return !service.is_empty() && is_ip(value);
    }
    if let Some((service, port)) = name.split_once("_SERVICE_PORT") {
        return !service.is_empty() && (port.is_empty() || port.starts_with('_')) && is_port(value);
    }
    if let Some(service) = name.strip_suffix("_PORT")
        && is_endpoint(value)
    {
        return !service.is_empty();
    }
    // The name of a Service may contain `_PORT_` itself.
    name.match_indices("_PORT_")
        .any(|(at, infix)| at > 0 && is_port_variable(&name[at + infix.len()..], value))
}

/// `80_TCP`, optionally with a suffix.
fn is_port_variable(rest: &str, value: &str) -> bool {
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (port, rest) = rest.split_at(digits);
    let kind = ["_TCP", "_UDP", "_SCTP"].iter().find_map(|protocol| rest.strip_prefix(protocol));
    is_port(port)
        && match kind {
            Some("") => is_endpoint(value),
            Some("_PROTO") => matches!(value, "tcp" | "udp" | "sctp"),
            Some("_PORT") => is_port(value),
            Some("_ADDR") => is_ip(value),
            _ => false,
        }
}

/// `tcp://10.0.0.1:80`. An IPv6 address may lack brackets.
fn is_endpoint(value: &str) -> bool {
    let address = ["tcp://", "udp://", "sctp://"].iter().find_map(|scheme| value.strip_prefix(scheme));
    address.and_then(|address| address.rsplit_once(':')).is_some_and(|(host, port)| {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        is_ip(bare) && is_port(port)
    })
}

fn is_ip(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::names;

    #[test]
    fn variables_of_services_are_told_by_name_and_value() {
        for (name, value) in [
            ("DEPENDENCY_SERVICE_HOST", "10.0.0.1"),
            ("READINESS_SERVICE_HOST", "fd00::1"),
            ("DEPENDENCY_SERVICE_PORT", "80"),
            ("DEPENDENCY_SERVICE_PORT_HTTP", "80"),
            ("FAILURE_PORT", "tcp://10.0.0.1:80"),
            ("LATENCY_PORT", "udp://[fd00::1]:53"),
            ("PORT_PORT", "tcp://fd00::1:80"),
            ("LIVENESS_PORT_80_TCP", "tcp://10.0.0.1:80"),
            ("LIVENESS_PORT_80_TCP_ADDR", "10.0.0.1"),
            ("LIVENESS_PORT_80_TCP_PORT", "80"),
            ("LIVENESS_PORT_80_TCP_PROTO", "tcp"),
            ("FAIL_PORT_53_UDP", "udp://10.0.0.1:53"),
            ("A_PORT_B_PORT_1_SCTP", "sctp://10.0.0.1:1"),
        ] {
            assert!(is_service_link(name, value), "{name}={value}");
            assert!(!is_service_link(name, "x"), "{name}");
            assert!(!is_service_link(name, ""), "{name}");
        }
        for (name, value) in [
            ("LIVENESS_PORT", "8080"),
            ("PORT", "tcp://10.0.0.1:80"),
            ("_PORT", "tcp://10.0.0.1:80"),
            ("_SERVICE_HOST", "10.0.0.1"),
            ("A_SERVICE_PORTS", "80"),
            ("A_PORT_80_HTTP", "tcp://10.0.0.1:80"),
            ("A_PORT_X_TCP", "tcp://10.0.0.1:80"),
        ] {
            assert!(!is_service_link(name, value), "{name}={value}");
        }
    }

    #[test]
    fn no_service_can_be_named_so_that_it_sets_one_of_our_variables() {
        for name in names() {
            for value in ["tcp://10.0.0.1:80", "10.0.0.1", "80", "tcp"] {
                assert!(!is_service_link(&name, value), "{name}");
            }
        }
    }
}
