//! Suggests variables for misspelt names.

use super::other_names::{OTHER_NAMES, PREFIXED_NAMES};
use super::variables::{VARIABLES, prefix};
use super::warning::WarningKind;
use crate::fault::Target;

/// Words that people append to a name: units and kinds of values.
const TAILS: &[&str] = &[
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
    "PERCENTAGE",
    "PCT",
    "BYTES",
    "CODE",
    "DURATION",
    "TIME",
];

/// Similar words with different meanings: none is a misspelling of another.
const DISTINCT: &[&str] = &["AFTER", "FOR", "EVERY"];

/// A well-known variable that our clients read: the file of trusted authorities.
const SYSTEM: &str = "SSL_CERT_FILE";

/// Longer names are not compared: none of ours is as long, and the cost grows with the product of the lengths.
const MAX_LENGTH: usize = 64;

/// What a misspelt name is compared with: one of our names, or its first words.
pub(super) struct Candidate<'a> {
    text: &'a str,
    letters: u64,
    name: &'a str,
}

impl Candidate<'_> {
    fn is_beginning(&self) -> bool {
        self.text.len() < self.name.len()
    }
}

/// Our names and their beginnings, prepared for [`diagnose`].
pub(super) fn candidates(names: &[String]) -> Vec<Candidate<'_>> {
    let whole = names.iter().map(|name| (name.as_str(), name.as_str()));
    let begun =
        names.iter().flat_map(|name| beginnings(name).map(move |beginning| (beginning, name.as_str())));
    whole.chain(begun).map(|(text, name)| Candidate { text, letters: letters(text), name }).collect()
}

/// The first words of a name, two at least: `FAIL_AFTER` of `FAIL_AFTER_TIME`.
fn beginnings(name: &str) -> impl Iterator<Item = &str> {
    let ends = name.bytes().enumerate().filter(|(_, byte)| *byte == b'_').map(|(end, _)| end);
    ends.skip(1).map(|end| &name[..end])
}

/// The probable mistake in a name that is not one of ours; `None` if it resembles none of them.
pub(super) fn diagnose(name: &str, ours: &[Candidate<'_>]) -> Option<WarningKind> {
    let upper = normalized(name).filter(|name| name != SYSTEM)?;
    if let Some(problem) = prefixed(&upper, |rest, variable| rest == variable) {
        return Some(problem);
    }
    if let Some(nearest) = nearest(&upper, ours) {
        return Some(WarningKind::Unknown { nearest: nearest.to_owned() });
    }
    prefixed(&upper, is_misspelling)
}

/// The name in `ours` that was probably meant.
pub(super) fn meant<'a>(name: &str, ours: &[Candidate<'a>]) -> Option<&'a str> {
    nearest(&normalized(name)?, ours)
}

fn normalized(name: &str) -> Option<String> {
    (name.len() <= MAX_LENGTH && name.is_ascii()).then(|| name.to_ascii_uppercase().replace(['-', '.'], "_"))
}

/// A target's prefix before a variable that does not take it.
fn prefixed(upper: &str, is_meant: impl Fn(&str, &str) -> bool) -> Option<WarningKind> {
    Target::ALL.into_iter().find_map(|target| {
        let rest = upper.strip_prefix(prefix(target))?;
        let takes_none = VARIABLES.iter().filter(|variable| !variable.prefixes.contains(&target));
        let variable = takes_none.map(|variable| variable.name).find(|variable| is_meant(rest, variable))?;
        Some(WarningKind::Prefix { prefix: prefix(target), variable })
    })
}

fn nearest<'a>(upper: &str, ours: &[Candidate<'a>]) -> Option<&'a str> {
    let exact = |name: &str| ours.iter().find(|candidate| candidate.text == name);
    let stem = upper.rsplit_once('_').filter(|(_, tail)| TAILS.contains(tail)).map(|(stem, _)| stem);
    let other = other_name(upper);
    if let Some(found) = [other.as_deref(), Some(upper), stem].into_iter().flatten().find_map(exact) {
        return Some(found.name);
    }
    let letters = letters(upper);
    ours.iter()
        // An environment may have thousands of names: lengths and sets of letters rule out most of them.
        .filter(|candidate| {
            let tolerance = tolerance(upper, candidate.text);
            candidate.text.len().abs_diff(upper.len()) <= tolerance
                && foreign(letters, candidate.letters) <= tolerance
        })
        .filter(|candidate| is_misspelling(upper, candidate.text))
        // `FAIL_AFTR` is nearer to the beginning of `FAIL_AFTER_TIME` than to `FAIL_FOR`.
        .min_by_key(|candidate| {
            let missing = usize::from(candidate.is_beginning());
            (strsim::osa_distance(upper, candidate.text) + missing, !candidate.is_beginning())
        })
        .map(|candidate| candidate.name)
}

/// The variable that people mean by a name that resembles none of ours.
fn other_name(upper: &str) -> Option<String> {
    let meant = |names: &[(&str, &str)], name: &str| {
        names.iter().find(|(other, _)| *other == name).map(|(_, ours)| (*ours).to_owned())
    };
    meant(OTHER_NAMES, upper).or_else(|| {
        Target::ALL.into_iter().find_map(|target| {
            let rest = upper.strip_prefix(prefix(target))?;
            let ours = meant(OTHER_NAMES, rest).or_else(|| meant(PREFIXED_NAMES, rest))?;
            Some([prefix(target), &ours].concat())
        })
    })
}

fn is_misspelling(name: &str, of: &str) -> bool {
    let tolerance = tolerance(name, of);
    name.len().abs_diff(of.len()) <= tolerance
        && further_letters(name, of) <= tolerance
        && strsim::osa_distance(name, of) <= tolerance
        && !name
            .split('_')
            .zip(of.split('_'))
            .any(|(a, b)| a != b && DISTINCT.contains(&a) && DISTINCT.contains(&b))
}

/// The edit distance up to which a name is a misspelling.
fn tolerance(a: &str, b: &str) -> usize {
    (a.len().max(b.len()) / 4).clamp(1, 3)
}

/// The set of letters, one bit each.
fn letters(name: &str) -> u64 {
    name.bytes().fold(0, |letters, byte| letters | 1 << (byte % 64))
}

/// A lower bound of the edit distance: each edit accounts for at most one letter that the other name lacks.
fn foreign(a: u64, b: u64) -> usize {
    (a & !b).count_ones().max((b & !a).count_ones()) as usize
}

/// The same by how often each letter occurs. Unlike the distance itself, it needs no memory, which the start of the process
/// would have to map for each comparison.
fn further_letters(a: &str, b: &str) -> usize {
    // Upper-case letters differ in these bits.
    let mut counts = [0_i8; 32];
    a.bytes().for_each(|byte| counts[usize::from(byte % 32)] += 1);
    b.bytes().for_each(|byte| counts[usize::from(byte % 32)] -= 1);
    let sum = |sign: i8| counts.iter().map(|count| usize::from((count * sign).max(0).unsigned_abs())).sum();
    usize::max(sum(1), sum(-1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::names;

    fn diagnosis(name: &str) -> Option<String> {
        diagnose(name, &candidates(&names())).map(|problem| problem.to_string())
    }

    #[test]
    fn the_bounds_of_the_distance_are_never_above_it() {
        let ours = names();
        for (a, b) in ours.iter().flat_map(|a| ours.iter().map(move |b| (a, b))) {
            let distance = strsim::osa_distance(a, b);
            assert!(
                further_letters(a, b) <= distance && foreign(letters(a), letters(b)) <= distance,
                "{a} {b}"
            );
        }
    }

    #[test]
    fn a_misspelling_finds_the_name_that_was_meant() {
        for (name, meant) in [
            ("port", "PORT"),
            ("PORTS", "PORT"),
            ("FAILURE_RATES", "FAILURE_RATE"),
            ("FAIL_RATE", "FAILURE_RATE"),
            ("FAILURE-RATE", "FAILURE_RATE"),
            ("FAILURE_STATUS_CODE", "FAILURE_STATUS"),
            ("LATENCY_MS", "LATENCY"),
            ("STARTUP_DELAY_SECONDS", "STARTUP_DELAY"),
            ("LIVENESS_FAILURE_RATE_PERCENT", "LIVENESS_FAILURE_RATE"),
            ("READYNESS_LATENCY", "READINESS_LATENCY"),
            ("FAIL_AFTER", "FAIL_AFTER_TIME"),
            ("EXIT_AFTER_TIME", "EXIT_AFTER"),
            ("PARTITION_AFTER_TIME", "PARTITION_AFTER"),
            ("READINESS_FAIL_AFTER", "READINESS_FAIL_AFTER_TIME"),
            ("LIVENESS_FAIL_AFTER", "LIVENESS_FAIL_AFTER_TIME"),
            ("LIVENESS_FAIL_AFTER_SECONDS", "LIVENESS_FAIL_AFTER_TIME"),
            ("LIVENESS_FAIL_AFTR", "LIVENESS_FAIL_AFTER_TIME"),
            ("LOGLEVEL", "LOG_LEVEL"),
            ("DISCONECT_AFTER", "DISCONNECT_AFTER"),
            ("MAX_HEAD", "MAX_HEAD_SIZE"),
            ("UPSTREAM_URL", "UPSTREAM"),
            ("UPSTREAM_ADDRESS", "UPSTREAM"),
            ("UPSTREAM_PORT", "UPSTREAM"),
            ("PROXY", "PROXIES"),
            ("TLS_CERT", "TLS_CERT_FILE"),
            ("TLS_CRT", "TLS_CERT_FILE"),
            ("TLS_CA_FILE", "TLS_CLIENT_CA_FILE"),
            ("TLS_ENABLED", "TLS"),
            ("GRPC_PORT", "PORT"),
            ("GRPC_STATUS", "FAILURE_GRPC_STATUS"),
            ("LIVENESS_GRPC_STATUS", "LIVENESS_FAILURE_GRPC_STATUS"),
            ("ADMIN_PORT", "ADMIN_ADDRESS"),
            ("READINESS_DELAY", "READINESS_LATENCY"),
            ("LIVENESS_STATUS", "LIVENESS_FAILURE_STATUS"),
            ("TRAFFIC_PATH", "TRAFFIC_PATHS"),
        ] {
            let expected = format!("unknown variable, ignored; did you mean {meant}?");
            assert_eq!(diagnosis(name), Some(expected), "{name}");
        }
    }

    #[test]
    fn a_prefix_that_a_variable_does_not_take_is_named() {
        for (name, prefix, variable) in [
            ("LIVENESS_PARTITION_AFTER", "LIVENESS_", "PARTITION_AFTER"),
            ("LIVENESS_PARTITON_AFTER", "LIVENESS_", "PARTITION_AFTER"),
            ("READINESS_DISCONNECT_AFTER", "READINESS_", "DISCONNECT_AFTER"),
            ("STARTUP_STARTUP_DELAY", "STARTUP_", "STARTUP_DELAY"),
            ("LIVENESS_PORT", "LIVENESS_", "PORT"),
            ("TRAFFIC_LISTEN_DELAY", "TRAFFIC_", "LISTEN_DELAY"),
        ] {
            let expected =
                format!("ignored: {variable} does not support the prefix {prefix}; did you mean {variable}?");
            assert_eq!(diagnosis(name), Some(expected), "{name}");
        }
    }

    #[test]
    fn each_other_name_is_none_of_ours_and_means_one_that_is() {
        let names = names();
        for (other, ours) in OTHER_NAMES {
            assert!(
                names.iter().any(|name| name == ours) && names.iter().all(|name| name != other),
                "{other}"
            );
            assert_eq!(diagnosis(other), Some(format!("unknown variable, ignored; did you mean {ours}?")));
        }
    }

    #[test]
    fn a_word_of_another_meaning_is_no_misspelling() {
        assert!(!is_misspelling("RECONNECT_FOR", "RECONNECT_AFTER"));
        assert!(!is_misspelling("FAIL_EVERY", "FAIL_FOR"));
        assert!(is_misspelling("FAIL_EVRY", "FAIL_EVERY"));
    }

    #[test]
    fn letters_that_differ_are_never_more_than_the_distance() {
        let names = names();
        for a in names.iter().step_by(3) {
            for b in names.iter().map(String::as_str).chain(["PATH", "", "LIVENESS_LATNECY"]) {
                assert!(foreign(letters(a), letters(b)) <= strsim::osa_distance(a, b), "{a} {b}");
            }
        }
    }

    #[test]
    fn variables_of_other_programs_are_left_alone() {
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
            "NODE",
            "POD",
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
            "LOG",
            "SEED_URL",
            "STATE_DIRECTORY",
            "DELAY",
            "STATUS",
            "HTTPS_PORT",
            "GRPC_VERBOSITY",
            "GRPC_PROXY",
            "NO_COLOR",
            "COLORTERM",
        ] {
            assert_eq!(diagnosis(name), None, "{name}");
        }
    }
}
