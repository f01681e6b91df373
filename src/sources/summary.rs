//! Rules on one log line.

use crate::fault::Rule;

/// Number of rules that a log line names.
pub(super) const MAX_NAMED: usize = 20;

/// The first rules, on one line.
pub fn summary<'a>(rules: impl ExactSizeIterator<Item = &'a Rule>) -> String {
    let more = rules.len().saturating_sub(MAX_NAMED);
    let named: Vec<String> =
        rules.take(MAX_NAMED).map(|rule| format!("{} {}", rule.name(), rule.effect())).collect();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    named.join(", ") + &more
}
