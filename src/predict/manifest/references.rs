//! Checks references of a Pod to `ConfigMaps` and Secrets.

use super::environment::Sources;
use super::error::Problem;
use super::findings::Findings;
use super::mapping::{Mapping, shown};

/// Objects that are not in the input are assumed to exist, or are errors if the input must be complete.
pub(super) fn check(spec: &Mapping, sources: &Sources) -> Findings {
    Findings::collect(|found| {
        let mut absent = Absent { sources, config_maps: Vec::new(), secrets: Vec::new() };
        for list in ["initContainers", "containers"] {
            for container in spec.mappings(list).value {
                for source in container.mappings("envFrom").value {
                    absent.pair(&source, "configMapRef", "secretRef", "name", found);
                }
                for variable in container.mappings("env").value {
                    if let Some(source) = variable.mapping("valueFrom").value {
                        absent.pair(&source, "configMapKeyRef", "secretKeyRef", "name", found);
                    }
                }
            }
        }
        for volume in spec.mappings("volumes").value {
            absent.pair(&volume, "configMap", "", "name", found);
            absent.pair(&volume, "", "secret", "secretName", found);
            if let Some(projected) = volume.mapping("projected").value {
                for source in projected.mappings("sources").value {
                    absent.pair(&source, "configMap", "secret", "name", found);
                }
            }
        }
        let Absent { config_maps, secrets, .. } = absent;
        let named = |kind: &str, names: Vec<String>| {
            let plural = if names.len() == 1 { "" } else { "s" };
            (!names.is_empty()).then(|| format!("{kind}{plural} {}", names.join(", ")))
        };
        let all: Vec<String> =
            [named("ConfigMap", config_maps), named("Secret", secrets)].into_iter().flatten().collect();
        if !all.is_empty() {
            found.assume(format!(
                "not in the input, but assumed to exist: {} (--complete makes this an error)",
                all.join("; ")
            ));
        }
    })
}

struct Absent<'a> {
    sources: &'a Sources<'a>,
    config_maps: Vec<String>,
    secrets: Vec<String>,
}

impl Absent<'_> {
    /// Checks a reference to a ConfigMap and one to a Secret. An empty field name means no such reference.
    fn pair(
        &mut self,
        fields: &Mapping,
        config_map: &str,
        secret: &str,
        named_by: &str,
        found: &mut Findings,
    ) {
        for (field, is_secret) in [(config_map, false), (secret, true)] {
            let Some(reference) = fields.mapping(field).value else { continue };
            let Some(name) = reference.string(named_by).value else { continue };
            let optional = reference.boolean("optional").value == Some(true);
            // The control plane creates this ConfigMap in every namespace.
            if name == "kube-root-ca.crt" {
                continue;
            }
            let kind = if is_secret { "Secret" } else { "ConfigMap" };
            if optional || self.sources.object(kind, name).is_some() {
                continue;
            }
            let names = if is_secret { &mut self.secrets } else { &mut self.config_maps };
            let name = shown(name);
            if self.sources.complete {
                let problem = if is_secret { Problem::NoSecret(name) } else { Problem::NoConfigMap(name) };
                found.error(reference.field(named_by), problem);
            } else if !names.contains(&name) {
                names.push(name);
            }
        }
    }
}
