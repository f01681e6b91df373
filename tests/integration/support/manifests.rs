//! Manifests as `kubectl kustomize` renders them. Tests that render check [`tools`](super::tools) first.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kube_probesim::plan::document;
use serde_json::Value;

use super::repository;

/// The program that renders; 1.27 or newer, since older ones do not know components.
pub const KUBECTL: &str = "kubectl";

/// A folder, rendered by `kubectl kustomize`.
pub fn rendered(folder: &Path) -> String {
    let output = Command::new(KUBECTL).arg("kustomize").arg(folder).output().unwrap();
    assert!(output.status.success(), "{}: {}", folder.display(), String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The documents of a text.
pub fn objects(text: &str) -> Vec<Value> {
    document::parse_manifests(text, 1 << 20).unwrap().into_iter().map(|document| document.value).collect()
}

/// Makes paths of the repository relative to a folder, as kustomize requires.
pub fn relative_to(folder: &Path) -> impl Fn(&str) -> String {
    let up = "../".repeat(folder.canonicalize().unwrap().components().count());
    move |path| format!("{up}{}", repository(path).strip_prefix("/").unwrap().display())
}

/// The text that components make of manifests, such as `web.yaml`, or of the base where none are given.
pub fn composed(manifests: Option<&str>, components: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let relative = relative_to(folder);
    let resource = match manifests {
        Some(manifests) => {
            fs::write(folder.join("manifests.yaml"), manifests).unwrap();
            "manifests.yaml".to_owned()
        }
        None => relative("manifests/base"),
    };
    let mut text = format!("resources:\n  - {resource}\ncomponents:\n");
    for component in components {
        writeln!(text, "  - {}", relative(&format!("manifests/components/{component}"))).unwrap();
    }
    fs::write(folder.join("kustomization.yaml"), text).unwrap();
    rendered(folder)
}

/// The text that parts of the component `sidecar-proxy` make of manifests with these settings, or what kustomize says
/// against them.
pub fn proxied(manifests: &str, settings: &[&str], parts: &[&str]) -> Result<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let (folder, proxy) = (folder.path(), folder.path().join("proxy"));
    fs::create_dir(&proxy).unwrap();
    fs::write(folder.join("manifests.yaml"), manifests).unwrap();
    fs::write(
        folder.join("kustomization.yaml"),
        "resources:\n  - manifests.yaml\ntransformers:\n  - proxy\n",
    )
    .unwrap();
    let relative = relative_to(&proxy);
    let parts = parts.iter().map(|part| relative(&format!("manifests/components/sidecar-proxy/{part}")));
    let text = serde_json::json!({
        "configMapGenerator": [{
            "name": "probesim-proxy",
            "options": {"disableNameSuffixHash": true},
            "literals": settings,
        }],
        "components": parts.collect::<Vec<_>>(),
    });
    fs::write(proxy.join("kustomization.yaml"), text.to_string()).unwrap();
    let output = Command::new(KUBECTL).arg("kustomize").arg(folder).output().unwrap();
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// The folders of the scenarios, by name.
pub fn scenarios() -> Vec<PathBuf> {
    let entries = fs::read_dir(repository("manifests/scenarios")).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

/// The last part of a folder's path.
pub fn name(folder: &Path) -> &str {
    folder.file_name().unwrap().to_str().unwrap()
}
