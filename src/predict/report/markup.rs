//! Text in XML and HTML.

use std::fmt;

/// A text with special characters of XML and HTML escaped, and characters that XML does not allow replaced.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\n' | '\t' => fmt::Write::write_char(f, c)?,
                c if c.is_control() => fmt::Write::write_char(f, '\u{fffd}')?,
                '\u{fffe}' | '\u{ffff}' => fmt::Write::write_char(f, '\u{fffd}')?,
                c => fmt::Write::write_char(f, c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_characters_are_escaped_and_control_characters_replaced() {
        assert_eq!(Escaped("<a b=\"c\">&'\u{1}").to_string(), "&lt;a b=&quot;c&quot;&gt;&amp;&#39;\u{fffd}");
    }
}
