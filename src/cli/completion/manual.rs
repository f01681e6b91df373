//! Manual pages.

use std::fmt::Write;

use super::Described;

/// The page about the program as a whole.
pub(super) fn main(verbs: &[Described], help: &str) -> String {
    let mut page = head("kube-probesim", "a probe and fault simulator for Kubernetes");
    section(&mut page, "DESCRIPTION", help);
    page.push_str(".SH SEE ALSO\n");
    for verb in verbs {
        let _ = writeln!(page, ".BR kube\\-probesim\\-{} (1)", verb.name);
    }
    page
}

/// The page about a verb.
pub(super) fn of_verb(verb: &Described) -> String {
    let mut page = head(&format!("kube-probesim-{}", verb.name), verb.about);
    section(&mut page, "DESCRIPTION", &(verb.help)());
    page.push_str(".SH SEE ALSO\n.BR kube\\-probesim (1)\n");
    page
}

fn head(name: &str, about: &str) -> String {
    let (upper, name) = (name.to_uppercase().replace('-', "\\-"), name.replace('-', "\\-"));
    let version = crate::VERSION;
    format!(".TH {upper} 1 \"\" \"kube\\-probesim {version}\"\n.SH NAME\n{name} \\- {}\n", escaped(about))
}

/// A section with preformatted text.
fn section(page: &mut String, title: &str, text: &str) {
    let _ = writeln!(page, ".SH {title}\n.nf");
    for line in text.lines() {
        let line = escaped(line);
        // A line that begins with one of these characters would be a troff request.
        let guard = if line.starts_with(['.', '\'']) { "\\&" } else { "" };
        let _ = writeln!(page, "{guard}{line}");
    }
    page.push_str(".fi\n");
}

/// A text with troff's special characters escaped.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-").replace('`', "\\`").replace('\'', "\\(aq")
}
