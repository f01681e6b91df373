//! What a container runs.

use lexopt::{Arg, ValueExt};

use super::error::Problem;
use super::findings::Reading;
use super::mapping::Mapping;
use crate::env::{FLAGS, Flag};

/// The name of this program's image and binary.
const OWN_NAME: &str = "kube-probesim";

/// Subcommands that do not serve probes.
const TOOLS: [&str; 8] = ["probe", "wait", "fault", "predict", "kubectl", "completion", "man", "help"];

/// What a container runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// This program's service.
    Service,
    /// This program with another subcommand, such as `probe`.
    Tool,
    /// Something else.
    Other,
}

/// The role of a container, by its `command` or, without one, by the name of its image.
pub(super) fn role(container: &Mapping) -> Reading<Role> {
    Reading::collect(|found| {
        let image = found.take(container.string("image")).unwrap_or_default();
        let command = found.take(container.strings("command"));
        let arguments = found.take(container.strings("args"));
        let is_own = command.first().map_or_else(|| is_own_image(image), |first| is_own_binary(first));
        if !is_own {
            return Role::Other;
        }
        let words: Vec<&str> = command.into_iter().skip(1).chain(arguments).collect();
        match words.as_slice() {
            ["--help" | "-h" | "--version" | "-V", ..] => Role::Tool,
            [verb, ..] if TOOLS.contains(verb) => Role::Tool,
            words if flags(words).is_some() => Role::Service,
            words => {
                let field = container.field(if container.contains("args") { "args" } else { "command" });
                found.error(field, Problem::Arguments(words.join(" ")));
                Role::Service
            }
        }
    })
}

/// The flags of `serve` in a container's command and arguments.
pub(super) fn serve_flags(container: &Mapping) -> Reading<Vec<Flag>> {
    Reading::collect(|found| {
        let command = found.take(container.strings("command"));
        let arguments = found.take(container.strings("args"));
        let words: Vec<&str> = command.into_iter().skip(1).chain(arguments).collect();
        flags(&words).unwrap_or_default()
    })
}

/// The flags of `serve`, which is the default subcommand. `None`: `serve` does not accept these words.
fn flags(words: &[&str]) -> Option<Vec<Flag>> {
    let mut parser = lexopt::Parser::from_args(words.strip_prefix(&["serve"]).unwrap_or(words));
    let mut flags = Vec::new();
    while let Some(argument) = parser.next().ok()? {
        let Arg::Long(option) = argument else { return None };
        let option = option.to_owned();
        let value = parser.value().ok()?.string().ok()?;
        let (written, variable, value) = match FLAGS.iter().find(|(flag, ..)| *flag == option) {
            Some((flag, variable, _)) => (format!("--{flag}"), (*variable).to_owned(), value),
            None if option == "set" => {
                let (name, value) = value.split_once('=')?;
                (format!("--set {name}"), name.to_owned(), value.to_owned())
            }
            None => return None,
        };
        flags.push(Flag { written, variable, value });
    }
    Some(flags)
}

/// Whether this is an image of this program, in any registry and with any tag.
pub fn is_own_image(image: &str) -> bool {
    image_name(image) == OWN_NAME
}

/// Whether a command starts this program.
pub(super) fn is_own_binary(word: &str) -> bool {
    word.rsplit('/').next() == Some(OWN_NAME)
}

/// The last segment of an image's repository.
fn image_name(image: &str) -> &str {
    let repository = image.split('@').next().unwrap_or(image);
    let last = repository.rsplit('/').next().unwrap_or(repository);
    last.split(':').next().unwrap_or(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_recognised_by_the_last_segment_of_its_repository() {
        for image in [
            "kube-probesim",
            "kube-probesim:0.1.0",
            "registry.example:5000/team/kube-probesim:0.1.0@sha256:0123",
            "docker.io/library/kube-probesim@sha256:0123",
        ] {
            assert_eq!(image_name(image), OWN_NAME, "{image}");
        }
        for image in ["kube-probesim/other", "my-kube-probesim", "kube-probesim-extra:1", ""] {
            assert_ne!(image_name(image), OWN_NAME, "{image}");
        }
    }
}
