//! Finds out whether input and output are terminals.

use std::ffi::OsString;
use std::io::{IsTerminal, stderr, stdin, stdout};

use crate::cli::shared::forbids_colour;
use crate::predict::report::{Output, Style};

/// Which of input and output are terminals. By default, none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terminal {
    /// Whether standard input is a terminal; then it is read only if `-` is given.
    pub is_input: bool,
    /// The style of text on standard output.
    pub style: Style,
    /// How progress is shown.
    pub progress: ProgressForm,
}

/// How progress is shown on standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProgressForm {
    /// Not at all.
    #[default]
    None,
    /// As lines.
    Lines,
    /// As one line of a terminal, which is updated.
    Terminal,
}

impl Terminal {
    /// The terminals of this process, with this environment.
    pub fn of_process(mut variables: impl Iterator<Item = (OsString, OsString)>) -> Self {
        let is_output = stdout().is_terminal();
        let is_plain = variables.any(|variable| forbids_colour(&variable));
        let width = rustix::termios::tcgetwinsize(stdout()).ok().map(|size| usize::from(size.ws_col));
        Self {
            is_input: stdin().is_terminal(),
            style: Style {
                width: width.filter(|width| is_output && *width > 0),
                colour: is_output && !is_plain,
            },
            progress: if stderr().is_terminal() { ProgressForm::Terminal } else { ProgressForm::Lines },
        }
    }

    /// How progress is shown with this output format. JSON lines on the same terminal show the progress themselves.
    pub(super) fn progress_beside(&self, output: Output) -> ProgressForm {
        let is_shared = self.progress == ProgressForm::Terminal && self.style.width.is_some();
        if is_shared && output == Output::Json { ProgressForm::None } else { self.progress }
    }
}
