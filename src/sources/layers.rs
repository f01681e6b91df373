//! The plans of the environment and of files.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::container::ContainerCheck;
use super::merge::{Layer, Merged, check_rule_count, merge};
use super::proxies::{self, ApiProxies};
use super::status::Returning;
use crate::clock::wall_clock;
use crate::engine::Stop;
use crate::env::Config;
use crate::fault::Replica;
use crate::plan::document::{Document, DocumentError, DocumentProblem};
use crate::plan::{ConfigError, Errors, Proxy, RawPlan, Source, check_replica, document, read_plan};

/// All sources except the API.
#[derive(Clone, Debug)]
pub struct Layers {
    container_check: ContainerCheck,
    pod: Option<String>,
    namespace: Option<String>,
    environment: RawPlan,
    /// The variables that define the rules of the environment.
    variables: Vec<String>,
    file: Option<FileLayer>,
    annotation: Option<FileLayer>,
    /// Whether the annotation may add proxies.
    annotation_adds_proxies: bool,
    /// What the API of toxiproxy has made.
    pub(super) toxiproxy: Option<RawPlan>,
    /// Proxies added and removed through the API.
    pub(super) api_proxies: ApiProxies,
}

/// The plan in a file.
#[derive(Clone, Debug)]
pub(super) struct FileLayer {
    pub(super) path: PathBuf,
    /// Whether the user configured this path.
    is_wanted: bool,
    /// The last plan that could be read.
    plan: RawPlan,
    /// Errors of the current content.
    pub(super) errors: Vec<String>,
    /// Warnings about the last content that could be read.
    warnings: Vec<String>,
}

impl Layers {
    /// Creates the layers of a configuration. Files are read later.
    pub fn new(config: &Config) -> Self {
        // A volume that is not mounted at the start never will be.
        let has_annotation = config.files.annotation.parent().is_some_and(Path::is_dir);
        Self { container_check: ContainerCheck::here(config), ..Self::elsewhere(config, has_annotation) }
    }

    /// Like `new`, for the file system of another machine, which is not accessed. `has_annotation`: whether the
    /// directory of `ANNOTATION_FILE` exists.
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
            container_check: ContainerCheck::elsewhere(config),
            pod: config.identity.pod.clone(),
            namespace: config.identity.namespace.clone(),
            environment,
            variables: config.rule_variables.clone(),
            file: files.faults.as_deref().map(|path| file(path, true)),
            annotation: annotation.then(|| file(&files.annotation, is_set)),
            annotation_adds_proxies: files.annotation_adds_proxies,
            toxiproxy: None,
            api_proxies: ApiProxies::default(),
        }
    }

    /// The container that process faults run in.
    pub(super) fn container_check(&self) -> &ContainerCheck {
        &self.container_check
    }

    /// The files in use, in ascending order of precedence.
    pub fn paths(&self) -> impl Iterator<Item = (Source, &Path)> {
        self.files().map(|(source, file)| (source, file.path.as_path()))
    }

    pub(super) fn files(&self) -> impl Iterator<Item = (Source, &FileLayer)> {
        [(Source::File, &self.file), (Source::Annotation, &self.annotation)]
            .into_iter()
            .filter_map(|(source, file)| Some((source, file.as_ref()?)))
    }

    /// Accepts a file's content: `None` if there is no file (it then has no rules), `Err` if it cannot be read.
    /// Returns whether the plan has changed.
    ///
    /// # Errors
    ///
    /// The errors, one per line; the previous plan stays. Exceeding the rule limit together with the other sources is
    /// an error, so that the layers below the API always fit.
    pub fn read(&mut self, source: Source, content: Result<Option<&str>, &str>) -> Result<bool, Vec<String>> {
        let (below, pod, container_check) =
            (self.seed_below(source), self.pod.clone(), self.container_check.clone());
        let Some(file) = self.file(source) else { return Ok(false) };
        let place = file.path.display().to_string();
        let result = match content {
            Err(reason) => Err(vec![format!("{place}: {reason}")]),
            Ok(None) => Ok((RawPlan::default(), Vec::new())),
            Ok(Some(text)) => read_text(text, &place, below, pod.as_deref(), &container_check)
                .map_err(|errors| errors.lines()),
        };
        let result = result.and_then(|(plan, warnings)| {
            let changed = self.replace(source, plan)?;
            let ignored = source == Source::Annotation
                && !self.annotation_adds_proxies
                && self.file_of(source).is_some_and(|file| file.plan.proxies.is_some());
            if let Some(file) = self.file(source) {
                file.warnings = warnings;
                file.warnings.extend(ignored.then(|| {
                    format!("{place}: its proxies are ignored; set ANNOTATION_PROXIES=true to allow them")
                }));
            }
            Ok(changed)
        });
        if let Some(file) = self.file(source) {
            file.errors = match &result {
                Ok(_) if content == Ok(None) && file.is_wanted => {
                    vec![format!("{place}: does not exist; it adds no rules until it does")]
                }
                Ok(_) => Vec::new(),
                Err(errors) => errors.clone(),
            };
        }
        result
    }

    /// Replaces the plan of a file. Returns whether it differs.
    fn replace(&mut self, source: Source, plan: RawPlan) -> Result<bool, Vec<String>> {
        let Some(file) = self.file(source) else { return Ok(false) };
        let mut plan = plan;
        // A plan without `proxies` keeps the current ones.
        plan.proxies = plan.proxies.or_else(|| file.plan.proxies.clone());
        if file.plan == plan {
            return Ok(false);
        }
        let before = std::mem::replace(&mut file.plan, plan);
        let place = file.path.display().to_string();
        if let Err(errors) = check_rule_count(self.merged().rules.len()) {
            if let Some(file) = self.file(source) {
                file.plan = before;
            }
            return Err(errors.lines().into_iter().map(|error| format!("{place}: {error}")).collect());
        }
        Ok(true)
    }

    /// Warnings about a file's content, one per line.
    pub fn warnings(&self, source: Source) -> &[String] {
        self.file_of(source).map_or(&[], |file| &file.warnings)
    }

    /// The highest-ranking seed of the sources below `source`.
    fn seed_below(&self, source: Source) -> Option<u64> {
        let file = self.file.as_ref().filter(|_| source > Source::File).and_then(|file| file.plan.seed);
        file.or(self.environment.seed)
    }

    /// The merge of all layers without the API.
    pub fn merged(&self) -> Merged {
        self.merged_with(None)
    }

    pub(super) fn merged_with(&self, top: Option<Layer<'_>>) -> Merged {
        let mut merged = merge(&self.layers().into_iter().chain(top).collect::<Vec<_>>());
        merged.proxies = self.api_proxies.over(self.proxies());
        merged
    }

    /// The proxies of all sources except the API.
    pub(super) fn proxies(&self) -> Vec<(Proxy, Source)> {
        let mut all = Vec::new();
        for Layer { source, plan, .. } in self.layers() {
            if source != Source::Annotation || self.annotation_adds_proxies {
                proxies::merge(&mut all, source, plan.proxies.as_deref().unwrap_or_default());
            }
        }
        all
    }

    /// The stop requested by a file; `before` is kept if it came from the same file.
    pub(super) fn stop(&self, before: Option<&Stop>) -> Option<Stop> {
        let file = self.file_of(self.merged().stop?)?;
        let (source, by) = (self.merged().stop?, file.path.display().to_string());
        let same = before.filter(|stop| stop.source == source).cloned();
        Some(same.unwrap_or_else(|| Stop { source, by, since: wall_clock() }))
    }

    /// The sources with rules and how to remove them there, in ascending order of precedence.
    pub(super) fn returning(&self) -> Vec<Returning> {
        // What the API of toxiproxy has made does not outlive the process.
        let lasts = |layer: &Layer| layer.source != Source::Toxiproxy && !layer.plan.rules.is_empty();
        let layers = self.layers().into_iter().filter(lasts);
        let namespace = self.namespace.as_ref().map_or_else(String::new, |name| format!("-n {name} "));
        let end = |source| match source {
            Source::Environment => {
                let variables: String = self.variables.iter().flat_map(|name| [" ", name, "-"]).collect();
                // A Pod does not know its workload.
                format!(
                    "kubectl {namespace}set env WORKLOAD{variables}, where WORKLOAD is, for example, deployment/web"
                )
            }
            Source::Annotation => {
                let pod = self.pod.as_deref().unwrap_or("POD");
                format!("kubectl {namespace}annotate pod {pod} probesim.io/faults-")
            }
            Source::File | Source::Toxiproxy | Source::Api => {
                let path = self.file_of(source).map(|file| file.path.display().to_string());
                let path = path.unwrap_or_default();
                format!("remove the rules from {path}, or out of the ConfigMap that is mounted there")
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
            Source::Environment | Source::Toxiproxy | Source::Api => None,
        }
    }

    pub(super) fn file(&mut self, source: Source) -> Option<&mut FileLayer> {
        match source {
            Source::File => self.file.as_mut(),
            Source::Annotation => self.annotation.as_mut(),
            Source::Environment | Source::Toxiproxy | Source::Api => None,
        }
    }

    pub(super) fn layers(&self) -> Vec<Layer<'_>> {
        let layer = |source, plan| Layer { source, plan, replaces: false };
        let mut layers = vec![layer(Source::Environment, &self.environment)];
        layers.extend(self.file.as_ref().map(|file| layer(Source::File, &file.plan)));
        layers.extend(self.annotation.as_ref().map(|file| layer(Source::Annotation, &file.plan)));
        layers.extend(self.toxiproxy.as_ref().map(|plan| layer(Source::Toxiproxy, plan)));
        layers
    }
}

/// Reads a plan from text, with warnings. An empty text has no rules.
fn read_text(
    text: &str,
    place: &str,
    seed_below: Option<u64>,
    pod: Option<&str>,
    container_check: &ContainerCheck,
) -> Result<(RawPlan, Vec<String>), Errors> {
    let Document { value, ambiguous, .. } = match document::parse_document(text, document::MAX_PLAN) {
        // A text of only comments is an empty plan.
        Ok(Document { value: Value::Null, .. })
        | Err(DocumentError { problem: DocumentProblem::Count(0), .. }) => {
            return Ok((RawPlan::default(), Vec::new()));
        }
        Ok(document) => document,
        Err(error) => return Err(ConfigError::new(place, error).into()),
    };
    let plan = read_plan(&value, place)?;
    let seed = plan.seed.or(seed_below);
    let mut errors = check_replica(&plan.rules, &Replica::named(seed, pod), place);
    errors.append(container_check.check(&plan.rules, seed.is_some(), place));
    let warnings = ambiguous.iter().map(|scalar| format!("{place}: {scalar}")).collect();
    if errors.is_empty() { Ok((plan, warnings)) } else { Err(errors) }
}
