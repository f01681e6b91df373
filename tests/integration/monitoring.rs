//! Rules and dashboard match each other and what the service exposes. `tests/e2e/prometheus.sh` shows that Prometheus accepts
//! them and that alerts fire.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use kube_probesim::plan::document;
use serde_json::Value;

/// Metrics that come from elsewhere: kube-state-metrics.
const FOREIGN: [&str; 2] =
    ["kube_pod_container_status_restarts_total", "kube_pod_init_container_status_restarts_total"];

/// Labels that a scrape adds.
const OF_THE_SCRAPE: [&str; 3] = ["namespace", "pod", "container"];

/// Words of the query language that may precede a parenthesis without being functions.
const KEYWORDS: &str = "and or unless by on offset group_left without sum min max avg count";

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap()
}

fn yaml(name: &str) -> Value {
    document::parse(&text(name), 1 << 20).unwrap_or_else(|error| panic!("{name}: {error:?}"))
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().unwrap_or_else(|| panic!("no list {key} in {value}"))
}

fn string<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}"))
}

const COMPONENT: &str = "manifests/components/monitoring";

fn rules() -> Vec<Value> {
    let rules = yaml(&format!("{COMPONENT}/rules.yaml"));
    list(&rules, "groups").iter().flat_map(|group| list(group, "rules")).cloned().collect()
}

fn dashboard() -> Value {
    serde_json::from_str(&text(&format!("{COMPONENT}/dashboard.json"))).unwrap()
}

/// All queries of the dashboard: of panels, annotations and variables.
fn queries() -> Vec<String> {
    let dashboard = dashboard();
    let panels = list(&dashboard, "panels").iter().flat_map(|panel| list(panel, "targets"));
    let annotations = list(&dashboard["annotations"], "list").iter();
    let mut queries: Vec<String> =
        panels.chain(annotations).map(|query| string(query, "expr").to_owned()).collect();
    let variables = list(&dashboard["templating"], "list").iter().filter(|var| var["type"] == "query");
    queries.extend(variables.map(|var| {
        let call = string(var, "query").strip_prefix("label_values(").unwrap().strip_suffix(')').unwrap();
        let (series, label) = call.rsplit_once(',').unwrap();
        format!("count by ({}) ({series})", label.trim())
    }));
    queries
}

/// The metrics and labels that a query names.
#[derive(Debug, Default)]
struct Names {
    metrics: BTreeSet<String>,
    labels: BTreeSet<String>,
}

fn names(query: &str) -> Names {
    let mut names = Names::default();
    // Strings, ranges and comments contain no names.
    let mut rest = String::new();
    for (position, part) in query.split('"').enumerate() {
        rest.push_str(if position % 2 == 0 { part } else { "''" });
    }
    let (mut braces, mut brackets, mut of_labels) = (false, false, false);
    let mut last = String::new();
    let mut chars = rest.char_indices().peekable();
    while let Some((start, char)) = chars.next() {
        match char {
            '{' => braces = true,
            '}' => braces = false,
            '[' => brackets = true,
            ']' => brackets = false,
            '(' => of_labels = ["by", "on", "without", "group_left"].contains(&last.as_str()),
            ')' => of_labels = false,
            _ if char.is_ascii_alphanumeric() || "_:$".contains(char) => {
                let inside = |char: char| char.is_ascii_alphanumeric() || "_:.".contains(char);
                let mut end = start + 1;
                while let Some((at, _)) = chars.next_if(|(_, char)| inside(*char)) {
                    end = at + 1;
                }
                let word = &rest[start..end];
                let call = rest[end..].trim_start().starts_with('(');
                word.clone_into(&mut last);
                if brackets || char.is_ascii_digit() || char == '$' {
                    continue;
                }
                if braces || of_labels {
                    names.labels.insert(word.to_owned());
                } else if !call && !KEYWORDS.split(' ').any(|keyword| keyword == word) {
                    names.metrics.insert(word.to_owned());
                }
                continue;
            }
            _ if char.is_whitespace() => continue,
            _ => {}
        }
        last.clear();
    }
    names
}

/// Metrics and labels of a scrape of a service with every kind of rule.
async fn scraped() -> Names {
    let upstream = ("UPSTREAM", "http://127.0.0.1:1");
    let proxies = ("PROXIES", "db=:0->127.0.0.1:1");
    let vars = [
        ("FAILURE_RATE", "50"),
        ("LATENCY", "1"),
        ("PARTITION_AFTER", "60"),
        upstream,
        proxies,
        ("TLS", "self-signed"),
    ];
    let service = crate::support::Service::start(&vars).await;
    service.get("/healthz").await;
    let mut names = Names::default();
    for line in service.metrics().await.lines() {
        if line.starts_with('#') {
            continue;
        }
        let (series, _) = line.rsplit_once(' ').unwrap();
        let found = self::names(series);
        names.metrics.extend(found.metrics);
        names.labels.extend(found.labels);
    }
    names.labels.extend(OF_THE_SCRAPE.map(str::to_owned));
    names.metrics.extend(FOREIGN.map(str::to_owned));
    names
}

#[test]
fn names_of_a_query_are_found() {
    let query = r#"sum by (pod, le) (rate(a_total{code!~"[23]..x"}[5m])) / on (fault) group_left () b:c_5m > 0.05 or max(d offset 1h)"#;
    let names = names(query);
    assert_eq!(names.metrics.into_iter().collect::<Vec<_>>(), ["a_total", "b:c_5m", "d"]);
    assert_eq!(names.labels.into_iter().collect::<Vec<_>>(), ["code", "fault", "le", "pod"]);
}

#[tokio::test]
async fn each_query_names_metrics_and_labels_that_exist() {
    let rules = rules();
    let mut known = scraped().await;
    known.metrics.extend(rules.iter().filter_map(|rule| rule["record"].as_str()).map(str::to_owned));
    let queries = queries();
    assert!(queries.len() > 20, "{}", queries.len());
    for query in rules.iter().map(|rule| string(rule, "expr")).chain(queries.iter().map(String::as_str)) {
        let names = names(query);
        assert!(!names.metrics.is_empty(), "{query}");
        for name in &names.metrics {
            assert!(known.metrics.contains(name), "there is no metric {name}: {query}");
        }
        for name in &names.labels {
            assert!(known.labels.contains(name), "there is no label {name}: {query}");
        }
    }
}

#[test]
fn the_operator_gets_the_same_rules() {
    const HEAD: &str = "\
# The rules of rules.yaml for the Prometheus operator: a test holds both together, and
# UPDATE_RULES=1 cargo test --test integration monitoring:: writes this file anew.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: kube-probesim
  labels:
    app.kubernetes.io/name: kube-probesim
spec:
";
    let rules = text(&format!("{COMPONENT}/rules.yaml"));
    let body = &rules[rules.find("groups:").unwrap()..];
    let mut expected = HEAD.to_owned();
    for line in body.lines() {
        expected.push_str(if line.is_empty() { "" } else { "  " });
        expected.push_str(line);
        expected.push('\n');
    }
    let name = format!("{COMPONENT}/prometheusrule.yaml");
    if std::env::var_os("UPDATE_RULES").is_some() {
        std::fs::write(path(&name), &expected).unwrap();
    }
    assert_eq!(text(&name), expected);
}

#[test]
fn each_alert_has_a_description_and_tests_that_it_fires_and_stays_silent() {
    let tests = yaml("tests/e2e/monitoring/rules_test.yaml");
    let cases: Vec<&Value> = list(&tests, "tests")
        .iter()
        .filter_map(|test| test["alert_rule_test"].as_array())
        .flatten()
        .collect();
    let rules = rules();
    let alerts: Vec<&Value> = rules.iter().filter(|rule| rule["alert"].is_string()).collect();
    assert!(alerts.len() >= 6);
    for alert in alerts {
        let name = string(alert, "alert");
        assert!(["info", "warning", "critical"].contains(&string(&alert["labels"], "severity")), "{name}");
        assert!(!string(&alert["annotations"], "summary").is_empty());
        assert!(!string(&alert["annotations"], "description").is_empty());
        let of_it = || cases.iter().filter(|case| case["alertname"] == name);
        assert!(
            of_it().any(|case| list(case, "exp_alerts").is_empty()),
            "{name} is not tested to stay silent"
        );
        assert!(of_it().any(|case| !list(case, "exp_alerts").is_empty()), "{name} is not tested to fire");
    }
    for rule in rules.iter().filter_map(|rule| rule["record"].as_str()) {
        let tested = tests.to_string().contains(rule)
            || rules.iter().any(|other| other["alert"].is_string() && string(other, "expr").contains(rule));
        assert!(tested, "{rule} is not tested");
    }
}

/// promtool only warns about a missing file, and then tests no rule.
#[test]
fn the_tests_of_the_rules_read_the_rules() {
    let tests = yaml("tests/e2e/monitoring/rules_test.yaml");
    let files: Vec<_> = list(&tests, "rule_files").iter().map(|file| file.as_str().unwrap()).collect();
    let read = path("tests/e2e/monitoring").join(files[0]).canonicalize().unwrap();
    assert_eq!((files.len(), read), (1, path(&format!("{COMPONENT}/rules.yaml")).canonicalize().unwrap()));
}

#[test]
fn the_page_on_metrics_has_each_alert() {
    let rules = rules();
    let alerts: BTreeSet<&str> = rules.iter().filter_map(|rule| rule["alert"].as_str()).collect();
    let page = text("docs/metrics.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `Probesim"));
    let written: Vec<String> =
        rows.map(|row| format!("Probesim{}", row.split('`').next().unwrap())).collect();
    assert_eq!(written.iter().map(String::as_str).collect::<BTreeSet<_>>(), alerts);
}

#[test]
fn the_picture_of_the_readme_is_there_and_small() {
    let picture = text("docs/drill.svg");
    assert!(picture.starts_with("<svg ") && picture.trim_end().ends_with("</svg>"));
    assert!(picture.len() < 30_000, "{} bytes", picture.len());
    assert!(text("README.md").contains("](docs/drill.svg)"));
}

#[test]
fn panels_have_ids_of_their_own_and_do_not_overlap() {
    let dashboard = dashboard();
    let panels = list(&dashboard, "panels");
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    let mut cells = BTreeSet::new();
    for panel in panels {
        let title = string(panel, "title");
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24, "{title} is too wide");
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(cells.insert((x, y)), "{title} overlaps another panel");
            }
        }
        let references: BTreeSet<&str> =
            list(panel, "targets").iter().map(|target| string(target, "refId")).collect();
        assert_eq!(references.len(), list(panel, "targets").len(), "{title}");
        for query in list(panel, "targets").iter().chain([panel]) {
            assert_eq!(string(&query["datasource"], "uid"), "${datasource}", "{title}");
        }
    }
}

#[test]
fn legends_use_labels_that_their_query_keeps() {
    let dashboard = dashboard();
    for target in list(&dashboard, "panels").iter().flat_map(|panel| list(panel, "targets")) {
        let (expr, legend) = (string(target, "expr"), string(target, "legendFormat"));
        for label in legend.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap()) {
            assert!(names(expr).labels.contains(label), "{label} in {legend}: {expr}");
        }
    }
}

#[test]
fn the_pod_monitor_scrapes_a_port_that_the_manifest_has() {
    let monitor = yaml(&format!("{COMPONENT}/podmonitor.yaml"));
    let deployment = yaml("manifests/base/deployment.yaml");
    let template = &deployment["spec"]["template"];
    let ports = list(&list(&template["spec"], "containers")[0], "ports");
    let sidecar = yaml("manifests/components/sidecar/sidecar.yaml");
    let of_sidecar = list(&list(&sidecar["spec"]["template"]["spec"], "initContainers")[0], "ports");
    for endpoint in list(&monitor["spec"], "podMetricsEndpoints") {
        assert!(ports.iter().chain(of_sidecar).any(|port| port["name"] == endpoint["port"]), "{endpoint}");
    }
    for (label, value) in monitor["spec"]["selector"]["matchLabels"].as_object().unwrap() {
        assert_eq!(template["metadata"]["labels"][label], *value, "{label}");
    }
}
