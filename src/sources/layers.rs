//! What environment and files say.

use std::path::{Path, PathBuf};

use super::merge::{Layer, Merged, merge};
use serde_json::Value;

use crate::env::Config;
use crate::fault::Replica;
use crate::plan::document::{Document, DocumentError, Problem};
use crate::plan::{ConfigError, Source, document};
use crate::plan::{RawPlan, check_replica, read_plan};

/// The sources that are not the API.
#[derive(Clone, Debug)]
pub struct Layers {
    pod: Option<String>,
    environment: RawPlan,
    file: Option<FileLayer>,
    annotation: Option<FileLayer>,
}

/// A plan in a file.
#[derive(Clone, Debug)]
pub(super) struct FileLayer {
    pub(super) path: PathBuf,
    /// Whether somebody asked for this very file.
    is_wanted: bool,
    /// The last one that could be read.
    plan: RawPlan,
    /// What is wrong with the present content.
    pub(super) errors: Vec<String>,
    /// What is odd about the last content that could be read.
    warnings: Vec<String>,
}

impl Layers {
    /// What the environment says, and where more is to be found.
    pub fn new(config: &Config) -> Self {
        // A volume that is not there at the start never comes.
        Self::elsewhere(config, config.files.annotation.parent().is_some_and(Path::is_dir))
    }

    /// The same on another file system than this machine's, which is not looked at. `has_annotation`: whether the
    /// directory of `ANNOTATION_FILE` is there.
    pub fn elsewhere(config: &Config, has_annotation: bool) -> Self {
        let environment =
            RawPlan { seed: config.seed.seed, rules: config.plan.rules().to_vec(), disabled: Vec::new() };
        let file = |path: &Path, is_wanted| FileLayer {
            path: path.to_owned(),
            is_wanted,
            plan: RawPlan::default(),
            errors: Vec::new(),
            warnings: Vec::new(),
        };
        let files = &config.files;
        let is_set = files.annotation_is_set;
        let annotation = is_set || has_annotation;
        Self {
            pod: config.identity.pod.clone(),
            environment,
            file: files.faults.as_deref().map(|path| file(path, true)),
            annotation: annotation.then(|| file(&files.annotation, is_set)),
        }
    }

    /// The files in use, from weak to strong.
    pub fn paths(&self) -> impl Iterator<Item = (Source, &Path)> {
        self.files().map(|(source, file)| (source, file.path.as_path()))
    }

    pub(super) fn files(&self) -> impl Iterator<Item = (Source, &FileLayer)> {
        [(Source::File, &self.file), (Source::Annotation, &self.annotation)]
            .into_iter()
            .filter_map(|(source, file)| Some((source, file.as_ref()?)))
    }

    /// Takes a file's content for its plan: `None` where there is no file, which then has no rules, `Err` where it
    /// cannot be read. Gives whether the plan has changed; what is wrong leaves the plan before in its place.
    pub fn read(&mut self, source: Source, content: Result<Option<&str>, &str>) -> Result<bool, Vec<String>> {
        let (below, pod) = (self.seed_below(source), self.pod.clone());
        let Some(file) = self.file(source) else { return Ok(false) };
        let place = file.path.display().to_string();
        let read = match content {
            Err(reason) => Err(vec![format!("{place}: {reason}")]),
            Ok(None) => Ok((RawPlan::default(), Vec::new())),
            Ok(Some(text)) => read_text(text, &place, below, pod.as_deref()),
        };
        match read {
            Ok((plan, warnings)) => {
                file.errors.clear();
                file.warnings = warnings;
                if content == Ok(None) && file.is_wanted {
                    file.errors.push(format!("{place}: is not there; it has no rules until it is"));
                }
                let changed = file.plan != plan;
                file.plan = plan;
                Ok(changed)
            }
            Err(errors) => {
                file.errors.clone_from(&errors);
                Err(errors)
            }
        }
    }

    /// What is odd about a file's content, a line each.
    pub fn warnings(&self, source: Source) -> &[String] {
        self.file_of(source).map_or(&[], |file| &file.warnings)
    }

    /// The strongest seed of the sources beneath `source`.
    fn seed_below(&self, source: Source) -> Option<u64> {
        let file = self.file.as_ref().filter(|_| source > Source::File).and_then(|file| file.plan.seed);
        file.or(self.environment.seed)
    }

    /// What follows from all of them without the API.
    pub fn merged(&self) -> Merged {
        merge(&self.layers())
    }

    pub(super) fn file_of(&self, source: Source) -> Option<&FileLayer> {
        match source {
            Source::File => self.file.as_ref(),
            Source::Annotation => self.annotation.as_ref(),
            Source::Environment | Source::Api => None,
        }
    }

    pub(super) fn file(&mut self, source: Source) -> Option<&mut FileLayer> {
        match source {
            Source::File => self.file.as_mut(),
            Source::Annotation => self.annotation.as_mut(),
            Source::Environment | Source::Api => None,
        }
    }

    pub(super) fn layers(&self) -> Vec<Layer<'_>> {
        let layer = |source, plan| Layer { source, plan, replaces: false };
        let mut layers = vec![layer(Source::Environment, &self.environment)];
        layers.extend(self.file.as_ref().map(|file| layer(Source::File, &file.plan)));
        layers.extend(self.annotation.as_ref().map(|file| layer(Source::Annotation, &file.plan)));
        layers
    }
}

/// The plan in a text, with warnings; an empty one has no rules.
fn read_text(
    text: &str,
    place: &str,
    seed_below: Option<u64>,
    pod: Option<&str>,
) -> Result<(RawPlan, Vec<String>), Vec<String>> {
    let lines = |errors: Vec<ConfigError>| errors.iter().map(ToString::to_string).collect::<Vec<_>>();
    let Document { value, ambiguous, .. } = match document::parse_document(text, document::MAX_PLAN) {
        // A comment alone is an empty plan.
        Ok(Document { value: Value::Null, .. }) | Err(DocumentError { problem: Problem::Count(0), .. }) => {
            return Ok((RawPlan::default(), Vec::new()));
        }
        Ok(document) => document,
        Err(error) => return Err(lines(vec![ConfigError::new(place, error)])),
    };
    let plan = read_plan(&value, place).map_err(lines)?;
    let replica = Replica::named(plan.seed.or(seed_below), pod);
    let errors = check_replica(&plan.rules, &replica, place);
    let warnings = ambiguous.iter().map(|scalar| format!("{place}: {scalar}")).collect();
    if errors.is_empty() { Ok((plan, warnings)) } else { Err(lines(errors)) }
}
