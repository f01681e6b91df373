//! Errors, warnings and assumptions that readers return with their values.

use super::error::{ManifestError, Place, Problem};

/// Limit of the errors, warnings and assumptions that are kept; further ones are only counted.
pub(super) const MAX_FINDINGS: usize = 100;

/// A value and the findings of its reader.
#[must_use]
#[derive(Debug)]
pub(super) struct Reading<T> {
    pub(super) value: T,
    pub(super) findings: Findings,
}

impl<T> Reading<T> {
    /// Collects the findings of `read` together with its value.
    pub(super) fn collect(read: impl FnOnce(&mut Findings) -> T) -> Self {
        let mut found = Findings::default();
        let value = read(&mut found);
        found.with(value)
    }

    /// A value without findings.
    pub(super) fn of(value: T) -> Self {
        Self { value, findings: Findings::default() }
    }
}

impl<T> Reading<Option<T>> {
    /// A missing value, with the error of its field.
    pub(super) fn wrong(field: String, problem: Problem) -> Self {
        let mut findings = Findings::default();
        findings.error(field, problem);
        findings.with(None)
    }
}

/// Errors, warnings and assumptions, in the order in which they were found.
#[must_use]
#[derive(Debug, Default)]
pub(super) struct Findings {
    errors: Bounded<Finding<(String, Problem)>>,
    warnings: Bounded<Finding<String>>,
    assumptions: Bounded<String>,
}

/// A finding. Its reader may not know the complete place yet.
#[derive(Debug, PartialEq)]
struct Finding<T> {
    place: At,
    what: T,
}

#[derive(Debug, PartialEq)]
enum At {
    /// In the object being read.
    Object,
    /// In one of its containers.
    Container(String),
    /// In another object.
    Elsewhere(Place),
}

impl Findings {
    /// Collects the findings of `read`.
    pub(super) fn collect(read: impl FnOnce(&mut Self)) -> Self {
        let mut found = Self::default();
        read(&mut found);
        found
    }

    /// Adds an error of a field.
    pub(super) fn error(&mut self, field: impl Into<String>, problem: Problem) {
        self.errors.push(Finding { place: At::Object, what: (field.into(), problem) });
    }

    /// Adds a warning.
    pub(super) fn warn(&mut self, text: impl Into<String>) {
        self.warnings.push(Finding { place: At::Object, what: text.into() });
    }

    /// Adds an assumption of the prediction. The text names its container.
    pub(super) fn assume(&mut self, text: impl Into<String>) {
        self.assumptions.push(text.into());
    }

    /// Returns the value of a reading and adds its findings.
    pub(super) fn take<T>(&mut self, reading: Reading<T>) -> T {
        self.add(reading.findings);
        reading.value
    }

    /// Adds the findings of a part.
    pub(super) fn add(&mut self, other: Self) {
        self.errors.append(other.errors);
        self.warnings.append(other.warnings);
        self.assumptions.append(other.assumptions);
    }

    /// The findings together with a value.
    pub(super) fn with<T>(self, value: T) -> Reading<T> {
        Reading { value, findings: self }
    }

    /// Turns errors into warnings, for containers that do not run this program. Unrendered templates and references to
    /// missing objects stay errors.
    pub(super) fn into_warnings(mut self) -> Self {
        let (errors, others): (Vec<_>, Vec<_>) =
            self.errors.items.into_iter().partition(|error| {
                matches!(error.what.1, Problem::Template(_)) || error.what.1.is_incomplete()
            });
        self.errors.items = errors;
        for Finding { place, what: (field, problem) } in others {
            let what = if field.is_empty() { problem.to_string() } else { format!("{field}: {problem}") };
            self.warnings.push(Finding { place, what });
        }
        self.warnings.more += std::mem::take(&mut self.errors.more);
        self
    }

    /// Places the findings in a container.
    pub(super) fn in_container(mut self, name: &str) -> Self {
        self.place(|| At::Container(name.to_owned()));
        self
    }

    /// Places the findings in another object than the one being read.
    pub(super) fn elsewhere(mut self, place: &Place) -> Self {
        self.place(|| At::Elsewhere(place.clone()));
        self
    }

    /// Replaces the place of findings that have no precise place yet.
    fn place(&mut self, at: impl Fn() -> At) {
        let errors = self.errors.items.iter_mut().map(|error| &mut error.place);
        let warnings = self.warnings.items.iter_mut().map(|warning| &mut warning.place);
        for place in errors.chain(warnings).filter(|place| **place == At::Object) {
            *place = at();
        }
    }

    pub(super) fn has_errors(&self) -> bool {
        !self.errors.items.is_empty()
    }

    /// The findings with complete places. `object` is the place of the object that was read.
    pub(super) fn at(self, object: &Place) -> Placed {
        let place = |at: At| match at {
            At::Object => object.clone(),
            At::Container(name) => Place { container: Some(name), ..object.clone() },
            At::Elsewhere(place) => place,
        };
        let error = |Finding { place: at, what: (field, problem) }| ManifestError {
            place: place(at),
            field,
            problem,
        };
        let warning = |Finding { place: at, what }: Finding<String>| format!("{}, {what}", place(at));
        Placed {
            errors: Bounded {
                items: self.errors.items.into_iter().map(error).collect(),
                more: self.errors.more,
            },
            warnings: Bounded {
                items: self.warnings.items.into_iter().map(warning).collect(),
                more: self.warnings.more,
            }
            .into_lines(),
            assumptions: self.assumptions.into_lines(),
        }
    }
}

/// Findings with complete places.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) errors: Bounded<ManifestError>,
    pub(super) warnings: Vec<String>,
    pub(super) assumptions: Vec<String>,
}

/// The first items of a set, and the number of the others.
#[derive(Debug)]
pub(super) struct Bounded<T> {
    pub(super) items: Vec<T>,
    pub(super) more: usize,
}

impl<T> Default for Bounded<T> {
    fn default() -> Self {
        Self { items: Vec::new(), more: 0 }
    }
}

impl<T: PartialEq> Bounded<T> {
    pub(super) fn push(&mut self, item: T) {
        if self.items.contains(&item) {
            return;
        }
        if self.items.len() < MAX_FINDINGS {
            self.items.push(item);
        } else {
            self.more += 1;
        }
    }

    pub(super) fn append(&mut self, other: Self) {
        other.items.into_iter().for_each(|item| self.push(item));
        self.more += other.more;
    }
}

impl Bounded<String> {
    fn into_lines(self) -> Vec<String> {
        let more = (self.more > 0).then(|| format!("and {} more", self.more));
        self.items.into_iter().chain(more).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(object: &str) -> Place {
        Place { file: "a.yaml".to_owned(), object: Some(object.to_owned()), ..Place::default() }
    }

    #[test]
    fn a_finding_keeps_its_first_precise_place() {
        let mut map = Findings::default();
        map.error("data", Problem::Missing);
        let mut container = Findings::default();
        container.error("env", Problem::Missing);
        container.add(map.elsewhere(&place("ConfigMap/c")));
        let mut pod = Findings::default();
        pod.add(container.in_container("web"));
        pod.error("spec", Problem::Missing);
        let errors: Vec<String> =
            pod.at(&place("Pod/p")).errors.items.iter().map(ToString::to_string).collect();
        assert_eq!(
            errors,
            [
                "a.yaml, Pod/p, container web, env: is missing",
                "a.yaml, ConfigMap/c, data: is missing",
                "a.yaml, Pod/p, spec: is missing",
            ]
        );
    }

    #[test]
    fn findings_are_deduplicated_bounded_and_counted() {
        let mut findings = Findings::default();
        for i in 0..250 {
            findings.warn(format!("field {i}"));
            findings.warn("field 0");
        }
        let warnings = findings.at(&Place::default()).warnings;
        assert_eq!((warnings.len(), warnings[100].as_str()), (101, "and 150 more"));
    }
}
