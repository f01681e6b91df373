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
    /// Whether Ctrl-C leaves the calls alone.
    is_apart: bool,
}

impl Kubectl {
    pub(super) fn new(globals: Vec<String>) -> Self {
        Self { globals, is_apart: false }
    }

    /// The same kubectl, whose calls go on when Ctrl-C is pressed: they are not in the terminal's foreground.
    pub(super) fn apart(&self) -> Self {
        Self { globals: self.globals.clone(), is_apart: true }
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
            child.wait_with_output().map_err(KubectlError::Start)
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
        Self::read(arguments, &self.run(arguments, None)?)
    }

    /// The JSON that a call has printed.
    ///
    /// # Errors
    ///
    /// It has failed, or has printed something else.
    pub(super) fn read(arguments: &[String], output: &Output) -> Result<Value, KubectlError> {
        let arguments = arguments.join(" ");
        if !output.status.success() {
            let (status, message) = (output.status.to_string(), message(output));
            return Err(KubectlError::Failed { arguments, status, message });
        }
        serde_json::from_slice(&output.stdout).map_err(|error| KubectlError::Json(arguments, error))
    }
}

/// What kubectl said on its standard error, cut to a length that can be read.
pub(super) fn message(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join("; ").chars().take(MAX_MESSAGE).collect()
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
        let kubectl = Kubectl::new(vec!["--context=a b".to_owned()]);
        let arguments = ["exec", "web-0", "--", "it's", ""].map(str::to_owned);
        assert_eq!(kubectl.line(&arguments), r"kubectl '--context=a b' exec web-0 -- 'it'\''s' ''");
    }
}
