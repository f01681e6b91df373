//! Selection of workloads from the input.

use crate::predict::Workload;

/// Criteria for workloads; all that are set must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Choice {
    /// Accepted kinds.
    pub(super) kinds: Vec<String>,
    /// Accepted names.
    pub(super) names: Vec<String>,
    /// Requirements on the labels of the Pods.
    pub(super) labels: Vec<Requirement>,
}

/// One requirement of a selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Requirement {
    Equal(String, String),
    NotEqual(String, String),
    Exists(String),
    Absent(String),
}

impl Choice {
    pub(super) fn takes(&self, workload: &Workload) -> bool {
        let is_kind = |kind: &String| {
            kind.eq_ignore_ascii_case(workload.kind.name())
                || (workload.is_scheduled && kind.eq_ignore_ascii_case("CronJob"))
        };
        (self.kinds.is_empty() || self.kinds.iter().any(is_kind))
            && (self.names.is_empty() || self.names.contains(&workload.name))
            && self.labels.iter().all(|it| it.holds(&workload.labels))
    }

    pub(super) const fn takes_all(&self) -> bool {
        self.kinds.is_empty() && self.names.is_empty() && self.labels.is_empty()
    }
}

impl Requirement {
    fn holds(&self, labels: &[(String, String)]) -> bool {
        let value =
            |key: &str| labels.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str());
        match self {
            Self::Equal(key, wanted) => value(key) == Some(wanted),
            Self::NotEqual(key, wanted) => value(key) != Some(wanted),
            Self::Exists(key) => value(key).is_some(),
            Self::Absent(key) => value(key).is_none(),
        }
    }
}

/// Reads a selector such as `app=web,tier!=db,canary,!old`; `None` if it is invalid.
pub(super) fn selector(text: &str) -> Option<Vec<Requirement>> {
    let is_key = |key: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
        !key.is_empty() && key.chars().all(plain)
    };
    let one = |part: &str| {
        let part = part.trim();
        let (key, requirement) = if let Some((key, value)) = part.split_once("!=") {
            (key.trim(), Requirement::NotEqual(key.trim().to_owned(), value.trim().to_owned()))
        } else if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
            (key.trim(), Requirement::Equal(key.trim().to_owned(), value.trim().to_owned()))
        } else if let Some(key) = part.strip_prefix('!') {
            (key.trim(), Requirement::Absent(key.trim().to_owned()))
        } else {
            (part, Requirement::Exists(part.to_owned()))
        };
        is_key(key).then_some(requirement)
    };
    text.split(',').map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubelet::{ContainerSpec, PodSpec};
    use crate::predict::Kind;

    #[test]
    fn the_job_of_a_cron_job_is_selected_by_both_kinds() {
        let pod = PodSpec::new(vec![ContainerSpec::new("work")]);
        let job = Workload { is_scheduled: true, ..Workload::new(Kind::Job, "nightly", pod) };
        for (kind, is_taken) in [("cronjob", true), ("Job", true), ("Pod", false)] {
            let choice = Choice { kinds: vec![kind.to_owned()], ..Choice::default() };
            assert_eq!(choice.takes(&job), is_taken, "{kind}");
        }
    }

    #[test]
    fn a_selector_is_written_as_for_kubectl() {
        let labels = [("app".to_owned(), "web".to_owned()), ("canary".to_owned(), String::new())];
        for (text, holds) in [
            ("app=web", true),
            ("app==web,canary", true),
            ("app=db", false),
            ("app!=db,!old", true),
            ("tier!=db", true),
            ("!canary", false),
            ("tier", false),
        ] {
            let requirements = selector(text).unwrap_or_default();
            assert_eq!(requirements.iter().all(|it| it.holds(&labels)), holds, "{text}");
        }
        for text in ["", "=x", "a b", "app=web,,x"] {
            assert_eq!(selector(text), None, "{text}");
        }
    }
}
