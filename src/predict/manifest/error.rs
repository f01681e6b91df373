//! What can be wrong with a manifest, and where.

use std::fmt;

use crate::plan::ConfigError;
use crate::plan::document::DocumentError;

/// The most bytes of a container's environment: `$(VAR)` could double a value with each variable.
pub(super) const MAX_ENVIRONMENT: usize = 1 << 20;

/// Where something stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The name of the input; empty where it is about all of them.
    pub file: String,
    /// The document's number in the input, from 1 on, and the line that it starts at;
    /// the line is 0 where it is not known.
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

/// One thing that is wrong: where, and what would be right.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub struct ManifestError {
    /// Where it stands.
    pub place: Place,
    /// The field, such as `spec.template.spec.containers[0].livenessProbe.httpGet.port`; empty where it is about
    /// the whole.
    pub field: String,
    /// What is wrong with it.
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

/// What is wrong with the input, a line each.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub struct ManifestErrors {
    /// The first errors, at most 100 of an object and of all.
    pub errors: Vec<ManifestError>,
    /// How many more there are.
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

/// What is wrong with a manifest. The text says what would be right.
#[derive(Clone, Debug, PartialEq)]
pub enum Problem {
    /// Not YAML or JSON, or too much of it.
    Document(DocumentError),
    /// A field that is missing.
    Missing,
    /// A value of another type.
    Type {
        /// What is wanted, such as `a string`.
        expected: &'static str,
        /// The value, or its type.
        found: String,
    },
    /// A number outside its range.
    Range {
        /// The number.
        value: i64,
        /// The least.
        least: i64,
        /// The most.
        most: i64,
    },
    /// None of the words that are allowed.
    OneOf {
        /// The value.
        value: String,
        /// The words.
        words: &'static [&'static str],
    },
    /// Not a name of an object or container.
    Name(String),
    /// A text of a template that was not rendered.
    Template(String),
    /// A field that may not stand here.
    NotHere(&'static str),
    /// A probe with no handler, or with several.
    Handlers(usize),
    /// The environment of a container of ours.
    Config(ConfigError),
    /// A reference to a ConfigMap that is not in the input.
    NoConfigMap(String),
    /// A reference to a key that its ConfigMap has not.
    NoKey {
        /// The ConfigMap.
        config_map: String,
        /// The key.
        key: String,
    },
    /// A mount of a volume that the Pod has not.
    NoVolume(String),
    /// An item of a ConfigMap volume whose key its ConfigMap has not: the Pod would never start.
    NoItem {
        /// The ConfigMap.
        config_map: String,
        /// The key.
        key: String,
    },
    /// A plan that the service would not take. It would go on without.
    Plan {
        /// The variable that names its file.
        variable: &'static str,
        /// The container, with its object.
        of: String,
        /// What is wrong, after the file's path.
        error: String,
    },
    /// Variables that grow beyond what a process can be given.
    EnvironmentTooLong,
    /// Arguments that the service does not take.
    Arguments(String),
    /// A probe of a port that nothing listens on.
    NoPort {
        /// The port or its name.
        port: String,
        /// What there is.
        known: String,
    },
    /// A probe of a listener on the loopback address, which the kubelet does not reach.
    Loopback(u16),
    /// A port that two containers of ours want.
    PortTaken {
        /// The port.
        port: u16,
        /// Who has it.
        by: String,
    },
    /// A probe in a protocol that the service does not speak.
    Protocol(&'static str),
    /// No probe asks this program.
    NoProbe,
    /// The service in an init container that the Pod waits for.
    NeverEnds,
    /// No container in the input runs this program.
    NoneOfOurs {
        /// The images and kinds there are.
        found: Vec<String>,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Document(error) => error.fmt(f),
            Self::Missing => f.write_str("is missing"),
            Self::Type { expected: expected @ "a string", found } if matches!(&**found, "true" | "false") => {
                write!(f, "is {found}, not {expected}; unquoted, y, yes, on, n, no and off are true or false")
            }
            Self::Type { expected, found } => write!(f, "is {found}, not {expected}"),
            Self::Range { value, least, most } => {
                write!(f, "{value} is not a whole number from {least} to {most}")
            }
            Self::OneOf { value, words } => write!(f, "\"{value}\" is none of {}", words.join(", ")),
            Self::Name(name) => {
                write!(f, "\"{name}\" is not a name of lower-case letters, digits, `-` and `.`")
            }
            Self::Template(text) => {
                write!(f, "\"{text}\" is a template that has not been rendered; give the output of `helm template`")
            }
            Self::NotHere(why) => f.write_str(why),
            Self::Handlers(0) => f.write_str("has no handler; give one of httpGet, tcpSocket, grpc and exec"),
            Self::Handlers(count) => write!(f, "has {count} handlers; give one"),
            Self::Config(error) => error.fmt(f),
            Self::NoConfigMap(name) => {
                write!(f, "ConfigMap {name:?} is not in the input; add its manifest, or mark it optional")
            }
            Self::NoKey { config_map, key } => write!(f, "ConfigMap {config_map:?} has no key {key:?}"),
            Self::NoVolume(name) => write!(f, "the Pod has no volume {name:?}"),
            Self::NoItem { config_map, key } => write!(
                f,
                "ConfigMap {config_map:?} has no key {key:?}: the Pod would wait for it and never start; add the key, or \
                 mark the volume optional"
            ),
            Self::Plan { variable, of, error } => write!(
                f,
                "{error} ({variable} of {of}; the service would say so in its log and go on without this plan)"
            ),
            Self::EnvironmentTooLong => {
                write!(f, "the environment has more than {MAX_ENVIRONMENT} bytes")
            }
            Self::Arguments(words) => {
                write!(f, "{words:?} is nothing that the service takes; it is configured by `env` alone")
            }
            Self::NoPort { port, known } => {
                write!(f, "port {port} does not exist in the Pod; there is {known}")
            }
            Self::Loopback(port) => {
                write!(f, "port {port} listens on the loopback address, which the kubelet does not reach")
            }
            Self::PortTaken { port, by } => {
                write!(f, "port {port} is that of container {by} already; set PORT or ADMIN_ADDRESS")
            }
            Self::Protocol(name) => write!(f, "the service speaks no {name}; use httpGet or tcpSocket"),
            Self::NoProbe => {
                f.write_str("no probe asks this program, so there is nothing to predict; add a probe of its port")
            }
            Self::NeverEnds => f.write_str(
                "the service never ends, so the Pod would never start; `restartPolicy: Always` makes it a sidecar",
            ),
            Self::NoneOfOurs { found } => {
                f.write_str(
                    "no container runs this program: none has an image named kube-probesim, or kube-probesim as its command; ",
                )?;
                if found.is_empty() {
                    f.write_str("the input is empty")
                } else {
                    write!(f, "found {}", found.join(", "))
                }
            }
        }
    }
}
