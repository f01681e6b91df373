//! Errors of manifests, with their places.

use std::fmt;

use crate::plan::ConfigError;
use crate::plan::document::DocumentError;

/// Limit of a container's environment, in bytes: each variable could double a value with `$(VAR)`.
pub(super) const MAX_ENVIRONMENT: usize = 1 << 20;

/// A place in the input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The name of the input; empty: all inputs.
    pub file: String,
    /// The document's number in the input, from 1 on, and its first line;
    /// the line is 0 if it is not known.
    pub document: Option<(usize, usize)>,
    /// The position in the document's `items`, from 1 on.
    pub item: Option<usize>,
    /// Kind and name, such as `Deployment/web`.
    pub object: Option<String>,
    /// The container's name.
    pub container: Option<String>,
}

impl Place {
    /// The file and document as a heading, without line and object.
    pub(super) fn heading(&self) -> String {
        let document = self.document.map(|(number, _)| (number, 0));
        Self { document, object: None, container: None, ..self.clone() }.to_string()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        match self.document {
            Some((number, 0)) => write!(f, ", document {number}")?,
            Some((number, line)) => write!(f, ", document {number} (line {line})")?,
            None => {}
        }
        if let Some(item) = self.item {
            write!(f, ", item {item}")?;
        }
        if let Some(object) = &self.object {
            write!(f, ", {object}")?;
        }
        self.container.as_ref().map_or(Ok(()), |container| write!(f, ", container {container}"))
    }
}

/// An error with its place. The message says what would be valid.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub struct ManifestError {
    /// The place.
    pub place: Place,
    /// The field, such as `spec.template.spec.containers[0].livenessProbe.httpGet.port`; empty for the
    /// whole object.
    pub field: String,
    /// The error.
    pub problem: Problem,
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.place.to_string();
        let parts = [place.as_str(), self.field.as_str()];
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        f.write_str(&parts.join(", "))?;
        match &self.problem {
            Problem::Config(error) => write!(f, ", env {error}"),
            problem if parts.is_empty() => problem.fmt(f),
            problem => write!(f, ": {problem}"),
        }
    }
}

/// All errors of the input, one per line.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub struct ManifestErrors {
    /// The first errors, at most 100 of an object and of all.
    pub errors: Vec<ManifestError>,
    /// The number of further errors.
    pub more: usize,
}

impl fmt::Display for ManifestErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.errors.iter().enumerate() {
            write!(f, "{}{error}", if i == 0 { "" } else { "\n" })?;
        }
        if self.more > 0 {
            write!(f, "\nand {} more", self.more)?;
        }
        Ok(())
    }
}

/// An error of a manifest. The message says what would be valid.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Problem {
    /// Not YAML or JSON, or too large.
    #[error(transparent)]
    Document(DocumentError),
    /// A field that is missing.
    #[error("is missing")]
    Missing,
    /// A value of another type.
    #[error("is {found}, not {expected}{}", unquoted_hint(.expected, .found))]
    Type {
        /// The type that is expected, such as `a string`.
        expected: &'static str,
        /// The value, or its type.
        found: String,
    },
    /// A number outside its range.
    #[error("{value} is not {}", range(*.least, *.most))]
    Range {
        /// The number.
        value: i64,
        /// The least.
        least: i64,
        /// The most.
        most: i64,
    },
    /// A word that is not allowed.
    #[error("\"{value}\" is not one of {}", .words.join(", "))]
    OneOf {
        /// The value.
        value: String,
        /// The words.
        words: &'static [&'static str],
    },
    /// A text that is not a valid name of an object or container.
    #[error("\"{0}\" is not a name of lower-case letters, digits, `-` and `.`")]
    Name(String),
    /// A text of an unrendered template.
    #[error("\"{0}\" is a template that has not been rendered; pass the output of `helm template`")]
    Template(String),
    /// A kind with the wrong case.
    #[error("there is no kind \"{kind}\"; did you mean {meant}?")]
    Kind {
        /// The kind.
        kind: String,
        /// The kind in the right case.
        meant: &'static str,
    },
    /// A kustomization without `kind`, which is not rendered here.
    #[error("is missing; for a kustomization, pass the output of `kubectl kustomize DIRECTORY`")]
    Kustomization,
    /// A field that is not allowed here.
    #[error("{0}")]
    NotHere(&'static str),
    /// A probe without a handler; a field that may be a misspelt one, and the handler.
    #[error("has no handler{}", meant_handler(.0.as_ref()))]
    NoHandler(Option<(String, &'static str)>),
    /// A probe with several handlers.
    #[error("has {0} handlers instead of one")]
    Handlers(usize),
    /// A variable of a container that runs this program.
    #[error(transparent)]
    Config(ConfigError),
    /// A reference to a ConfigMap that is not in the input.
    #[error("ConfigMap {0:?} is not in the input; add its manifest, or mark it optional")]
    NoConfigMap(String),
    /// A reference to a Secret that is not in the input.
    #[error("Secret {0:?} is not in the input; add its manifest, or mark it optional")]
    NoSecret(String),
    /// A reference to a key that its ConfigMap does not have.
    #[error("ConfigMap {config_map:?} has no key {key:?}")]
    NoKey {
        /// The ConfigMap.
        config_map: String,
        /// The key.
        key: String,
    },
    /// A mount of a volume that the Pod does not have.
    #[error("the Pod has no volume {0:?}")]
    NoVolume(String),
    /// An item of a ConfigMap volume without its key in the ConfigMap: the Pod would never start.
    #[error(
        "ConfigMap {config_map:?} has no key {key:?}: the Pod would wait for it and never start; add the key, or mark the volume optional"
    )]
    NoItem {
        /// The ConfigMap.
        config_map: String,
        /// The key.
        key: String,
    },
    /// A plan that the service would refuse, so that it runs without this plan.
    #[error("{error} ({variable} of {of}; the service would log this error and run without this plan)")]
    Plan {
        /// The variable that names its file.
        variable: &'static str,
        /// The container, with its object.
        of: String,
        /// The error, with the file's path.
        error: String,
    },
    /// An environment that is too large.
    #[error("the environment has more than {MAX_ENVIRONMENT} bytes")]
    EnvironmentTooLong,
    /// Arguments that the service does not accept.
    #[error("`serve` does not accept {0:?}; it accepts flags such as --port 8080 and --set NAME=VALUE")]
    Arguments(String),
    /// A probe of a port without a listener.
    #[error("port {port} does not exist in the Pod; known ports: {known}")]
    NoPort {
        /// The port or its name.
        port: String,
        /// The known ports.
        known: String,
    },
    /// A probe of a listener on the loopback address, which the kubelet does not reach.
    #[error("port {0} listens on the loopback address, which the kubelet does not reach")]
    Loopback(u16),
    /// A port on which two containers of this program would listen.
    #[error("port {port} is already used by container {by}; set PORT or ADMIN_ADDRESS")]
    PortTaken {
        /// The port.
        port: u16,
        /// The container that uses it.
        by: String,
    },
    /// A probe in a protocol that the service does not speak.
    #[error("the admin listener does not speak {0}; use httpGet or tcpSocket")]
    Protocol(&'static str),
    /// A probe with TLS of a listener without TLS.
    #[error(
        "port {0} does not speak TLS; set TLS_CERT_FILE and TLS_KEY_FILE, or TLS=self-signed, or probe without TLS"
    )]
    NoTls(u16),
    /// A probe without TLS of a listener that requires TLS.
    #[error("port {0} requires TLS; probe it by httpGet with `scheme: HTTPS`, or remove TLS_ONLY")]
    OnlyTls(u16),
    /// A service name that the health service does not know.
    #[error(
        "the service {0:?} is not one of liveness, readiness, startup, dependency or empty; the probe would always fail"
    )]
    NoService(String),
    /// `serve` in an ordinary init container, whose end the Pod waits for.
    #[error(
        "the service never ends, so the Pod would never start; `restartPolicy: Always` makes it a sidecar"
    )]
    NeverEnds,
    /// An input without objects.
    #[error("the input is empty")]
    Empty,
}

impl Problem {
    /// Whether a referenced object is not in the input.
    pub(super) const fn is_incomplete(&self) -> bool {
        matches!(self, Self::NoConfigMap(_) | Self::NoSecret(_))
    }
}

/// A hint if a text was read as a boolean.
fn unquoted_hint(expected: &str, found: &str) -> &'static str {
    if expected == "a string" && matches!(found, "true" | "false") {
        "; unquoted, y, yes, on, n, no and off are true or false"
    } else {
        ""
    }
}

fn range(least: i64, most: i64) -> String {
    if least == most { least.to_string() } else { format!("a whole number from {least} to {most}") }
}

fn meant_handler(misspelt: Option<&(String, &'static str)>) -> String {
    match misspelt {
        Some((field, meant)) => format!(", but a field {field}; did you mean {meant}?"),
        None => "; use one of httpGet, tcpSocket, grpc and exec".to_owned(),
    }
}
