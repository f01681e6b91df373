//! `HorizontalPodAutoscalers` and the numbers of Pods that they keep.

use super::findings::Reading;
use super::object::Object;

/// The kind of the objects.
const KIND: &str = "HorizontalPodAutoscaler";

/// The number of Pods of an object that asks for `replicas`, within the limits of its autoscaler. An object that asks for
/// none is not scaled.
pub(super) fn replicas(of: &Object, objects: &[Object], replicas: u32) -> Reading<u32> {
    let scaler = objects
        .iter()
        .find(|it| it.kind == KIND && it.shares_namespace(of.namespace.as_deref()) && scales(it, of));
    let Some(scaler) = scaler.filter(|_| replicas > 0) else { return Reading::of(replicas) };
    let Reading { value, findings } = Reading::collect(|found| {
        let spec = found.take(scaler.root().mapping("spec"))?;
        let most = found.take(spec.number("maxReplicas", 1, i32::MAX as u32))?;
        let least = found.take(spec.number("minReplicas", 0, most)).unwrap_or(1).max(1);
        let pods = replicas.clamp(least, most);
        let name = &scaler.name;
        found.assume(format!(
            "HorizontalPodAutoscaler {name} keeps {least} to {most} Pods; the prediction has {pods} (--pods N changes that)"
        ));
        Some(pods)
    });
    findings.elsewhere(&scaler.place).with(value.unwrap_or(replicas))
}

/// Whether the `scaleTargetRef` of an autoscaler names an object.
fn scales(scaler: &Object, of: &Object) -> bool {
    let target = scaler.root().descend(&["spec", "scaleTargetRef"]).value;
    target.is_some_and(|target| {
        let text = |name| target.string(name).value;
        text("kind") == Some(&*of.kind) && text("name") == Some(&*of.name)
    })
}
