//! Finds the mount and the content at a path in a container.

use super::environment::{Sources, config_map_data, config_map_text, pod_map_entry};
use super::error::{Place, Problem};
use super::findings::{Findings, Reading};
use super::mapping::{Mapping, shown};

/// The mount that contains a path.
#[derive(Clone, Debug)]
pub(super) struct Mount<'a> {
    /// The volume's name.
    pub(super) name: &'a str,
    /// The volume; absent for a `volumeClaimTemplate` of a StatefulSet.
    pub(super) volume: Option<Mapping<'a>>,
    pub(super) read_only: bool,
    /// The path inside the volume; absent if it depends on variables.
    pub(super) inside: Option<Vec<String>>,
    /// The number of path components below the mount.
    pub(super) depth: usize,
}

/// The content at a path.
#[derive(Debug)]
pub(super) enum Content {
    /// A text and its place in the input.
    Text { text: String, place: Place, field: String },
    /// No file, with the reason.
    Absent(String),
    /// A file that cannot be read here, or that may be absent; with the reason.
    Unknown(String),
    /// An error, which is among the findings.
    Wrong,
}

/// An invalid mount or volume; the error is among the findings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wrong;

/// The components of a path from the root, without `.` and `..`.
pub(super) fn components(path: &str) -> Vec<String> {
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

/// The components of a path in a container. A relative path starts at `workingDir`, or at the root as in our image.
pub(super) fn absolute_components(path: &str, container: &Mapping) -> Reading<Vec<String>> {
    Reading::collect(|found| {
        match found.take(container.string("workingDir")).filter(|_| !path.starts_with('/')) {
            Some(start) => components(&format!("{start}/{path}")),
            None => components(path),
        }
    })
}

impl<'a> Mount<'a> {
    /// The innermost mount that contains a path.
    pub(super) fn of(
        path: &[String],
        container: &Mapping<'a>,
        sources: &Sources<'a>,
    ) -> Reading<Result<Option<Self>, Wrong>> {
        Reading::collect(|found| {
            let mut best: Option<(usize, Mapping<'a>)> = None;
            for mount in found.take(container.mappings("volumeMounts")) {
                let Some(at) = found.take(mount.required_string("mountPath")) else { continue };
                let at = components(at);
                if path.starts_with(&at) && best.as_ref().is_none_or(|(length, _)| at.len() >= *length) {
                    best = Some((at.len(), mount));
                }
            }
            let Some((length, mount)) = best else { return Ok(None) };
            let name = found.take(mount.required_string("name")).ok_or(Wrong)?;
            let volume = found.take(volume(name, &mount, sources))?;
            let read_only = found.take(mount.boolean("readOnly")).unwrap_or(false);
            let sub_path = found.take(mount.string("subPath")).unwrap_or_default();
            let expression = found.take(mount.string("subPathExpr")).unwrap_or(sub_path);
            let inside = (!expression.contains('$'))
                .then(|| components(expression).into_iter().chain(path[length..].iter().cloned()).collect());
            Ok(Some(Self { name, volume, read_only, inside, depth: path.len() - length }))
        })
    }

    /// The kind of the volume, by its field in the API.
    pub(super) fn kind(&self) -> &'a str {
        let Some(volume) = &self.volume else { return "persistentVolumeClaim" };
        let mut kinds = volume.entries().map(|(name, _)| name).filter(|name| *name != "name");
        // The API server turns a volume without a source into an emptyDir.
        kinds.next().unwrap_or("emptyDir")
    }

    /// The content of the volume at the path.
    pub(super) fn content(&self, sources: &Sources) -> Reading<Content> {
        Reading::collect(|found| {
            let name = self.name;
            let Some(inside) = &self.inside else {
                return Content::Unknown(format!(
                    "the subPathExpr of the mount of volume {name} is not resolved"
                ));
            };
            // `..data` is the kubelet's link to the current version of the volume.
            let inside = inside.strip_prefix(&["..data".to_owned()]).unwrap_or(inside).join("/");
            let kind = self.kind();
            let source = self.volume.as_ref().and_then(|volume| found.take(volume.mapping(kind)));
            let content = match kind {
                "configMap" => source.map(|source| {
                    found
                        .take(config_map(&source, &inside, sources))
                        .unwrap_or(Content::Absent(String::new()))
                }),
                "downwardAPI" => source.map(|source| {
                    found.take(downward(&source, &inside, sources)).unwrap_or(Content::Absent(String::new()))
                }),
                "projected" => source.map(|source| found.take(projected(&source, &inside, sources))),
                kind => {
                    return Content::Unknown(format!(
                        "it is on volume {name}, and a volume of kind {kind} is not read"
                    ));
                }
            };
            match content {
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
        })
    }
}

/// The volume of a mount.
fn volume<'a>(
    name: &str,
    mount: &Mapping,
    sources: &Sources<'a>,
) -> Reading<Result<Option<Mapping<'a>>, Wrong>> {
    Reading::collect(|found| {
        let is_named =
            |fields: &Mapping, found: &mut Findings| found.take(fields.string("name")) == Some(name);
        if let Some(spec) = found.take(sources.owner.root().mapping("spec")) {
            for claim in found.take(spec.mappings("volumeClaimTemplates")) {
                if found.take(claim.mapping("metadata")).is_some_and(|metadata| is_named(&metadata, found)) {
                    return Ok(None);
                }
            }
        }
        let volume =
            found.take(sources.spec.mappings("volumes")).into_iter().find(|volume| is_named(volume, found));
        if volume.is_none() {
            found.error(mount.field("name"), Problem::NoVolume(shown(name)));
            return Err(Wrong);
        }
        Ok(volume)
    })
}

/// The content of a ConfigMap at a path. `None`: it has no such file.
fn config_map(source: &Mapping, path: &str, sources: &Sources) -> Reading<Option<Content>> {
    Reading::collect(|found| {
        let Some(name) = found.take(source.required_string("name")) else { return Some(Content::Wrong) };
        let optional = found.take(source.boolean("optional")).unwrap_or(false);
        let Some(object) = sources.config_map(name) else {
            let may = if optional { ", and is optional" } else { "" };
            return Some(Content::Unknown(format!("ConfigMap {name:?} is not in the input{may}")));
        };
        let texts = found.take(config_map_data(object));
        let binary = object.root().mapping("binaryData").value;
        let is_binary = |key: &str| binary.as_ref().is_some_and(|binary| binary.contains(key));
        let mut key = Some(path);
        if source.contains("items") {
            key = None;
            let mut wrong = false;
            for item in found.take(source.mappings("items")) {
                let (Some(from), Some(to)) =
                    (found.take(item.required_string("key")), found.take(item.required_string("path")))
                else {
                    wrong = true;
                    continue;
                };
                let is_there = is_binary(from) || texts.iter().any(|(known, _)| *known == from);
                if !is_there && !optional {
                    let problem = Problem::NoItem { config_map: shown(name), key: shown(from) };
                    found.error(item.field("key"), problem);
                    wrong = true;
                }
                if components(to).join("/") == path {
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
        Some(match found.take(config_map_text(object, key, value)) {
            Some(text) => {
                Content::Text { text, place: object.place.clone(), field: format!("data.{}", shown(key)) }
            }
            None => Content::Wrong,
        })
    })
}

/// The content of a downward API volume at a path. `None`: it has no such file.
fn downward(source: &Mapping, path: &str, sources: &Sources) -> Reading<Option<Content>> {
    Reading::collect(|found| {
        let items = found.take(source.mappings("items"));
        let item = items.into_iter().find(|item| {
            found.take(item.string("path")).is_some_and(|to| components(to).join("/") == path)
        })?;
        let Some(field) = found.take(item.mapping("fieldRef")) else {
            return Some(Content::Unknown("it contains a resource of the container".to_owned()));
        };
        let Some(from) = found.take(field.required_string("fieldPath")) else { return Some(Content::Wrong) };
        Some(match found.take(pod_map_entry(from, sources)) {
            Some((field, key, text)) => {
                let before = sources.metadata.map_or("metadata", Mapping::path);
                let place = sources.owner.place.clone();
                Content::Text { text, place, field: format!("{before}.{field}.{}", shown(key)) }
            }
            None => Content::Unknown(format!("it contains {}, which is not a plan", shown(from))),
        })
    })
}

/// The content of a projected volume at a path: the last of its sources with such a file.
fn projected(source: &Mapping, path: &str, sources: &Sources) -> Reading<Content> {
    Reading::collect(|found| {
        let mut content = Content::Absent(String::new());
        for source in found.take(source.mappings("sources")) {
            let here = if let Some(source) = found.take(source.mapping("configMap")) {
                found.take(config_map(&source, path, sources))
            } else if let Some(source) = found.take(source.mapping("downwardAPI")) {
                found.take(downward(&source, path, sources))
            } else {
                found.take(elsewhere(&source, path))
            };
            content = match (here, content) {
                (Some(Content::Wrong), _) | (_, Content::Wrong) => Content::Wrong,
                // A file that may be absent does not hide an existing one.
                (Some(Content::Unknown(_)), before @ Content::Text { .. }) | (None, before) => before,
                (Some(here), _) => here,
            };
        }
        content
    })
}

/// The content of a source that is not read.
fn elsewhere(source: &Mapping, path: &str) -> Reading<Option<Content>> {
    Reading::collect(|found| {
        let (kind, _) = source.entries().next()?;
        let inner = found.take(source.mapping(kind))?;
        let puts = |fields: &Mapping, found: &mut Findings| {
            found.take(fields.string("path")).is_some_and(|to| components(to).join("/") == path)
        };
        // A Secret without `items` may have any file.
        let may = match kind {
            "secret" if !inner.contains("items") => true,
            "secret" => found.take(inner.mappings("items")).iter().any(|item| puts(item, found)),
            _ => puts(&inner, found),
        };
        may.then(|| Content::Unknown(format!("{} may have a file there and is not read", source_name(kind))))
    })
}

fn source_name(kind: &str) -> String {
    if kind == "secret" { "a Secret".to_owned() } else { format!("a source of kind {}", shown(kind)) }
}

/// The label of a variable with its path, in warnings and assumptions.
pub(super) fn labelled(variable: &str, path: &str) -> String {
    format!("{variable} ({})", shown(path))
}
