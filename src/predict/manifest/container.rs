//! What a container runs.

use super::error::Problem;
use super::findings::Reading;
use super::mapping::Mapping;

/// The name of this program's image and binary.
const OWN_NAME: &str = "kube-probesim";

/// What a container runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// This program's service.
    Service,
    /// This program with another verb, such as `probe`.
    Tool,
    /// Something else.
    Other,
}

/// Tells by the image's name where `command` is absent, else by the command.
pub(super) fn role(container: &Mapping) -> Reading<Role> {
    Reading::collect(|found| {
        let image = found.take(container.string("image")).unwrap_or_default();
        let command = found.take(container.strings("command"));
        let arguments = found.take(container.strings("args"));
        let ours = command.first().map_or_else(|| is_own_image(image), |first| is_own_binary(first));
        if !ours {
            return Role::Other;
        }
        let words: Vec<&str> = command.into_iter().skip(1).chain(arguments).collect();
        match words.as_slice() {
            [] | ["serve"] => Role::Service,
            ["probe" | "fault" | "predict" | "help" | "--help" | "-h" | "--version" | "-V", ..] => Role::Tool,
            words => {
                let field = container.field(if container.contains("args") { "args" } else { "command" });
                found.error(field, Problem::Arguments(words.join(" ")));
                Role::Service
            }
        }
    })
}

/// Whether this is the name of our image, whatever its registry and its tag.
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
    fn an_image_is_known_by_the_last_segment_of_its_repository() {
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
