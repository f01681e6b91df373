//! The objects of the input.

use serde_json::{Map, Value};

use super::error::{ManifestError, Place, Problem};
use super::findings::{Bounded, Findings};
use super::input::{Input, MAX_INPUT};
use super::mapping::{Mapping, shown, wrong};
use crate::plan::document::{self, Document, DuplicateKey};

/// An object whose kind and name have been read.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) place: Place,
    /// The kind. A kind of another API group with a name that is read here has its group as prefix.
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) namespace: Option<String>,
    pub(super) map: Map<String, Value>,
    /// The duplicate keys of its document, if it is the document's first object.
    pub(super) duplicates: Vec<DuplicateKey>,
}

impl Object {
    pub(super) fn root(&self) -> Mapping<'_> {
        Mapping::root(&self.map)
    }

    /// Whether it may be in the namespace `other`. Objects without a namespace may be in any.
    pub(super) fn shares_namespace(&self, other: Option<&str>) -> bool {
        match (self.namespace.as_deref(), other) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        }
    }
}

/// The objects of all inputs, including those in lists, and the errors of others.
pub(super) fn objects(inputs: &[Input]) -> (Vec<Object>, Bounded<ManifestError>) {
    let (mut objects, mut errors) = (Vec::new(), Bounded::default());
    for input in inputs {
        let place = Place { file: input.name.clone(), ..Place::default() };
        match document::parse_manifests(&input.text, MAX_INPUT) {
            Ok(documents) => {
                for (i, Document { line, value, duplicates, .. }) in documents.into_iter().enumerate() {
                    let place = Place { document: Some((i + 1, line)), ..place.clone() };
                    let (mut of_document, wrong) = flatten(value, None, place);
                    if let Some(first) = of_document.first_mut() {
                        first.duplicates = duplicates;
                    }
                    objects.extend(of_document);
                    errors.append(wrong);
                }
            }
            Err(error) => {
                let number = (error.line > 0).then(|| (number_at(&input.text, error.line), 0));
                let place = Place { document: number, ..place };
                errors.push(ManifestError { place, field: String::new(), problem: Problem::Document(error) });
            }
        }
    }
    (objects, errors)
}

/// The number of the document of a line, counted without the parser, which failed there.
fn number_at(text: &str, line: usize) -> usize {
    let (mut number, mut begun) = (1, false);
    for line in text.lines().take(line.saturating_sub(1)) {
        if line == "---" || line.starts_with("--- ") {
            number += usize::from(begun);
            begun = true;
        } else {
            begun |= !line.trim_start().is_empty() && !line.trim_start().starts_with('#');
        }
    }
    number
}

/// The object of a value, or the objects of a list. `kind` is the default kind of items of a typed list.
fn flatten(value: Value, kind: Option<&str>, mut place: Place) -> (Vec<Object>, Bounded<ManifestError>) {
    let (mut objects, mut errors) = (Vec::new(), Bounded::default());
    let mut found = Findings::default();
    let mut at = place.clone();
    match value {
        Value::Object(map) => {
            let fields = Mapping::root(&map);
            let named = if fields.contains("kind") { found.take(fields.string("kind")) } else { kind };
            if named.is_none() && !found.has_errors() {
                let is_kustomization =
                    ["resources", "bases", "patches"].iter().any(|name| fields.contains(name));
                found.error("kind", if is_kustomization { Problem::Kustomization } else { Problem::Missing });
            }
            let named = named.unwrap_or_default().to_owned();
            match (named.strip_suffix("List"), map.get("items")) {
                (Some(of), Some(Value::Array(_))) => {
                    let of = (!of.is_empty()).then_some(of);
                    let items = { map }.remove("items");
                    let items = if let Some(Value::Array(items)) = items { items } else { Vec::new() };
                    for (i, item) in items.into_iter().enumerate() {
                        // Items of a nested list keep the position in the outer list.
                        let place = Place { item: place.item.or(Some(i + 1)), ..place.clone() };
                        let (of_item, wrong) = flatten(item, of, place);
                        objects.extend(of_item);
                        errors.append(wrong);
                    }
                }
                _ if named.is_empty() => {}
                _ => {
                    let group = match found.take(fields.string("apiVersion")) {
                        Some(version) => version.split_once('/').map_or("", |(group, _)| group),
                        None if kind.is_some() => own_group(&named).unwrap_or(""),
                        None => {
                            if !fields.contains("apiVersion") {
                                found.error("apiVersion", Problem::Missing);
                            }
                            ""
                        }
                    };
                    let misspelt = OWN_KINDS.iter().find(|(known, of)| {
                        *of == group && *known != named && known.eq_ignore_ascii_case(&named)
                    });
                    if let Some((meant, _)) = misspelt {
                        found.error("kind", Problem::Kind { kind: shown(&named), meant });
                    }
                    // A Service or Job of another group is a different kind.
                    let full = match own_group(&named) {
                        Some(own) if own != group => format!("{group}/{named}"),
                        _ => named,
                    };
                    let metadata = found.take(fields.mapping("metadata"));
                    let mut text =
                        |name| metadata.as_ref().and_then(|metadata| found.take(metadata.string(name)));
                    let name = text("name").or(text("generateName"));
                    let namespace = text("namespace").map(str::to_owned);
                    let name = name.unwrap_or_default().to_owned();
                    place.object = Some(if name.is_empty() {
                        shown(&full)
                    } else {
                        format!("{}/{}", shown(&full), shown(&name))
                    });
                    // The errors of a workload have the same place, so that the same error is reported once.
                    at.clone_from(&place);
                    let duplicates = Vec::new();
                    objects.push(Object { place, kind: full, name, namespace, map, duplicates });
                }
            }
        }
        // An empty document.
        Value::Null if place.item.is_none() => {}
        value => found.error("", wrong("an object with `kind`", &value)),
    }
    errors.append(found.at(&at).errors);
    (objects, errors)
}

/// The kinds that are read, with their API groups.
const OWN_KINDS: [(&str, &str); 10] = [
    ("Pod", ""),
    ("ConfigMap", ""),
    ("Service", ""),
    ("ReplicationController", ""),
    ("Deployment", "apps"),
    ("StatefulSet", "apps"),
    ("DaemonSet", "apps"),
    ("ReplicaSet", "apps"),
    ("Job", "batch"),
    ("CronJob", "batch"),
];

fn own_group(kind: &str) -> Option<&'static str> {
    OWN_KINDS.iter().find(|(known, _)| *known == kind).map(|(_, group)| *group)
}
