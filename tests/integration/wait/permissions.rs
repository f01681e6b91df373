//! Permissions that are missing, and the Roles that grant them.

use super::*;

#[test]
fn a_missing_permission_is_named_with_the_role_that_grants_it() {
    let message = "deployments.apps \"postgres\" is forbidden: User \"system:serviceaccount:app:shop\" cannot list \
                   resource \"deployments\" in API group \"apps\" in the namespace \"app\"";
    let server = ApiServer::new(move |request: &Request| match request.number {
        0 => Answer::Json(403, status(403, message)),
        1 => list("1", &[deployment(1, true)]),
        _ => Answer::Watch(Vec::new()),
    });
    let ran = waited(&server, "deployment/postgres -n app");
    assert_eq!(ran.code, 0, "it goes on, and somebody grants it");
    assert!(ran.out.contains("403, not permitted: deployments.apps"), "{}", ran.out);
    for part in [
        "kind: Role\nmetadata: {name: kube-probesim-wait, namespace: app}",
        "{apiGroups: [apps], resources: [deployments], resourceNames: [postgres], verbs: [get, list, watch]}",
        "subjects: [{kind: ServiceAccount, name: shop, namespace: app}]",
    ] {
        assert!(ran.err.contains(part), "{part} is not in {}", ran.err);
    }
}

#[test]
fn a_role_names_endpoint_slices_and_is_printed_again_when_more_is_missing() {
    let forbidden = |resource: &str| {
        let user = "User \"system:serviceaccount:app:shop\"";
        Answer::Json(403, status(403, &format!("{resource} is forbidden: {user} cannot list")))
    };
    let server = ApiServer::new(move |request: &Request| {
        if request.path.contains("/endpointslices") {
            forbidden("endpointslices.discovery.k8s.io")
        } else if request.path.contains("/jobs") && request.is_watch() {
            // Of the verbs, `watch` alone is missing.
            forbidden("jobs.batch")
        } else {
            list("1", &[json!({"metadata": {"name": "123"}})])
        }
    });
    let ran = command(&["service/api", "job/123", "-n", "app", "--timeout", "2", "--server", &server.url()]);
    assert_eq!(ran.code, 1);
    let last = ran.err.split("# This Role grants what is missing:").last().unwrap();
    for part in [
        "{apiGroups: [batch], resources: [jobs], resourceNames: [\"123\"], verbs: [get, list, watch]}",
        "{apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [get, list, watch]}",
    ] {
        assert!(last.contains(part), "{part} is not in {}", ran.err);
    }
}
