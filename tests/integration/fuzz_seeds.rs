//! The seeds of the fuzz targets, as ordinary tests.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../../fuzz/targets.rs"]
#[allow(unreachable_pub)]
mod targets;

fn seeds(target: &str, run: fn(&[u8])) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/");
    let mut count = 0;
    for entry in std::fs::read_dir(format!("{folder}{target}")).unwrap() {
        let data = std::fs::read(entry.unwrap().path()).unwrap();
        run(&data);
        // The same must hold for every prefix.
        (0..data.len()).step_by(7).for_each(|end| run(&data[..end]));
        count += 1;
    }
    assert!(count > 0, "no seeds for {target}");
}

#[test]
fn plans_hold() {
    seeds("plan", targets::plan);
}

#[test]
fn environments_hold() {
    seeds("environment", targets::environment);
}

#[test]
fn manifests_hold() {
    seeds("manifest", targets::manifest);
}

#[test]
fn changes_by_the_api_hold() {
    seeds("api", targets::api);
}

#[test]
fn annotations_hold() {
    seeds("annotation", targets::annotation);
}

#[test]
fn two_servers_in_a_row_understand_the_same() {
    seeds("pair", targets::pair);
}
