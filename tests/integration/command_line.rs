//! The command line as a process: flags of `serve`, closed outputs, a terminal.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::support::process::{PATIENCE, Process, command};

#[test]
fn flags_win_over_the_environment_with_and_without_the_verb() {
    for verb in [&["serve"][..], &[]] {
        let mut with_flags = command(&[("PORT", "1"), ("LATENCY", "x")]);
        with_flags.args(verb).args(["--port", "0", "--seed", "7", "--set", "LATENCY=0"]);
        with_flags.args(["--set", "LIVENESS_FAIL_REQUESTS=1", "--admin=127.0.0.1:0", "--bind=127.0.0.1"]);
        let process = Process::of(with_flags);
        assert_eq!(process.started["seed"], 7);
        assert_eq!(process.status("/healthz"), Some(500));
        assert_eq!(process.status("/healthz"), Some(200));
    }
}

#[test]
fn a_wrong_value_of_a_flag_names_the_flag_and_a_wrong_flag_is_wrong_usage() {
    for (args, code, expected) in [
        (&["--port", "70000"][..], 78, "--port=\"70000\": is not a whole number from 0 to 65535"),
        (
            &["serve", "--set", "FAILURE_RATE=120"],
            78,
            "--set FAILURE_RATE=\"120\": is not between 0% and 100%",
        ),
        (&["--prot=1"], 64, "kube-probesim: --prot is not an option of serve; did you mean --port?"),
        (&["prdict"], 64, "did you mean predict?"),
    ] {
        let output = command(&[]).args(args).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
        assert!(text.contains(expected), "{args:?}: {text}");
    }
}

#[test]
fn strict_refuses_to_start_with_a_misspelt_variable() {
    let output = command(&[("STRICT", "true"), ("LATENCE", "5")]).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.starts_with("LATENCE: unknown variable, ignored; did you mean LATENCY?"), "{text}");
}

/// The write end of a pipe without a reader.
fn closed_pipe() -> OwnedFd {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    drop(reader);
    writer
}

fn full_device() -> OwnedFd {
    OpenOptions::new().write(true).open("/dev/full").unwrap().into()
}

#[test]
fn a_full_disk_is_an_error_of_what_succeeded_and_a_closed_pipe_changes_no_exit_code() {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/base/deployment.yaml");
    for (args, vars, code) in [
        (&["--help"][..], &[][..], 0),
        (&["--version"], &[], 0),
        (&["dance"], &[], 64),
        (&["--nothing"], &[], 64),
        (&["serve", "--help"], &[], 0),
        (&[], &[("PORT", "x")], 78),
        (&[], &[("BIND_ADDRESS", "192.0.2.1")], 71),
        (&["probe", "--help"], &[], 0),
        (&["probe", "--nothing"], &[], 64),
        (&["probe", "tcp://127.0.0.1:1"], &[], 1),
        (&["fault", "--help"], &[], 0),
        (&["fault"], &[], 64),
        (&["fault", "list", "--admin", "127.0.0.1:1"], &[], 69),
        (&["predict", "--help"], &[], 0),
        (&["predict", "--nothing"], &[], 64),
        (&["predict", "/no/such"], &[], 66),
        (&["predict", manifest], &[], 0),
        (&["predict", "--output", "json", manifest], &[], 0),
        (&["completion", "bash"], &[], 0),
        (&["man"], &[], 0),
    ] {
        let if_full = if code == 0 { 74 } else { code };
        for (closed, code) in [(closed_pipe as fn() -> OwnedFd, code), (full_device, if_full)] {
            let mut both = command(vars);
            both.args(args).stdin(Stdio::null()).stdout(closed()).stderr(closed());
            assert_eq!(both.status().unwrap().code(), Some(code), "{args:?} {vars:?}");
        }
    }
}

#[test]
fn a_reader_that_closes_the_pipe_after_a_line_is_not_an_error() {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/base/deployment.yaml");
    for args in
        [&["--help"][..], &["serve", "--help"], &["predict", "--for", "24h", "--output", "json", manifest]]
    {
        let mut child = command(&[]).args(args).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(!line.is_empty());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{args:?}");
    }
}

/// The output of the command on a terminal, until it contains a text.
fn on_a_terminal(mut command: Command, last: &str) -> String {
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&controller).unwrap();
    unlockpt(&controller).unwrap();
    let name = ptsname(&controller, Vec::new()).unwrap();
    let terminal = OpenOptions::new().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let mut child =
        command.stdin(Stdio::null()).stdout(terminal.try_clone().unwrap()).stderr(terminal).spawn().unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        let mut output = File::from(controller);
        while let Ok(count @ 1..) = output.read(&mut bytes) {
            let _ = sender.send(String::from_utf8_lossy(&bytes[..count]).into_owned());
        }
    });
    let mut text = String::new();
    while !text.contains(last) {
        text.push_str(&receiver.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no {last:?} in {text}")));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    text
}

#[test]
fn on_a_terminal_the_log_is_text_in_colour_and_the_start_says_what_to_try() {
    let text = on_a_terminal(command(&[]), "started");
    assert!(text.contains("curl -i http://") && text.contains("/readyz"), "{text}");
    assert!(text.contains("\u{1b}[32m") && !text.contains("{\"timestamp\""), "{text}");
    let text = on_a_terminal(command(&[("NO_COLOR", "1")]), "started");
    assert!(text.contains("INFO started") && !text.contains('\u{1b}'), "{text}");
    let text = on_a_terminal(command(&[("LOG_FORMAT", "json")]), "started");
    assert!(text.contains("{\"timestamp\"") && !text.contains("curl"), "{text}");
}
