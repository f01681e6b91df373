//! The documentation agrees with the program.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::float_cmp)]

mod links;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;

use kube_probesim::cli::{attach, fault, toxiproxy, wait};
use kube_probesim::env;
use kube_probesim::env::{VARIABLES, Variable};
use kube_probesim::fault::PROCESS_MODES;

use crate::support::manifests::{name, scenarios};
use crate::support::{predict, repository, tools};

fn page(path: &str) -> String {
    fs::read_to_string(repository(path)).unwrap()
}

/// Compares the block between two marks of a page with the expected one. `UPDATE_DOCS=1 cargo test --test integration
/// docs::` rewrites it.
fn check_block(path: &str, mark: &str, expected: &str) {
    let (begin, end) = (format!("<!-- {mark} -->\n"), format!("<!-- /{mark} -->"));
    let text = page(path);
    let (before, rest) = text.split_once(&begin).unwrap();
    let (block, after) = rest.split_once(&end).unwrap();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(repository(path), format!("{before}{begin}{expected}{end}{after}")).unwrap();
    } else {
        assert_eq!(block, expected, "{path}: UPDATE_DOCS=1 rewrites it");
    }
}

/// The first column of the rows of a page's tables that begin with `prefix`, without backticks.
fn rows(path: &str, prefix: &str) -> BTreeSet<String> {
    let page = page(path);
    let cells = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    cells.filter(|cell| cell.starts_with(prefix)).map(str::to_owned).collect()
}

#[test]
fn the_table_of_variables_matches_the_program() {
    let mut table =
        "| variable | unit of a bare number | default | meaning |\n|---|---|---|---|\n".to_owned();
    for variable in VARIABLES {
        let star = if variable.prefixes.is_empty() { "" } else { "\\*" };
        let Variable { name, unit, default, meaning, .. } = variable;
        writeln!(table, "| `{name}`{star} | {unit} | {default} | {meaning} |").unwrap();
    }
    check_block("docs/variables.md", "variables", &table);
}

#[test]
fn the_table_of_process_faults_matches_the_program() {
    let mut table = "| mode | fields | what happens | at the window's end |\n|---|---|---|---|\n".to_owned();
    for info in PROCESS_MODES {
        let fields: Vec<String> = info.fields.iter().map(|field| format!("`{}`", field.name())).collect();
        writeln!(table, "| `{}` | {} | {} | {} |", info.name, fields.join(", "), info.does, info.end)
            .unwrap();
    }
    check_block("docs/process-faults.md", "process-modes", &table);
}

#[test]
fn every_piece_of_advice_is_listed() {
    let rows = kube_probesim::predict::advice::NAMES.map(|(name, about)| format!("| `{name}` | {about} |\n"));
    check_block("docs/advice.md", "advice", &format!("| name | about |\n|---|---|\n{}", rows.concat()));
}

#[test]
fn the_prediction_is_what_predict_prints() {
    const ARGS: [&str; 4] = ["manifests/base/deployment.yaml", "manifests/base/service.yaml", "--for", "5m"];
    let output = predict(&ARGS, "");
    let block = format!("```console\n$ kube-probesim predict {}\n{output}```\n", ARGS.join(" "));
    check_block("docs/predict.md", "predict", &block);
}

#[test]
fn the_help_of_a_verb_is_what_it_prints() {
    for (verb, path) in [
        ("attach", "docs/attach.md"),
        ("fault", "docs/steering.md"),
        ("toxiproxy", "docs/toxiproxy.md"),
        ("wait", "docs/wait.md"),
    ] {
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let help = [OsString::from("--help")];
        let code = match verb {
            "attach" => attach::run(help, [], &mut output, &mut errors),
            "fault" => fault::run(help, [], &mut output, &mut errors),
            "toxiproxy" => toxiproxy::run(help, [], &mut output, &mut errors),
            _ => wait::run(help, [], &mut output, &mut errors),
        };
        assert_eq!((code, errors.len()), (0, 0));
        let help = String::from_utf8(output).unwrap();
        check_block(path, verb, &format!("```console\n$ kube-probesim {verb} --help\n{help}```\n"));
    }
}

#[test]
fn the_table_of_scenarios_has_every_scenario() {
    let mut table = "| scenario | shows |\n|---|---|\n".to_owned();
    for folder in scenarios() {
        let name = name(&folder);
        let readme = fs::read_to_string(folder.join("README.md")).unwrap();
        let title = readme.lines().next().unwrap().strip_prefix("# ").unwrap();
        let (named, shows) = title.split_once(": ").unwrap();
        assert_eq!(named, name);
        for part in ["**Run:**", "**See:**", "**Learn:**"] {
            assert!(readme.contains(part), "{name} lacks {part}");
        }
        writeln!(table, "| [`{name}`](../manifests/scenarios/{name}) | {shows} |").unwrap();
    }
    check_block("docs/kubernetes.md", "scenarios", &table);
    let count = scenarios().len();
    assert!(page("README.md").contains(&format!("one of {count} drills")), "the README has another number");
}

#[test]
fn the_table_of_components_has_every_component() {
    let entries = fs::read_dir(repository("manifests/components")).unwrap();
    let components: BTreeSet<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let page = page("docs/kubernetes.md");
    let table = page.split_once("| component | effect |\n|---|---|\n").unwrap().1;
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    let first_cells = rows.map(|row| row.split('|').nth(1).unwrap());
    let written: BTreeSet<String> =
        first_cells.flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned)).collect();
    assert_eq!(written, components);
}

#[test]
fn the_readme_is_one_page_and_each_page_begins_with_an_example() {
    assert!(page("README.md").lines().count() <= 150);
    for entry in fs::read_dir(repository("docs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let example = text.find("```").unwrap_or(usize::MAX);
        let section = text.find("\n## ").unwrap_or(usize::MAX);
        let named = path.file_name().unwrap().to_str().unwrap();
        assert!(text.starts_with("# "), "{named} has no title");
        assert!(example < section || named == "getting-started.md", "{named} does not begin with an example");
    }
}

/// Runs each curl of the page; a stream is left after its first bytes.
#[tokio::test]
async fn the_calls_of_the_api_do_what_they_say() {
    if !tools::are_there(&["sh", "curl"]) {
        return;
    }
    let service = crate::support::Service::start(&[]).await;
    let page = page("docs/steering.md");
    let calls: Vec<&str> = page.lines().filter(|line| line.contains("localhost:8081/v1/")).collect();
    assert!(calls.len() >= 6, "{calls:?}");
    for call in calls {
        let call = call.replace("localhost:8081", &service.admin.to_string());
        let limit = if call.contains("event-stream") { "--max-time 1" } else { "--fail" };
        let line = call.replacen("curl", &format!("curl -s -S {limit} -w '%{{http_code}}'"), 1);
        let output = tokio::process::Command::new("sh").args(["-c", &line]).output().await.unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            printed.ends_with("200") || printed.ends_with("201"),
            "{line}: {printed} {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[tokio::test]
async fn the_table_of_metrics_is_what_a_scrape_has() {
    let plan = "{faults: [{name: some, target: liveness, mode: hang, rate: 0%, pods: 100%}]}";
    // Nothing listens there; the metric families of the upstream exist anyway.
    let vars = [
        ("FAULTS", plan),
        ("POD_NAME", "web-0"),
        ("UPSTREAM", "http://127.0.0.1:1"),
        ("PROXIES", "db=:0->127.0.0.1:1"),
        ("TLS", "self-signed"),
    ];
    let service = crate::support::Service::start(&vars).await;
    service.get("/healthz").await;
    let metrics = service.metrics().await;
    let names = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let scraped: BTreeSet<&str> = names.filter(|name| name.starts_with("probesim_")).collect();
    let rows = rows("docs/metrics.md", "probesim_");
    let written: BTreeSet<&str> = rows.iter().map(|row| row.split('{').next().unwrap()).collect();
    assert_eq!(written, scraped);
}

/// Every crate that the program or its tests depend on has its reason in the table.
#[test]
fn the_table_of_dependencies_matches_the_package() {
    let package = page("Cargo.toml");
    let mut named = BTreeSet::new();
    let mut is_dependency = false;
    for line in package.lines() {
        if let Some(section) = line.strip_prefix('[') {
            is_dependency = section.ends_with("dependencies]");
        } else if let Some((name, _)) = line.split_once(" = ").filter(|_| is_dependency) {
            named.insert(name);
        }
    }
    assert!(named.contains("tokio") && named.contains("flate2") && named.contains("proptest"));
    let page = page("docs/architecture.md");
    let table = page.split("<!-- dependencies -->").nth(1).unwrap();
    let cells = table.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let written: BTreeSet<&str> =
        cells.flat_map(|cell| cell.split(", ").map(|name| name.trim_matches('`'))).collect();
    assert_eq!(written, named);
}

/// The YAML blocks of the page and the short plans in its tables are read as the service reads them.
#[test]
fn the_plans_of_the_page_on_rules_are_accepted() {
    let page = page("docs/rules.md");
    let blocks = page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let plans: Vec<&str> = blocks.filter(|block| block.contains("faults:\n")).collect();
    assert!(!plans.is_empty());
    for plan in plans {
        let config = crate::support::config(&[("FAULTS", plan), ("POD_NAME", "web-0")]);
        assert!(!config.plan.rules().is_empty(), "{plan}");
    }
    let inline = page.lines().find_map(|line| line.strip_prefix("FAULTS='")?.split('\'').next()).unwrap();
    assert_eq!(crate::support::config(&[("FAULTS", inline)]).plan.rules().len(), 1);
    let first_cells =
        page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |").map(|(cell, _)| cell));
    let delays: Vec<&str> = first_cells.filter(|cell| cell.starts_with('{') || *cell == "50ms").collect();
    assert_eq!(delays.len(), 6);
    for delay in delays {
        let plan = format!("{{faults: [{{name: slow, target: liveness, delay: {delay}}}]}}");
        assert_eq!(crate::support::config(&[("FAULTS", &plan)]).plan.rules().len(), 1, "{delay}");
    }
}

/// The variables of the base are known, and their values are accepted.
#[test]
fn the_manifest_names_variables_that_exist() {
    let text = page("manifests/base/deployment.yaml");
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

/// The lines of all code blocks of the documentation, without prompts and comments.
fn example_lines() -> Vec<(String, String)> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(repository("docs")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for block in text.split("\n```").skip(1).step_by(2) {
            let shown = block.lines().skip(1).map(|line| line.strip_prefix("$ ").unwrap_or(line));
            lines
                .extend(shown.map(|line| (name.clone(), line.split(" #").next().unwrap().trim().to_owned())));
        }
    }
    lines
}

/// Splits a line as a shell does, as far as the examples need it.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut quoted, mut is_word) = (vec![String::new()], None, false);
    for c in line.chars() {
        match (c, quoted) {
            ('\'' | '"', None) => (quoted, is_word) = (Some(c), true),
            (c, Some(quote)) if c == quote => quoted = None,
            (' ', None) if is_word => {
                words.push(String::new());
                is_word = false;
            }
            (' ', None) => (),
            (c, _) => {
                words.last_mut().unwrap().push(c);
                is_word = true;
            }
        }
    }
    words
}

/// `FAILURE_RATE=20 kube-probesim`: every variable exists, and has an effect.
#[test]
fn the_examples_set_variables_that_exist() {
    let mut checked = 0;
    for (name, line) in example_lines() {
        let words = words(line.trim_end_matches(" &"));
        let is_assignment = |word: &&String| {
            word.split_once('=')
                .is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
        };
        let variables: Vec<&String> = words.iter().take_while(is_assignment).collect();
        if variables.is_empty() || words.get(variables.len()).is_none_or(|command| command != "kube-probesim")
        {
            continue;
        }
        let pairs = variables.iter().map(|word| {
            let (name, value) = word.split_once('=').unwrap();
            (OsString::from(name), OsString::from(value))
        });
        let loaded = env::load(pairs).unwrap_or_else(|errors| panic!("{name}: {line}: {errors}"));
        assert_eq!(loaded.warnings, [], "{name}: {line}");
        checked += 1;
    }
    assert!(checked > 10, "only {checked} examples were found");
}

/// Without a service, a valid command line fails to connect (69); an invalid one is wrong usage (64).
#[test]
fn the_examples_of_fault_add_are_valid_command_lines() {
    let mut checked = 0;
    for (name, line) in example_lines() {
        let Some(rest) = line.strip_prefix("kube-probesim fault add ") else { continue };
        let mut args = vec!["add".to_owned()];
        args.extend(words(rest));
        args.push("--admin=127.0.0.1:1".to_owned());
        let mut stderr = Vec::new();
        let code = kube_probesim::cli::fault::run(
            args.into_iter().map(OsString::from),
            [],
            &mut Vec::new(),
            &mut stderr,
        );
        assert_eq!(code, 69, "{name}: {line}: {}", String::from_utf8_lossy(&stderr));
        checked += 1;
    }
    assert!(checked >= 8, "only {checked} examples were found");
}
