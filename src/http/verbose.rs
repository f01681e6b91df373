//! `?verbose` answers, in the format of the Kubernetes API server's health endpoints.

use std::fmt::{self, Write as _};

use hyper::Uri;

use super::App;
use crate::fault::{Rule, Target, TargetId};

/// The check that failed.
pub(super) struct FailedCheck<'a> {
    pub(super) check: &'a str,
    pub(super) reason: String,
}

impl fmt::Display for FailedCheck<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed: {}", self.check, self.reason)
    }
}

/// The check of readiness that fails because `rule` makes the dependency fail.
pub(super) fn dependency_failed(rule: &Rule) -> FailedCheck<'static> {
    FailedCheck { check: "dependency", reason: format!("fault {}", rule.name()) }
}

/// Whether the query has the bare parameter `verbose`, as for the API server.
pub(super) fn is_wanted(uri: &Uri) -> bool {
    uri.query().is_some_and(|query| query.split('&').any(|pair| pair.split('=').next() == Some("verbose")))
}

/// One line for each check of `target`, in the order of the plan, then a summary.
pub(super) fn body(app: &App, target: TargetId, path: &str, failure: Option<&FailedCheck<'_>>) -> String {
    let active = app.engine.active();
    let rules = active.plan.rules().enumerate();
    let own = rules.filter(|(at, rule)| rule.mode().is_some() && active.plan.acts_on(*at, target));
    let dependency = active.plan.checks_dependency() && target == TargetId::Class(Target::Readiness);
    let checks = std::iter::once("ping")
        .chain(own.map(|(_, rule)| rule.name().as_str()))
        .chain(dependency.then_some("dependency"))
        .chain((target == TargetId::Class(Target::Readiness)).then_some("shutdown"));
    let mut text = String::new();
    for check in checks {
        // Writing to a `String` cannot fail.
        let _ = match failure.filter(|failure| failure.check == check) {
            Some(failure) => writeln!(text, "[-]{failure}"),
            None => writeln!(text, "[+]{check} ok"),
        };
    }
    let result = if failure.is_some() { "failed" } else { "passed" };
    let _ = writeln!(text, "{} check {result}", path.trim_matches('/'));
    text
}
