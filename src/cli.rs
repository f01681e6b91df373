//! The command line: the table of verbs, and what they share.

pub mod attach;
mod completion;
pub mod exit;
pub mod fault;
pub mod kubectl;
mod output;
pub mod predict;
pub mod probe;
pub mod serve;
mod shared;
mod signals;
mod text;
pub mod toxiproxy;
pub mod wait;

use std::ffi::OsString;
use std::io::{Write, stderr, stdin, stdout};
use std::process::ExitCode;

use self::output::Output;
use crate::plan::error::nearest;

/// A verb of the command line.
struct Verb {
    name: &'static str,
    /// Its arguments, as the help shows them.
    arguments: &'static str,
    /// What it does, in a few words.
    about: &'static str,
    /// What its `--help` prints.
    help: fn() -> String,
    /// Runs it with the arguments that follow its name; returns the exit code.
    run: fn(Vec<OsString>, &mut dyn Write, &mut dyn Write) -> u8,
}

/// All verbs. The first is the default.
const VERBS: &[Verb] = &[
    Verb {
        name: "serve",
        arguments: "[OPTIONS]",
        about: "serve probes, with the faults that the environment configures",
        help: serve::help,
        run: |args, out, err| serve::run(args, std::env::vars_os(), out, err),
    },
    Verb {
        name: "probe",
        arguments: "...",
        about: "probe like the kubelet",
        help: || probe::HELP.to_owned(),
        run: |args, out, err| probe::run(args, std::env::vars_os(), out, err),
    },
    Verb {
        name: "wait",
        arguments: "...",
        about: "block until Kubernetes resources, URLs or ports are ready",
        help: || wait::HELP.to_owned(),
        run: |args, out, err| wait::run(args, std::env::vars_os(), out, err),
    },
    Verb {
        name: "fault",
        arguments: "...",
        about: "change the faults of a running service",
        help: fault::help,
        run: |args, out, err| fault::run(args, std::env::vars_os(), out, err),
    },
    Verb {
        name: "attach",
        arguments: "--port N ...",
        about: "put the proxy in front of a running application, for a while",
        help: || attach::HELP.to_owned(),
        run: |args, out, err| attach::run(args, std::env::vars_os(), out, err),
    },
    Verb {
        name: "toxiproxy",
        arguments: "[OPTIONS]",
        about: "serve toxiproxy's API, for its clients as they are",
        help: || toxiproxy::HELP.to_owned(),
        run: |args, out, err| toxiproxy::run(args, std::env::vars_os(), out, err),
    },
    Verb {
        name: "predict",
        arguments: "...",
        about: "predict what the kubelet will do with a manifest",
        help: || predict::HELP.to_owned(),
        run: |args, out, err| {
            let terminal = predict::Terminal::of_process(std::env::vars_os());
            predict::run(args, &mut stdin(), &terminal, out, err)
        },
    },
    Verb {
        name: "kubectl",
        arguments: "...",
        about: "steer the services of many Pods, as the plugin kubectl-probesim",
        help: || kubectl::HELP.to_owned(),
        run: |args, out, err| kubectl::run(args, out, err),
    },
    Verb {
        name: "completion",
        arguments: "SHELL",
        about: "print a script that completes commands in bash, zsh or fish",
        help: completion::completion_help,
        run: |args, out, err| completion::complete(&args, &described(), out, err),
    },
    Verb {
        name: "man",
        arguments: "[VERB]",
        about: "print a page of the manual",
        help: completion::man_help,
        run: |args, out, err| completion::manual(&args, &described(), &help(), out, err),
    },
];

/// Runs the program.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut args = args.into_iter();
    let program = args.next();
    let args: Vec<OsString> = args.collect();
    let (mut out, err) = (Output::new(stdout()), &mut stderr());
    let code = match kubectl::PluginCall::of(program.as_ref()) {
        Some(kubectl::PluginCall::Run) => kubectl::run(args, &mut out, err),
        Some(kubectl::PluginCall::Complete) => completion::of_plugin(&args, &described(), &mut out),
        None => dispatch(args, &mut out, err),
    };
    ExitCode::from(out.finish(code, err))
}

/// Write errors are ignored here and in the verbs: [`Output`] remembers them.
fn dispatch(mut args: Vec<OsString>, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let first = args.first().map(|arg| arg.to_string_lossy().into_owned()).unwrap_or_default();
    match first.as_str() {
        "--help" | "-h" | "help" => {
            let _ = out.write_all(help().as_bytes());
            exit::OK
        }
        "--version" | "-V" => {
            let _ = writeln!(out, "kube-probesim {} ({})", crate::VERSION, crate::REVISION);
            exit::OK
        }
        name if name.is_empty() && args.is_empty() || name.starts_with('-') => (VERBS[0].run)(args, out, err),
        name => {
            if let Some(verb) = VERBS.iter().find(|verb| verb.name == name) {
                args.remove(0);
                return (verb.run)(args, out, err);
            }
            let names: Vec<&'static str> = VERBS.iter().map(|verb| verb.name).collect();
            let meant = nearest(name, &names).map(|nearest| format!("; did you mean {nearest}?"));
            let (names, meant) = (names.join(", "), meant.unwrap_or_default());
            let _ = writeln!(err, "kube-probesim: {name:?} is not one of {names}{meant}\n\n{}", help());
            exit::USAGE
        }
    }
}

/// The verbs, for completion scripts and manual pages.
fn described() -> Vec<completion::Described> {
    let of = |verb: &Verb| completion::Described { name: verb.name, about: verb.about, help: verb.help };
    VERBS.iter().map(of).collect()
}

fn help() -> String {
    use std::fmt::Write as _;
    let mut text =
        "A probe and fault simulator for Kubernetes\n\nUsage: kube-probesim [VERB] [ARGUMENTS]\n\n"
            .to_owned();
    for (i, Verb { name, arguments, about, .. }) in VERBS.iter().enumerate() {
        let default = if i == 0 { " (the default)" } else { "" };
        let _ = writeln!(text, "  {:17}  {about}{default}", format!("{name} {arguments}"));
    }
    text + "\nOPTIONS\n  -h, --help         print this; each verb has its own: kube-probesim serve --help\n  -V, --version      print the version\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dispatched(words: &[&str]) -> (u8, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = dispatch(words.iter().map(OsString::from).collect(), &mut out, &mut err);
        (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn the_help_names_every_verb() {
        let (code, out, err) = dispatched(&["--help"]);
        assert_eq!((code, err.as_str()), (exit::OK, ""));
        for verb in VERBS {
            assert!(out.contains(&format!("\n  {} ", verb.name)) && out.contains(verb.about), "{out}");
        }
    }

    #[test]
    fn a_misspelt_verb_gets_a_suggestion() {
        for (word, error) in [
            (
                "prdict",
                "kube-probesim: \"prdict\" is not one of serve, probe, wait, fault, attach, toxiproxy, predict, kubectl, completion, man; did you mean predict?",
            ),
            (
                "sreve",
                "kube-probesim: \"sreve\" is not one of serve, probe, wait, fault, attach, toxiproxy, predict, kubectl, completion, man; did you mean serve?",
            ),
            (
                "dance",
                "kube-probesim: \"dance\" is not one of serve, probe, wait, fault, attach, toxiproxy, predict, kubectl, completion, man",
            ),
            (
                "",
                "kube-probesim: \"\" is not one of serve, probe, wait, fault, attach, toxiproxy, predict, kubectl, completion, man",
            ),
        ] {
            let (code, out, err) = dispatched(&[word]);
            assert_eq!((code, out.as_str(), err.lines().next()), (exit::USAGE, "", Some(error)));
            assert!(err.contains("Usage:"), "{err}");
        }
    }
}
