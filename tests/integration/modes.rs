//! Texts generated from the tables of modes and units: documentation and the description of the API.
//! `UPDATE_DOCS=1 cargo test --test integration modes::` rewrites both.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use kube_probesim::fault::{ModeField, ModeInfo, PROCESS_MODES, ProcessField};
use serde_json::{Value, json};

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn is_update() -> bool {
    std::env::var_os("UPDATE_DOCS").is_some()
}

/// Compares the block between two marks of a page with the expected one, or rewrites it.
fn check_block(mark: &str, expected: &str) {
    let page = [root("docs/modes.md"), root("README.md")].into_iter().find(|page| {
        std::fs::read_to_string(page).is_ok_and(|text| text.contains(&format!("<!-- {mark} -->")))
    });
    let page = page.unwrap_or_else(|| panic!("no page has <!-- {mark} -->"));
    let text = std::fs::read_to_string(&page).unwrap();
    let (begin, end) = (format!("<!-- {mark} -->\n"), format!("<!-- /{mark} -->"));
    let (before, rest) = text.split_once(&begin).unwrap();
    let (block, after) = rest.split_once(&end).unwrap();
    if is_update() {
        std::fs::write(&page, format!("{before}{begin}{expected}{end}{after}")).unwrap();
    } else {
        assert_eq!(block, expected, "{}: UPDATE_DOCS=1 rewrites it", page.display());
    }
}

#[test]
fn the_tables_of_modes_match_the_program() {
    let mut requests = "\
| mode | fields | the client sees | curl exits with | the kubelet sees | requests per probe |
|---|---|---|---|---|---|
"
    .to_owned();
    for ModeInfo { name, fields, client, curl, kubelet, requests: per_probe, .. } in
        ModeInfo::all_of_requests()
    {
        let fields: Vec<String> = fields.iter().map(|field| format!("`{}`", field.name())).collect();
        let fields = fields.join(", ");
        writeln!(requests, "| `{name}` | {fields} | {client} | {curl} | {kubelet} | {per_probe} |").unwrap();
    }
    let mut listener =
        "| mode | the client sees | curl exits with | the kubelet sees |\n|---|---|---|---|\n".to_owned();
    for ModeInfo { name, client, curl, kubelet, .. } in ModeInfo::all_of_partitions() {
        writeln!(listener, "| `{name}` | {client} | {curl} | {kubelet} |").unwrap();
    }
    let mut handshakes =
        "| mode | fields | the client sees | curl exits with | the kubelet sees |\n|---|---|---|---|---|\n"
            .to_owned();
    for ModeInfo { name, fields, client, curl, kubelet, .. } in ModeInfo::all_of_handshakes() {
        let fields: Vec<String> = fields.iter().map(|field| format!("`{}`", field.name())).collect();
        let fields = fields.join(", ");
        writeln!(handshakes, "| `{name}` | {fields} | {client} | {curl} | {kubelet} |").unwrap();
    }
    check_block("handshake-modes", &handshakes);
    check_block("modes", &requests);
    let mut http2 = "| mode | a client of HTTP/2 sees |\n|---|---|\n".to_owned();
    for ModeInfo { name, http2: sees, .. } in ModeInfo::all_of_requests() {
        writeln!(http2, "| `{name}` | {} |", if sees.is_empty() { "the same" } else { sees }).unwrap();
    }
    check_block("http2-modes", &http2);
    let mut grpc = "| mode | a call of the health service gets |\n|---|---|\n".to_owned();
    for ModeInfo { name, grpc: gets, .. } in ModeInfo::all_of_requests() {
        writeln!(grpc, "| `{name}` | {gets} |").unwrap();
    }
    check_block("grpc-modes", &grpc);
    check_block("partition-modes", &listener);
    let mut tcp = "| mode | fields | what happens to a connection |\n|---|---|---|\n".to_owned();
    for ModeInfo { name, tcp_fields, tcp: does, .. } in ModeInfo::all_of_tcp() {
        let fields: Vec<String> = tcp_fields.iter().map(|field| format!("`{}`", field.name())).collect();
        writeln!(tcp, "| `{name}` | {} | {does} |", fields.join(", ")).unwrap();
    }
    check_block("tcp-modes", &tcp);
}

const OPENAPI: &str = "src/admin/openapi.json";

fn openapi() -> Value {
    serde_json::from_str(&std::fs::read_to_string(root(OPENAPI)).unwrap()).unwrap()
}

/// Compares schemas of the description of the API with the expected ones, or rewrites them.
fn check_schemas(expected: &[(&str, Value)]) {
    static FILE: Mutex<()> = Mutex::new(());
    let _guard = FILE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut openapi = openapi();
    for (pointer, schema) in expected {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = openapi.pointer_mut(&format!("/components/schemas{parent}")).unwrap();
        if is_update() {
            parent[name] = schema.clone();
        } else {
            assert_eq!(parent[name], *schema, "{pointer}: UPDATE_DOCS=1 rewrites it");
        }
    }
    if is_update() {
        std::fs::write(root(OPENAPI), format!("{openapi}\n")).unwrap();
    }
}

#[test]
fn the_description_of_the_api_has_the_modes_and_their_fields() {
    let mut names: Vec<&str> = Vec::new();
    let all = ModeInfo::all_of_requests().chain(ModeInfo::all_of_tcp()).chain(ModeInfo::all_of_listener());
    for name in all.map(|info| info.name) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let process: Vec<&str> = PROCESS_MODES.iter().map(|info| info.name).collect();
    names.extend(&process);
    let listener: Vec<&str> = ModeInfo::all_of_listener().map(|info| info.name).collect();
    let mode = json!({
        "type": "string",
        "enum": names,
        "description": format!(
            "What replaces the answer. Target listener has {}; target process has {}.",
            listener.join(", "),
            process.join(", ")
        ),
    });
    let openapi = openapi();
    let of_process = ProcessField::ALL.map(ProcessField::name);
    let of_modes = ModeField::ALL.into_iter().chain(ModeField::OF_TCP);
    for field in of_modes.map(ModeField::name).chain(of_process) {
        let pointer = format!("/components/schemas/Rule/properties/{field}");
        assert!(openapi.pointer(&pointer).is_some(), "{pointer}");
    }
    let of_requests = |info: &ModeInfo| json!({"fields": info.fields.iter().map(|field| field.name()).collect::<Vec<_>>(), "description": info.client});
    let of_process = PROCESS_MODES.iter().map(|info| {
        let fields: Vec<&str> = info.fields.iter().map(|field| field.name()).collect();
        (info.name.to_owned(), json!({"fields": fields, "required": info.required.iter().map(|field| field.name()).collect::<Vec<_>>(), "description": info.does}))
    });
    let of_tcp = |info: &ModeInfo| json!({"fields": info.tcp_fields.iter().map(|field| field.name()).collect::<Vec<_>>(), "description": info.tcp});
    let row = |info: &'static ModeInfo| (info.name.to_owned(), of_requests(info));
    let by_target = json!({
        "requests": Value::Object(ModeInfo::all_of_requests().map(row).collect()),
        "tcp": Value::Object(ModeInfo::all_of_tcp().map(|info| (info.name.to_owned(), of_tcp(info))).collect()),
        "listener": Value::Object(ModeInfo::all_of_partitions().map(row).collect()),
        "handshakes": Value::Object(ModeInfo::all_of_handshakes().map(row).collect()),
        "process": Value::Object(of_process.collect()),
    });
    check_schemas(&[
        ("/Rule/x-modes", by_target),
        ("/Rule/properties/mode", mode.clone()),
        ("/Patch/properties/mode", json!({"anyOf": [mode, {"type": "null"}]})),
    ]);
}

#[test]
fn the_description_of_the_api_takes_numbers_without_a_unit() {
    let duration = |unit: &str, example: &str| {
        json!({
            "description": format!("Such as 250ms, 30s or 1m30s; a bare number is in {unit}; at most 365d."),
            "anyOf": [
                {"type": "string", "pattern": "^([0-9]+(\\.[0-9]+)?(ns|us|ms|s|m|h|d))+$|^[0-9]+(\\.[0-9]+)?$"},
                {"type": "number", "minimum": 0},
            ],
            "examples": [example],
        })
    };
    let part =
        |description: &str| json!({"$ref": "#/components/schemas/Milliseconds", "description": description});
    let rate = json!({
        "description": "Share of the requests in the window, in percent. Values between 0 and 1 need the % sign.",
        "anyOf": [
            {"type": "string", "pattern": "^[0-9]{1,2}(\\.[0-9]{1,4})?%$|^100%$|^[1-9][0-9]?$|^100$|^0$"},
            {"type": "number", "minimum": 1, "maximum": 100},
            {"const": 0},
        ],
        "examples": ["20%"],
    });
    let delay = json!({
        "description": "Waits before the answer or the fault.",
        "oneOf": [{"$ref": "#/components/schemas/Milliseconds"}, {"$ref": "#/components/schemas/Delay"}],
        "examples": ["50ms"],
    });
    let body = json!({
        "description": "Bytes of the body before a body fault; at most 64MiB.",
        "oneOf": [
            {"type": "integer", "minimum": 0, "maximum": 67_108_864},
            {"type": "string", "pattern": "^[0-9]+(B|k|KB|Ki|KiB|M|MB|Mi|MiB)?$"},
        ],
        "examples": ["11KiB"],
    });
    let or_null = |schema: &Value| json!({"anyOf": [schema, {"type": "null"}]});
    check_schemas(&[
        ("/Duration", duration("seconds", "30s")),
        ("/Milliseconds", duration("milliseconds", "50ms")),
        ("/Delay/properties/fixed", part("The mean.")),
        ("/Delay/properties/jitter", part("Half width (uniform), or standard deviation (normal).")),
        ("/Delay/properties/median", part("For lognormal.")),
        ("/Delay/properties/mean", part("For exponential.")),
        ("/Delay/patternProperties/^p[0-9]{1,2}(\\.[0-9]+)?$", part("A percentile.")),
        ("/Rule/properties/rate", rate.clone()),
        ("/Patch/properties/rate", or_null(&rate)),
        ("/Rule/properties/delay", delay.clone()),
        ("/Patch/properties/delay", or_null(&delay)),
        ("/Rule/properties/body", body.clone()),
        ("/Patch/properties/body", or_null(&body)),
    ]);
    let read = |rule: Value| kube_probesim::plan::read_rule(&rule, "");
    let rule = |fields: Value| {
        let mut rule = json!({"name": "a", "target": "traffic", "mode": "hang"});
        rule.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        rule
    };
    for (bare, full) in [
        (json!({"rate": 20}), json!({"rate": "20%"})),
        (json!({"delay": 50}), json!({"delay": "50ms"})),
        (json!({"when": {"for": 20}}), json!({"when": {"for": "20s"}})),
    ] {
        assert_eq!(read(rule(bare)).unwrap(), read(rule(full)).unwrap());
    }
}

#[test]
fn the_help_of_fault_names_every_mode() {
    let mut help = Vec::new();
    kube_probesim::cli::fault::run(["--help".into()], [], &mut help, &mut Vec::new());
    let help = String::from_utf8(help).unwrap();
    let words: Vec<&str> = help.split(|c: char| !c.is_ascii_lowercase() && c != '-').collect();
    for info in ModeInfo::all_of_requests().chain(ModeInfo::all_of_tcp()).chain(ModeInfo::all_of_listener()) {
        assert!(words.contains(&info.name), "{} is missing in\n{help}", info.name);
    }
    for field in ModeField::ALL.into_iter().chain(ModeField::OF_TCP) {
        let option = match field {
            ModeField::Headers => "answer-header".to_owned(),
            ModeField::After => "wait".to_owned(),
            _ => field.name().replace('_', "-"),
        };
        assert!(help.contains(&format!("--{option} ")), "{option}");
    }
}
