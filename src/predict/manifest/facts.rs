//! What a manifest says of a container beside its probes.

use serde_json::Value;

use super::findings::Reading;
use super::mapping::{Mapping, wrong};
use crate::predict::workload::ContainerFacts;

/// Reads image, ports and limits.
pub(super) fn read(container: &Mapping) -> Reading<ContainerFacts> {
    Reading::collect(|found| {
        let image = found.take(container.string("image")).unwrap_or_default().to_owned();
        let resources = found.take(container.mapping("resources"));
        let limits = resources.and_then(|resources| found.take(resources.mapping("limits")));
        let memory_limit = limits.and_then(|limits| {
            let value = limits.get("memory")?;
            let bytes = quantity(value);
            if bytes.is_none() {
                found.error(limits.field("memory"), wrong("a quantity such as 128Mi", value));
            }
            bytes
        });
        let mut ports = Vec::new();
        for port in found.take(container.mappings("ports")) {
            ports.extend(found.take(port.port("containerPort")));
        }
        ContainerFacts { image, ports, memory_limit }
    })
}

/// The value of a quantity of Kubernetes in whole units, such as bytes; parts of a unit are cut off.
pub(super) fn quantity(value: &Value) -> Option<u64> {
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
    Some((number * factor) as u64)
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
