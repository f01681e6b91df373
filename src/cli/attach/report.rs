//! What `attach` prints: one JSON object per line.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use super::arguments::AttachArguments;
use super::upstream;
use crate::attach::{Cause, NextConnection, Refusal, Target};
use crate::clock::wall_clock;
use crate::fault::Timestamp;
use crate::server::RuleTotal;
use crate::units::show_timestamp;

/// Where Kubernetes reads the last message of a container, and how long it may be.
const TERMINATION_LOG: &str = "/dev/termination-log";
const MAX_TERMINATION: usize = 4096;

/// Why it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    TimeLimit,
    /// SIGTERM, as `--stop` sends it.
    Stop,
    /// SIGINT.
    Signal,
    Application(Cause),
    /// A rule has ended the process.
    Rule,
}

impl Reason {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::TimeLimit => "time limit",
            Self::Stop => "stop",
            Self::Signal => "signal",
            Self::Application(Cause::Ended) => "application ended",
            Self::Application(Cause::Closed) => "listener closed",
            Self::Rule => "rule",
        }
    }
}

/// Prints one line at once.
pub(super) fn print(out: &mut dyn Write, line: &Value) {
    // Ignore write errors: the reader closed the pipe.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

pub(super) fn attached(target: &Target, admin: SocketAddr, arguments: &AttachArguments) -> Value {
    json!({"attached": {
        "admin": admin.to_string(),
        "listen": texts(&target.addresses),
        "upstream": upstream(target.port).to_string(),
        "protocol": arguments.protocol.name(),
        "until": show_timestamp(Timestamp(Duration::from_secs((wall_clock().0 + arguments.time).as_secs()))),
        "pid": target.process.as_ref().map(|process| process.pid),
    }})
}

pub(super) fn checked(target: &Target) -> Value {
    let process = target.process.as_ref();
    json!({"checked": {
        "port": target.port,
        "pid": process.map(|process| process.pid),
        "comm": process.map(|process| &process.comm),
        "uid": process.map(|process| process.uid),
        "gid": process.map(|process| process.gid),
        "listeners": texts(&target.listeners),
        "method": target.method.name(),
    }})
}

pub(super) fn refused(refusal: &Refusal) -> Value {
    json!({"refused": {"reason": refusal.to_string(), "remedy": refusal.remedy()}})
}

/// Prints how it ended, and leaves that as the container's last message.
pub(super) fn released(out: &mut dyn Write, reason: Reason, totals: &[RuleTotal], next: NextConnection) {
    let line = |totals: &[RuleTotal]| {
        let total =
            |of: &RuleTotal| json!({"rule": of.rule, "eligible": of.eligible, "injected": of.injected});
        let totals: Vec<Value> = totals.iter().map(total).collect();
        json!({"released": {"reason": reason.name(), "totals": totals, "next_connection": next.name()}})
    };
    print(out, &line(totals));
    if let Ok(mut file) = OpenOptions::new().write(true).truncate(true).open(TERMINATION_LOG) {
        let _ = file.write_all(shortened(totals, line).as_bytes());
    }
}

/// The line, with as many totals as fit.
fn shortened(totals: &[RuleTotal], line: impl Fn(&[RuleTotal]) -> Value) -> String {
    (0..=totals.len())
        .rev()
        .map(|count| line(&totals[..count]).to_string())
        .find(|line| line.len() <= MAX_TERMINATION)
        .unwrap_or_default()
}

fn texts(addresses: &[SocketAddr]) -> Vec<String> {
    addresses.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_message_of_the_container_has_as_many_totals_as_fit() {
        let total = |i: u64| RuleTotal { rule: format!("rule-{i}"), eligible: i, injected: i };
        let totals: Vec<RuleTotal> = (0..1000).map(total).collect();
        let line = |totals: &[RuleTotal]| json!(totals.iter().map(|of| &of.rule).collect::<Vec<_>>());
        assert_eq!(shortened(&totals[..2], line), r#"["rule-0","rule-1"]"#);
        let short = shortened(&totals, line);
        assert!(short.len() <= MAX_TERMINATION && short.len() > MAX_TERMINATION - 12, "{}", short.len());
    }
}
