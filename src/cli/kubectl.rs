//! `kubectl probesim`: steers the services of many Pods at once, through the `kubectl` that is installed.
//!
//! kubectl runs a program named `kubectl-probesim` in the `PATH` as its plugin; the same is the verb `kubectl` here. Logins
//! and contexts are kubectl's own. A Pod is steered by the `fault` verb in its container, so no port has to be open.

mod arguments;
mod dashboard;
mod error;
mod fields;
mod fleet;
mod inject;
mod objects;
mod options;
mod parallel;
mod pods;
mod process;
mod selector;
mod sidecar;
mod steer;

use std::ffi::OsString;
use std::io::{IsTerminal, Write, stdin};
use std::path::Path;

use super::exit;
use super::shared::{print_error, print_help, print_usage_errors};
use arguments::{Command, Verb};
use error::KubectlError;
use process::Kubectl;

/// Where the image has the program.
const EXECUTABLE: &str = "/kube-probesim";

/// The image of containers that are added, unless another is named.
const IMAGE: &str = concat!("kube-probesim:", env!("CARGO_PKG_VERSION"));

/// The name under which kubectl finds its plugin.
const PLUGIN: &str = "kubectl-probesim";

/// The name under which kubectl finds what completes the command lines of its plugin.
const COMPLETION: &str = "kubectl_complete-probesim";

pub(super) const HELP: &str = "\
Steer the services of many Pods through kubectl.

Usage: kubectl probesim add [OPTIONS] TARGET... -l SELECTOR   add a rule, as `kube-probesim fault add` does
       kubectl probesim list|rm|stop|resume|reset|watch ...   as `kube-probesim fault` has them
       kubectl probesim top                                   restarts, rules and injections of each Pod
       kubectl probesim predict KIND/NAME [OPTIONS]           what the kubelet will do with a live object; OPTIONS
                                                              are those of `kube-probesim predict`
       kubectl probesim inject OBJECT --port PORT RULE        put the proxy in front of an application that runs, for a
                                                              while and without a restart, and inject faults
       kubectl probesim inject --stop OBJECT                  end it
       kubectl probesim dashboard POD                         forward the admin port of a Pod
       kubectl probesim sidecar add|remove KIND/NAME          print the commands that add a sidecar to a workload,
                                                              or take it away

PODS
  -l, --selector SELECTOR    Pods with these labels
  --pod NAME (repeatable)    a Pod by its name
  --all                      every Pod of the namespace that runs kube-probesim
  --pods PERCENT             for add and inject: this share of the Pods that are Ready now, rounded up; Pods created
                             later have no rule
  --seed N                   repeats a choice of --pods [default: drawn, and printed]

OPTIONS
  -c, --container NAME       [default: the container whose image is kube-probesim]
  --executable PATH          path in the container [default: /kube-probesim]
  --dry-run                  print the command for each Pod, and run none
  -v, --verbose              show all that kubectl complains about; with a level, as in -v 6, kubectl's log, too
  -o, --output text|json     [default: text]; JSON is one object per Pod
  --port PORT                dashboard: the admin port [default: that of what is injected, else 8081]; inject and
                             sidecar add --proxy: the application's port [default: the one that its Services, probes or
                             declared ports name]

OBJECT of inject is pod/NAME, deployment/NAME, or anything that selects Pods; or use -l SELECTOR or --pod NAME.
RULE is made of the options of fault add, such as --status, --delay, --rate and --path.

OPTIONS of inject
  --for DURATION             when it ends by itself [default: 5m]
  --file PLAN                rules in YAML or JSON, in place of RULE
  -c, --container NAME       the application's container [default: the one that declares the port, else the first]
  --protocol http|tcp        what rules act on: requests, or connections and their bytes [default: tcp if the port's
                             name or appProtocol says so, such as redis, else http]
  --existing                 end the connections that are open, with an error each
  --include-probes           rules act on the kubelet, too
  --as-localhost             connect to the application from 127.0.0.1, not from the Pod's address
  --run-as UID[:GID]         as the application's user, without capabilities [default: root with SYS_PTRACE and
                             SETUID where the namespace admits it, else the application's user if it is known]
  --image IMAGE              [default: kube-probesim and the version of this program]
  --detach                   return as soon as it has begun; otherwise it is followed, and Ctrl-C ends it
  --dry-run                  check everything, show what would be done, and change nothing
  --yes                      do not ask before several Pods are changed
  --yes-namespace NAME       insist on a namespace without the label probesim.io/inject=allowed

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

/// How kubectl started the program, if it did.
pub(super) enum PluginCall {
    /// As its plugin.
    Run,
    /// To complete a command line of its plugin.
    Complete,
}

impl PluginCall {
    /// Reads it from the name under which the program was started.
    pub(super) fn of(program: Option<&OsString>) -> Option<Self> {
        let name = Path::new(program?).file_stem()?;
        match name.to_str()? {
            PLUGIN => Some(Self::Run),
            COMPLETION => Some(Self::Complete),
            _ => None,
        }
    }
}

/// Runs the command with the arguments that follow its name. Returns the exit code.
pub fn run(args: impl IntoIterator<Item = OsString>, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let command = match arguments::parse(args) {
        Ok(Some(command)) => command,
        Ok(None) => return print_help(HELP, out),
        Err(errors) => return print_usage_errors("kubectl", &errors, err),
    };
    let Command { verb, options } = command;
    let kubectl = Kubectl::new(options.globals.clone(), options.is_verbose);
    let done = match verb {
        Verb::Steer(call) => steer::run(&kubectl, &options, &call, out, err),
        Verb::Predict { object, options } => objects::predict(&kubectl, &object, options, out, err),
        Verb::Inject(call) => inject::run(&kubectl, &options, &call, out, err),
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

/// Asks on a terminal. Elsewhere nobody could answer; the error names what asks.
fn confirmed(who: &'static str, err: &mut dyn Write) -> Result<bool, KubectlError> {
    if !stdin().is_terminal() {
        return Err(KubectlError::Unconfirmed(who));
    }
    write!(err, "Continue? [y/N] ")?;
    err.flush()?;
    let mut answer = String::new();
    stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
