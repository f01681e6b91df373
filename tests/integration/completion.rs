//! Completion in real shells, and pages of the manual.

use std::process::{Command, Stdio};

use crate::support::{process, tools};

fn printed(args: &[&str]) -> (Option<i32>, String, String) {
    let output = process::program().args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Completions in bash for the last word of a command line.
fn offered(line: &str) -> Vec<String> {
    let (_, script, _) = printed(&["completion", "bash"]);
    let complete = "read -ra COMP_WORDS <<<\"$LINE\"; [[ $LINE == *' ' ]] && COMP_WORDS+=('');
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _kube_probesim; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let output = Command::new("bash")
        .args(["--norc", "-euc", &format!("{script}\n{complete}")])
        .env("LINE", line)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn bash_completes_verbs_options_and_values() {
    if !tools::are_there(&["bash"]) {
        return;
    }
    for (line, offers) in [
        ("kube-probesim p", &["probe", "predict"][..]),
        ("kube-probesim --log", &["--log-format"]),
        ("kube-probesim --log-format ", &["json", "text"]),
        ("kube-probesim serve --log-format j", &["json"]),
        ("kube-probesim probe --un", &["--until"]),
        ("kube-probesim probe --until ", &["success", "failure"]),
        ("kube-probesim probe l", &["liveness"]),
        ("kube-probesim fault re", &["resume", "reset", "readiness"]),
        ("kube-probesim fault add --mode tr", &["truncate"]),
        ("kube-probesim fault add --mode abo", &["abort"]),
        ("kube-probesim kubectl sid", &["sidecar"]),
        ("kube-probesim wait --output ", &["text", "json"]),
        ("kube-probesim wait --cond", &["--condition"]),
        ("kube-probesim predict --stops", &["--stops-after"]),
        ("kube-probesim predict Cargo.t", &["Cargo.toml"]),
        ("kube-probesim probe --timeout ", &[]),
        ("kube-probesim completion ", &["bash", "zsh", "fish"]),
    ] {
        assert_eq!(offered(line), offers, "{line}");
    }
}

#[test]
fn kubectl_completes_command_lines_of_its_plugin() {
    if !tools::are_there(&["kubectl"]) {
        return;
    }
    let folder = tempfile::TempDir::new().unwrap();
    let program = process::program();
    for name in ["kubectl-probesim", "kubectl_complete-probesim"] {
        std::os::unix::fs::symlink(program.get_program(), folder.path().join(name)).unwrap();
    }
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    for (words, offers, directive) in [
        (&["s"][..], &["stop", "sidecar"][..], ":4"),
        (&["add", "read"], &["readiness"], ":4"),
        (&["add", "readiness", "--mode", "trunc"], &["truncate"], ":4"),
        (&["-n", "shop", "add", "--sel"], &["--selector"], ":4"),
        (&["add", "--file", ""], &[], ":0"),
        (&["sidecar", ""], &["add", "remove"], ":4"),
        (&["predict", "--stops"], &["--stops-after"], ":4"),
        (&["top", "--pod", "w"], &[], ":4"),
    ] {
        let output = Command::new("kubectl")
            .args(["__complete", "probesim"])
            .args(words)
            .env("PATH", &path)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.pop(), lines.as_slice()), (Some(directive), offers), "{words:?}");
    }
}

/// Runs a line of a shell after its completion script.
fn after_script(shell: &str, arguments: &[&str], before: &str, line: &str) -> String {
    let (_, script, _) = printed(&["completion", shell]);
    let output = Command::new(shell)
        .args(arguments)
        .args(["-c", &format!("{before}\n{script}\n{line}")])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn fish_completes_verbs_options_and_values() {
    if !tools::are_there(&["fish"]) {
        return;
    }
    for (line, offers) in [
        ("kube-probesim pr", &["predict", "probe"][..]),
        ("kube-probesim --log", &["--log-format"]),
        ("kube-probesim --log-format ", &["json", "text"]),
        ("kube-probesim probe --un", &["--until"]),
        ("kube-probesim fault add --mode sl", &["slice", "slow-close", "slow-term"]),
        ("kube-probesim completion ", &["bash", "fish", "zsh"]),
    ] {
        let text = after_script("fish", &["--no-config"], "", &format!("complete -C '{line}'"));
        let mut words: Vec<&str> = text.lines().filter_map(|line| line.split('\t').next()).collect();
        words.sort_unstable();
        assert_eq!(words, offers, "{line}");
    }
}

#[test]
fn zsh_completes_verbs_options_and_values() {
    if !tools::are_there(&["zsh"]) {
        return;
    }
    // The functions with which zsh shows offers need a terminal; these print them.
    let functions = "compdef() { } ; _files() { print FILES } ; compadd() { print -l -- ${@:#--} }
        _describe() { print -l -- ${${(P)2}%%:*} }";
    for (words, offers) in [
        ("kube-probesim p", &["probe", "predict"][..]),
        ("kube-probesim --log", &["--log-format"]),
        ("kube-probesim serve --log-format j", &["json", "text"]),
        ("kube-probesim probe --un", &["--until"]),
        ("kube-probesim fault add --mode sl", &["slice", "slow-close", "slow-term"]),
        ("kube-probesim predict --profile-from m", &["FILES"]),
    ] {
        let line = format!("words=({words}); CURRENT=$#words; _kube_probesim");
        let text = after_script("zsh", &["--no-rcs"], functions, &line);
        for offer in offers {
            assert!(text.lines().any(|line| line == *offer), "{words}: {offer} is missing in\n{text}");
        }
    }
}

/// The options that a verb's own parser lists in its error message.
#[test]
fn every_option_that_a_verb_takes_is_in_all_scripts() {
    for verb in ["probe", "wait", "fault", "predict"] {
        let add: &[&str] = if verb == "fault" { &["add"] } else { &[] };
        let (_, _, error) = printed(&[&[verb], add, &["--no-such-option"]].concat());
        let known: Vec<&str> = error
            .split(|c: char| c.is_whitespace() || c == ',' || c == ';')
            .filter(|word| word.starts_with("--") && *word != "--no-such-option")
            .collect();
        assert!(!known.is_empty(), "{verb}: {error}");
        for shell in ["bash", "zsh", "fish"] {
            let (code, script, _) = printed(&["completion", shell]);
            assert_eq!(code, Some(0));
            for option in &known {
                let written =
                    if shell == "fish" { format!("-l {} ", &option[2..]) } else { (*option).to_owned() };
                assert!(script.contains(&written), "{shell}, {verb}: {option}");
            }
        }
    }
}

#[test]
fn scripts_are_valid_in_the_installed_shells() {
    for shell in ["bash", "zsh", "fish"] {
        if !tools::are_there(&[shell]) {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("script");
        std::fs::write(&file, printed(&["completion", shell]).1).unwrap();
        let output = Command::new(shell).arg("-n").arg(&file).output().unwrap();
        assert!(output.status.success(), "{shell}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn manual_pages_contain_the_help_and_groff_accepts_them() {
    let has_groff = tools::are_there(&["groff"]);
    for verb in ["", "serve", "probe", "wait", "fault", "predict", "completion", "man"] {
        let args: Vec<&str> = ["man", verb].into_iter().filter(|word| !word.is_empty()).collect();
        let (code, page, _) = printed(&args);
        assert_eq!(code, Some(0));
        assert!(page.starts_with(".TH KUBE\\-PROBESIM"), "{page}");
        if !has_groff {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("page.1");
        std::fs::write(&file, &page).unwrap();
        let output =
            Command::new("groff").args(["-man", "-Tascii", "-ww", "-P-cbou"]).arg(&file).output().unwrap();
        let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        let is_line_width = |line: &&str| line.contains("cannot adjust") || line.contains("can't break");
        assert!(complaints.lines().all(|line| is_line_width(&line)), "{verb}: {complaints}");
        let help = if verb.is_empty() { printed(&["--help"]).1 } else { printed(&[verb, "--help"]).1 };
        for line in help.lines().map(str::trim).filter(|line| !line.is_empty()) {
            assert!(shown.contains(line), "{verb}: {line}");
        }
    }
}

#[test]
fn errors_name_unknown_shells_and_verbs() {
    for (args, error) in [
        (&["completion"][..], "expects the name of one shell"),
        (&["completion", "tcsh"], "\"tcsh\" is not one of bash, zsh, fish"),
        (&["completion", "bash", "zsh"], "expects the name of one shell"),
        (&["man", "prob"], "\"prob\" is not one of serve, probe"),
        (&["man", "probe", "wait"], "at most one verb"),
    ] {
        let (code, out, err) = printed(args);
        assert!(code == Some(64) && out.is_empty() && err.contains(error), "{args:?}: {err}");
    }
}
