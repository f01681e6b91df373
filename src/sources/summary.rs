//! Rules in one line of the log.

use crate::fault::Rule;

/// How many rules a log line names.
pub(super) const NAMED: usize = 20;

/// The first rules in one line.
pub fn summary<'a>(rules: impl ExactSizeIterator<Item = &'a Rule>) -> String {
    let more = rules.len().saturating_sub(NAMED);
    let named: Vec<String> =
        rules.take(NAMED).map(|rule| format!("{} {}", rule.name(), rule.effect())).collect();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    named.join(", ") + &more
}
