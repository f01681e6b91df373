//! Collects items from words and options, in the order of the command line.

use super::Item;
use super::error::UsageError;
use crate::cluster::{Condition, Which, built_in};
use crate::prober::Probe;

/// Limit of items in one command: each has its own connection.
const MAX_ITEMS: usize = 100;

/// An item whose options are not complete yet.
#[derive(Debug)]
enum Draft {
    Address(Box<(String, Probe)>),
    Object(Box<Object>),
}

/// An object whose options are not complete yet. All names of one `--resource` have the same number.
#[derive(Clone, Debug, Default)]
struct Object {
    number: usize,
    kind: String,
    name: Option<String>,
    selector: Option<String>,
    condition: Option<Condition>,
    namespace: Option<String>,
}

/// The items so far, and the options before the first one.
#[derive(Debug, Default)]
pub(super) struct ItemDrafts {
    drafts: Vec<Draft>,
    count: usize,
    names: Vec<String>,
    selector: Option<String>,
    condition: Option<Condition>,
    namespace: Option<String>,
    /// Whether a namespace precedes all items; then each namespace applies to the items after it.
    leads: bool,
}

impl ItemDrafts {
    /// Adds `KIND/NAME`, `KIND` or an address.
    pub(super) fn word(&mut self, word: &str) -> Result<(), UsageError> {
        if word.contains("://") {
            let probe = Probe::parse(word, Vec::new());
            let probe = probe.map_err(|error| UsageError::Address(word.to_owned(), error))?;
            self.drafts.push(Draft::Address(Box::new((word.to_owned(), probe))));
            return Ok(());
        }
        match word.split_once('/') {
            None => self.begin(word, None),
            Some((kind, name)) => self.begin(kind, Some(checked_name(name)?)),
        }
    }

    pub(super) fn resource(&mut self, kind: &str) -> Result<(), UsageError> {
        let mut names = std::mem::take(&mut self.names).into_iter();
        self.begin(kind, names.next())?;
        for name in names {
            self.name(&name)?;
        }
        Ok(())
    }

    fn begin(&mut self, kind: &str, name: Option<String>) -> Result<(), UsageError> {
        let is_kind = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.');
        if kind.is_empty() || kind.len() > 253 || !kind.bytes().all(is_kind) {
            return Err(UsageError::Kind(kind.to_owned()));
        }
        self.count += 1;
        let namespace = self.namespace.clone().filter(|_| self.leads);
        let object =
            Object { number: self.count, kind: kind.to_owned(), name, namespace, ..Object::default() };
        self.drafts.push(Draft::Object(Box::new(object)));
        Ok(())
    }

    pub(super) fn name(&mut self, name: &str) -> Result<(), UsageError> {
        let name = checked_name(name)?;
        match self.drafts.last_mut() {
            Some(Draft::Object(object)) if object.name.is_none() => object.name = Some(name),
            Some(Draft::Object(object)) => {
                let another = Object { name: Some(name), ..(**object).clone() };
                self.drafts.push(Draft::Object(Box::new(another)));
            }
            _ => self.names.push(name),
        }
        Ok(())
    }

    pub(super) fn selector(&mut self, selector: String) -> Result<(), UsageError> {
        if selector.trim().is_empty() || selector.chars().any(char::is_control) {
            return Err(UsageError::Selector(selector));
        }
        self.set(
            "--selector",
            &selector.clone(),
            Some(selector),
            |drafts| &mut drafts.selector,
            |object| &mut object.selector,
        )
    }

    pub(super) fn condition(&mut self, option: &'static str, text: &str) -> Result<(), UsageError> {
        let condition = Condition::parse(text);
        let condition = condition.map_err(|error| UsageError::Condition(option, text.to_owned(), error))?;
        self.set(
            option,
            text,
            Some(condition),
            |drafts| &mut drafts.condition,
            |object| &mut object.condition,
        )
    }

    /// Sets an option of the preceding item, or the default for all if there is none yet.
    fn set<T: Clone>(
        &mut self,
        option: &'static str,
        written: &str,
        value: T,
        of_all: impl FnOnce(&mut Self) -> &mut T,
        of_one: impl Fn(&mut Object) -> &mut T,
    ) -> Result<(), UsageError> {
        let number = match self.drafts.last() {
            None => {
                *of_all(self) = value;
                return Ok(());
            }
            Some(Draft::Address(address)) => {
                return Err(UsageError::ForAddress(option, written.to_owned(), address.0.clone()));
            }
            Some(Draft::Object(object)) => object.number,
        };
        for object in self.objects().filter(|object| object.number == number) {
            *of_one(object) = value.clone();
        }
        Ok(())
    }

    pub(super) fn namespace(&mut self, namespace: String) -> Result<(), UsageError> {
        let is_label = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        if namespace.is_empty() || namespace.len() > 63 || !namespace.bytes().all(is_label) {
            return Err(UsageError::Namespace(namespace));
        }
        self.leads |= self.namespace.is_none() && self.drafts.is_empty();
        for object in self.objects().filter(|object| object.namespace.is_none()) {
            object.namespace = Some(namespace.clone());
        }
        self.namespace = Some(namespace);
        Ok(())
    }

    fn objects(&mut self) -> impl Iterator<Item = &mut Object> {
        self.drafts.iter_mut().filter_map(|draft| match draft {
            Draft::Object(object) => Some(&mut **object),
            Draft::Address(_) => None,
        })
    }

    /// Returns the complete items. After an earlier error (`has_errors`), an empty result is not reported again.
    pub(super) fn finish(self, has_errors: bool) -> Result<Vec<Item>, Vec<UsageError>> {
        let mut errors: Vec<UsageError> = self.names.into_iter().map(UsageError::NameAlone).collect();
        if self.drafts.is_empty() && errors.is_empty() && !has_errors {
            errors.push(UsageError::Nothing);
        }
        if self.drafts.len() > MAX_ITEMS {
            errors.push(UsageError::TooMany(MAX_ITEMS));
        }
        let mut items = Vec::new();
        for draft in self.drafts {
            let Object { kind, name, selector, condition, namespace, .. } = match draft {
                Draft::Object(object) => *object,
                Draft::Address(address) => {
                    let (name, probe) = *address;
                    items.push(Item::Address { name, probe });
                    continue;
                }
            };
            let condition = condition.or_else(|| self.condition.clone());
            if condition == Some(Condition::HasEndpoints)
                && built_in(&kind).is_none_or(|kind| kind.resource != "services")
            {
                errors.push(UsageError::HasEndpoints(kind));
                continue;
            }
            let which = match (name, selector) {
                (Some(_), Some(selector)) => {
                    errors.push(UsageError::Both(kind, selector));
                    continue;
                }
                (Some(name), None) => Which::Name(name),
                (None, selector) => {
                    let Some(selector) = selector.or_else(|| self.selector.clone()) else {
                        errors.push(UsageError::NoName(kind));
                        continue;
                    };
                    Which::Selector(selector)
                }
            };
            let namespace = namespace.or_else(|| self.namespace.clone());
            items.push(Item::Object { kind, which, condition, namespace });
        }
        if errors.is_empty() { Ok(items) } else { Err(errors) }
    }
}

/// Checks that a name has no characters that are special in a selector or a path.
fn checked_name(name: &str) -> Result<String, UsageError> {
    let is_name = |c: u8| c.is_ascii_alphanumeric() || b"-._:".contains(&c);
    if name.is_empty() || name.len() > 253 || !name.bytes().all(is_name) {
        return Err(UsageError::Name(name.to_owned()));
    }
    Ok(name.to_owned())
}
