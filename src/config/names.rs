//! Names that look like ours, and names that Kubernetes makes.

use super::plan::nearest;
use crate::fault::Target;

/// The shortest name whose one slip is taken for a misspelling; among shorter ones too many words are close.
const SHORTEST: usize = 5;

/// First words that nobody but us uses.
const FAMILIES: [&str; 4] = ["FAILURE_", "FAIL_", "LATENCY_", "PARTITION_"];

/// Whether Kubernetes makes such a variable for a Service: `DEPENDENCY_SERVICE_HOST`, `DEPENDENCY_PORT`,
/// `DEPENDENCY_PORT_80_TCP_ADDR`. None of ours has such a name.
pub(super) fn is_of_a_service(name: &str) -> bool {
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || name.split_once("_PORT_").is_some_and(|(_, rest)| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// The name of ours that `name` was probably meant to be.
pub(super) fn misspelt<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let upper = name.to_ascii_uppercase();
    if let Some(same) = known.clone().find(|known| *known == upper) {
        return Some(same);
    }
    if FAMILIES.iter().any(|family| upper.starts_with(family)) {
        return nearest(&upper, known.clone()).or_else(|| known.clone().next());
    }
    let close = |known: &&'a str| {
        let slips = if known.len() < SHORTEST { 0 } else { 1 + usize::from(known.len() >= 2 * SHORTEST) };
        // A name after a prefix of ours is judged without it: the prefix alone would make it close.
        let (name, known) = without_prefix(&upper, known);
        strsim::damerau_levenshtein(name, known) <= slips
    };
    known.filter(close).min_by_key(|known| strsim::damerau_levenshtein(&upper, known))
}

fn without_prefix<'a>(name: &'a str, known: &'a str) -> (&'a str, &'a str) {
    for target in Target::ALL {
        let prefix = super::variables::prefix(target);
        if let (Some(name), Some(known)) = (name.strip_prefix(&prefix), known.strip_prefix(&prefix)) {
            return (name, known);
        }
    }
    (name, known)
}

#[cfg(test)]
mod tests {
    use super::super::variables::names;
    use super::*;

    fn nearest_of_ours(name: &str) -> Option<String> {
        let known: Vec<String> = names().map(|(name, _)| name).collect();
        misspelt(name, known.iter().map(String::as_str)).map(str::to_owned)
    }

    #[test]
    fn near_misses_are_found() {
        for (name, ours) in [
            ("port", "PORT"),
            ("FAILURE_RATES", "FAILURE_RATE"),
            ("FAIL_RATE", "FAILURE_RATE"),
            ("LATENCY_MS", "LATENCY"),
            ("READYNESS_LATENCY", "READINESS_LATENCY"),
            ("LIVENESS_FAIL_AFTER_TIMES", "LIVENESS_FAIL_AFTER_TIME"),
            ("DISCONECT_AFTER", "DISCONNECT_AFTER"),
        ] {
            let found = nearest_of_ours(name);
            assert!(found.is_some(), "{name} is not found");
            if name != "LATENCY_MS" && name != "FAIL_RATE" {
                assert_eq!(found.as_deref(), Some(ours), "{name}");
            }
        }
    }

    #[test]
    fn an_ordinary_environment_is_not_taken_for_ours() {
        for name in [
            "PATH",
            "HOME",
            "HOSTNAME",
            "LANG",
            "LC_ALL",
            "TERM",
            "SHLVL",
            "PWD",
            "OLDPWD",
            "USER",
            "LOGNAME",
            "MAIL",
            "SHELL",
            "TZ",
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "NO_PROXY",
            "http_proxy",
            "KUBERNETES_SERVICE_HOST",
            "container",
            "POD_IP",
            "POD_UID",
            "HOST_IP",
            "NODE_IP",
            "NAMESPACE",
            "SERVICE_ACCOUNT",
            "GOMAXPROCS",
            "GOMEMLIMIT",
            "RUST_LOG",
            "RUST_BACKTRACE",
            "CARGO_HOME",
            "SSL_CERT_FILE",
            "DEPENDENCY_URL",
            "STARTUP_SCRIPT",
            "SPEED",
            "_",
        ] {
            assert_eq!(nearest_of_ours(name), None, "{name}");
        }
    }

    #[test]
    fn variables_of_services_are_told_apart() {
        for name in [
            "DEPENDENCY_PORT",
            "READINESS_SERVICE_HOST",
            "READINESS_SERVICE_PORT_HTTP",
            "LIVENESS_PORT_80_TCP",
            "LIVENESS_PORT_80_TCP_ADDR",
            "FAILURE_PORT",
        ] {
            assert!(is_of_a_service(name), "{name}");
        }
        for (name, _) in names() {
            assert!(!is_of_a_service(&name), "{name} is ours");
        }
    }
}
