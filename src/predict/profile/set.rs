//! Selects the profile of a container.

use super::document::{self, Document};
use super::{ANNOTATION, Profile, ProfileError};

/// The source of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProfileSource {
    /// The command line, directly or through a file.
    CommandLine,
    /// The annotation of the Pod.
    Annotation,
}

/// The profiles of the command line, in order. Later ones override earlier ones, and container names override `*`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProfileSet {
    entries: Vec<(Pattern, Profile)>,
}

/// `CONTAINER`, `WORKLOAD/CONTAINER` or `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern(String);

impl Pattern {
    fn matches(&self, workload: &str, container: &str) -> bool {
        match self.0.split_once('/') {
            Some((of, name)) => of == workload && name == container,
            None => self.0 == container,
        }
    }
}

impl ProfileSet {
    /// Adds the profile of a container, or of all containers (`*`), from a text.
    pub fn add(&mut self, name: &str, text: &str) -> Result<(), Vec<(String, ProfileError)>> {
        match document::read(text)? {
            Document::One(profile) => self.entries.push((Pattern(name.to_owned()), *profile)),
            Document::Several(_) => {
                let error = ProfileError::Conflict(
                    "contains profiles of several containers; pass it without CONTAINER=",
                );
                return Err(vec![(String::new(), error)]);
            }
        }
        Ok(())
    }

    /// Adds a file of profiles by container. A single profile applies to all containers.
    pub fn add_file(&mut self, text: &str) -> Result<(), Vec<(String, ProfileError)>> {
        match document::read(text)? {
            Document::One(profile) => self.entries.push((Pattern("*".to_owned()), *profile)),
            Document::Several(several) => {
                self.entries.extend(several.into_iter().map(|(name, profile)| (Pattern(name), profile)));
            }
        }
        Ok(())
    }

    /// Adds a profile.
    pub fn insert(&mut self, name: &str, profile: Profile) {
        self.entries.push((Pattern(name.to_owned()), profile));
    }

    /// Whether there are no profiles.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The names that match no container. `containers` are pairs of workload and container.
    pub fn unused<'a>(&'a self, containers: &[(&str, &str)]) -> Vec<&'a str> {
        let is_used = |pattern: &Pattern| {
            pattern.0 == "*" || containers.iter().any(|(workload, name)| pattern.matches(workload, name))
        };
        self.entries
            .iter()
            .map(|(pattern, _)| pattern)
            .filter(|it| !is_used(it))
            .map(|it| it.0.as_str())
            .collect()
    }

    /// The profile of a container: by its name, else from the annotation, else from `*`.
    pub(super) fn of(
        &self,
        workload: &str,
        container: &str,
        annotated: Option<&Profile>,
    ) -> Option<(Profile, ProfileSource)> {
        let last = |wanted: &dyn Fn(&Pattern) -> bool| {
            self.entries.iter().rev().find(|(pattern, _)| wanted(pattern)).map(|(_, profile)| profile.clone())
        };
        let named = last(&|pattern| pattern.matches(workload, container));
        let command_line = |profile| (profile, ProfileSource::CommandLine);
        named
            .map(command_line)
            .or_else(|| annotated.map(|profile| (profile.clone(), ProfileSource::Annotation)))
            .or_else(|| last(&|pattern| pattern.0 == "*").map(command_line))
    }
}

/// The profiles of an annotation by container. A single profile applies to all containers.
pub(super) fn annotated(text: &str) -> Result<Vec<(String, Profile)>, String> {
    match document::read(text) {
        Ok(Document::One(profile)) => Ok(vec![("*".to_owned(), *profile)]),
        Ok(Document::Several(several)) => Ok(several),
        Err(errors) => {
            let lines = errors.iter().map(|(place, error)| {
                if place.is_empty() { error.to_string() } else { format!("{place}: {error}") }
            });
            Err(format!("annotation {ANNOTATION}: {}", lines.collect::<Vec<_>>().join("; ")))
        }
    }
}
