//! What the README says is what there is.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::float_cmp)]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::sync::Mutex;

use kube_probesim::cli::{fault, predict};
use kube_probesim::env;
use kube_probesim::env::{VARIABLES, Variable};

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");

fn readme() -> String {
    std::fs::read_to_string(README).unwrap()
}

fn table() -> String {
    let mut table =
        "| variable | unit of a bare number | default | meaning |\n|---|---|---|---|\n".to_owned();
    for variable in VARIABLES {
        let star = if variable.prefixes.is_empty() { "" } else { "\\*" };
        let Variable { name, unit, default, meaning, .. } = variable;
        writeln!(table, "| `{name}`{star} | {unit} | {default} | {meaning} |").unwrap();
    }
    table
}

/// Compares what stands between two marks with what should; rewrites it by `UPDATE_README=1 cargo test --test readme`.
fn hold(mark: &str, expected: &str) {
    static FILE: Mutex<()> = Mutex::new(());
    let _guard = FILE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (begin, end) = (format!("<!-- {mark} -->\n"), format!("<!-- /{mark} -->"));
    let readme = readme();
    let (before, rest) = readme.split_once(&begin).unwrap();
    let (block, after) = rest.split_once(&end).unwrap();
    if std::env::var_os("UPDATE_README").is_some() {
        std::fs::write(README, format!("{before}{begin}{expected}{end}{after}")).unwrap();
    } else {
        assert_eq!(block, expected);
    }
}

#[test]
fn the_table_of_variables_is_that_of_the_program() {
    hold("variables", &table());
}

#[test]
fn the_prediction_is_what_predict_prints() {
    const ARGS: [&str; 4] = ["manifests/base/deployment.yaml", "manifests/base/service.yaml", "--for", "5m"];
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let args = ARGS.iter().map(OsString::from);
    let code = predict::run(args, &mut std::io::empty(), true, &mut output, &mut errors);
    assert_eq!((code, String::from_utf8(errors).unwrap().as_str()), (0, ""));
    let output = String::from_utf8(output).unwrap();
    hold("predict", &format!("```console\n$ kube-probesim predict {}\n{output}```\n", ARGS.join(" ")));
}

#[test]
fn the_help_of_fault_is_what_it_prints() {
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let code = fault::run([OsString::from("--help")], [], &mut output, &mut errors);
    assert_eq!((code, errors.len()), (0, 0));
    let help = String::from_utf8(output).unwrap();
    hold("fault", &format!("```console\n$ kube-probesim fault --help\n{help}```\n"));
}

/// Each curl of the README is run; a stream is left after its first bytes.
#[tokio::test]
async fn the_calls_of_the_readme_do_what_they_say() {
    let service = crate::support::Service::start(&[]).await;
    let readme = readme();
    let calls: Vec<&str> = readme.lines().filter(|line| line.contains("localhost:8081/v1/")).collect();
    assert_eq!(calls.len(), 6);
    for call in calls {
        let call = call.replace("localhost:8081", &service.admin.to_string());
        let limit = if call.contains("event-stream") { "--max-time 1" } else { "--fail" };
        let line = call.replacen("curl", &format!("curl -s -S {limit} -w '%{{http_code}}'"), 1);
        let output = tokio::process::Command::new("sh").args(["-c", &line]).output().await.unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            told.ends_with("200") || told.ends_with("201"),
            "{line}: {told} {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[tokio::test]
async fn the_table_of_metrics_is_what_a_scrape_has() {
    let plan = "{faults: [{name: some, target: liveness, mode: hang, rate: 0%, pods: 100%}]}";
    let service = crate::support::Service::start(&[("FAULTS", plan), ("POD_NAME", "web-0")]).await;
    service.get("/healthz").await;
    let scraped: BTreeSet<String> = service
        .metrics()
        .await
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next().map(str::to_owned))
        .filter(|name| name.starts_with("probesim_"))
        .collect();
    let written: BTreeSet<String> = readme()
        .lines()
        .filter_map(|line| line.strip_prefix("| `probesim_"))
        .map(|line| format!("probesim_{}", line.split(['{', '`']).next().unwrap()))
        .collect();
    assert_eq!(written, scraped);
}

/// The YAML blocks of the README and the short plans in its tables are read as the service reads them.
#[test]
fn the_plan_of_the_readme_is_read() {
    let readme = readme();
    let blocks = readme.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let plans: Vec<&str> = blocks.filter(|block| block.contains("faults:\n")).collect();
    assert!(!plans.is_empty());
    for plan in plans {
        let config = crate::support::config(&[("FAULTS", plan), ("POD_NAME", "web-0")]);
        assert_eq!(config.plan.rules()[0].name().as_str(), "readiness-flaps");
    }
    let delays =
        readme.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |").map(|(delay, _)| delay));
    let delays: Vec<&str> = delays.filter(|delay| delay.starts_with('{') || *delay == "50ms").collect();
    assert_eq!(delays.len(), 6);
    for delay in delays {
        let plan = format!("{{faults: [{{name: slow, target: liveness, delay: {delay}}}]}}");
        assert_eq!(crate::support::config(&[("FAULTS", &plan)]).plan.rules().len(), 1, "{delay}");
    }
}

/// The variables of the manifests are known, and what they say is accepted.
#[test]
fn the_manifest_names_variables_that_exist() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/base/deployment.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let deployment = kube_probesim::plan::document::parse(&text, 1 << 20).unwrap();
    let env = &deployment["spec"]["template"]["spec"]["containers"][0]["env"];
    let pairs = env.as_array().unwrap().iter().map(|var| {
        let value = var["value"].as_str().unwrap_or("by-the-downward-api");
        (OsString::from(var["name"].as_str().unwrap()), OsString::from(value))
    });
    let loaded = env::load(pairs).unwrap();
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.effective.len(), env.as_array().unwrap().len());
}
