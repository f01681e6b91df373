//! Writes text reports: width and colours.

use std::io::{self, Write};

use crate::predict::timeline::{Timeline, Tone};

/// The default width of paragraphs, in characters.
const WIDTH: usize = 120;

/// The smallest width, in characters.
const NARROWEST: usize = 50;

/// The style of a text report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// The width of the terminal; absent: the output is not a terminal.
    pub width: Option<usize>,
    /// Whether to use colours.
    pub colour: bool,
}

/// Writes a report.
pub(super) struct Page<'a> {
    pub(super) out: &'a mut dyn Write,
    pub(super) style: Style,
}

impl Write for Page<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Page<'_> {
    /// The longest line, in characters.
    pub(super) fn width(&self) -> usize {
        self.style.width.map_or(WIDTH, |width| width.max(NARROWEST))
    }

    /// A text in bold, for headings.
    pub(super) fn bold(&self, text: &str) -> String {
        if self.style.colour { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Writes a heading and a list, unless the list is empty.
    pub(super) fn section(&mut self, title: &str, lines: &[String]) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let title = self.bold(title);
        writeln!(self, "\n{title}")?;
        lines.iter().try_for_each(|line| self.paragraph("  -", "   ", line))
    }

    /// Writes a text in lines of at most the width. `first` and a space begin the first line, `others` and a space the others.
    pub(super) fn paragraph(&mut self, first: &str, others: &str, text: &str) -> io::Result<()> {
        let most = self.width();
        write!(self.out, "{first}")?;
        let mut width = first.chars().count();
        for word in text.split(' ') {
            let length = word.chars().count();
            if width + 1 + length > most && width > others.chars().count() {
                write!(self.out, "\n{others}")?;
                width = others.chars().count();
            }
            write!(self.out, " {word}")?;
            width += 1 + length;
        }
        writeln!(self.out)
    }

    /// Writes a sentence without indentation.
    pub(super) fn sentence(&mut self, text: &str) -> io::Result<()> {
        let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
        self.paragraph(first, " ", rest)
    }

    /// Writes a timeline. Its lines are broken only on a terminal.
    pub(super) fn timeline(&mut self, timeline: &Timeline) -> io::Result<()> {
        const INDENT: &str = "               ";
        for (tone, at, text) in timeline.lines() {
            let (begin, end) = match tone {
                _ if !self.style.colour => ("", ""),
                Tone::Plain => ("", ""),
                Tone::Good => ("\x1b[32m", "\x1b[0m"),
                Tone::Bad => ("\x1b[31m", "\x1b[0m"),
            };
            write!(self.out, "{begin}")?;
            if self.style.width.is_some() {
                self.paragraph(&format!("  {at:>12} "), INDENT, &text)?;
            } else {
                writeln!(self.out, "  {at:>12}  {text}")?;
            }
            write!(self.out, "{end}")?;
        }
        Ok(())
    }
}
