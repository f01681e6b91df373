//! `kube-probesim predict`: what the kubelet will do with the faults of a manifest.

mod arguments;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::time::Duration;

use crate::clock::wall_clock;
use crate::fault::Timestamp;
use crate::predict::manifest::{self, Input, MAX_INPUT, Manifests};
use crate::predict::report::{self, Output, View};
use crate::predict::run::{Options, Replicas};

use arguments::{Arguments, Request};

use super::{EXIT_DATA, EXIT_USAGE};

const HELP: &str = "\
Predict what the kubelet will do with the faults of a manifest.

Usage: kube-probesim predict [OPTIONS] [FILE]...

FILE  YAML or JSON with Pods, Deployments, StatefulSets, DaemonSets, Jobs or Lists whose Pods run this program, and the
      ConfigMaps that they name, for variables or as volumes; - or none: standard input

OPTIONS
  --for DURATION           virtual time to run [default: 1h]
  --at INSTANT             when it begins, such as 2026-11-23T12:00:00Z, for faults with `start` or `until` [default: now]
  --pods N                 Pods of each workload [default: its replicas]
  --pod NAME               print the timeline of this Pod [default: the first]
  --seed N                 draw names, the node's chances, and seeds that are not given, from here
                           [default: the workload's SEED, else 0]
  --endpoint-lag DURATION  how long a Pod that is no longer Ready goes on to get calls [default: 1s]
  --call-timeout DURATION  how long a caller of the Service waits for an answer [default: 5s]
  --stops-after DURATION|never
                           how long a program that is not this one takes to end after SIGTERM; never: it ignores SIGTERM
                           and takes the whole grace period [default: 0s]
  --output text|json       [default: text]; JSON is one object per line: each event, then a summary
  --fail-on CONDITION      exit with 1 if it holds for a Pod; repeatable: 'restarts > 0', 'unready > 30s',
                           'outage > 10s', 'backoff > 1m', 'availability < 99.9%' (also >= and <=)
  -h, --help

A duration is written 250ms, 1s or 1m30s; a bare number is in seconds.

Exit code: 0; 1 a condition of --fail-on holds; 64 wrong usage; 65 something is wrong with the manifests; 66 a file
cannot be read.
";

/// Exit code of a prediction that fails a condition.
const EXIT_FAILED: u8 = 1;
/// Exit code of a file that cannot be read (`EX_NOINPUT` of sysexits.h).
const EXIT_NO_INPUT: u8 = 66;

/// Runs the command with the arguments that follow its name. Returns the exit code.
pub fn run(
    args: impl IntoIterator<Item = OsString>,
    stdin: &mut dyn Read,
    stdin_is_terminal: bool,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> u8 {
    let arguments = match arguments::parse(args, stdin_is_terminal) {
        Ok(Request::Predict(arguments)) => arguments,
        Ok(Request::Help) => {
            // Whoever closes the output has read enough; so below.
            let _ = stdout.write_all(HELP.as_bytes());
            return 0;
        }
        Err(errors) => {
            for error in errors {
                let _ = writeln!(stderr, "kube-probesim predict: {error}");
            }
            let _ = writeln!(stderr, "See kube-probesim predict --help");
            return EXIT_USAGE;
        }
    };
    let inputs = match read(&arguments.files, stdin) {
        Ok(inputs) => inputs,
        Err(errors) => {
            let unreadable = errors.iter().any(|(_, error)| error.kind() != io::ErrorKind::InvalidData);
            for (file, error) in errors {
                let _ = writeln!(stderr, "kube-probesim predict: {file}: {error}");
            }
            return if unreadable { EXIT_NO_INPUT } else { EXIT_DATA };
        }
    };
    match manifest::read(&inputs) {
        Ok(manifests) => predict(&arguments, &manifests, stdout, stderr),
        Err(errors) => {
            let _ = writeln!(stderr, "{errors}");
            EXIT_DATA
        }
    }
}

fn read(files: &[OsString], stdin: &mut dyn Read) -> Result<Vec<Input>, Vec<(String, io::Error)>> {
    let mut inputs = Vec::new();
    let mut errors = Vec::new();
    for file in files {
        let (name, text) = if file == "-" {
            ("standard input".to_owned(), text(stdin))
        } else {
            let text = File::open(file).and_then(|mut opened| text(&mut opened));
            (file.to_string_lossy().into_owned(), text)
        };
        match text {
            Ok(text) => inputs.push(Input { name, text }),
            Err(error) => errors.push((name, error)),
        }
    }
    if errors.is_empty() { Ok(inputs) } else { Err(errors) }
}

/// All of a text; of one that is too long, enough for its reader to see that.
fn text(from: &mut dyn Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    if from.take(MAX_INPUT as u64 + 1).read_to_end(&mut bytes)? > MAX_INPUT {
        return Ok(String::from_utf8_lossy(&bytes).into_owned());
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        io::Error::new(io::ErrorKind::InvalidData, format!("is not valid UTF-8 after {at} bytes"))
    })
}

fn predict(
    arguments: &Arguments,
    manifests: &Manifests,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> u8 {
    let Manifests { workloads, services, .. } = manifests;
    // Whole seconds, so that what is printed can be given back.
    let at = arguments.at.unwrap_or_else(|| Timestamp(Duration::from_secs(wall_clock().0.as_secs())));
    let options = &Options { at, ..arguments.options.clone() };
    let replicas: Vec<Replicas> = workloads.iter().map(|workload| Replicas::new(workload, options)).collect();
    if let Some(wanted) = &arguments.shown
        && !replicas.iter().flat_map(|replicas| &replicas.pods).any(|pod| pod.name == *wanted)
    {
        let _ = writeln!(
            stderr,
            "kube-probesim predict: --pod {wanted:?} is none of the Pods{}",
            some(&replicas)
        );
        return EXIT_USAGE;
    }
    let mut code = 0;
    let mut stdout = io::BufWriter::new(stdout);
    for (number, (workload, replicas)) in workloads.iter().zip(&replicas).enumerate() {
        if number > 0 && arguments.output == Output::Text {
            let _ = writeln!(stdout);
        }
        let shown = arguments.shown.as_deref();
        let shown = replicas.pods.iter().position(|pod| Some(pod.name.as_str()) == shown).unwrap_or_default();
        let selecting = services.iter().filter(|service| service.workloads.contains(&number));
        let names = selecting.map(|service| {
            let despite = if service.publishes_not_ready {
                " (as if it did not publish what is not Ready)"
            } else {
                ""
            };
            format!("{}{despite}", service.name)
        });
        let view = View { output: arguments.output, shown, services: names.collect() };
        let predicted = report::predict(workload, replicas, options, &view, &mut stdout);
        // Whoever closed the output has read enough.
        let Ok(prediction) = predicted else { return code };
        for reason in arguments.fail_on.iter().filter_map(|condition| condition.check(&prediction.pods)) {
            let _ = writeln!(stderr, "kube-probesim predict: {} {}: {reason}", workload.kind, workload.name);
            code = EXIT_FAILED;
        }
    }
    let _ = stdout.flush();
    code
}

/// The first few names.
fn some(replicas: &[Replicas]) -> String {
    let names: Vec<&str> =
        replicas.iter().flat_map(|replicas| &replicas.pods).map(|pod| pod.name.as_str()).take(5).collect();
    if names.is_empty() { String::new() } else { format!(", such as {}", names.join(", ")) }
}
