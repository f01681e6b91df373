//! Image, ports and limits of a container.

use serde_json::Value;

use super::findings::Reading;
use super::mapping::{Mapping, wrong};
use crate::predict::workload::ContainerFacts;

/// Reads image, ports and limits of a container of the Pod `spec`.
pub(super) fn read(container: &Mapping, spec: &Mapping) -> Reading<ContainerFacts> {
    Reading::collect(|found| {
        let image = found.take(container.string("image")).unwrap_or_default().to_owned();
        let memory_limit =
            found.take(limit(container, "memory", "a quantity such as 128Mi")).map(|bytes| bytes as u64);
        let cpu_limit = found
            .take(limit(container, "cpu", "a quantity such as 500m"))
            .map(|cores| (cores * 1000.0) as u64);
        let mut ports = Vec::new();
        for port in found.take(container.mappings("ports")) {
            ports.extend(found.take(port.port("containerPort")));
        }
        let volume_limits = found.take(volume_limits(container, spec));
        ContainerFacts { image, ports, memory_limit, cpu_limit, volume_limits }
    })
}

/// A limit among the `resources` of a container or a Pod.
fn limit(of: &Mapping, name: &str, expected: &'static str) -> Reading<Option<f64>> {
    Reading::collect(|found| {
        let resources = found.take(of.mapping("resources"))?;
        let limits = found.take(resources.mapping("limits"))?;
        let value = limits.get(name)?;
        let number = number(value);
        if number.is_none() {
            found.error(limits.field(name), wrong(expected, value));
        }
        number
    })
}

/// The memory limit of a whole Pod, in bytes.
pub(super) fn pod_memory_limit(spec: &Mapping) -> Reading<Option<u64>> {
    Reading::collect(|found| {
        found.take(limit(spec, "memory", "a quantity such as 128Mi")).map(|bytes| bytes as u64)
    })
}

/// The emptyDir volumes on disk with a `sizeLimit` that a container mounts.
fn volume_limits(container: &Mapping, spec: &Mapping) -> Reading<Vec<(String, u64)>> {
    Reading::collect(|found| {
        let mut limits = Vec::new();
        for volume in found.take(spec.mappings("volumes")) {
            // Errors of volumes are reported where the volumes are used.
            let Some(empty) = volume.mapping("emptyDir").value else { continue };
            let in_memory = empty.get("medium").is_some_and(|medium| medium == "Memory");
            let Some(bytes) = empty.get("sizeLimit").filter(|_| !in_memory).and_then(quantity) else {
                continue;
            };
            for mount in found.take(container.mappings("volumeMounts")) {
                if mount.string("name").value == volume.string("name").value
                    && let Some(path) = mount.string("mountPath").value
                {
                    limits.push((path.to_owned(), bytes));
                }
            }
        }
        limits
    })
}

/// The value of a quantity of Kubernetes in whole units, such as bytes; fractions are cut off.
pub(super) fn quantity(value: &Value) -> Option<u64> {
    number(value).map(|number| number as u64)
}

/// The value of a quantity of Kubernetes.
fn number(value: &Value) -> Option<f64> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let digits = text.bytes().take_while(|c| c.is_ascii_digit() || *c == b'.').count();
    let (number, suffix) = text.split_at(digits);
    let number: f64 = number.parse().ok()?;
    let factor = match suffix {
        "" => 1.0,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        "Ti" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        exponent => 10f64.powi(exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
    };
    Some(number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        for (text, bytes) in
            [("128Mi", 134_217_728), ("1.5Gi", 1_610_612_736), ("1e3", 1_000), ("500M", 500_000_000)]
        {
            assert_eq!(quantity(&Value::from(text)), Some(bytes), "{text}");
        }
        assert_eq!(quantity(&Value::from(1_048_576)), Some(1_048_576));
        for text in ["", "Mi", "12 MB", "1ee", "-"] {
            assert_eq!(quantity(&Value::from(text)), None, "{text}");
        }
    }
}
