//! Services and the Pods that they select.

use super::ServiceInfo;
use super::findings::Reading;
use super::object::Object;

/// Reads a Service; `pods` are the objects that make Pods, with the labels of these.
pub(super) fn read(object: &Object, pods: &[(&Object, Vec<(&str, &str)>)]) -> Reading<ServiceInfo> {
    Reading::collect(|found| {
        let spec = found.take(object.node().child("spec"));
        let selector = spec.as_ref().map(|spec| found.take(spec.pairs("selector"))).unwrap_or_default();
        let publishes = spec.as_ref().and_then(|spec| found.take(spec.flag("publishNotReadyAddresses")));
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
