//! How the project is built, released and published.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::fs;

use kube_probesim::plan::document;
use serde_json::Value;

use crate::support::repository;

fn text(path: &str) -> String {
    fs::read_to_string(repository(path)).unwrap()
}

fn workflow(path: &str) -> Value {
    document::parse(&text(path), 1 << 20).unwrap()
}

fn steps(job: &Value) -> &[Value] {
    job["steps"].as_array().unwrap()
}

fn is_hexadecimal(digest: &str, digits: usize) -> bool {
    digest.len() == digits && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The index of the first step that runs or uses something that contains these words.
fn place(job: &Value, words: &str) -> usize {
    let has =
        |step: &Value| ["run", "uses"].iter().any(|key| step[key].as_str().unwrap_or("").contains(words));
    steps(job).iter().position(has).unwrap_or_else(|| panic!("no step with {words}"))
}

#[test]
fn each_action_of_a_workflow_is_pinned_by_its_commit() {
    let mut pinned = 0;
    for entry in fs::read_dir(repository(".github/workflows")).unwrap() {
        let name = format!(".github/workflows/{}", entry.unwrap().file_name().to_str().unwrap());
        let workflow = workflow(&name);
        assert!(workflow["permissions"].is_object(), "{name} has the permissions of the token's default");
        for job in workflow["jobs"].as_object().unwrap().values() {
            assert!(job["timeout-minutes"].is_u64(), "{name}");
            assert!(!steps(job).is_empty(), "{name}");
        }
        for line in text(&name).lines().filter(|line| line.contains("uses:")) {
            let (_, action) = line.split_once("uses:").unwrap();
            let (action, version) = action.split_once(" # v").unwrap_or_else(|| panic!("no version: {line}"));
            let (_, commit) = action.trim().split_once('@').unwrap();
            assert!(is_hexadecimal(commit, 40), "{line}");
            assert_eq!(version.split('.').count(), 3, "{line}");
            pinned += 1;
        }
    }
    assert!(pinned >= 8, "{pinned}");
}

#[test]
fn the_release_publishes_the_binaries_that_passed_and_signs_the_image() {
    let release = workflow(".github/workflows/release.yml");
    let (test, image) = (&release["jobs"]["test"], &release["jobs"]["image"]);
    assert_eq!(image["needs"], "test");
    assert!(place(test, ".ci/run") < place(test, "upload-artifact"));
    assert!(place(test, "cargo deny") < place(test, "upload-artifact"));
    let uploaded = &steps(test)[place(test, "upload-artifact")]["with"];
    let downloaded = &steps(image)[place(image, "download-artifact")]["with"];
    assert_eq!((&uploaded["name"], &downloaded["path"]), (&downloaded["name"], &Value::from("dist")));
    let push = place(image, "build-push-action");
    assert_eq!(steps(image)[push]["with"]["target"], "prebuilt", "it compiles anew what was tested");
    assert!(push < place(image, "cosign sign"));
    let publish = &release["jobs"]["publish"];
    assert_eq!(publish["needs"], "image");
    assert!(place(publish, "download-artifact") < place(publish, ".ci/release"));
    for last in ["attest-build-provenance", "cosign sign-blob", "helm push"] {
        assert!(
            (place(publish, ".ci/release")..place(publish, "gh release create"))
                .contains(&place(publish, last))
        );
    }
    for job in [test, image, publish] {
        let writes = job["permissions"].as_object().unwrap().iter().filter(|(_, access)| *access == "write");
        let writes: Vec<&str> = writes.map(|(scope, _)| scope.as_str()).collect();
        let expected: &[&str] = match job {
            job if job == image => &["packages", "id-token"],
            job if job == publish => &["contents", "packages", "id-token", "attestations"],
            _ => &[],
        };
        assert_eq!(writes, expected);
    }
}

#[test]
fn each_base_image_is_a_stage_or_has_a_registry_and_a_digest() {
    let dockerfile = text("Dockerfile");
    let mut stages = BTreeSet::from(["scratch"]);
    let mut pulled = 0;
    for line in dockerfile.lines().filter(|line| line.starts_with("FROM ")) {
        let words: Vec<&str> = line.split_whitespace().filter(|word| !word.starts_with("--")).collect();
        // Older podman does not expand an argument in a stage's name, and asks registries for it.
        assert!(!words[1].contains('$'), "{line}");
        if !stages.contains(words[1]) {
            let (name, digest) =
                words[1].split_once("@sha256:").unwrap_or_else(|| panic!("no digest: {line}"));
            assert!(is_hexadecimal(digest, 64), "{line}");
            assert!(name.split('/').next().unwrap().contains('.'), "no registry: {line}");
            pulled += 1;
        }
        stages.extend(words.get(3));
    }
    assert_eq!(pulled, 1);
    let copied =
        dockerfile.lines().filter_map(|line| line.split_once("--from=")?.1.split_whitespace().next());
    assert!(copied.into_iter().all(|stage| stages.contains(stage)));
}

#[test]
fn the_version_is_the_same_wherever_it_is_written() {
    let version = env!("CARGO_PKG_VERSION");
    for path in ["README.md", "Dockerfile", "docs/kubernetes.md", "manifests/base/deployment.yaml"] {
        let text = text(path);
        let tags: BTreeSet<&str> = text
            .split("kube-probesim:")
            .skip(1)
            .map(|rest| {
                rest.split(|c: char| !c.is_ascii_digit() && c != '.').next().unwrap().trim_end_matches('.')
            })
            .filter(|tag| !tag.is_empty())
            .collect();
        assert_eq!(tags, BTreeSet::from([version]), "{path}");
    }
}
