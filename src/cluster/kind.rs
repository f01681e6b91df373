//! Kinds of objects and their API paths.

/// A kind of objects, as the API addresses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Empty for the core group.
    pub group: String,
    /// Such as `v1`.
    pub version: String,
    /// The plural name, as in paths and Roles.
    pub resource: String,
    /// Whether its objects belong to namespaces.
    pub namespaced: bool,
}

/// A built-in kind, which needs no discovery.
struct BuiltIn {
    names: &'static [&'static str],
    group: &'static str,
    resource: &'static str,
}

const BUILT_IN: [BuiltIn; 7] = [
    BuiltIn { names: &["pod", "pods", "po"], group: "", resource: "pods" },
    BuiltIn { names: &["service", "services", "svc"], group: "", resource: "services" },
    BuiltIn { names: &["deployment", "deployments", "deploy"], group: "apps", resource: "deployments" },
    BuiltIn { names: &["statefulset", "statefulsets", "sts"], group: "apps", resource: "statefulsets" },
    BuiltIn { names: &["daemonset", "daemonsets", "ds"], group: "apps", resource: "daemonsets" },
    BuiltIn { names: &["replicaset", "replicasets", "rs"], group: "apps", resource: "replicasets" },
    BuiltIn { names: &["job", "jobs"], group: "batch", resource: "jobs" },
];

/// Returns the built-in kind with a name, with or without its group, case-insensitive; `None` means discovery is needed.
pub fn built_in(name: &str) -> Option<Kind> {
    let name = name.to_ascii_lowercase();
    let (short, group) = name.split_once('.').map_or((name.as_str(), None), |(a, b)| (a, Some(b)));
    let found = BUILT_IN.iter().find(|kind| {
        kind.names.contains(&short)
            && group.is_none_or(|group| group == kind.group || group == format!("v1.{}", kind.group))
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

    /// The kind with the endpoints of Services.
    pub(super) fn endpoint_slices() -> Self {
        Self::new("discovery.k8s.io", "v1", "endpointslices", true)
    }

    /// The path of its objects.
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
    fn kinds_are_built_in_by_name_plural_and_abbreviation() {
        for (name, path) in [
            ("pod", "/api/v1/namespaces/app/pods"),
            ("Deploy", "/apis/apps/v1/namespaces/app/deployments"),
            ("deployments.apps", "/apis/apps/v1/namespaces/app/deployments"),
            ("deployments.v1.apps", "/apis/apps/v1/namespaces/app/deployments"),
            ("sts", "/apis/apps/v1/namespaces/app/statefulsets"),
            ("job", "/apis/batch/v1/namespaces/app/jobs"),
        ] {
            assert_eq!(built_in(name).map(|kind| kind.path("app")).as_deref(), Some(path), "{name}");
        }
        for name in ["", "service.serving.knative.dev", "node", "deployment.extensions"] {
            assert_eq!(built_in(name), None, "{name}");
        }
        assert_eq!(Kind::new("", "v1", "nodes", false).path("app"), "/api/v1/nodes");
    }
}
