//! Every dependency works with the `rust-version` of the package. For the program's own code, `clippy::incompatible_msrv`
//! checks the same.

#![allow(clippy::unwrap_used)]

use std::process::Command;

use serde_json::Value;

/// The numbers of a version; the last one may be missing.
fn numbers(version: &str) -> Vec<u32> {
    let mut numbers: Vec<_> = version.split('.').map(|part| part.parse().unwrap()).collect();
    numbers.resize(3, 0);
    numbers
}

#[test]
fn no_dependency_needs_a_newer_rust_than_the_package_names() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform"])
        .arg("x86_64-unknown-linux-musl")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let ours = numbers(env!("CARGO_PKG_RUST_VERSION"));
    let mut told = 0;
    for package in packages {
        if let Some(theirs) = package["rust_version"].as_str() {
            assert!(numbers(theirs) <= ours, "{} needs {theirs}", package["name"]);
            told += 1;
        }
    }
    assert!(told > packages.len() / 2, "only {told} of {} packages say what they need", packages.len());
}
