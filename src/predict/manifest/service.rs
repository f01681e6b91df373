//! Reads Services and the Pods that they select.

use super::findings::Reading;
use super::object::Object;

/// A Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceInfo {
    /// The file and document of the object.
    pub place: String,
    /// Its name.
    pub name: String,
    /// The labels that it selects; without labels it selects no Pods.
    pub selector: Vec<(String, String)>,
    /// Whether Pods that are not Ready are endpoints too (`publishNotReadyAddresses`).
    pub publishes_not_ready: bool,
    /// The positions of the workloads whose Pods it selects.
    pub workloads: Vec<usize>,
}

/// Reads a Service. `pods` are the objects that create Pods, with the labels of these Pods.
pub(super) fn read(object: &Object, pods: &[(&Object, Vec<(&str, &str)>)]) -> Reading<ServiceInfo> {
    Reading::collect(|found| {
        let spec = found.take(object.root().mapping("spec"));
        let selector =
            spec.as_ref().map(|spec| found.take(spec.string_pairs("selector"))).unwrap_or_default();
        let publishes = spec.as_ref().and_then(|spec| found.take(spec.boolean("publishNotReadyAddresses")));
        let selected = pods.iter().enumerate().filter(|(_, (pod, labels))| {
            !selector.is_empty()
                && pod.shares_namespace(object.namespace.as_deref())
                && selector.iter().all(|pair| labels.contains(pair))
        });
        let workloads = selected.map(|(position, _)| position).collect();
        ServiceInfo {
            place: object.place.heading(),
            name: object.name.clone(),
            selector: selector.into_iter().map(|(key, text)| (key.to_owned(), text.to_owned())).collect(),
            publishes_not_ready: publishes.unwrap_or(false),
            workloads,
        }
    })
}
