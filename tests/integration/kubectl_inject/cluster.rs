//! A namespace of an API server that keeps its Pods in memory, for the real kubectl. `kubectl exec` alone is scripted.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::admission::{self, Level, list};
use crate::api_server::{Answer, ApiServer, Request};
use crate::support::kubectl::{PluginFolder, Ran};
use crate::support::manifests::KUBECTL;
use crate::support::tools;

/// Writes each call down. `attach --stop` in a Pod ends its injection, unless a file says that `exec` fails.
const SCRIPT: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 1
echo "$*" >> calls
for word; do
  case "$word" in
    exec) shift; while [ "${1#--}" != "$1" ]; do shift; done
      [ -f no-exec ] && { cat no-exec >&2; exit 1; }
      for pod in *.pod; do case " $* " in *" ${pod%.pod} "*--stop*) : > "${pod%.pod}.stop" ;; esac; done
      exit 0 ;;
    port-forward) echo "Forwarding from 127.0.0.1:4711 -> x"; exit 0 ;;
    --) break ;;
  esac
done
exec "$REAL" "--server=$SERVER" "--cache-dir=$PWD/cache" "$@"
"#;

/// What an ephemeral container does when it is added.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Behaviour {
    /// It takes the port over until it is stopped.
    #[default]
    Attach,
    /// The same, and it ends by itself when it was looked at so often.
    Ends(usize),
    /// It never starts.
    Waits(&'static str),
    /// `attach` refuses, with this reason and remedy.
    Refuses(&'static str, &'static str),
    /// It ends without a word.
    Dies,
}

/// What the API server knows, and how it answers.
#[derive(Default)]
pub(super) struct State {
    pub(super) labels: Value,
    pub(super) pods: BTreeMap<String, Value>,
    pub(super) workloads: BTreeMap<String, Value>,
    pub(super) services: Vec<Value>,
    /// The behaviour of a Pod's containers, if it is not the default.
    pub(super) behaviours: BTreeMap<String, Behaviour>,
    /// A request whose body has this text is refused with that message.
    pub(super) denials: Vec<(&'static str, String)>,
    /// The level of Pod Security of the namespace.
    pub(super) level: Level,
    /// How many requests, with a change or without, meet a Pod that has changed meanwhile.
    pub(super) conflicts: usize,
    /// What else happens to the Pod then.
    pub(super) meanwhile: Option<fn(&mut Value)>,
    /// It knows no ephemeral containers, as before Kubernetes 1.23.
    pub(super) is_old: bool,
    /// Bodies of the requests that would change a Pod and of those that did.
    pub(super) dry: Vec<Value>,
    pub(super) added: Vec<Value>,
    looks: BTreeMap<String, usize>,
    directory: PathBuf,
}

pub(super) struct Cluster {
    folder: PluginFolder,
    server: ApiServer,
    state: Arc<Mutex<State>>,
}

impl Cluster {
    /// With a Deployment `web` of so many Pods in namespace `shop`, unless kubectl is missing.
    pub(super) fn of(count: usize) -> Option<Self> {
        if !tools::are_there(&[KUBECTL]) {
            return None;
        }
        let folder = PluginFolder::new(SCRIPT);
        let mut state = State {
            labels: json!({"probesim.io/inject": "allowed"}),
            directory: folder.path().to_owned(),
            ..State::default()
        };
        for number in 0..count {
            state.pods.insert(format!("web-{number}"), pod(number));
            fs::write(folder.path().join(format!("web-{number}.pod")), "").unwrap();
        }
        let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "uid": "d"},
            "spec": {"selector": {"matchLabels": {"app": "web"}}}});
        state.workloads.insert("deployments/web".to_owned(), deployment);
        let state = Arc::new(Mutex::new(state));
        let known = Arc::clone(&state);
        let server = ApiServer::new(move |request| known.lock().unwrap().answer(request));
        Some(Self { folder, server, state })
    }

    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap())
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self, args: &str) -> Command {
        let mut command = self.folder.command(args);
        command.env("HOME", self.path()).env("SERVER", self.server.url()).arg("--namespace=shop");
        command
    }

    pub(super) fn run(&self, args: &str) -> Ran {
        Ran::of(&self.command(args).output().unwrap())
    }

    /// Starts the command without waiting for its end.
    pub(super) fn start(&self, args: &str) -> Child {
        self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// The calls of kubectl.
    pub(super) fn calls(&self) -> String {
        self.folder.calls()
    }

    /// The ephemeral containers that were added, in their order.
    pub(super) fn added(&self) -> Vec<Value> {
        let last =
            |pod: &Value| pod["spec"]["ephemeralContainers"].as_array().unwrap().last().unwrap().clone();
        self.change(|state| state.added.iter().map(last).collect())
    }
}

fn pod(number: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("web-{number}"), "namespace": "shop", "resourceVersion": "1", "uid": format!("u{number}"),
            "labels": {"app": "web", "pod-template-hash": "abc"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "web-abc", "uid": "r", "controller": true}],
        },
        "spec": {"containers": [
            {"name": "log", "image": "log"},
            {"name": "web", "image": "shop", "ports": [{"name": "http", "containerPort": 8080}]},
        ]},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [
                {"name": "log", "state": {"running": {}}},
                {"name": "web", "state": {"running": {}}},
            ],
        },
    })
}

impl State {
    fn answer(&mut self, request: &Request) -> Answer {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let resource = |name: &str, kind: &str, namespaced: bool| json!({"name": name, "singularName": kind.to_lowercase(), "kind": kind, "namespaced": namespaced, "verbs": ["get", "list"]});
        if let Some(path) = path.strip_prefix("/api/v1/namespaces/shop/pods") {
            return self.answer_pods(request, path.trim_start_matches('/'), query);
        }
        let answer = match path {
            "/version" => json!({"major": "1", "minor": "32"}),
            "/api" => json!({"kind": "APIVersions", "versions": ["v1"]}),
            "/apis" => json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": [{"name": "apps",
                "versions": [{"groupVersion": "apps/v1", "version": "v1"}],
                "preferredVersion": {"groupVersion": "apps/v1", "version": "v1"}}]}),
            "/api/v1" => json!({"kind": "APIResourceList", "groupVersion": "v1", "resources": [
                resource("pods", "Pod", true), resource("services", "Service", true), resource("namespaces", "Namespace", false)]}),
            "/apis/apps/v1" => json!({"kind": "APIResourceList", "groupVersion": "apps/v1", "resources": [
                {"name": "deployments", "singularName": "deployment", "kind": "Deployment", "namespaced": true,
                    "shortNames": ["deploy"], "verbs": ["get", "list"]}]}),
            "/api/v1/namespaces/shop" => {
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": self.labels}})
            }
            "/api/v1/namespaces/shop/services" => {
                json!({"apiVersion": "v1", "kind": "ServiceList", "metadata": {}, "items": self.services})
            }
            other => {
                let name = other.strip_prefix("/apis/apps/v1/namespaces/shop/").unwrap_or_default();
                match self.workloads.get(name) {
                    Some(workload) => workload.clone(),
                    None => return failure(404, "NotFound", &format!("{other} not found")),
                }
            }
        };
        Answer::Json(200, answer)
    }

    /// `path` is what follows `pods/`.
    fn answer_pods(&mut self, request: &Request, path: &str, query: &str) -> Answer {
        let (name, rest) = path.split_once('/').unwrap_or((path, ""));
        if name.is_empty() {
            let items: Vec<&Value> = self.pods.values().collect();
            return Answer::Json(
                200,
                json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": items}),
            );
        }
        if !self.pods.contains_key(name) {
            return failure(404, "NotFound", &format!("pods \"{name}\" not found"));
        }
        match (request.method.as_str(), rest) {
            ("GET", "") => {
                self.look(name);
                Answer::Json(200, self.pods[name].clone())
            }
            ("GET", "log") => Answer::Text(self.log(name)),
            ("PUT", "ephemeralcontainers") => self.put(name, &request.body, query.contains("dryRun=All")),
            (method, rest) => failure(405, "MethodNotAllowed", &format!("{method} {rest}")),
        }
    }

    /// In the order of the API server: permission, conflict, validation, admission. Only the ephemeral containers change.
    fn put(&mut self, name: &str, body: &str, is_dry: bool) -> Answer {
        if self.is_old {
            return failure(404, "NotFound", "the server could not find the requested resource");
        }
        let sent: Value = serde_json::from_str(body).unwrap();
        if let Some((_, message)) = self.denials.iter().find(|(text, _)| body.contains(text)) {
            return failure(403, "Forbidden", message);
        }
        let pod = self.pods.get_mut(name).unwrap();
        let version = pod["metadata"]["resourceVersion"].as_str().unwrap().parse::<u32>().unwrap();
        if self.conflicts > 0 {
            self.conflicts -= 1;
            pod["metadata"]["resourceVersion"] = (version + 1).to_string().into();
            if let Some(change) = self.meanwhile {
                change(pod);
            }
        }
        if ["resourceVersion", "uid"].iter().any(|field| sent["metadata"][*field] != pod["metadata"][*field])
        {
            let message = format!(
                "Operation cannot be fulfilled on pods \"{name}\": the object has been modified; please apply your changes \
                 to the latest version and try again"
            );
            return failure(409, "Conflict", &message);
        }
        if let Some(reason) = admission::invalid(pod, &sent) {
            return failure(422, "Invalid", &format!("Pod \"{name}\" is invalid: {reason}"));
        }
        let after = list(&sent, "ephemeralContainers").to_vec();
        let mut changed = pod.clone();
        changed["spec"]["ephemeralContainers"] = after.clone().into();
        if let Some(violations) = admission::violations(self.level, &changed) {
            return failure(403, "Forbidden", &format!("pods \"{name}\" is forbidden: {violations}"));
        }
        if is_dry {
            self.dry.push(sent);
            return Answer::Json(200, changed);
        }
        self.added.push(sent);
        let container = after.last().unwrap()["name"].clone();
        let state = match self.behaviours.get(name).cloned().unwrap_or_default() {
            Behaviour::Attach | Behaviour::Ends(_) => json!({"running": {}}),
            Behaviour::Waits(reason) => json!({"waiting": {"reason": reason, "message": "no such image"}}),
            Behaviour::Refuses(reason, remedy) => {
                let message = json!({"refused": {"reason": reason, "remedy": remedy}}).to_string();
                json!({"terminated": {"exitCode": 78, "message": message}})
            }
            Behaviour::Dies => json!({"terminated": {"exitCode": 137, "reason": "Error"}}),
        };
        let pod = self.pods.get_mut(name).unwrap();
        pod["metadata"]["resourceVersion"] = (version + 2).to_string().into();
        pod["spec"]["ephemeralContainers"] = after.into();
        pod["status"]["ephemeralContainerStatuses"] = json!([{"name": container, "state": state}]);
        Answer::Json(200, pod.clone())
    }

    /// Ends the injection of a Pod when it is time.
    fn look(&mut self, name: &str) {
        let pod = self.pods.get_mut(name).unwrap();
        if pod["status"]["ephemeralContainerStatuses"][0]["state"].get("running").is_none() {
            return;
        }
        let looks = self.looks.entry(name.to_owned()).or_default();
        *looks += 1;
        let reason = if self.directory.join(format!("{name}.stop")).exists() {
            "stop"
        } else if self.behaviours.get(name).is_some_and(|behaviour| *behaviour == Behaviour::Ends(*looks)) {
            "time limit"
        } else {
            return;
        };
        let message = json!({"released": {"reason": reason, "next_connection": "application",
            "totals": [{"rule": "inject", "eligible": 40, "injected": 4}]}});
        pod["status"]["ephemeralContainerStatuses"][0]["state"] =
            json!({"terminated": {"exitCode": 0, "message": message.to_string()}});
    }

    fn log(&self, name: &str) -> String {
        let running = &self.pods[name]["status"]["ephemeralContainerStatuses"][0]["state"]["running"];
        if running.is_null() {
            return String::new();
        }
        let attached = json!({"attached": {"admin": "127.0.0.1:43121", "listen": ["10.0.0.5:8080"],
            "upstream": "127.0.0.1:8080", "until": "2026-11-27T16:00:00Z", "pid": 7}});
        format!("{{\"level\":\"INFO\",\"message\":\"attaching\"}}\n{attached}\n")
    }
}

fn failure(code: u16, reason: &str, message: &str) -> Answer {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code});
    Answer::Json(code, status)
}
