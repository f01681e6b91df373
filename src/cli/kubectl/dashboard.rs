//! Forwards the admin port of a Pod, or that of what is injected into it.

use std::io::{BufRead, BufReader, Write};

use super::error::KubectlError;
use super::inject::{ephemeral, stage};
use super::process::Kubectl;
use crate::cli::exit;

/// The usual port of the admin listener.
const DEFAULT_PORT: u16 = 8081;

/// Forwards a free port of this machine to the admin port of `pod` until it is interrupted. Returns the exit code.
///
/// # Errors
///
/// kubectl cannot be started, or the output is closed.
pub(super) fn run(
    kubectl: &Kubectl,
    pod: &str,
    port: Option<u16>,
    out: &mut dyn Write,
) -> Result<u8, KubectlError> {
    let pod = if pod.contains('/') { pod.to_owned() } else { format!("pod/{pod}") };
    let port = port.or_else(|| injection(kubectl, &pod)).unwrap_or(DEFAULT_PORT);
    let arguments =
        ["port-forward".to_owned(), "--address=127.0.0.1".to_owned(), pod.clone(), format!(":{port}")];
    let mut child = kubectl.start(&arguments)?;
    let mut printed = Ok(());
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if printed.is_ok()
                && let Some(address) = forwarded(&line)
            {
                printed =
                    writeln!(out, "{pod}: http://{address}/ (Ctrl-C ends it)").and_then(|()| out.flush());
            }
        }
    }
    let ended = child.wait().map_err(KubectlError::Start)?;
    printed?;
    Ok(if ended.success() { exit::OK } else { exit::UNAVAILABLE })
}

/// The port of the admin listener of what is injected into the Pod.
fn injection(kubectl: &Kubectl, pod: &str) -> Option<u16> {
    let answer = kubectl.json(&["get", pod, "--output=json"].map(str::to_owned)).ok()?;
    let (container, _) = ephemeral::current(&answer).into_iter().next()?;
    let name = |field: &str| answer["metadata"][field].as_str();
    let admin = stage::admin(kubectl, name("namespace")?, name("name")?, &container)?;
    admin.rsplit_once(':')?.1.parse().ok()
}

/// The local address in `Forwarding from 127.0.0.1:41234 -> 8081`.
fn forwarded(line: &str) -> Option<&str> {
    line.strip_prefix("Forwarding from ")?.split(" -> ").next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_local_address_is_read_from_what_kubectl_prints() {
        assert_eq!(forwarded("Forwarding from 127.0.0.1:41234 -> 8081"), Some("127.0.0.1:41234"));
        assert_eq!(forwarded("Handling connection for 41234"), None);
    }
}
