//! `kubectl probesim`: steers the services of many Pods at once, through the `kubectl` that is installed.
//!
//! kubectl runs a program named `kubectl-probesim` in the `PATH` as its plugin; the same is the verb `kubectl` here. Logins
//! and contexts are kubectl's own. A Pod is steered by the `fault` verb in its container, so no port has to be open.

mod arguments;
mod dashboard;
mod error;
mod fleet;
mod objects;
mod pods;
mod process;
mod selector;
mod sidecar;
mod steer;

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;

use super::exit;
use super::shared::{print_error, print_help, print_usage_errors};
use arguments::{Command, Verb};
use process::Kubectl;

/// The name under which kubectl finds its plugin.
const PLUGIN: &str = "kubectl-probesim";

pub(super) const HELP: &str = "\
Steer the services of many Pods through kubectl.

Usage: kubectl probesim add [OPTIONS] TARGET... -l SELECTOR   add a rule, as `kube-probesim fault add` does
       kubectl probesim list|rm|stop|resume|reset|watch ...   as `kube-probesim fault` has them
       kubectl probesim top                                   restarts, rules and injections of each Pod
       kubectl probesim predict KIND/NAME [OPTIONS]           what the kubelet will do with a live object; OPTIONS
                                                              are those of `kube-probesim predict`
       kubectl probesim dashboard POD                         forward the admin port of a Pod
       kubectl probesim sidecar add|remove KIND/NAME          print the commands that add a sidecar to a workload,
                                                              or take it away

PODS
  -l, --selector SELECTOR    Pods with these labels
  --pod NAME (repeatable)    a Pod by its name
  --all                      every Pod of the namespace that runs kube-probesim
  --pods PERCENT             for add: this share of the Pods that are Ready now, rounded up; Pods created later
                             have no rule
  --seed N                   repeats a choice of --pods [default: drawn, and printed]

OPTIONS
  -c, --container NAME       [default: the container whose image is kube-probesim]
  --executable PATH          path in the container [default: /kube-probesim]
  --dry-run                  print the command for each Pod, and run none
  -o, --output text|json     [default: text]; JSON is one object per Pod
  --port PORT                dashboard: the admin port [default: 8081]; sidecar add --proxy: the application's
                             port [default: the one that its Services, probes or declared ports name]

OPTIONS of sidecar
  --proxy                    in front of the application: its Services and probes lead through it [default: beside it,
                             and its liveness and readiness probes ask the sidecar]
  --plain                    an ordinary container, for clusters before Kubernetes 1.29
  -c, --container NAME       the application's container [default: the first]
  --image IMAGE              [default: kube-probesim and the version of this program]
  --env NAME=VALUE           a variable of the sidecar (repeatable)
  --apply                    run the commands, after a question
  --yes                      do not ask
  -h, --help

kubectl's global options are passed on: -n, --context, --kubeconfig, --as and so on.

Exit code: 0 done; 1 at least one Pod failed; 64 wrong usage; 66 a file cannot be read; 69 kubectl failed, or no Pod
matches.
";

/// Whether the program was started under the name of kubectl's plugin.
pub(super) fn is_plugin(program: Option<&OsString>) -> bool {
    let stem = program.and_then(|program| Path::new(program).file_stem());
    // kubectl finds names with hyphens, and completion those with underscores.
    stem.is_some_and(|stem| stem == PLUGIN || stem == "kubectl_probesim")
}

/// Runs the command with the arguments that follow its name. Returns the exit code.
pub fn run(args: impl IntoIterator<Item = OsString>, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let command = match arguments::parse(args) {
        Ok(Some(command)) => command,
        Ok(None) => return print_help(HELP, out),
        Err(errors) => return print_usage_errors("kubectl", &errors, err),
    };
    let Command { verb, options } = command;
    let kubectl = Kubectl::new(options.globals.clone());
    let done = match verb {
        Verb::Steer(call) => steer::run(&kubectl, &options, &call, out, err),
        Verb::Predict { object, options } => objects::predict(&kubectl, &object, options, out, err),
        Verb::Sidecar(call) => sidecar::run(&kubectl, &call, out, err),
        Verb::Dashboard { pod, port } => dashboard::run(&kubectl, &pod, port, out),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            print_error("kubectl", &error, err);
            exit::UNAVAILABLE
        }
    }
}
