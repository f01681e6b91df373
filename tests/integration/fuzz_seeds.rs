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
fn the_seeds_of_plan_pass() {
    seeds("plan", targets::plan);
}

#[test]
fn the_seeds_of_environment_pass() {
    seeds("environment", targets::environment);
}

#[test]
fn the_seeds_of_manifest_pass() {
    seeds("manifest", targets::manifest);
}

#[test]
fn the_seeds_of_api_pass() {
    seeds("api", targets::api);
}

#[test]
fn the_seeds_of_annotation_pass() {
    seeds("annotation", targets::annotation);
}

#[test]
fn the_seeds_of_toxiproxy_pass() {
    seeds("toxiproxy", targets::toxiproxy);
}

#[test]
fn two_servers_in_a_row_agree_on_each_request() {
    seeds("pair", targets::pair);
}

#[test]
fn plain_requests_get_the_answers_that_hyper_would_give() {
    seeds("plain", targets::plain);
}

#[test]
fn the_first_bytes_decide_the_protocol() {
    seeds("opening", targets::opening);
}

#[test]
fn each_message_to_the_health_service_gets_its_status() {
    seeds("health", targets::health);
}

#[test]
fn an_answer_in_parts_gets_the_same_verdict() {
    seeds("answer", targets::answer);
}

#[test]
fn the_seeds_of_profile_pass() {
    seeds("profile", targets::profile);
}
