//! Ready endpoints of Services.

use std::collections::BTreeMap;

use serde_json::Value;

use super::object::text;
use super::tracked::State;

/// Limit of slices; a Service has one per hundred Pods.
const MAX_SLICES: usize = 10_000;
/// The label of a slice with the name of its Service.
pub(super) const SERVICE: &str = "kubernetes.io/service-name";

/// The slices by name.
#[derive(Debug, Default)]
pub(super) struct Slices(BTreeMap<String, Slice>);

#[derive(Debug)]
struct Slice {
    service: String,
    ready: usize,
    others: usize,
}

impl Slices {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn put(&mut self, name: &str, object: &Value) {
        if self.0.len() >= MAX_SLICES && !self.0.contains_key(name) {
            return;
        }
        let service = text(object, "/metadata/labels/kubernetes.io~1service-name").to_owned();
        let endpoints = object.pointer("/endpoints").and_then(Value::as_array);
        let endpoints = endpoints.map(Vec::as_slice).unwrap_or_default();
        // An absent condition means ready.
        let is_ready = |endpoint: &&Value| {
            endpoint.pointer("/conditions/ready").and_then(Value::as_bool).unwrap_or(true)
        };
        let ready = endpoints.iter().filter(is_ready).count();
        self.0.insert(name.to_owned(), Slice { service, ready, others: endpoints.len() - ready });
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Returns whether a Service has a ready endpoint.
    pub(super) fn of(&self, service: &str) -> State {
        let slices = || self.0.values().filter(|slice| slice.service == service);
        if slices().any(|slice| slice.ready > 0) {
            return State::Ready;
        }
        State::Missing(match (slices().count(), slices().map(|slice| slice.others).sum()) {
            (0, _) => "no Service with this name has endpoints".to_owned(),
            (_, 0) => "has no endpoints".to_owned(),
            (_, 1) => "its only endpoint is not ready".to_owned(),
            (_, others) => format!("none of its {others} endpoints is ready"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn one_ready_endpoint_in_any_slice_is_enough() {
        let slice = |service: &str, endpoints: Value| json!({"metadata": {"labels": {SERVICE: service}}, "endpoints": endpoints});
        let unready = json!({"conditions": {"ready": false}});
        let mut slices = Slices::default();
        let missing = |reason: &str| State::Missing(reason.to_owned());
        assert_eq!(slices.of("api"), missing("no Service with this name has endpoints"));
        slices.put("api-1", &slice("api", Value::Null));
        assert_eq!(slices.of("api"), missing("has no endpoints"));
        slices.put("api-1", &slice("api", json!([unready])));
        slices.put("db-1", &slice("db", json!([{"conditions": {}}])));
        assert_eq!(slices.of("api"), missing("its only endpoint is not ready"));
        slices.put("api-2", &slice("api", json!([unready, unready])));
        assert_eq!(slices.of("api"), missing("none of its 3 endpoints is ready"));
        slices.put("api-2", &slice("api", json!([unready, {"conditions": {"ready": true}}])));
        assert_eq!((slices.of("api"), slices.of("db")), (State::Ready, State::Ready));
        slices.remove("api-2");
        assert_eq!(slices.of("api"), missing("its only endpoint is not ready"));
    }
}
