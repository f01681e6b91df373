//! Names of Pods, as the controllers of Kubernetes generate them.

use crate::fault::{Draws, Seed};

use super::workload::{Kind, Workload};

/// The characters of generated names: no vowels, and no similar characters.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
/// The number of random characters of a name.
const DRAWN: u64 = 5;
/// The longest prefix of the random characters; longer ones are cut.
const MAX_BASE: usize = 63 - DRAWN as usize;

/// The names of the first `count` Pods of a workload. Random parts are drawn from `seed`.
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
            // Copies of a bare Pod are numbered, since it has only one name.
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

/// A `pod-template-hash`: the decimal digits of a 32-bit hash, each mapped into the alphabet by its ASCII code.
fn template_hash(draws: &Draws) -> String {
    let hash = draws.at(1) as u32;
    hash.to_string().bytes().map(|digit| char::from(ALPHABET[usize::from(digit) % ALPHABET.len()])).collect()
}
