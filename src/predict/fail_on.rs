//! The conditions of `--fail-on`, under which a prediction fails a pipeline.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

use crate::units::{self, Bare, UnitError};

use super::advice::{self, Advice};
use super::outcome::PodOutcome;
use super::timeline::Short;

/// A figure of a Pod that a condition compares with its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// Restarts of a Pod's containers.
    Restarts,
    /// The time in which a Pod was not Ready, its start included.
    Unready,
    /// The longest time in which a Pod was not Ready after its first Ready; the whole time if it never was Ready.
    Outage,
    /// The time in back-off.
    BackOff,
    /// The share of the time since its first Ready in which a Pod was Ready.
    Availability,
}

impl Figure {
    /// All figures.
    pub const ALL: [Self; 5] =
        [Self::Restarts, Self::Unready, Self::Outage, Self::BackOff, Self::Availability];

    /// The name in a condition.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Restarts => "restarts",
            Self::Unready => "unready",
            Self::Outage => "outage",
            Self::BackOff => "backoff",
            Self::Availability => "availability",
        }
    }

    /// The figure of a Pod: a count, seconds, or percent.
    fn of(self, pod: &PodOutcome) -> f64 {
        match self {
            Self::Restarts => pod.restarts() as f64,
            Self::Unready => pod.stats.unready.as_secs_f64(),
            Self::Outage => pod.longest_outage().as_secs_f64(),
            Self::BackOff => pod.back_off().as_secs_f64(),
            Self::Availability => pod.availability() * 100.0,
        }
    }

    fn show(self, value: f64) -> String {
        match self {
            Self::Restarts => format!("{value}"),
            Self::Availability => Percent(value / 100.0).to_string(),
            Self::Unready | Self::Outage | Self::BackOff => {
                Short(Duration::try_from_secs_f64(value).unwrap_or_default()).to_string()
            }
        }
    }
}

/// The comparison of a figure with the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `>`
    Above,
    /// `>=`
    AtLeast,
    /// `<`
    Below,
    /// `<=`
    AtMost,
}

impl Comparison {
    /// Longer signs come before their prefixes.
    const ALL: [(Self, &'static str); 4] =
        [(Self::AtLeast, ">="), (Self::AtMost, "<="), (Self::Above, ">"), (Self::Below, "<")];

    const fn is_upwards(self) -> bool {
        matches!(self, Self::Above | Self::AtLeast)
    }

    fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Self::Above => value > limit,
            Self::AtLeast => value >= limit,
            Self::Below => value < limit,
            Self::AtMost => value <= limit,
        }
    }
}

/// Why a condition cannot be read. The text says what would be right.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ConditionError {
    /// Neither a comparison nor a name of advice.
    #[error(
        "is neither a condition such as 'restarts > 0' (a figure, one of > >= < <=, and a limit) nor the name of advice{0}"
    )]
    Form(String),
    /// There is no such figure.
    #[error("compares {0:?}, which is not one of {names}", names = Figure::ALL.map(Figure::name).join(", "))]
    Figure(String),
    /// The limit is not a count.
    #[error("has the limit {0:?}, which is not a whole number")]
    Count(String),
    /// The limit is not a duration or percentage.
    #[error("has the limit {0:?}, which {1}")]
    Unit(String, #[source] UnitError),
}

/// A condition that fails the prediction, such as `restarts > 0` or the name of advice. It holds if it holds for at
/// least one Pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    text: String,
    subject: Subject,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Subject {
    /// Advice of this name is given.
    Advice(&'static str),
    /// A figure goes beyond its limit: a count, seconds, or percent.
    Figure(Figure, Comparison, f64),
}

impl FromStr for Condition {
    type Err = ConditionError;

    fn from_str(text: &str) -> Result<Self, ConditionError> {
        let code = text.trim();
        if let Some(code) = advice::find(code) {
            return Ok(Self { text: code.to_owned(), subject: Subject::Advice(code) });
        }
        let (name, comparison, limit) = Comparison::ALL
            .into_iter()
            .find_map(|(comparison, sign)| {
                let (name, limit) = text.split_once(sign)?;
                Some((name.trim(), comparison, limit.trim()))
            })
            .ok_or_else(|| ConditionError::Form(advice::meant(code)))?;
        let figure = Figure::ALL
            .into_iter()
            .find(|figure| figure.name() == name)
            .ok_or_else(|| ConditionError::Figure(name.to_owned()))?;
        let unit = |error| ConditionError::Unit(limit.to_owned(), error);
        let limit = match figure {
            Figure::Restarts => {
                limit.parse::<u32>().map(f64::from).map_err(|_| ConditionError::Count(limit.to_owned()))?
            }
            Figure::Availability => units::percent(limit).map_err(unit)?,
            Figure::Unready | Figure::Outage | Figure::BackOff => {
                units::duration(limit, Bare::Seconds).map_err(unit)?.as_secs_f64()
            }
        };
        Ok(Self { text: code.to_owned(), subject: Subject::Figure(figure, comparison, limit) })
    }
}

impl Condition {
    /// Its text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether its value is known only from a run of the Pods.
    pub const fn needs_run(&self) -> bool {
        matches!(self.subject, Subject::Figure(..))
    }

    /// The reason to fail, if the condition holds: the worst Pod, or the advice.
    pub fn check(&self, pods: &[PodOutcome], advice: &[Advice]) -> Option<String> {
        let (figure, comparison, limit) = match self.subject {
            Subject::Advice(code) => {
                let given = advice.iter().find(|advice| advice.code == code)?;
                return Some(format!("{code}: {}", given.text));
            }
            Subject::Figure(figure, comparison, limit) => (figure, comparison, limit),
        };
        let value = |pod: &PodOutcome| figure.of(pod);
        let order = |a: &&PodOutcome, b: &&PodOutcome| {
            let order = value(a).total_cmp(&value(b));
            if comparison.is_upwards() { order.reverse() } else { order }
        };
        // The first of equal Pods.
        let worst = pods.iter().min_by(order)?;
        if !comparison.holds(value(worst), limit) {
            return None;
        }
        let count = pods.iter().filter(|pod| comparison.holds(value(pod), limit)).count();
        Some(format!(
            "{}: {} is {} in {} (holds for {count} of {} Pods)",
            self.text,
            figure.name(),
            figure.show(value(worst)),
            worst.name,
            pods.len()
        ))
    }
}

/// Shows a share as a percentage with three decimals. It shows 0% and 100% only if the share is exactly that.
#[derive(Clone, Copy, Debug)]
pub struct Percent(pub f64);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.0 * 100.0;
        // The noise is larger than rounding errors and smaller than any difference that matters.
        let (scaled, noise) = (percent * 1e3, 1e-9);
        let rounded =
            if percent > 50.0 { (scaled + noise).floor() } else { (scaled - noise).max(0.0).ceil() } / 1e3;
        write!(f, "{rounded}%")
    }
}

#[cfg(test)]
mod tests {
    use super::Percent;

    #[test]
    fn only_all_and_nothing_are_shown_as_100_and_0_percent() {
        for (share, text) in [
            (1.0, "100%"),
            (0.999_999_9, "99.999%"),
            (0.999, "99.9%"),
            (0.999 - 1e-14, "99.9%"),
            (0.001, "0.1%"),
            (1e-9, "0.001%"),
            (0.0, "0%"),
        ] {
            assert_eq!(Percent(share).to_string(), text);
        }
    }
}
