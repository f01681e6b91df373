//! The plans that a container finds in files.

use std::path::Path;

use super::environment::{Sources, container as name};
use super::error::{ManifestError, Problem};
use super::node::{Node, Report};
use super::volume::{Content, Mount, absolute, subject};
use crate::env::Config;
use crate::plan::Source;
use crate::sources::Layers;

/// What environment, file and annotation say. Where something is wrong, errors go to the report.
pub(super) fn layers<'a>(
    config: &Config,
    container: &Node<'a>,
    sources: &Sources<'a>,
    report: &mut Report,
) -> Layers {
    let files = &config.files;
    let file = files.faults.as_deref().map(|path| (path, find(path, container, sources, report).0));
    let (annotation, depth) = find(&files.annotation, container, sources, report);
    // A volume further up is for something else.
    let is_meant = depth <= 1;
    // Without a file there, the directory makes no difference: nobody asked for it.
    let has_annotation = matches!(annotation, Content::Text { .. });
    let mut layers = Layers::elsewhere(config, has_annotation);
    if let Some((path, content)) = file {
        take(&mut layers, Source::File, path, content, report);
    }
    if has_annotation || files.annotation_is_set {
        take(&mut layers, Source::Annotation, &files.annotation, annotation, report);
    } else if let Content::Unknown(why) = annotation
        && is_meant
    {
        report.assume(format!(
            "{}: {} is taken as not there: {why}",
            name(report),
            subject("ANNOTATION_FILE", &files.annotation.to_string_lossy())
        ));
    }
    layers
}

/// What is at a path in a container, and how far below the mount of its volume.
fn find<'a>(
    path: &Path,
    container: &Node<'a>,
    sources: &Sources<'a>,
    report: &mut Report,
) -> (Content, usize) {
    let path = absolute(&path.to_string_lossy(), container, report);
    match Mount::of(&path, container, sources, report) {
        Ok(Some(mount)) => (mount.content(sources, report), mount.depth),
        Ok(None) => (
            Content::Absent("no volume is mounted there, and the image is not looked into".to_owned()),
            path.len(),
        ),
        Err(()) => (Content::Wrong, 0),
    }
}

fn take(layers: &mut Layers, source: Source, path: &Path, content: Content, report: &mut Report) {
    let variable = if source == Source::File { "FAULTS_FILE" } else { "ANNOTATION_FILE" };
    let what = subject(variable, &path.to_string_lossy());
    match content {
        Content::Text { text, place, field } => {
            let Err(errors) = layers.read(source, Ok(Some(&text))) else {
                for warning in layers.warnings(source) {
                    report.warn(&format!("{variable} ({warning})"));
                }
                return;
            };
            for error in errors {
                let object = report.place.object.as_deref().unwrap_or_default();
                let of = format!("{object}, {}", name(report));
                let problem = Problem::Plan { variable, of, error: shown_error(&error) };
                let mut own = Report::default();
                own.errors.push(ManifestError { place: place.clone(), field: field.clone(), problem });
                report.adopt(own);
            }
        }
        Content::Absent(why) => {
            report.warn(&format!("{what} is not there: {why}; the service runs without it"));
        }
        Content::Unknown(why) => {
            report.assume(format!("{}: {what} is taken as not there: {why}", name(report)));
        }
        Content::Wrong => {}
    }
}

/// An error on one line. Values in it are short already.
fn shown_error(error: &str) -> String {
    error.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}
