//! The state as text: a JSON document of one line. The checksum covers the bytes of `state`.
//!
//! ```json
//! {"version":1,"checksum":"84ff6eb36fd0e9cc","state":{"starts":2,"saved_ns":…,"elapsed_ns":…,"counts":{"readiness":{"kubelet":7}},
//!  "origins":[{"rule":"{…}","elapsed_ns":…,"counts":{…},"starts":0,"matched":{…}}]}}
//! ```

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{MAX_STATE, SavedState};
use crate::engine::Stop;
use crate::fault::{
    Client, MAX_PROXIES, Origin, Proxies, ProxyName, RequestCounts, Target, TargetId, Timestamp,
};
use crate::plan::Source;

/// The supported version.
const VERSION: u64 = 1;

/// Number of hexadecimal digits of the checksum.
const DIGITS: usize = 16;

const BEFORE_STATE: &str = "\",\"state\":";

const END: &str = "}\n";

/// Limit of the time since the first start, and of dates (in 2070): 100 years fit in 64 bits of nanoseconds.
pub(super) const MAX_ELAPSED: Duration = Duration::from_secs(100 * 366 * 86_400);

/// Limit of requests and starts: counting never reaches it, and additions do not overflow.
const MAX_COUNT: u64 = 1 << 60;

/// The content of a file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct StateRecord {
    pub(super) starts: u64,
    pub(super) saved: Timestamp,
    pub(super) state: SavedState,
}

#[derive(Serialize, Deserialize)]
struct RawState {
    starts: u64,
    saved_ns: u64,
    elapsed_ns: u64,
    counts: RawCounts,
    origins: Vec<RawOrigin>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stop: Option<RawStop>,
}

#[derive(Serialize, Deserialize)]
struct RawStop {
    by: String,
    since_ns: u64,
}

#[derive(Serialize, Deserialize)]
struct RawOrigin {
    rule: String,
    elapsed_ns: u64,
    counts: RawCounts,
    starts: u64,
    /// Number of requests that the rule's match has admitted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    matched: RawCounts,
}

/// Counts by target and client class, without zeros.
type RawCounts = BTreeMap<String, BTreeMap<String, u64>>;

/// Serializes a state; numbers are clamped to their limits.
pub(super) fn encode(starts: u64, saved: Timestamp, state: &SavedState) -> io::Result<String> {
    let raw = RawState {
        starts: starts.min(MAX_COUNT),
        saved_ns: nanos(saved.0),
        elapsed_ns: nanos(state.elapsed),
        counts: write_counts(&state.counts, &state.proxies),
        origins: state
            .origins
            .iter()
            .enumerate()
            .map(|(at, (rule, origin))| RawOrigin {
                rule: rule.to_owned(),
                elapsed_ns: nanos(origin.elapsed),
                counts: write_counts(&origin.counts, &state.proxies),
                starts: origin.starts.min(MAX_COUNT),
                matched: state.matched.get(at).map(|of| write_counts(of, &state.proxies)).unwrap_or_default(),
            })
            .collect(),
        stop: state.stop.as_ref().map(|stop| RawStop { by: stop.by.clone(), since_ns: nanos(stop.since.0) }),
    };
    let text = sealed(&serde_json::to_string(&raw)?);
    if text.len() > MAX_STATE {
        let reason = format!("{} bytes are more than the {MAX_STATE} allowed", text.len());
        return Err(io::Error::new(ErrorKind::FileTooLarge, reason));
    }
    Ok(text)
}

/// The whole text around the JSON of a state.
fn sealed(json: &str) -> String {
    let checksum = checksum(json.as_bytes());
    format!("{}{checksum:0DIGITS$x}{BEFORE_STATE}{json}{END}", start(VERSION))
}

/// The same state at another start at `now`, without parsing its rules: a thousand rules would take milliseconds. `None`
/// if the text does not have the form of [`encode`].
pub(super) fn at_next_start(bytes: &[u8], now: Timestamp) -> Option<String> {
    let json = checked(std::str::from_utf8(bytes).ok()?).ok()?;
    let (starts, rest) = number_after(json, "{\"starts\":")?;
    let (saved, rest) = number_after(rest, ",\"saved_ns\":")?;
    let (before, rest) = number_after(rest, ",\"elapsed_ns\":")?;
    let (starts, saved, before) = (bounded(starts)?, Timestamp(elapsed(saved)?), elapsed(before)?);
    let (saved_ns, elapsed_ns) = (nanos(now.0), nanos(elapsed_at(now, saved, before)));
    let starts = (starts + 1).min(MAX_COUNT);
    let text =
        sealed(&format!("{{\"starts\":{starts},\"saved_ns\":{saved_ns},\"elapsed_ns\":{elapsed_ns}{rest}"));
    Some(text).filter(|text| text.len() <= MAX_STATE)
}

/// The number after `name`, and the rest of the text.
fn number_after<'a>(text: &'a str, name: &str) -> Option<(u64, &'a str)> {
    let rest = text.strip_prefix(name)?;
    let (number, rest) = rest.split_at(rest.find(|character: char| !character.is_ascii_digit())?);
    Some((number.parse().ok()?, rest))
}

/// The time since the first start, which was `before` at `saved`. A clock that was set back does not reduce it.
pub(super) fn elapsed_at(now: Timestamp, saved: Timestamp, before: Duration) -> Duration {
    before.saturating_add(now.0.saturating_sub(saved.0)).min(MAX_ELAPSED)
}

/// Parses a state. The error says why it cannot be used.
pub(super) fn decode(bytes: &[u8]) -> Result<StateRecord, String> {
    if bytes.len() > MAX_STATE {
        return Err(format!("is damaged: larger than {MAX_STATE} bytes"));
    }
    if bytes.is_empty() {
        return Err("is damaged: empty".to_owned());
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "is damaged: not UTF-8")?;
    let state = checked(text)?;
    let raw: RawState = serde_json::from_str(state).map_err(|error| format!("is damaged: {error}"))?;
    record(&raw).ok_or_else(|| "is damaged: a number is out of bounds".to_owned())
}

/// The JSON of the state, if the checksum is right; otherwise, the reason.
fn checked(text: &str) -> Result<&str, String> {
    let Some(rest) = text.strip_prefix(&start(VERSION)) else {
        return Err(other_version(text).unwrap_or_else(|| "is damaged: its head is unknown".to_owned()));
    };
    let (expected, state) = rest
        .split_at_checked(DIGITS)
        .and_then(|(digits, rest)| Some((digits, rest.strip_prefix(BEFORE_STATE)?.strip_suffix(END)?)))
        .ok_or("is damaged: cut short")?;
    if expected != format!("{:0DIGITS$x}", checksum(state.as_bytes())) {
        return Err("is damaged: its checksum does not match".to_owned());
    }
    Ok(state)
}

fn start(version: u64) -> String {
    format!("{{\"version\":{version},\"checksum\":\"")
}

fn other_version(text: &str) -> Option<String> {
    let (version, _) = text.strip_prefix("{\"version\":")?.split_once(',')?;
    let version: u64 = version.parse().ok().filter(|version| *version != VERSION)?;
    Some(format!("is of version {version}, not {VERSION}"))
}

/// A hash that detects any change of a single byte.
fn checksum(bytes: &[u8]) -> u64 {
    crate::fault::fnv1a(bytes)
}

fn record(raw: &RawState) -> Option<StateRecord> {
    let proxies = proxies(&raw.counts);
    let origin = |raw: &RawOrigin| {
        let (elapsed, counts) = (elapsed(raw.elapsed_ns)?, read_counts(&raw.counts, &proxies)?);
        let origin = Origin { elapsed, counts, starts: bounded(raw.starts)? };
        Some((raw.rule.clone(), origin))
    };
    Some(StateRecord {
        starts: bounded(raw.starts)?,
        saved: Timestamp(elapsed(raw.saved_ns)?),
        state: SavedState {
            elapsed: elapsed(raw.elapsed_ns)?,
            counts: read_counts(&raw.counts, &proxies)?,
            origins: raw.origins.iter().map(origin).collect::<Option<_>>()?,
            matched: matched(&raw.origins, &proxies)?,
            proxies: proxies.clone(),
            stop: match &raw.stop {
                Some(stop) => Some(read_stop(stop)?),
                None => None,
            },
        },
    })
}

/// Numbers of matching requests by position; empty if no rule has any.
fn matched(origins: &[RawOrigin], proxies: &Proxies) -> Option<Vec<RequestCounts>> {
    if origins.iter().all(|origin| origin.matched.is_empty()) {
        return Some(Vec::new());
    }
    origins.iter().map(|origin| read_counts(&origin.matched, proxies)).collect()
}

fn read_stop(raw: &RawStop) -> Option<Stop> {
    // Only stops made through the API are kept.
    Some(Stop { source: Source::Api, by: raw.by.clone(), since: Timestamp(elapsed(raw.since_ns)?) })
}

fn write_counts(counts: &RequestCounts, proxies: &Proxies) -> RawCounts {
    let of = |target: TargetId| {
        let of_client = move |client| (client, counts.get(target, client));
        let above_zero = Client::ALL.into_iter().map(of_client).filter(|(_, count)| *count > 0);
        above_zero
            .map(|(client, count)| (client.name().to_owned(), count.min(MAX_COUNT)))
            .collect::<BTreeMap<_, _>>()
    };
    let slots = proxies.all().map(|(slot, _)| TargetId::Proxy(slot));
    let targets = Target::ALL.into_iter().map(TargetId::Class).chain(slots);
    let all = targets.map(|target| (proxies.target_name(target).to_owned(), of(target)));
    all.filter(|(_, counts)| !counts.is_empty()).collect()
}

/// The proxies of the counts, up to the limit. None is present until a source defines it.
fn proxies(raw: &RawCounts) -> Proxies {
    let names: Vec<ProxyName> = raw.keys().filter_map(|name| ProxyName::new(name).ok()).collect();
    let known = Proxies::default().with(names.iter().take(MAX_PROXIES));
    known.and_then(|known| known.with([])).unwrap_or_default()
}

fn read_counts(raw: &RawCounts, proxies: &Proxies) -> Option<RequestCounts> {
    let mut counts = RequestCounts::default();
    let slots = proxies.all().map(|(slot, _)| TargetId::Proxy(slot));
    for target in Target::ALL.into_iter().map(TargetId::Class).chain(slots) {
        for client in Client::ALL {
            let of_target = raw.get(proxies.target_name(target));
            let count = of_target.and_then(|counts| counts.get(client.name()));
            counts.set(target, client, bounded(count.copied().unwrap_or(0))?);
        }
    }
    Some(counts)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.min(MAX_ELAPSED).as_nanos()).unwrap_or(u64::MAX)
}

fn elapsed(nanos: u64) -> Option<Duration> {
    Some(Duration::from_nanos(nanos)).filter(|elapsed| *elapsed <= MAX_ELAPSED)
}

fn bounded(count: u64) -> Option<u64> {
    Some(count).filter(|count| *count <= MAX_COUNT)
}

#[cfg(test)]
mod tests;
