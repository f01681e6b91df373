//! Runs kubectl.

use std::io::Write;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use super::error::KubectlError;

/// How much of what kubectl complains about is shown, in characters.
const MAX_MESSAGE: usize = 1000;

/// The kubectl of the `PATH`.
#[derive(Debug)]
pub(super) struct Kubectl {
    /// Options for each call, such as the context.
    globals: Vec<String>,
    /// Whether all that kubectl complains about is shown.
    is_verbose: bool,
    /// Whether the log of kubectl is passed on to the standard error.
    has_log: bool,
    /// Whether Ctrl-C leaves the calls alone.
    is_apart: bool,
}

impl Kubectl {
    pub(super) fn new(globals: Vec<String>, is_verbose: bool) -> Self {
        let has_log = globals.iter().any(|option| option.starts_with("--v="));
        Self { globals, is_verbose, has_log, is_apart: false }
    }

    /// The same kubectl, whose calls go on when Ctrl-C is pressed: they are not in the terminal's foreground.
    pub(super) fn apart(&self) -> Self {
        Self { is_apart: true, ..Self::new(self.globals.clone(), self.is_verbose) }
    }

    fn command(&self, arguments: &[String]) -> Command {
        let mut command = Command::new("kubectl");
        // Options of kubectl come first: what follows `--` belongs to the container.
        command.args(&self.globals).args(arguments).stdin(Stdio::null());
        if self.is_apart {
            command.process_group(0);
        }
        command
    }

    /// The command as one would type it.
    pub(super) fn line(&self, arguments: &[String]) -> String {
        let words =
            std::iter::once("kubectl").chain(self.globals.iter().chain(arguments).map(String::as_str));
        words.map(quoted).collect::<Vec<_>>().join(" ")
    }

    /// Runs to the end, with `input` as the standard input.
    ///
    /// # Errors
    ///
    /// kubectl is not in the `PATH` or cannot be started.
    pub(super) fn run(&self, arguments: &[String], input: Option<&[u8]>) -> Result<Output, KubectlError> {
        let mut command = self.command(arguments);
        if input.is_some() {
            command.stdin(Stdio::piped());
        }
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.map_err(KubectlError::Start)?;
        let stdin = child.stdin.take();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                if let (Some(mut stdin), Some(input)) = (stdin, input) {
                    // A kubectl that does not read says on its standard error why.
                    let _ = stdin.write_all(input);
                }
            });
            let output = child.wait_with_output().map_err(KubectlError::Start)?;
            if self.has_log {
                let log = String::from_utf8_lossy(&output.stderr);
                for line in log.lines().filter(|line| is_log(line)) {
                    // Nobody may read it.
                    let _ = writeln!(std::io::stderr(), "{line}");
                }
            }
            Ok(output)
        })
    }

    /// Starts kubectl with its standard output in a pipe.
    pub(super) fn start(&self, arguments: &[String]) -> Result<Child, KubectlError> {
        self.command(arguments).stdout(Stdio::piped()).spawn().map_err(KubectlError::Start)
    }

    /// Starts kubectl with what it complains about in a pipe, and nothing else to read.
    pub(super) fn start_quiet(&self, arguments: &[String]) -> Result<Child, KubectlError> {
        let mut command = self.command(arguments);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(KubectlError::Start)
    }

    /// What `kubectl … --output=json` prints.
    ///
    /// # Errors
    ///
    /// It cannot be started, fails, or prints something else.
    pub(super) fn json(&self, arguments: &[String]) -> Result<Value, KubectlError> {
        self.read(arguments, &self.run(arguments, None)?)
    }

    /// The JSON that a call has printed.
    ///
    /// # Errors
    ///
    /// It has failed, or has printed something else.
    pub(super) fn read(&self, arguments: &[String], output: &Output) -> Result<Value, KubectlError> {
        let arguments = arguments.join(" ");
        if !output.status.success() {
            let (status, message) = (output.status.to_string(), self.message(output));
            return Err(KubectlError::Failed { arguments, status, message });
        }
        serde_json::from_slice(&output.stdout).map_err(|error| KubectlError::Json(arguments, error))
    }

    /// What kubectl complained about, cut to a length that can be read; how it ended where it said nothing. Its log is left out
    /// unless all is wanted.
    pub(super) fn message(&self, output: &Output) -> String {
        let text = String::from_utf8_lossy(&output.stderr);
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let told: Vec<&str> = lines.clone().filter(|line| self.is_verbose || !is_log(line)).collect();
        let told = if told.is_empty() { lines.collect() } else { told };
        if told.is_empty() {
            return format!("kubectl ended with {}", output.status);
        }
        told.join("; ").chars().take(MAX_MESSAGE).collect()
    }
}

/// Whether a line is of kubectl's log, a warning, or what it adds to the error of a program in a container.
fn is_log(line: &str) -> bool {
    let is_klog = line.starts_with(['I', 'W', 'E', 'F'])
        && line.get(1..5).is_some_and(|date| date.bytes().all(|digit| digit.is_ascii_digit()))
        && line.contains(".go:");
    is_klog || line.starts_with("Warning: ") || line.starts_with("command terminated with exit code")
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_a_shell_takes_it() {
        let kubectl = Kubectl::new(vec!["--context=a b".to_owned()], false);
        let arguments = ["exec", "web-0", "--", "it's", ""].map(str::to_owned);
        assert_eq!(kubectl.line(&arguments), r"kubectl '--context=a b' exec web-0 -- 'it'\''s' ''");
    }

    #[test]
    fn the_log_of_kubectl_is_left_out_of_its_complaint() {
        use std::os::unix::process::ExitStatusExt as _;

        let said = "E1127 15:25:37.948813   32139 memcache.go:265] \"Unhandled Error\" err=\"...\"\nWarning: old\n\n\
                    The connection to the server was refused\n";
        let output = |stderr: &str| Output {
            status: std::process::ExitStatus::from_raw(256),
            stdout: Vec::new(),
            stderr: stderr.as_bytes().to_vec(),
        };
        let message =
            |is_verbose, stderr: &str| Kubectl::new(Vec::new(), is_verbose).message(&output(stderr));
        assert_eq!(message(false, said), "The connection to the server was refused");
        assert!(
            message(true, said).starts_with("E1127") && message(true, said).contains("Warning: old; The")
        );
        // What is all that it said is better than nothing.
        assert_eq!(
            message(false, "command terminated with exit code 137\n"),
            "command terminated with exit code 137"
        );
        assert_eq!(message(false, "a: x\nb: y\ncommand terminated with exit code 65\n"), "a: x; b: y");
        assert_eq!(message(false, ""), "kubectl ended with exit status: 1");
        assert_eq!(message(false, "E\u{e9}\u{e9}\u{e9} is no log"), "E\u{e9}\u{e9}\u{e9} is no log");
    }
}
