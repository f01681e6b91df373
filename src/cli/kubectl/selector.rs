//! Which Pods a Service or a budget selects.

use serde_json::Value;

/// Whether a Service or budget selects the Pods of an object. Expressions of a budget are left to `predict`.
pub(super) fn selects(item: &Value, object: &Value) -> bool {
    let labels = match object["spec"].get("template") {
        Some(template) => &template["metadata"]["labels"],
        None => &object["metadata"]["labels"],
    };
    let selector = &item["spec"]["selector"];
    if selector.get("matchExpressions").is_some() {
        return true;
    }
    let wanted = selector.get("matchLabels").unwrap_or(selector).as_object();
    wanted
        .is_some_and(|wanted| !wanted.is_empty() && wanted.iter().all(|(name, value)| labels[name] == *value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_selects_the_pods_of_an_object_belongs_to_it() {
        let object = json!({"spec": {"template": {"metadata": {"labels": {"app": "web", "tier": "front"}}}}});
        let of = |spec: Value| selects(&json!({ "spec": spec }), &object);
        assert!(of(json!({"selector": {"app": "web"}})));
        assert!(of(json!({"selector": {"matchLabels": {"app": "web", "tier": "front"}}})));
        assert!(!of(json!({"selector": {"app": "other"}})));
        assert!(!of(json!({"selector": {}})));
        assert!(!of(json!({})));
    }
}
