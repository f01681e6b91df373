//! The plans of the environment and of files.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::container::Surroundings;
use super::merge::{Layer, Merged, check_number, merge};
use super::proxies::{self, ApiProxies};
use super::status::Returning;
use crate::clock::wall_clock;
use crate::engine::Stop;
use crate::env::Config;
use crate::fault::Replica;
use crate::plan::document::{Document, DocumentError, Problem};
use crate::plan::{ConfigError, Errors, Proxy, RawPlan, Source, check_replica, document, read_plan};

/// The sources that are not the API.
#[derive(Clone, Debug)]
pub struct Layers {
    surroundings: Surroundings,
    pod: Option<String>,
    namespace: Option<String>,
    environment: RawPlan,
    /// The variables that the rules of the environment come from.
    variables: Vec<String>,
    file: Option<FileLayer>,
    annotation: Option<FileLayer>,
    /// Whether the annotation may add proxies.
    annotation_adds_proxies: bool,
    /// What the API has done to the set of proxies.
    pub(super) api_proxies: ApiProxies,
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
        let has_annotation = config.files.annotation.parent().is_some_and(Path::is_dir);
        Self { surroundings: Surroundings::here(config), ..Self::elsewhere(config, has_annotation) }
    }

    /// The same on another file system than this machine's, which is not looked at. `has_annotation`: whether the
    /// directory of `ANNOTATION_FILE` is there.
    pub fn elsewhere(config: &Config, has_annotation: bool) -> Self {
        let environment = RawPlan {
            seed: config.seed.seed,
            rules: config.plan.rules().to_vec(),
            proxies: Some(config.proxies.clone()),
            ..RawPlan::default()
        };
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
            surroundings: Surroundings::elsewhere(config),
            pod: config.identity.pod.clone(),
            namespace: config.identity.namespace.clone(),
            environment,
            variables: config.rule_variables.clone(),
            file: files.faults.as_deref().map(|path| file(path, true)),
            annotation: annotation.then(|| file(&files.annotation, is_set)),
            annotation_adds_proxies: files.annotation_adds_proxies,
            api_proxies: ApiProxies::default(),
        }
    }

    /// The container that process faults act in.
    pub(super) fn surroundings(&self) -> &Surroundings {
        &self.surroundings
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
    /// cannot be read. Gives whether the plan has changed.
    ///
    /// # Errors
    ///
    /// What is wrong, a line each; the previous plan stays. Too many rules together with the other sources are an error,
    /// so that what lies beneath the API always fits.
    pub fn read(&mut self, source: Source, content: Result<Option<&str>, &str>) -> Result<bool, Vec<String>> {
        let (below, pod, surroundings) =
            (self.seed_below(source), self.pod.clone(), self.surroundings.clone());
        let Some(file) = self.file(source) else { return Ok(false) };
        let place = file.path.display().to_string();
        let result = match content {
            Err(reason) => Err(vec![format!("{place}: {reason}")]),
            Ok(None) => Ok((RawPlan::default(), Vec::new())),
            Ok(Some(text)) => {
                read_text(text, &place, below, pod.as_deref(), &surroundings).map_err(|errors| errors.lines())
            }
        };
        let result =
            result.and_then(|(plan, warnings)| {
                let changed = self.replace(source, plan)?;
                let ignored = source == Source::Annotation
                    && !self.annotation_adds_proxies
                    && self.file_of(source).is_some_and(|file| file.plan.proxies.is_some());
                if let Some(file) = self.file(source) {
                    file.warnings = warnings;
                    file.warnings.extend(ignored.then(|| {
                        format!("{place}: its proxies are left out, unless ANNOTATION_PROXIES=true")
                    }));
                }
                Ok(changed)
            });
        if let Some(file) = self.file(source) {
            file.errors = match &result {
                Ok(_) if content == Ok(None) && file.is_wanted => {
                    vec![format!("{place}: is not there; it has no rules until it is")]
                }
                Ok(_) => Vec::new(),
                Err(errors) => errors.clone(),
            };
        }
        result
    }

    /// Puts a plan in the place of the one that a file had; whether it is another one.
    fn replace(&mut self, source: Source, plan: RawPlan) -> Result<bool, Vec<String>> {
        let Some(file) = self.file(source) else { return Ok(false) };
        let mut plan = plan;
        // A plan that does not speak of proxies leaves them as they are.
        plan.proxies = plan.proxies.or_else(|| file.plan.proxies.clone());
        if file.plan == plan {
            return Ok(false);
        }
        let before = std::mem::replace(&mut file.plan, plan);
        let place = file.path.display().to_string();
        if let Err(errors) = check_number(self.merged().rules.len()) {
            if let Some(file) = self.file(source) {
                file.plan = before;
            }
            return Err(errors.lines().into_iter().map(|error| format!("{place}: {error}")).collect());
        }
        Ok(true)
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
        self.merged_with(None)
    }

    pub(super) fn merged_with(&self, top: Option<Layer<'_>>) -> Merged {
        let mut merged = merge(&self.layers().into_iter().chain(top).collect::<Vec<_>>());
        merged.proxies = self.api_proxies.over(self.proxies());
        merged
    }

    /// The proxies of all sources but the API.
    pub(super) fn proxies(&self) -> Vec<(Proxy, Source)> {
        let mut all = Vec::new();
        for Layer { source, plan, .. } in self.layers() {
            if source != Source::Annotation || self.annotation_adds_proxies {
                proxies::merge(&mut all, source, plan.proxies.as_deref().unwrap_or_default());
            }
        }
        all
    }

    /// The stop that a file asks for; `before`, if that came from the same file.
    pub(super) fn stop(&self, before: Option<&Stop>) -> Option<Stop> {
        let file = self.file_of(self.merged().stop?)?;
        let (source, by) = (self.merged().stop?, file.path.display().to_string());
        let same = before.filter(|stop| stop.source == source).cloned();
        Some(same.unwrap_or_else(|| Stop { source, by, since: wall_clock() }))
    }

    /// The sources with rules, and how to end them there, from weak to strong.
    pub(super) fn returning(&self) -> Vec<Returning> {
        let layers = self.layers().into_iter().filter(|layer| !layer.plan.rules.is_empty());
        let namespace = self.namespace.as_ref().map_or_else(String::new, |name| format!("-n {name} "));
        let end = |source| match source {
            Source::Environment => {
                let variables: String = self.variables.iter().flat_map(|name| [" ", name, "-"]).collect();
                // The Pod does not know what it belongs to.
                format!(
                    "kubectl {namespace}set env WORKLOAD{variables}, with WORKLOAD such as deployment/web"
                )
            }
            Source::Annotation => {
                let pod = self.pod.as_deref().unwrap_or("POD");
                format!("kubectl {namespace}annotate pod {pod} probesim.io/faults-")
            }
            Source::File | Source::Api => {
                let path = self.file_of(source).map(|file| file.path.display().to_string());
                let path = path.unwrap_or_default();
                format!("take the rules out of {path}, or out of the ConfigMap that is mounted there")
            }
        };
        let returning = |layer: Layer| Returning {
            source: layer.source,
            rules: layer.plan.rules.len(),
            end: end(layer.source),
        };
        layers.map(returning).collect()
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
    surroundings: &Surroundings,
) -> Result<(RawPlan, Vec<String>), Errors> {
    let Document { value, ambiguous, .. } = match document::parse_document(text, document::MAX_PLAN) {
        // A comment alone is an empty plan.
        Ok(Document { value: Value::Null, .. }) | Err(DocumentError { problem: Problem::Count(0), .. }) => {
            return Ok((RawPlan::default(), Vec::new()));
        }
        Ok(document) => document,
        Err(error) => return Err(ConfigError::new(place, error).into()),
    };
    let plan = read_plan(&value, place)?;
    let seed = plan.seed.or(seed_below);
    let mut errors = check_replica(&plan.rules, &Replica::named(seed, pod), place);
    errors.append(surroundings.check(&plan.rules, seed.is_some(), place));
    let warnings = ambiguous.iter().map(|scalar| format!("{place}: {scalar}")).collect();
    if errors.is_empty() { Ok((plan, warnings)) } else { Err(errors) }
}
