//! Options in the style of Go's flags: `-namespace app`, `-namespace=app`.

use std::ffi::OsString;

/// Adds a second hyphen to arguments with one that are among `options`.
pub(super) fn doubled(args: impl IntoIterator<Item = OsString>, options: &[&'static str]) -> Vec<OsString> {
    let mut ended = false;
    args.into_iter()
        .map(|arg| {
            ended |= arg == "--";
            match arg.to_str().filter(|_| !ended).and_then(|text| with_two(text, options)) {
                Some(doubled) => doubled.into(),
                None => arg,
            }
        })
        .collect()
}

fn with_two(arg: &str, options: &[&'static str]) -> Option<String> {
    let name = arg.strip_prefix('-').filter(|name| !name.starts_with('-'))?;
    let name = name.split('=').next().unwrap_or(name);
    let is_known = |option: &&str| option.strip_prefix("--") == Some(name);
    (name == "help" || options.iter().any(is_known)).then(|| format!("-{arg}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_names_get_a_second_hyphen_and_nothing_else_does() {
        let args = ["-name", "a", "-name=b", "--name", "-n", "-nx", "-other", "-", "-help", "--", "-name"];
        let doubled = doubled(args.into_iter().map(OsString::from), &["--name", "-n"]);
        let expected =
            ["--name", "a", "--name=b", "--name", "-n", "-nx", "-other", "-", "--help", "--", "-name"];
        assert_eq!(doubled, expected);
    }
}
