//! Options, parsed from the help of a verb.

/// An option.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Opt {
    /// Its name, with the hyphens.
    pub(super) name: String,
    /// Placeholder of its value; `None` if it takes none.
    pub(super) value: Option<String>,
    /// Description; may be empty.
    pub(super) about: String,
}

impl Opt {
    /// The values that the help lists.
    pub(super) fn choices(&self) -> Vec<&str> {
        let is_word =
            |word: &&str| !word.is_empty() && word.bytes().all(|c| c.is_ascii_lowercase() || c == b'-');
        let words: Vec<&str> = self.value.as_deref().unwrap_or_default().split('|').collect();
        if words.len() > 1 { words.into_iter().filter(is_word).collect() } else { Vec::new() }
    }

    /// Whether its value is the name of a file or folder.
    pub(super) fn takes_file(&self) -> bool {
        let value = self.value.as_deref().unwrap_or_default();
        value.contains("FILE") || matches!(value, "DIRECTORY" | "PATH" | "PLAN") && self.name != "--method"
    }
}

/// The options in a help: lines that begin with two spaces and a hyphen. Several may share a line.
pub(super) fn options(help: &str) -> Vec<Opt> {
    let mut found: Vec<Opt> = Vec::new();
    for line in help.lines() {
        let Some(rest) = line.strip_prefix("  ").filter(|rest| rest.starts_with('-')) else { continue };
        let mut cells = rest.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).peekable();
        let mut of_line = Vec::new();
        while let Some(cell) = cells.next_if(|cell| cell.starts_with('-')) {
            of_line.extend(cell.split(", ").filter_map(option));
        }
        let about = cells.next().unwrap_or_default();
        for mut option in of_line {
            if !found.iter().any(|before| before.name == option.name) {
                about.clone_into(&mut option.about);
                found.push(option);
            }
        }
    }
    found
}

/// Parses an option: its name and the placeholder of its value.
fn option(text: &str) -> Option<Opt> {
    let mut words = text.split_whitespace();
    let name = words.next().filter(|name| name.starts_with("--"))?;
    let value = words.next().map(|value| value.trim_matches('\'').to_owned());
    Some(Opt { name: name.to_owned(), value, about: String::new() })
}

/// The words that follow the verb in the usage lines of its help, such as `add` of `fault`.
pub(super) fn words<'a>(verb: &str, help: &'a str) -> Vec<&'a str> {
    // kubectl's plugin has a name of its own.
    let mark =
        if verb == "kubectl" { "kubectl probesim ".to_owned() } else { format!("kube-probesim {verb} ") };
    let mut found = Vec::new();
    for line in help.lines().filter(|line| line.starts_with("Usage:") || line.starts_with("       ")) {
        let Some((_, rest)) = line.split_once(&mark) else { continue };
        let first = rest.split_whitespace().next().unwrap_or_default();
        for word in first.split('|') {
            if !word.is_empty() && word.bytes().all(|c| c.is_ascii_lowercase()) && !found.contains(&word) {
                found.push(word);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_from_their_lines_with_values_and_choices() {
        let help = "Usage: kube-probesim x add [OPTIONS]   adds\n       kube-probesim x rm NAME\n\nOPTIONS\n  \
                    -l, --selector LABELS   such as a=b\n  --a N  --size SIZE|PERCENT  --forward of x\n  \
                    --kind KIND, --name NAME\n  --until success|failure  repeat\n  --file FILE|-  a rule\n  -h, --help\n";
        let found = options(help);
        let names: Vec<&str> = found.iter().map(|option| option.name.as_str()).collect();
        assert_eq!(
            names,
            ["--selector", "--a", "--size", "--forward", "--kind", "--name", "--until", "--file", "--help"]
        );
        let by_name = |name| found.iter().find(|option| option.name == name).unwrap();
        assert_eq!(by_name("--selector").about, "such as a=b");
        assert_eq!(by_name("--until").choices(), ["success", "failure"]);
        assert!(by_name("--size").choices().is_empty() && by_name("--help").value.is_none());
        assert!(by_name("--file").takes_file() && !by_name("--name").takes_file());
        assert_eq!(words("x", help), ["add", "rm"]);
    }
}
