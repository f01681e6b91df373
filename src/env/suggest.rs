//! Names that look like misspelt ones of ours.

/// Units that people append to a name.
const UNITS: &[&str] = &[
    "MS",
    "S",
    "SEC",
    "SECS",
    "SECONDS",
    "MIN",
    "MINS",
    "MINUTES",
    "MILLIS",
    "MILLISECONDS",
    "PERCENT",
    "PCT",
    "BYTES",
];

/// A name of ours, and which letters are in it.
pub(super) struct Known<'a> {
    name: &'a str,
    letters: u64,
}

/// Names of ours, made ready for [`meant`].
pub(super) fn known(names: &[String]) -> Vec<Known<'_>> {
    names.iter().map(|name| Known { name, letters: letters(name) }).collect()
}

/// Which of `ours` is meant by a name that is none, if it is near enough to be a slip.
pub(super) fn meant<'a>(name: &str, value: &str, ours: &[Known<'a>]) -> Option<&'a str> {
    if is_of_service(name, value) {
        return None;
    }
    let mut upper = [0; 64];
    let upper = upper.get_mut(..name.len())?;
    for (upper, byte) in upper.iter_mut().zip(name.bytes()) {
        *upper = if matches!(byte, b'-' | b'.') { b'_' } else { byte.to_ascii_uppercase() };
    }
    let upper = str::from_utf8(upper).ok()?;
    let stem = upper.rsplit_once('_').filter(|(_, unit)| UNITS.contains(unit)).map(|(stem, _)| stem);
    if let Some(known) = ours.iter().find(|known| stem == Some(known.name)) {
        return Some(known.name);
    }
    let letters = letters(upper);
    let mut nearest = None;
    for known in ours {
        let most = (upper.len().max(known.name.len()) / 4).clamp(1, 3);
        // Thousands of names may stand there, and most differ in length or letters alone.
        if upper.len().abs_diff(known.name.len()) > most
            || foreign(letters, known.letters) > most
            || least_distance(upper, known.name) > most
        {
            continue;
        }
        let distance = strsim::osa_distance(upper, known.name);
        if distance <= most && nearest.is_none_or(|(least, _)| distance < least) {
            nearest = Some((distance, known.name));
        }
    }
    nearest.map(|(_, name)| name)
}

/// A bit for each letter. Letters that share a bit make bounds of a distance lower, not wrong; those of our names share
/// none.
fn letters(name: &str) -> u64 {
    name.bytes().fold(0, |letters, byte| letters | 1 << (byte % 64))
}

/// A lower bound of the distance: a change makes up for one letter that the other name does not have.
fn foreign(a: u64, b: u64) -> usize {
    (a & !b).count_ones().max((b & !a).count_ones()) as usize
}

/// A lower bound of the distance at a fraction of its cost: the letters that are too many on one side or the other,
/// wherever they stand.
fn least_distance(a: &str, b: &str) -> usize {
    let mut surplus = [0_i8; 64];
    a.bytes().for_each(|byte| surplus[usize::from(byte % 64)] += 1);
    b.bytes().for_each(|byte| surplus[usize::from(byte % 64)] -= 1);
    let of_a: usize = surplus.iter().map(|count| (*count).max(0) as usize).sum();
    // Each change of a letter makes two of them.
    of_a.max(of_a + b.len() - a.len())
}

/// Whether Kubernetes makes such a variable for a Service of whatever name: `X_SERVICE_HOST`, `X_SERVICE_PORT`,
/// `X_SERVICE_PORT_NAME`, `X_PORT=tcp://…`, `X_PORT_80_TCP`, `X_PORT_80_TCP_ADDR`.
pub(super) fn is_of_service(name: &str, value: &str) -> bool {
    if name.ends_with("_SERVICE_HOST") || name.ends_with("_SERVICE_PORT") || name.contains("_SERVICE_PORT_") {
        return true;
    }
    if name.ends_with("_PORT") && value.contains("://") {
        return true;
    }
    name.match_indices("_PORT_").any(|(at, infix)| {
        let rest = &name[at + infix.len()..];
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let rest = &rest[digits..];
        let protocol = ["_TCP", "_UDP", "_SCTP"].iter().find_map(|protocol| rest.strip_prefix(protocol));
        digits > 0 && matches!(protocol, Some("" | "_PROTO" | "_PORT" | "_ADDR"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::names;

    #[test]
    fn a_slip_finds_the_name_that_was_meant() {
        for (name, known) in [
            ("port", "PORT"),
            ("PORTS", "PORT"),
            ("FAILURE_RATES", "FAILURE_RATE"),
            ("FAIL_RATE", "FAILURE_RATE"),
            ("FAILURE-RATE", "FAILURE_RATE"),
            ("LATENCY_MS", "LATENCY"),
            ("STARTUP_DELAY_SECONDS", "STARTUP_DELAY"),
            ("LIVENESS_FAILURE_RATE_PERCENT", "LIVENESS_FAILURE_RATE"),
            ("READYNESS_LATENCY", "READINESS_LATENCY"),
            ("LIVENESS_FAIL_AFTER", "LIVENESS_FAIL_FOR"),
            ("LOGLEVEL", "LOG_LEVEL"),
            ("DISCONECT_AFTER", "DISCONNECT_AFTER"),
        ] {
            assert_eq!(meant(name, "1", &super::known(&names())), Some(known), "{name}");
        }
    }

    #[test]
    fn the_bound_of_a_distance_is_never_above_it() {
        let names = names();
        let mut sharp = 0;
        for a in names.iter().step_by(3) {
            for b in names.iter().map(String::as_str).chain(["PATH", "", "LIVENESS_LATNECY"]) {
                let (least, distance) = (least_distance(a, b), strsim::osa_distance(a, b));
                assert!(least <= distance, "{a} {b}: {least} > {distance}");
                assert!(foreign(letters(a), letters(b)) <= distance, "{a} {b}");
                sharp += usize::from(least > 3);
            }
        }
        assert!(sharp > names.len(), "it spares {sharp} distances");
    }

    #[test]
    fn what_others_put_into_the_environment_is_left_alone() {
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
            "_",
            "PS1",
            "LS_COLORS",
            "EDITOR",
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "NO_PROXY",
            "http_proxy",
            "no_proxy",
            "SSL_CERT_FILE",
            "SSH_AUTH_SOCK",
            "XDG_RUNTIME_DIR",
            "DISPLAY",
            "TMPDIR",
            "RUST_LOG",
            "RUST_BACKTRACE",
            "GOMAXPROCS",
            "JAVA_HOME",
            "NODE_ENV",
            "NODE_OPTIONS",
            "NODE_IP",
            "HOST_IP",
            "HOST_NAME",
            "POD_IP",
            "POD_UID",
            "APP_NAME",
            "NAMESPACE",
            "DEBIAN_FRONTEND",
            "container",
            "INVOCATION_ID",
            "KUBECONFIG",
            "KUBERNETES_SERVICE_HOST",
            "KUBERNETES_PORT_443_TCP_PROTO",
            "OTEL_SERVICE_NAME",
            "DATABASE_URL",
            "AWS_REGION",
        ] {
            assert_eq!(meant(name, "x", &known(&names())), None, "{name}");
        }
    }

    #[test]
    fn variables_of_services_are_told_from_ours() {
        for name in [
            "DEPENDENCY_SERVICE_HOST",
            "DEPENDENCY_SERVICE_PORT",
            "DEPENDENCY_SERVICE_PORT_HTTP",
            "READINESS_SERVICE_HOST",
            "FAILURE_PORT",
            "LIVENESS_PORT_80_TCP",
            "LIVENESS_PORT_80_TCP_ADDR",
            "LIVENESS_PORT_80_TCP_PORT",
            "LIVENESS_PORT_80_TCP_PROTO",
            "FAIL_PORT_53_UDP",
            "A_PORT_B_PORT_1_SCTP",
            "LATENCY_PORT",
            "PORT_PORT",
            "FAIL_PORT",
        ] {
            assert_eq!(meant(name, "tcp://10.0.0.1:80", &known(&names())), None, "{name}");
            assert!(is_of_service(name, "tcp://10.0.0.1:80"), "{name}");
        }
        // No Service can be named so that one of ours is overwritten.
        for name in names() {
            assert!(!is_of_service(&name, "tcp://10.0.0.1:80"), "{name}");
        }
    }
}
