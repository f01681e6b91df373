//! Reads the plans in the files of a container.

use std::path::Path;

use super::environment::Sources;
use super::error::Problem;
use super::findings::{Findings, Reading};
use super::mapping::Mapping;
use super::volume::{Content, Mount, Wrong, absolute_components, labelled};
use crate::env::Config;
use crate::plan::Source;
use crate::sources::Layers;

/// The plans of environment, file and annotation. Invalid files are skipped.
pub(super) fn layers<'a>(config: &Config, container: &Mapping<'a>, sources: &Sources<'a>) -> Reading<Layers> {
    Reading::collect(|found| {
        let files = &config.files;
        let file = files.faults.as_deref().map(|path| (path, found.take(find(path, container, sources)).0));
        let (annotation, depth) = found.take(find(&files.annotation, container, sources));
        // A volume that is mounted at a parent directory has another purpose.
        let is_meant = depth <= 1;
        // The default file is optional, so a mounted directory without it needs no assumption.
        let has_annotation = matches!(annotation, Content::Text { .. });
        let mut layers = Layers::elsewhere(config, has_annotation);
        if let Some((path, content)) = file {
            found.add(read(&mut layers, Source::File, path, content, sources));
        }
        if has_annotation || files.annotation_is_set {
            found.add(read(&mut layers, Source::Annotation, &files.annotation, annotation, sources));
        } else if let Content::Unknown(why) = annotation
            && is_meant
        {
            found.assume(format!(
                "{}: {} is treated as missing: {why}",
                sources.container_label(),
                labelled("ANNOTATION_FILE", &files.annotation.to_string_lossy())
            ));
        }
        for error in &layers.merged().check() {
            found.warn(format!("{}: {error}; the rule has no effect", sources.container_label()));
        }
        layers
    })
}

/// The content at a path in a container, and how many components the path has below its mount.
fn find<'a>(path: &Path, container: &Mapping<'a>, sources: &Sources<'a>) -> Reading<(Content, usize)> {
    Reading::collect(|found| {
        let path = found.take(absolute_components(&path.to_string_lossy(), container));
        match found.take(Mount::of(&path, container, sources)) {
            Ok(Some(mount)) => (found.take(mount.content(sources)), mount.depth),
            Ok(None) => (
                Content::Absent("no volume is mounted there, and the image is not looked into".to_owned()),
                path.len(),
            ),
            Err(Wrong) => (Content::Wrong, 0),
        }
    })
}

/// Reads the content of a file into its layer.
fn read(layers: &mut Layers, source: Source, path: &Path, content: Content, sources: &Sources) -> Findings {
    Findings::collect(|found| {
        let variable = if source == Source::File { "FAULTS_FILE" } else { "ANNOTATION_FILE" };
        let what = labelled(variable, &path.to_string_lossy());
        match content {
            Content::Text { text, place, field } => {
                let Err(errors) = layers.read(source, Ok(Some(&text))) else {
                    for warning in layers.warnings(source) {
                        found.warn(format!("{variable} ({warning})"));
                    }
                    return;
                };
                for error in errors {
                    let object = sources.owner.place.object.as_deref().unwrap_or_default();
                    let of = format!("{object}, {}", sources.container_label());
                    let problem = Problem::Plan { variable, of, error: shown_error(&error) };
                    let mut of_file = Findings::default();
                    of_file.error(field.clone(), problem);
                    found.add(of_file.elsewhere(&place));
                }
            }
            Content::Absent(why) => {
                found.warn(format!("{what} is not there: {why}; the service runs without it"));
            }
            Content::Unknown(why) => {
                found.assume(format!("{}: {what} is treated as missing: {why}", sources.container_label()));
            }
            Content::Wrong => {}
        }
    })
}

/// An error on one line. Values in it are short already.
fn shown_error(error: &str) -> String {
    error.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}
