//! Where rules come from.

/// Where a rule comes from, from weak to strong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The variables of the environment.
    Environment,
    /// `FAULTS_FILE`.
    File,
    /// `ANNOTATION_FILE`.
    Annotation,
    /// The API of toxiproxy, and its file.
    Toxiproxy,
    /// The admin API.
    Api,
}

impl Source {
    /// All sources, from weak to strong.
    pub const ALL: [Self; 5] = [Self::Environment, Self::File, Self::Annotation, Self::Toxiproxy, Self::Api];

    /// The metric label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Environment => "environment",
            Self::File => "file",
            Self::Annotation => "annotation",
            Self::Toxiproxy => "toxiproxy",
            Self::Api => "api",
        }
    }
}
