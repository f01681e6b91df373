//! What may follow on a command line of `kubectl probesim`, for kubectl's own completion.
//!
//! kubectl runs `kubectl_complete-probesim` with the words so far, of which the last one is incomplete. It expects a line for
//! each candidate, and at the end a number of Cobra: 0 also offers files, 4 does not.

use super::Described;
use super::options::options;
use super::shells::{positions, values};

/// What may replace the last of `words`. `plugin` is the verb of the plugin; `fault` and `predict` are those whose options it
/// passes on.
pub(super) fn candidates(
    words: &[String],
    plugin: &Described,
    fault: &Described,
    predict: &Described,
) -> String {
    let (last, before) = words.split_last().map_or(("", words), |(last, before)| (last.as_str(), before));
    let verb = before.iter().find(|word| !word.starts_with('-')).map(String::as_str);
    let help = (plugin.help)();
    let mut known = options(&help);
    match verb {
        Some("predict") => known.extend(options(&(predict.help)())),
        Some("add" | "inject") => known.extend(options(&(fault.help)())),
        _ => {}
    }
    let option = before.last().and_then(|name| known.iter().find(|option| option.name == *name));
    let option = option.filter(|option| option.value.is_some());
    let found: Vec<String> = match (option, verb) {
        (Some(option), _) => values(option),
        _ if last.starts_with('-') => known.iter().map(|option| option.name.clone()).collect(),
        (_, None) => positions(plugin, &help),
        (_, Some("add")) => positions(fault, ""),
        (_, Some("sidecar")) => ["add", "remove"].map(str::to_owned).into(),
        _ => Vec::new(),
    };
    let takes_file = option.is_some_and(|option| option.takes_file() && values(option).is_empty());
    let mut text = String::new();
    for candidate in found.iter().filter(|candidate| candidate.starts_with(last)) {
        text.extend([candidate, "\n"]);
    }
    text + if takes_file { ":0\n" } else { ":4\n" }
}
