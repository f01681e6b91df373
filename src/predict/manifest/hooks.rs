//! Lifecycle hooks of a container.

use std::time::Duration;

use super::findings::Reading;
use super::mapping::Mapping;
use crate::kubelet::Hook;
use crate::units::{self, Bare};

/// The longest sleep: the API limits it to the grace period.
const MOST: u32 = i32::MAX as u32;

/// Reads `lifecycle.postStart` or `lifecycle.preStop`.
pub(super) fn read(container: &Mapping, name: &str) -> Reading<Option<Hook>> {
    Reading::collect(|found| {
        let lifecycle = found.take(container.mapping("lifecycle"))?;
        let hook = found.take(lifecycle.mapping(name))?;
        if let Some(sleep) = found.take(hook.mapping("sleep")) {
            let seconds = found.take(sleep.number("seconds", 0, MOST)).unwrap_or(0);
            return Some(Hook::Takes(Duration::from_secs(u64::from(seconds))));
        }
        if let Some(exec) = found.take(hook.mapping("exec")) {
            let words = found.take(exec.strings("command"));
            return Some(sleep_command(&words).map_or(Hook::Unknown, Hook::Takes));
        }
        Some(Hook::Unknown)
    })
}

/// The duration of a command that only sleeps, with or without a shell.
fn sleep_command(words: &[&str]) -> Option<Duration> {
    let time = |word: &str| units::duration(word, Bare::Seconds).ok();
    let is_sleep = |word: &str| word.rsplit('/').next() == Some("sleep");
    match words {
        [sleep, seconds] if is_sleep(sleep) => time(seconds),
        [_, "-c", script] => {
            let words: Vec<&str> = script.trim().trim_end_matches(';').split_whitespace().collect();
            match words.as_slice() {
                [sleep, seconds] | ["exec", sleep, seconds] if is_sleep(sleep) => time(seconds),
                _ => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_only_sleeps_is_recognised() {
        let five = Some(Duration::from_secs(5));
        for words in [
            &["sleep", "5"][..],
            &["/bin/sleep", "5"],
            &["/bin/sh", "-c", "sleep 5"],
            &["sh", "-c", "exec sleep 5;"],
        ] {
            assert_eq!(sleep_command(words), five, "{words:?}");
        }
        for words in [&["nginx", "-s", "quit"][..], &["sh", "-c", "sleep 5; nginx -s quit"], &["sleep"], &[]]
        {
            assert_eq!(sleep_command(words), None, "{words:?}");
        }
    }
}
