//! Reads the profiles of the command line.

use std::path::Path;

use super::fetch::fetch;
use crate::file;
use crate::predict::profile::{MAX_PROFILE, ProfileError, ProfileSet, measured};

/// An option with a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ProfileOption {
    /// `--profile`: `CONTAINER=FILE`, `CONTAINER={…}`, or a file with several profiles.
    Given(String),
    /// `--profile-from`: `FILE`, `URL`, or either after `CONTAINER=`; `#HISTOGRAM` may follow.
    Measured(String),
}

/// An error of an option.
#[derive(Debug)]
pub(super) struct ProfileProblem {
    /// The message; it names the option.
    pub(super) text: String,
    /// Whether a file cannot be read, as opposed to invalid content.
    pub(super) is_unreadable: bool,
}

/// Reads all profiles, or returns all errors.
pub(super) fn load(options: &[ProfileOption]) -> Result<ProfileSet, Vec<ProfileProblem>> {
    let (mut set, mut problems) = (ProfileSet::default(), Vec::new());
    for option in options {
        if let Err(wrong) = add(&mut set, option) {
            problems.extend(wrong);
        }
    }
    if problems.is_empty() { Ok(set) } else { Err(problems) }
}

fn add(set: &mut ProfileSet, option: &ProfileOption) -> Result<(), Vec<ProfileProblem>> {
    match option {
        ProfileOption::Given(text) => {
            let wrong = |errors: Vec<(String, ProfileError)>| {
                let line = |(place, error): (String, ProfileError)| {
                    let place = if place.is_empty() { String::new() } else { format!("{place}: ") };
                    problem(format!("--profile {text}: {place}{error}"), false)
                };
                errors.into_iter().map(line).collect::<Vec<_>>()
            };
            match of_container(text) {
                Some((name, inline)) if inline.trim_start().starts_with('{') => {
                    set.add(name, inline).map_err(wrong)
                }
                Some((name, file)) => set.add(name, &read("--profile", file)?).map_err(wrong),
                None => set.add_file(&read("--profile", text)?).map_err(wrong),
            }
        }
        ProfileOption::Measured(text) => {
            let (name, source) = of_container(text).unwrap_or(("*", text));
            let (source, histogram) = match source.rsplit_once('#') {
                Some((source, name)) => (source, Some(name)),
                None => (source, None),
            };
            let content = if source.contains("://") {
                fetch(source)
                    .map_err(|error| vec![problem(format!("--profile-from {source} {error}"), true)])?
            } else {
                read("--profile-from", source)?
            };
            let profile = measured(&content, histogram)
                .map_err(|error| vec![problem(format!("--profile-from {source} {error}"), false)])?;
            set.insert(name, profile);
            Ok(())
        }
    }
}

fn problem(text: String, is_unreadable: bool) -> ProfileProblem {
    ProfileProblem { text, is_unreadable }
}

/// Splits `CONTAINER=REST`. A path may contain an equals sign; it is not split if the text before it is not a valid
/// container name.
fn of_container(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = text.split_once('=')?;
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.' | '/');
    let is_name =
        name == "*" || (!name.is_empty() && !name.starts_with(['/', '.']) && name.chars().all(is_plain));
    is_name.then_some((name, rest))
}

fn read(option: &str, path: &str) -> Result<String, Vec<ProfileProblem>> {
    // Measurements may be longer than profiles.
    let limit = if option == "--profile" { MAX_PROFILE } else { 16 * MAX_PROFILE };
    file::read_named(Path::new(path), limit)
        .map_err(|error| vec![problem(format!("{option} {path}: {error}"), true)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_container_is_before_the_first_equals_sign() {
        assert_eq!(of_container("web=app.yaml"), Some(("web", "app.yaml")));
        assert_eq!(of_container("shop/web={latency: 5ms}"), Some(("shop/web", "{latency: 5ms}")));
        assert_eq!(of_container("*=app.yaml"), Some(("*", "app.yaml")));
        for text in ["profiles.yaml", "./a=b.yaml", "/tmp/a=b", "=x", "http://h/x?a=b"] {
            assert_eq!(of_container(text), None, "{text}");
        }
    }
}
