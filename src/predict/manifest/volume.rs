//! What a container finds at a path: the mount that it lies on, and what that volume holds there.

use super::environment::{Sources, data, datum, entry_of_pod};
use super::error::{Place, Problem};
use super::node::{Node, Report, shown};

/// A mount that a path lies on.
#[derive(Clone, Debug)]
pub(super) struct Mount<'a> {
    /// The volume's name.
    pub(super) name: &'a str,
    /// The volume; absent: a claim of the StatefulSet's own.
    pub(super) volume: Option<Node<'a>>,
    pub(super) read_only: bool,
    /// The path inside the volume; absent where it depends on variables.
    pub(super) inside: Option<Vec<String>>,
    /// How many parts of the path lie below the mount itself.
    pub(super) depth: usize,
}

/// What is at a path.
#[derive(Debug)]
pub(super) enum Content {
    /// A text, and where it stands in the input.
    Text { text: String, place: Place, field: String },
    /// Nothing. Why.
    Absent(String),
    /// Something that is not read, and what; or something is there at other times only.
    Unknown(String),
    /// An error was reported.
    Wrong,
}

/// The parts of a path as the kernel goes them, from the root on.
pub(super) fn parts(path: &str) -> Vec<String> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part.to_owned()),
        }
    }
    parts
}

/// A path in a container: one that is relative begins at its `workingDir`, or at the root as in this program's image.
pub(super) fn absolute(path: &str, container: &Node, report: &mut Report) -> Vec<String> {
    match container.text("workingDir", report).filter(|_| !path.starts_with('/')) {
        Some(start) => parts(&format!("{start}/{path}")),
        None => parts(path),
    }
}

impl<'a> Mount<'a> {
    /// The innermost mount that a path lies on. Err: it is wrong, and an error was reported.
    pub(super) fn of(
        path: &[String],
        container: &Node<'a>,
        sources: &Sources<'a>,
        report: &mut Report,
    ) -> Result<Option<Self>, ()> {
        let mut best: Option<(usize, Node<'a>)> = None;
        for mount in container.items("volumeMounts", report) {
            let Some(at) = mount.needed("mountPath", report) else { continue };
            let at = parts(at);
            if path.starts_with(&at) && best.as_ref().is_none_or(|(length, _)| at.len() >= *length) {
                best = Some((at.len(), mount));
            }
        }
        let Some((length, mount)) = best else { return Ok(None) };
        let name = mount.needed("name", report).ok_or(())?;
        let volume = volume(name, &mount, sources, report)?;
        let read_only = mount.flag("readOnly", report).unwrap_or(false);
        let sub_path = mount.text("subPath", report).unwrap_or_default();
        let expression = mount.text("subPathExpr", report).unwrap_or(sub_path);
        let inside = (!expression.contains('$'))
            .then(|| parts(expression).into_iter().chain(path[length..].iter().cloned()).collect());
        Ok(Some(Self { name, volume, read_only, inside, depth: path.len() - length }))
    }

    /// What kind of volume it is, by its field in the API.
    pub(super) fn kind(&self) -> &'a str {
        let Some(volume) = &self.volume else { return "persistentVolumeClaim" };
        let mut kinds = volume.entries().map(|(name, _)| name).filter(|name| *name != "name");
        // A volume without any source is an emptyDir to the API server.
        kinds.next().unwrap_or("emptyDir")
    }

    /// What is there.
    pub(super) fn content(&self, sources: &Sources, report: &mut Report) -> Content {
        let name = self.name;
        let Some(inside) = &self.inside else {
            return Content::Unknown(format!(
                "the subPathExpr of its mount of volume {name} is not followed"
            ));
        };
        // The kubelet's own link to the present version of the whole.
        let inside = inside.strip_prefix(&["..data".to_owned()]).unwrap_or(inside).join("/");
        let read = |kind: &str, report: &mut Report| self.volume.as_ref()?.child(kind, report);
        let found = match self.kind() {
            "configMap" => read("configMap", report).map(|source| {
                config_map(&source, &inside, sources, report).unwrap_or(Content::Absent(String::new()))
            }),
            "downwardAPI" => read("downwardAPI", report).map(|source| {
                downward(&source, &inside, sources, report).unwrap_or(Content::Absent(String::new()))
            }),
            "projected" => {
                read("projected", report).map(|source| projected(&source, &inside, sources, report))
            }
            kind => {
                return Content::Unknown(format!(
                    "it is on volume {name}, and a volume of kind {kind} is not read"
                ));
            }
        };
        match found {
            Some(Content::Absent(why)) if why.is_empty() => {
                let what = if inside.is_empty() {
                    "the path is its directory".to_owned()
                } else {
                    format!("it has no {inside:?}")
                };
                Content::Absent(format!("volume {name} is there, but {what}"))
            }
            Some(content) => content,
            None => Content::Wrong,
        }
    }
}

/// The volume of a mount.
fn volume<'a>(
    name: &str,
    mount: &Node,
    sources: &Sources<'a>,
    report: &mut Report,
) -> Result<Option<Node<'a>>, ()> {
    let named = |node: &Node, report: &mut Report| node.text("name", report) == Some(name);
    if let Some(spec) = sources.owner.node().child("spec", report) {
        for claim in spec.items("volumeClaimTemplates", report) {
            if claim.child("metadata", report).is_some_and(|metadata| named(&metadata, report)) {
                return Ok(None);
            }
        }
    }
    let volume = sources.spec.items("volumes", report).into_iter().find(|volume| named(volume, report));
    if volume.is_none() {
        report.error(&mount.field("name"), Problem::NoVolume(shown(name)));
        return Err(());
    }
    Ok(volume)
}

/// What a ConfigMap puts at a path. `None`: nothing.
fn config_map(source: &Node, path: &str, sources: &Sources, report: &mut Report) -> Option<Content> {
    let Some(name) = source.needed("name", report) else { return Some(Content::Wrong) };
    let optional = source.flag("optional", report).unwrap_or(false);
    let Some(object) = sources.config_map(name) else {
        if optional {
            return Some(Content::Unknown(format!(
                "ConfigMap {name:?} is not in the input, and is optional"
            )));
        }
        report.error(&source.field("name"), Problem::NoConfigMap(shown(name)));
        return Some(Content::Wrong);
    };
    let texts = data(object, report);
    let mut ignored = Report::default();
    let binary = object.node().child("binaryData", &mut ignored);
    let is_binary = |key: &str| binary.as_ref().is_some_and(|binary| binary.has(key));
    let mut key = Some(path);
    if source.has("items") {
        key = None;
        let mut wrong = false;
        for item in source.items("items", report) {
            let (Some(from), Some(to)) = (item.needed("key", report), item.needed("path", report)) else {
                wrong = true;
                continue;
            };
            let is_there = is_binary(from) || texts.iter().any(|(known, _)| *known == from);
            if !is_there && !optional {
                let problem = Problem::NoItem { config_map: shown(name), key: shown(from) };
                report.error(&item.field("key"), problem);
                wrong = true;
            }
            if parts(to).join("/") == path {
                key = Some(from);
            }
        }
        if wrong {
            return Some(Content::Wrong);
        }
    }
    let key = key?;
    if is_binary(key) {
        return Some(Content::Unknown(format!("binaryData of ConfigMap {name:?} is not read")));
    }
    let (key, value) = texts.into_iter().find(|(known, _)| *known == key)?;
    Some(match datum(object, key, value, report) {
        Some(text) => {
            Content::Text { text, place: object.place.clone(), field: format!("data.{}", shown(key)) }
        }
        None => Content::Wrong,
    })
}

/// What the downward API puts at a path. `None`: nothing.
fn downward(source: &Node, path: &str, sources: &Sources, report: &mut Report) -> Option<Content> {
    let items = source.items("items", report);
    let item = items
        .into_iter()
        .find(|item| item.text("path", report).is_some_and(|to| parts(to).join("/") == path))?;
    let Some(field) = item.child("fieldRef", report) else {
        return Some(Content::Unknown("it holds a resource of the container".to_owned()));
    };
    let Some(from) = field.needed("fieldPath", report) else { return Some(Content::Wrong) };
    Some(match entry_of_pod(from, sources, report) {
        Some((field, key, text)) => {
            let before = sources.metadata.map_or("metadata", Node::path);
            let place = Place { container: None, ..report.place.clone() };
            Content::Text { text, place, field: format!("{before}.{field}.{}", shown(key)) }
        }
        None => Content::Unknown(format!("it holds {}, which is no plan", shown(from))),
    })
}

/// What a projected volume has at a path: the last of its sources that puts something there.
fn projected(source: &Node, path: &str, sources: &Sources, report: &mut Report) -> Content {
    let mut found = Content::Absent(String::new());
    for source in source.items("sources", report) {
        let here = if let Some(source) = source.child("configMap", report) {
            config_map(&source, path, sources, report)
        } else if let Some(source) = source.child("downwardAPI", report) {
            downward(&source, path, sources, report)
        } else {
            elsewhere(&source, path, report)
        };
        found = match (here, found) {
            (Some(Content::Wrong), _) | (_, Content::Wrong) => Content::Wrong,
            // What may be there does not hide what is.
            (Some(Content::Unknown(_)), found @ Content::Text { .. }) | (None, found) => found,
            (Some(here), _) => here,
        };
    }
    found
}

/// A source of a projected volume that is not read.
fn elsewhere(source: &Node, path: &str, report: &mut Report) -> Option<Content> {
    let (kind, _) = source.entries().next()?;
    let inner = source.child(kind, report)?;
    let puts = |node: &Node, report: &mut Report| {
        node.text("path", report).is_some_and(|to| parts(to).join("/") == path)
    };
    // A Secret without items has any file.
    let may = match kind {
        "secret" if !inner.has("items") => true,
        "secret" => inner.items("items", report).iter().any(|item| puts(item, report)),
        _ => puts(&inner, report),
    };
    may.then(|| Content::Unknown(format!("{} may put something there and is not read", source_name(kind))))
}

fn source_name(kind: &str) -> String {
    if kind == "secret" { "a Secret".to_owned() } else { format!("a source of kind {}", shown(kind)) }
}

/// What a variable and its path are called in an assumption or a warning.
pub(super) fn subject(variable: &str, path: &str) -> String {
    format!("{variable} ({})", shown(path))
}
