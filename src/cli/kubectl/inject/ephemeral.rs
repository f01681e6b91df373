//! Our ephemeral containers in a Pod, which are known by their names.

use serde_json::Value;

use super::stage::{self, Stage};
use crate::cli::kubectl::fields::list;

/// What the names of our containers begin with; the port and a random ending follow.
const PREFIX: &str = "probesim";

/// A name for the container of a port; names stay taken when their containers have ended.
pub(super) fn name(port: u16, draw: u64) -> String {
    let ending: String =
        (0..5).map(|digit| char::from_digit((draw >> (5 * digit) & 31) as u32, 32).unwrap_or('0')).collect();
    format!("{PREFIX}-{port}-{ending}")
}

/// The port in the name of a container of ours.
pub(in crate::cli::kubectl) fn port(name: &str) -> Option<u16> {
    let (port, ending) = name.strip_prefix(PREFIX)?.strip_prefix('-')?.split_once('-')?;
    (ending.len() == 5).then(|| port.parse().ok()).flatten()
}

/// The containers of ours that run or may still start, with their ports.
pub(in crate::cli::kubectl) fn current(pod: &Value) -> Vec<(String, u16)> {
    let ours = list(&pod["spec"]["ephemeralContainers"]).iter().filter_map(|each| {
        let name = each["name"].as_str()?;
        Some((name.to_owned(), port(name)?))
    });
    ours.filter(|(name, _)| !matches!(stage::of(pod, name), Stage::Ended { .. })).collect()
}
