//! Kinds of objects and where the API has them.

/// Where the API has a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Empty for the core group.
    pub group: String,
    /// Such as `v1`.
    pub version: String,
    /// In the plural, as in paths and rules.
    pub resource: String,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
}

/// A kind that needs no discovery.
struct Known {
    names: &'static [&'static str],
    group: &'static str,
    resource: &'static str,
}

const KNOWN: [Known; 7] = [
    Known { names: &["pod", "pods", "po"], group: "", resource: "pods" },
    Known { names: &["service", "services", "svc"], group: "", resource: "services" },
    Known { names: &["deployment", "deployments", "deploy"], group: "apps", resource: "deployments" },
    Known { names: &["statefulset", "statefulsets", "sts"], group: "apps", resource: "statefulsets" },
    Known { names: &["daemonset", "daemonsets", "ds"], group: "apps", resource: "daemonsets" },
    Known { names: &["replicaset", "replicasets", "rs"], group: "apps", resource: "replicasets" },
    Known { names: &["job", "jobs"], group: "batch", resource: "jobs" },
];

/// The kind that a name means, with or without its group, in any case; `None` if the API has to be asked.
pub fn known(name: &str) -> Option<Kind> {
    let name = name.to_ascii_lowercase();
    let (short, group) = name.split_once('.').map_or((name.as_str(), None), |(a, b)| (a, Some(b)));
    let found = KNOWN.iter().find(|known| {
        known.names.contains(&short)
            && group.is_none_or(|group| group == known.group || group == format!("v1.{}", known.group))
    })?;
    Some(Kind::new(found.group, "v1", found.resource, true))
}

impl Kind {
    pub(super) fn new(group: &str, version: &str, resource: &str, namespaced: bool) -> Self {
        Self {
            group: group.to_owned(),
            version: version.to_owned(),
            resource: resource.to_owned(),
            namespaced,
        }
    }

    /// The kind that says which addresses a Service has.
    pub(super) fn endpoint_slices() -> Self {
        Self::new("discovery.k8s.io", "v1", "endpointslices", true)
    }

    /// The path of the collection.
    pub(super) fn path(&self, namespace: &str) -> String {
        let Self { group, version, resource, namespaced } = self;
        let root =
            if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
        if *namespaced {
            format!("{root}/namespaces/{namespace}/{resource}")
        } else {
            format!("{root}/{resource}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_known_by_name_plural_and_abbreviation() {
        for (name, path) in [
            ("pod", "/api/v1/namespaces/app/pods"),
            ("Deploy", "/apis/apps/v1/namespaces/app/deployments"),
            ("deployments.apps", "/apis/apps/v1/namespaces/app/deployments"),
            ("deployments.v1.apps", "/apis/apps/v1/namespaces/app/deployments"),
            ("sts", "/apis/apps/v1/namespaces/app/statefulsets"),
            ("job", "/apis/batch/v1/namespaces/app/jobs"),
        ] {
            assert_eq!(known(name).map(|kind| kind.path("app")).as_deref(), Some(path), "{name}");
        }
        for name in ["", "service.serving.knative.dev", "node", "deployment.extensions"] {
            assert_eq!(known(name), None, "{name}");
        }
        assert_eq!(Kind::new("", "v1", "nodes", false).path("app"), "/api/v1/nodes");
    }
}
