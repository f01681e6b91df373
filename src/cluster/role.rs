//! Roles that grant missing permissions.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::kind::Kind;
use super::subject::Which;

/// A permission to read objects.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    /// `None` for kinds without namespaces.
    namespace: Option<String>,
    group: String,
    resource: String,
    /// `None` means all objects of the kind.
    name: Option<String>,
}

impl Grant {
    pub(super) fn of(kind: &Kind, namespace: &str, which: &Which) -> Self {
        Self {
            namespace: kind.namespaced.then(|| namespace.to_owned()),
            group: kind.group.clone(),
            resource: kind.resource.clone(),
            name: match which {
                Which::Name(name) => Some(name.clone()),
                Which::Selector(_) => None,
            },
        }
    }
}

/// Names of objects by group and resource; `None` means all objects.
type Rules<'a> = BTreeMap<(&'a str, &'a str), BTreeSet<Option<&'a str>>>;

/// Returns namespace and name of the service account in a message of the API server.
fn account(message: &str) -> Option<(&str, &str)> {
    let (_, rest) = message.split_once("\"system:serviceaccount:")?;
    rest.split_once('"')?.0.split_once(':')
}

/// Returns a name in YAML, in quotes where it would be a number, a boolean or null.
fn scalar(name: &str) -> String {
    const WORDS: [&str; 9] = ["y", "yes", "n", "no", "on", "off", "true", "false", "null"];
    if name.starts_with(|c: char| c.is_ascii_lowercase()) && !WORDS.contains(&name) {
        name.to_owned()
    } else {
        format!("{name:?}")
    }
}

/// Returns the Roles with exactly these permissions, bound to the service account in `message`, as YAML.
pub fn role(grants: &BTreeSet<Grant>, message: &str) -> String {
    let mut by_namespace: BTreeMap<&Option<String>, Rules> = BTreeMap::new();
    for Grant { namespace, group, resource, name } in grants {
        let rules = by_namespace.entry(namespace).or_default();
        rules.entry((group, resource)).or_default().insert(name.as_deref());
    }
    let mut text = String::new();
    for (namespace, rules) in by_namespace {
        let (prefix, place) = match namespace {
            Some(namespace) => ("", format!(", namespace: {}", scalar(namespace))),
            None => ("Cluster", String::new()),
        };
        let metadata = format!("metadata: {{name: kube-probesim-wait{place}}}\n");
        let _ = write!(
            text,
            "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: {prefix}Role\n{metadata}rules:\n"
        );
        for ((group, resource), names) in rules {
            let group = if group.is_empty() { "\"\"" } else { group };
            let names = if names.contains(&None) {
                String::new()
            } else {
                let names: Vec<String> = names.into_iter().flatten().map(scalar).collect();
                format!(", resourceNames: [{}]", names.join(", "))
            };
            let _ = writeln!(
                text,
                "  - {{apiGroups: [{group}], resources: [{resource}]{names}, verbs: [get, list, watch]}}"
            );
        }
        let Some(account) = account(message) else { continue };
        let (account_namespace, account) = (scalar(account.0), scalar(account.1));
        let _ = write!(
            text,
            "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: {prefix}RoleBinding\n{metadata}\
             roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: {prefix}Role, name: kube-probesim-wait}}\n\
             subjects: [{{kind: ServiceAccount, name: {account}, namespace: {account_namespace}}}]\n"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_grants_exactly_the_missing_permissions() {
        let deployments = Kind::new("apps", "v1", "deployments", true);
        let pods = Kind::new("", "v1", "pods", true);
        let nodes = Kind::new("", "v1", "nodes", false);
        let name = |name: &str| Which::Name(name.to_owned());
        let grants = BTreeSet::from([
            Grant::of(&deployments, "app", &name("web")),
            Grant::of(&deployments, "app", &name("db")),
            Grant::of(&pods, "app", &Which::Selector("a=b".to_owned())),
            Grant::of(&nodes, "app", &name("1")),
        ]);
        let message =
            "deployments.apps \"db\" is forbidden: User \"system:serviceaccount:app:shop\" cannot list";
        assert_eq!(
            role(&grants, message),
            "---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: kube-probesim-wait}
rules:
  - {apiGroups: [\"\"], resources: [nodes], resourceNames: [\"1\"], verbs: [get, list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: kube-probesim-wait}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: kube-probesim-wait}
subjects: [{kind: ServiceAccount, name: shop, namespace: app}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: kube-probesim-wait, namespace: app}
rules:
  - {apiGroups: [\"\"], resources: [pods], verbs: [get, list, watch]}
  - {apiGroups: [apps], resources: [deployments], resourceNames: [db, web], verbs: [get, list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: kube-probesim-wait, namespace: app}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: kube-probesim-wait}
subjects: [{kind: ServiceAccount, name: shop, namespace: app}]
"
        );
        assert!(!role(&grants, "forbidden").contains("Binding"), "the account is unknown");
    }
}
