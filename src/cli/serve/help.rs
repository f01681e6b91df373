//! The help of `serve`, generated from the table of variables.

use std::fmt::Write;

use crate::env::{FLAGS, VARIABLES};

/// What `serve --help` prints.
pub(super) fn text() -> String {
    let mut text = "\
Serve probes with the faults of the environment.

Usage: kube-probesim [serve] [OPTIONS]

OPTIONS (they override the environment)
"
    .to_owned();
    for (flag, variable, value) in FLAGS {
        line(&mut text, &format!("--{flag} {value}"), &format!("sets {variable}"));
    }
    line(&mut text, "--set NAME=VALUE", "sets any variable; repeatable");
    line(&mut text, "-h, --help", "");
    text.push_str(
        "
VARIABLES, each with the unit of a bare number or the kind of value
A prefix (LIVENESS_, READINESS_, STARTUP_, DEPENDENCY_, TRAFFIC_) makes those marked with * act on one target.

",
    );
    for variable in VARIABLES {
        let star = if variable.prefixes.is_empty() { "" } else { "*" };
        let name = format!("{}{star}", variable.name);
        let default = match variable.default {
            "" => String::new(),
            default => format!(" [default: {default}]"),
        };
        let meaning = variable.meaning.replace('`', "");
        let _ = writeln!(text, "  {name:28}  {:9}  {meaning}{default}", variable.unit);
    }
    text.push_str(
        "
0 and empty mean unset, but for PORT, SEED, FAILURE_BODY and truth values.

Exit code: 0 ended by a signal; 64 wrong usage; 71 a port cannot be had; 78 wrong configuration.
",
    );
    text
}

fn line(text: &mut String, left: &str, right: &str) {
    let line = format!("  {left:28}  {right}");
    text.push_str(line.trim_end());
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variable_is_there_with_its_unit_and_default() {
        let text = text();
        for variable in VARIABLES {
            let found = text.lines().any(|line| {
                let mut words = line.split_whitespace();
                words.next().is_some_and(|word| word.trim_end_matches('*') == variable.name)
                    && words.next() == Some(variable.unit)
                    && line.ends_with(&match variable.default {
                        "" => variable.meaning.replace('`', ""),
                        default => format!("[default: {default}]"),
                    })
            });
            assert!(found, "{}", variable.name);
        }
        assert!(text.contains("  --port PORT"), "{text}");
    }
}
