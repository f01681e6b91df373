//! The reports of `predict`: `JUnit`, advice, pictures, several runs and comparisons.

use super::*;

const PROFILE: [&str; 2] = [
    "--profile",
    "web={ready_after: 5s, faults: [{name: gone, target: liveness, mode: close, when: {after: 5m, for: 2m}}]}",
];

#[test]
fn junit_has_a_case_for_each_condition_and_advice_and_skips_what_is_not_assessed() {
    let output = predict(&["-", "--output", "junit"], SHOP);
    let xml = text(&output.stdout);
    assert!(xml.starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites"), "{xml}");
    assert!(xml.contains("name=\"restarts\"><skipped message=\"no container runs"), "{xml}");
    assert!(xml.contains("name=\"advice timeout-below-p99\"/>"), "{xml}");
    let args = [
        "-",
        "--output",
        "junit",
        "--fail-on",
        "restarts > 0",
        "--fail-on",
        "pdb-blocks-drain",
        PROFILE[0],
        PROFILE[1],
    ];
    let output = predict(&args, SHOP);
    let xml = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        xml.contains("name=\"restarts &gt; 0\"><failure message=\"restarts &gt; 0: restarts is "),
        "{xml}"
    );
    assert!(
        xml.contains("name=\"pdb-blocks-drain\"/>") && xml.ends_with("</testsuite>\n</testsuites>\n"),
        "{xml}"
    );
    assert!(xml.contains("failures=\"1\" skipped=\"0\""), "{xml}");
}

#[test]
fn advice_fails_a_pipeline_by_its_name_and_is_left_out_by_it() {
    let budget = "---\napiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: all}\nspec: {minAvailable: 1, selector: {}}\n";
    let input = SHOP.to_owned() + budget;
    let output = predict(&["-", "--fail-on", "pdb-blocks-drain"], &input);
    assert_eq!(output.status.code(), Some(1), "without a profile");
    assert!(text(&output.stderr).contains("pdb-blocks-drain: PodDisruptionBudget all (minAvailable 1)"));
    assert!(text(&output.stdout).contains("[pdb-blocks-drain]"));
    let output = predict(&["-", "--no-advice", "pdb-blocks-drain", "--fail-on", "pdb-blocks-drain"], &input);
    assert_eq!(output.status.code(), Some(0));
    assert!(!text(&output.stdout).contains("[pdb-blocks-drain]"));
    let output = predict(&["-", "--fail-on", "pdb-block-drain", "--no-advice", "x"], &input);
    assert_eq!(output.status.code(), Some(64));
    let errors = text(&output.stderr);
    assert!(
        errors.contains("did you mean pdb-blocks-drain?")
            && errors.contains("--no-advice \"x\" is not the name of advice"),
        "{errors}"
    );
}

#[test]
fn picture_and_page_are_self_contained_and_accessible() {
    for form in ["svg", "html"] {
        let output = predict(&["-", "--output", form, PROFILE[0], PROFILE[1]], SHOP);
        let page = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let svg = &page[page.find("<svg").unwrap()..];
        assert!(
            svg.contains("role=\"img\"")
                && svg.contains("<title>Deployment shop</title>\n<desc>Deployment shop: 1 Pod for 1h"),
            "{page}"
        );
        assert!(page.contains("fault gone"), "{page}");
        assert!(form == "svg" || page.contains("Get &quot;http://10.0.0.5:80/&quot;: EOF"), "{form} escapes");
        assert!(page.contains("prefers-color-scheme:dark") && !page.contains("<script"));
        let elsewhere = page.replace("http://www.w3.org/2000/svg", "");
        assert!(
            !elsewhere.contains("src=") && !elsewhere.contains("href=") && !elsewhere.contains("url("),
            "{form}"
        );
    }
    let two = SHOP.to_owned() + "---\n" + &SHOP.replace("name: shop", "name: second");
    let output = predict(&["-", "--output", "svg"], &two);
    assert_eq!(output.status.code(), Some(64));
    assert!(text(&output.stderr).contains("select one of Deployment shop, Deployment second"));
}

#[test]
fn the_picture_shows_pods_that_a_rollout_creates_and_deletes() {
    for form in ["svg", "html"] {
        let args = ["-", "--output", form, PROFILE[0], PROFILE[1], "--rollout", "10m", "--for", "20m"];
        let output = predict(&args, SHOP);
        let page = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let lanes = &page[page.find(">Ready Pods<").unwrap()..page.find(">Ready endpoints<").unwrap()];
        let titles = |end: &str| lanes.matches(end).count();
        // Each Pod restarts once; only the second one exists at the end.
        assert_eq!(titles("<title>shop-"), 2, "{lanes}");
        assert_eq!((titles("to +20m</title>"), titles("<title>Ready, ")), (1, 4), "{lanes}");
    }
}

#[test]
fn workloads_are_chosen_by_kind_name_and_labels() {
    let labelled = SHOP.replace("template:\n", "template:\n    metadata: {labels: {app: shop}}\n");
    let two = labelled.clone()
        + "---\n"
        + &labelled.replace(": shop", ": second").replace("Deployment", "StatefulSet");
    let titles = |args: &[&str]| {
        let output = predict(&[&["-"], args].concat(), &two);
        let printed = text(&output.stdout);
        let titles: Vec<String> = printed
            .lines()
            .filter_map(|line| line.split(": ").nth(1).filter(|_| line.starts_with("standard input")))
            .map(str::to_owned)
            .collect();
        (output.status.code().unwrap(), titles)
    };
    let (shop, second) = ("Deployment shop".to_owned(), "StatefulSet second".to_owned());
    assert_eq!(titles(&[]), (0, vec![shop.clone(), second.clone()]));
    assert_eq!(titles(&["--kind", "statefulset"]), (0, vec![second.clone()]));
    assert_eq!(titles(&["--name", "shop"]), (0, vec![shop]));
    assert_eq!(titles(&["--selector", "app!=shop"]), (0, vec![second]));
    assert_eq!(titles(&["--name", "third"]), (64, vec![]));
    assert_eq!(titles(&["--selector", "=x"]), (64, vec![]));
}

#[test]
fn many_runs_show_the_distribution_of_figures() {
    let args = ["-", "--profile", "web={latency: {p50: 100ms, p80: 1500ms}}", "--runs", "50", "--for", "10m"];
    let output = predict(&args, SHOP);
    let printed = text(&output.stdout);
    let line = printed.lines().find(|line| line.contains("restarts of the worst Pod")).unwrap();
    let figures: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert!(printed.contains("Over 50 runs") && printed.contains("shows one such run"), "{printed}");
    assert!(figures.len() == 3 && figures[0] < figures[2], "{line}");
    assert_eq!(text(&predict(&args, SHOP).stdout), printed, "the same seeds");
    let json = predict(&[&args[..], &["--output", "json"]].concat(), SHOP);
    let json = text(&json.stdout);
    let summary: serde_json::Value = serde_json::from_str(json.lines().last().unwrap()).unwrap();
    assert_eq!(summary["summary"]["runs"]["restarts"]["p95"], figures[2]);
    assert_eq!(predict(&["-", "--runs", "0"], SHOP).status.code(), Some(64));
}

#[test]
fn two_versions_are_compared_side_by_side() {
    let dir = std::env::temp_dir().join(format!("probesim-against-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let (before, after) = (dir.join("before.yaml"), dir.join("after.yaml"));
    std::fs::write(&before, SHOP).unwrap();
    std::fs::write(
        &after,
        SHOP.replace("{httpGet: {port: 80}}", "{httpGet: {port: 80}, failureThreshold: 6}"),
    )
    .unwrap();
    let (before, after) = (before.to_str().unwrap(), after.to_str().unwrap());
    let profile = ["--profile", "web={ready_after: 40s}"];
    let output = predict(&[before, "--against", after, profile[0], profile[1]], "");
    let printed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let line = |what: &str| {
        printed
            .lines()
            .find(|line| line.contains(what))
            .unwrap()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(
        line("pause that liveness tolerates"),
        "* web: pause that liveness tolerates 21s .. 31s 51s .. 1m1s"
    );
    assert!(
        line("restarts of the worst Pod").ends_with(" 0")
            && line("restarts of the worst Pod").starts_with('*'),
        "{printed}"
    );
    assert!(printed.contains("others are the same"), "{printed}");
    let json = predict(&[before, "--against", after, "--output", "json"], "");
    let line: serde_json::Value = serde_json::from_str(&text(&json.stdout)).unwrap();
    assert_eq!(line["comparison"]["outcomes"][0]["before"], "not assessed");
    assert_eq!(predict(&[before, "--against", after, "--output", "svg"], "").status.code(), Some(64));
    std::fs::remove_dir_all(&dir).unwrap();
}
