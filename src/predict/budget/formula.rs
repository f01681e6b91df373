//! Sums of fields, with their formula as text.

use std::time::Duration;

use super::Amount;
use crate::units::Show;

/// A sum and its terms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) time: Duration,
    terms: Vec<String>,
}

impl Sum {
    /// A field in seconds.
    pub(super) fn field(name: &str, seconds: u32) -> Self {
        Self::default().plus_field(name, seconds)
    }

    /// Adds a field in seconds; zero adds no term.
    pub(super) fn plus_field(mut self, name: &str, seconds: u32) -> Self {
        if seconds > 0 {
            self.time += Duration::from_secs(u64::from(seconds));
            self.terms.push(format!("{name} {seconds}"));
        }
        self
    }

    /// Adds a multiple of a field in seconds. `times` is the factor as text and number.
    pub(super) fn plus_times(mut self, (text, times): (String, u32), name: &str, seconds: u32) -> Self {
        if times > 0 && seconds > 0 {
            self.time += Duration::from_secs(u64::from(times) * u64::from(seconds));
            self.terms.push(format!("{text} x {name} {seconds}"));
        }
        self
    }

    /// Adds a time with a name.
    pub(super) fn plus(mut self, name: &str, time: Duration) -> Self {
        if !time.is_zero() {
            self.time += time;
            self.terms.push(format!("{name} {}", Show(time)));
        }
        self
    }

    /// Adds another sum.
    pub(super) fn plus_sum(mut self, other: &Self) -> Self {
        self.time += other.time;
        self.terms.extend(other.terms.iter().cloned());
        self
    }

    /// The number.
    pub(super) const fn amount(&self) -> Amount {
        Amount::Time(self.time)
    }

    /// The text, such as `failureThreshold 3 x periodSeconds 10`.
    pub(super) fn text(&self) -> String {
        if self.terms.is_empty() { "0".to_owned() } else { self.terms.join(" + ") }
    }
}
