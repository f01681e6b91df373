//! Scripts that complete in a shell.

use std::fmt::Write;

use super::Described;
use super::options::{Opt, options, words};
use crate::fault::{ModeInfo, PROCESS_MODES, Target};

/// Words other than options that may follow a verb.
pub(super) fn positions(verb: &Described, help: &str) -> Vec<String> {
    let mut found: Vec<String> = words(verb.name, help).into_iter().map(str::to_owned).collect();
    if matches!(verb.name, "probe" | "fault") {
        found.extend(Target::ALL.map(|target| target.name().to_owned()));
    }
    if verb.name == "fault" {
        found.extend(["listener", "process"].map(str::to_owned));
    }
    found
}

/// The known values of an option.
pub(super) fn values(option: &Opt) -> Vec<String> {
    if option.name == "--mode" {
        let mut modes: Vec<String> = Vec::new();
        let requests = ModeInfo::all_of_requests().chain(ModeInfo::all_of_tcp());
        let connections = requests.chain(ModeInfo::all_of_listener()).map(|info| info.name);
        for mode in connections.chain(PROCESS_MODES.iter().map(|info| info.name)) {
            if !modes.iter().any(|known| known == mode) {
                modes.push(mode.to_owned());
            }
        }
        return modes;
    }
    option.choices().into_iter().map(str::to_owned).collect()
}

/// The branches of a shell's `case` statement, one per option with known values or a file as value.
fn cases(verbs: &[Described], value: impl Fn(&[String]) -> String, file: &str) -> String {
    let mut text = String::new();
    for verb in verbs {
        for option in options(&(verb.help)()) {
            let (values, name) = (values(&option), &option.name);
            let action = match (values.is_empty(), option.takes_file(), &option.value) {
                (false, _, _) => value(&values),
                (_, true, _) => file.to_owned(),
                (_, _, Some(_)) => "return 0".to_owned(),
                _ => continue,
            };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "    '{} {name}') {action} ;;", verb.name);
        }
    }
    text
}

/// For bash.
pub(super) fn bash(verbs: &[Described]) -> String {
    let names = verbs.iter().map(|verb| verb.name).collect::<Vec<_>>().join(" ");
    let cases = cases(
        verbs,
        |values| format!("COMPREPLY=($(compgen -W '{}' -- \"$word\")); return 0", values.join(" ")),
        "COMPREPLY=($(compgen -f -- \"$word\")); return 0",
    );
    let mut of_verbs = String::new();
    for verb in verbs {
        let help = (verb.help)();
        let known = options(&help);
        let options: Vec<&str> = known.iter().map(|option| option.name.as_str()).collect();
        let positions = positions(verb, &help).join(" ");
        let _ = writeln!(
            of_verbs,
            "    {}) options='{}' positions='{positions}' ;;",
            verb.name,
            options.join(" ")
        );
    }
    format!(
        "# Completion of kube-probesim for bash: source <(kube-probesim completion bash)
_kube_probesim() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} verb=${{COMP_WORDS[1]}}
  local options= positions=
  COMPREPLY=()
  if [ \"$COMP_CWORD\" -eq 1 ] && [[ $word != -* ]]; then
    COMPREPLY=($(compgen -W '{names}' -- \"$word\"))
    return 0
  fi
  # Options without a verb are those of serve.
  if [ \"$COMP_CWORD\" -eq 1 ] || [[ $verb == -* ]]; then verb=serve; fi
  case \"$verb $before\" in
{cases}  esac
  case $verb in
{of_verbs}  esac
  if [[ $word == -* ]]; then
    COMPREPLY=($(compgen -W \"$options\" -- \"$word\"))
  elif [ \"$verb\" = predict ]; then
    COMPREPLY=($(compgen -f -- \"$word\"))
  else
    COMPREPLY=($(compgen -W \"$positions\" -- \"$word\"))
  fi
}}
complete -o filenames -F _kube_probesim kube-probesim
"
    )
}

/// For zsh.
pub(super) fn zsh(verbs: &[Described]) -> String {
    // A colon separates a word from its description, and a quote would end the text.
    let item = |word: &str, about: &str| {
        let about = about.replace('\'', "'\\''").replace(':', "\\:");
        format!("'{word}:{about}'")
    };
    let names: Vec<String> = verbs.iter().map(|verb| item(verb.name, verb.about)).collect();
    let cases = cases(verbs, |values| format!("compadd -- {}; return", values.join(" ")), "_files; return");
    let mut of_verbs = String::new();
    for verb in verbs {
        let help = (verb.help)();
        let options: Vec<String> =
            options(&help).iter().map(|option| item(&option.name, &option.about)).collect();
        let positions = positions(verb, &help).join(" ");
        let _ = writeln!(
            of_verbs,
            "    {}) options=({}) positions=({positions}) ;;",
            verb.name,
            options.join(" ")
        );
    }
    format!(
        "#compdef kube-probesim
# Completion of kube-probesim for zsh: source <(kube-probesim completion zsh)
_kube_probesim() {{
  local verb=${{words[2]}} before=${{words[CURRENT-1]}} word=${{words[CURRENT]}}
  local -a verbs options positions
  verbs=({})
  if (( CURRENT == 2 )) && [[ $word != -* ]]; then
    _describe verb verbs
    return
  fi
  # Options without a verb are those of serve.
  [[ $verb == -* ]] && verb=serve
  case \"$verb $before\" in
{cases}  esac
  case $verb in
{of_verbs}  esac
  if [[ $word == -* ]]; then
    _describe option options
  elif [[ $verb == predict ]]; then
    _files
  else
    compadd -- $positions
  fi
}}
compdef _kube_probesim kube-probesim
",
        names.join(" ")
    )
}

/// For fish.
pub(super) fn fish(verbs: &[Described]) -> String {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('\'', "\\'");
    let mut text = "# Completion of kube-probesim for fish: kube-probesim completion fish | source
complete -c kube-probesim -f
"
    .to_owned();
    for verb in verbs {
        let (name, about) = (verb.name, quoted(verb.about));
        let _ = writeln!(text, "complete -c kube-probesim -n __fish_use_subcommand -a {name} -d '{about}'");
        let help = (verb.help)();
        let begin = if name == "serve" {
            // Options without a verb are those of serve.
            let others: Vec<&str> = verbs.iter().map(|verb| verb.name).filter(|of| *of != name).collect();
            format!("complete -c kube-probesim -n 'not __fish_seen_subcommand_from {}'", others.join(" "))
        } else {
            format!("complete -c kube-probesim -n '__fish_seen_subcommand_from {name}'")
        };
        for option in options(&help) {
            let long = option.name.trim_start_matches('-');
            let values = values(&option);
            let value = match (&option.value, values.is_empty(), option.takes_file()) {
                (None, ..) => String::new(),
                (_, false, _) => format!(" -x -a '{}'", values.join(" ")),
                (_, _, true) => " -r -F".to_owned(),
                _ => " -x".to_owned(),
            };
            let about = quoted(&option.about);
            let _ = writeln!(text, "{begin} -l {long}{value} -d '{about}'");
        }
        let positions = positions(verb, &help);
        if !positions.is_empty() {
            let _ = writeln!(text, "{begin} -a '{}'", positions.join(" "));
        }
        if name == "predict" {
            let _ = writeln!(text, "{begin} -F");
        }
    }
    text
}
