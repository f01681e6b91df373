//! Names of Pods, as the controllers of Kubernetes give them.

use crate::fault::{Draws, Seed};

use super::workload::{Kind, Workload};

/// The characters of drawn names: no vowels and nothing that looks like another.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
/// Characters drawn for a Pod.
const DRAWN: u64 = 5;
/// The longest name before the drawn characters; the rest of a longer one is cut off.
const MAX_BASE: usize = 63 - DRAWN as usize;

/// The names of the first `count` Pods of a workload. What a controller draws is drawn from `seed`.
pub fn names(workload: &Workload, count: u32, seed: Seed) -> Vec<String> {
    let name = &workload.name;
    let base = match workload.kind {
        Kind::Deployment => format!("{name}-{}-", template_hash(&Draws::of(seed, "template-hash"))),
        _ => format!("{name}-"),
    };
    let draws = Draws::of(seed, "names");
    (0..count)
        .map(|number| match workload.kind {
            Kind::Pod if count == 1 => name.clone(),
            // A bare Pod has one name; copies of it are numbered here, since none is given.
            Kind::Pod | Kind::StatefulSet => format!("{name}-{number}"),
            _ => drawn(&base, &draws, number),
        })
        .collect()
}

fn drawn(base: &str, draws: &Draws, number: u32) -> String {
    let base = base.get(..MAX_BASE).unwrap_or(base);
    let first = u64::from(number) * DRAWN;
    let letter = |at| char::from(ALPHABET[(ALPHABET.len() as f64 * draws.share(at)) as usize]);
    base.chars().chain((first + 1..=first + DRAWN).map(letter)).collect()
}

/// The `pod-template-hash` is a 32-bit hash whose decimal digits are written in the alphabet, by their ASCII codes.
fn template_hash(draws: &Draws) -> String {
    let hash = draws.at(1) as u32;
    hash.to_string().bytes().map(|digit| char::from(ALPHABET[usize::from(digit) % ALPHABET.len()])).collect()
}
