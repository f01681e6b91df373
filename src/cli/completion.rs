//! `completion` and `man`: shell completion scripts and manual pages, generated from the help of each verb.

mod candidates;
mod manual;
mod options;
mod shells;

use std::ffi::OsString;
use std::io::Write;

use super::exit;
use super::shared::print_help;
use crate::plan::error::shown;

const COMPLETION_HELP: &str = "\
Print a script that completes the verbs, options and values of kube-probesim in a shell.

Usage: kube-probesim completion bash|zsh|fish

  bash   source <(kube-probesim completion bash)
  zsh    source <(kube-probesim completion zsh)
  fish   kube-probesim completion fish | source

OPTIONS
  -h, --help

Exit code: 0; 64 wrong usage.
";

const MAN_HELP: &str = "\
Print a page of the manual, for `man -l -`.

Usage: kube-probesim man [VERB]

Without a verb, the page about kube-probesim as a whole.

OPTIONS
  -h, --help

Exit code: 0; 64 wrong usage.
";

/// A verb, as its help describes it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Described {
    pub(super) name: &'static str,
    /// What it does, in a few words.
    pub(super) about: &'static str,
    pub(super) help: fn() -> String,
}

/// The help of `completion`.
pub(super) fn completion_help() -> String {
    COMPLETION_HELP.to_owned()
}

/// The help of `man`.
pub(super) fn man_help() -> String {
    MAN_HELP.to_owned()
}

/// Prints what may follow the words of a command line of `kubectl probesim`, for kubectl.
pub(super) fn of_plugin(args: &[OsString], verbs: &[Described], out: &mut dyn Write) -> u8 {
    let words: Vec<String> = args.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let verb = |name| verbs.iter().find(|verb| verb.name == name);
    match (verb("kubectl"), verb("fault"), verb("predict")) {
        (Some(plugin), Some(fault), Some(predict)) => {
            print_help(&candidates::candidates(&words, plugin, fault, predict), out)
        }
        _ => exit::USAGE,
    }
}

/// Prints the script for a shell.
pub(super) fn complete(
    args: &[OsString],
    verbs: &[Described],
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    let [shell] = args else {
        return wrong("completion", "expects the name of one shell: bash, zsh or fish", err);
    };
    let script = match shell.to_str() {
        Some("--help" | "-h" | "help") => return print_help(COMPLETION_HELP, out),
        Some("bash") => shells::bash(verbs),
        Some("zsh") => shells::zsh(verbs),
        Some("fish") => shells::fish(verbs),
        _ => {
            let shell = shell.to_string_lossy();
            return wrong("completion", &format!("{:?} is not one of bash, zsh, fish", shown(&shell)), err);
        }
    };
    print_help(&script, out)
}

/// Prints a page of the manual; `main` is the help of the whole program.
pub(super) fn manual(
    args: &[OsString],
    verbs: &[Described],
    main: &str,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    let page = match args {
        [] => manual::main(verbs, main),
        [word] => {
            let word = word.to_string_lossy();
            match verbs.iter().find(|verb| verb.name == word) {
                Some(verb) => manual::of_verb(verb),
                None if matches!(&*word, "--help" | "-h" | "help") => return print_help(MAN_HELP, out),
                None => {
                    let names = verbs.iter().map(|verb| verb.name).collect::<Vec<_>>().join(", ");
                    return wrong("man", &format!("{:?} is not one of {names}", shown(&word)), err);
                }
            }
        }
        _ => return wrong("man", "expects at most one verb", err),
    };
    print_help(&page, out)
}

fn wrong(verb: &str, what: &str, err: &mut dyn Write) -> u8 {
    let _ = writeln!(err, "kube-probesim {verb}: {what}\n\nkube-probesim {verb} --help shows its usage");
    exit::USAGE
}
