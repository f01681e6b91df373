//! Reads measured latencies: a Prometheus histogram, or the output of `probe`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use thiserror::Error;

use super::Profile;
use crate::fault::Delay;
use crate::order;

/// The fewest answers from which percentiles are estimated.
const LEAST_ANSWERS: f64 = 20.0;

/// Why a text has no latencies.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum MeasureError {
    /// Neither of the formats.
    #[error(
        "contains neither a histogram in Prometheus' text format (lines NAME_bucket{{le=\"…\"}} N) nor the output of `probe --every 1s --output json`"
    )]
    Form,
    /// Several histograms.
    #[error("contains several histograms: {0}; select one: --profile-from NAME=FILE#HISTOGRAM")]
    Several(String),
    /// No such histogram.
    #[error("contains no histogram {0:?}; it contains {1}")]
    Unknown(String, String),
    /// Too few answers.
    #[error("counts {0} answers; at least {LEAST_ANSWERS} are needed")]
    Few(f64),
}

/// A profile with the latencies of a text. `histogram` selects one of several.
pub fn measured(text: &str, histogram: Option<&str>) -> Result<Profile, MeasureError> {
    let table = match of_probe(text) {
        Some(table) => table?,
        None => of_histogram(text, histogram)?,
    };
    let latency = Delay::percentiles(table).map_err(|_| MeasureError::Form)?;
    Ok(Profile { latency: Some(latency), ..Profile::default() })
}

/// Percentiles from the output of `probe`: from its summary or, without one, from its attempts.
fn of_probe(text: &str) -> Option<Result<Vec<(f64, Duration)>, MeasureError>> {
    let first = text.lines().find(|line| !line.trim().is_empty())?;
    if !first.trim_start().starts_with('{') {
        return None;
    }
    let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    if let Some(latency) = lines.iter().rev().find_map(|line| line.pointer("/summary/latency_seconds")) {
        let answers = latency.get("answers").and_then(Value::as_f64).unwrap_or(0.0);
        if answers < LEAST_ANSWERS {
            return Some(Err(MeasureError::Few(answers)));
        }
        let mut table: Vec<(f64, Duration)> = latency
            .as_object()?
            .iter()
            .filter_map(|(name, value)| {
                let percentile = if name == "max" { 100.0 } else { name.strip_prefix('p')?.parse().ok()? };
                Some((percentile, Duration::try_from_secs_f64(value.as_f64()?).ok()?))
            })
            .collect();
        order::sort_by(&mut table, |a, b| a.0.total_cmp(&b.0));
        return Some(Ok(rising(table)));
    }
    let answered = |line: &Value| {
        let is_answer = line.get("status").is_some_and(|status| !status.is_null());
        let seconds = line.get("duration_seconds").and_then(Value::as_f64).filter(|_| is_answer)?;
        Duration::try_from_secs_f64(seconds).ok()
    };
    let mut times: Vec<Duration> = lines.iter().filter_map(answered).collect();
    if (times.len() as f64) < LEAST_ANSWERS {
        return Some(Err(MeasureError::Few(times.len() as f64)));
    }
    order::sort(&mut times);
    let rank = |percent: f64| times[(((times.len() - 1) as f64) * percent / 100.0).round() as usize];
    let percents = [0.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 100.0];
    Some(Ok(rising(percents.map(|percent| (percent, rank(percent))).to_vec())))
}

/// Makes a table monotonic.
fn rising(mut table: Vec<(f64, Duration)>) -> Vec<(f64, Duration)> {
    let mut most = Duration::ZERO;
    for (_, time) in &mut table {
        most = most.max(*time);
        *time = most;
    }
    table
}

/// Percentiles from cumulative buckets, over all label sets of a histogram.
fn of_histogram(text: &str, wanted: Option<&str>) -> Result<Vec<(f64, Duration)>, MeasureError> {
    let mut histograms: BTreeMap<&str, BTreeMap<u64, f64>> = BTreeMap::new();
    for line in text.lines() {
        let Some((name, bound, count)) = bucket(line.trim()) else { continue };
        // The bits of non-negative numbers have the same order as the numbers.
        *histograms.entry(name).or_default().entry(bound.to_bits()).or_default() += count;
    }
    let names = || histograms.keys().copied().collect::<Vec<_>>().join(", ");
    let buckets = match (wanted, histograms.len()) {
        (_, 0) => return Err(MeasureError::Form),
        (Some(name), _) => {
            let base = name.strip_suffix("_bucket").unwrap_or(name);
            histograms.get(base).ok_or_else(|| MeasureError::Unknown(name.to_owned(), names()))?
        }
        (None, 1) => histograms.values().next().ok_or(MeasureError::Form)?,
        (None, _) => return Err(MeasureError::Several(names())),
    };
    let total = buckets.values().copied().fold(0.0, f64::max);
    if total < LEAST_ANSWERS {
        return Err(MeasureError::Few(total));
    }
    let mut table: Vec<(f64, Duration)> = Vec::new();
    let mut most = 0.0_f64;
    for (bits, count) in buckets {
        let bound = f64::from_bits(*bits);
        most = most.max(*count);
        let percent = 100.0 * most / total;
        // Answers above the last bound are assumed to be at most twice as slow.
        let time =
            if bound.is_finite() { Duration::try_from_secs_f64(bound).unwrap_or_default() } else { continue };
        if table.is_empty() && percent > 0.0 {
            table.push((0.0, Duration::ZERO));
        }
        match table.last_mut() {
            Some((last, _)) if *last >= percent => {}
            _ => table.push((percent.min(100.0), time)),
        }
    }
    if let Some((percent, slowest)) = table.last().copied().filter(|(percent, _)| *percent < 100.0) {
        let _ = percent;
        table.push((100.0, slowest * 2));
    }
    Ok(table)
}

/// The name, bound and count of a line `NAME_bucket{…le="0.1"…} 12`.
fn bucket(line: &str) -> Option<(&str, f64, f64)> {
    let (name, rest) = line.split_once('{')?;
    let name = name.strip_suffix("_bucket")?;
    let (labels, value) = rest.rsplit_once('}')?;
    let at =
        labels.find("le=\"").filter(|at| *at == 0 || !labels.as_bytes()[at - 1].is_ascii_alphanumeric())?;
    let bound = labels[at + 4..].split('"').next()?;
    let bound =
        if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok().filter(|it: &f64| *it >= 0.0)? };
    let count = value.split_whitespace().next()?.parse().ok()?;
    Some((name, bound, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HISTOGRAM: &str = "# TYPE http_seconds histogram\n\
        http_seconds_bucket{path=\"/a\",le=\"0.1\"} 50\nhttp_seconds_bucket{path=\"/a\",le=\"0.5\"} 90\n\
        http_seconds_bucket{path=\"/a\",le=\"1\"} 99\nhttp_seconds_bucket{path=\"/a\",le=\"+Inf\"} 100\n\
        http_seconds_count{path=\"/a\"} 100\n";

    fn quantile(profile: &Profile, p: f64) -> Duration {
        profile.latency.as_ref().map(|delay| delay.quantile(p)).unwrap_or_default()
    }

    #[test]
    fn a_histogram_becomes_percentiles() {
        let profile = measured(HISTOGRAM, None).unwrap_or_default();
        assert_eq!(quantile(&profile, 0.5), Duration::from_millis(100));
        assert_eq!(quantile(&profile, 0.9), Duration::from_millis(500));
        assert_eq!(quantile(&profile, 0.99), Duration::from_secs(1));
        assert!(quantile(&profile, 0.999) > Duration::from_secs(1));
    }

    #[test]
    fn one_of_several_histograms_is_selected_by_name() {
        let two = HISTOGRAM.to_owned() + &HISTOGRAM.replace("http_seconds", "db_seconds");
        assert_eq!(measured(&two, None), Err(MeasureError::Several("db_seconds, http_seconds".to_owned())));
        assert!(measured(&two, Some("db_seconds")).is_ok());
        assert_eq!(
            measured(&two, Some("x")),
            Err(MeasureError::Unknown("x".to_owned(), "db_seconds, http_seconds".to_owned()))
        );
    }

    #[test]
    fn the_output_of_probe_is_read_from_its_summary_or_its_attempts() {
        let summary = "{\"summary\":{\"attempts\":100,\"latency_seconds\":{\"answers\":100,\"p50\":0.02,\"p99\":0.9,\"max\":1.5}}}\n";
        let profile = measured(summary, None).unwrap_or_default();
        assert_eq!(quantile(&profile, 0.99), Duration::from_millis(900));
        let attempts: Vec<String> = (1..=100)
            .map(|i| format!("{{\"status\":200,\"duration_seconds\":{}}}", f64::from(i) / 100.0))
            .collect();
        let attempts = attempts.join("\n");
        let profile = measured(&attempts, None).unwrap_or_default();
        assert!((490..520).contains(&quantile(&profile, 0.5).as_millis()));
    }

    #[test]
    fn other_texts_and_few_answers_are_errors() {
        assert_eq!(measured("", None), Err(MeasureError::Form));
        assert_eq!(measured("up 1\n", None), Err(MeasureError::Form));
        assert_eq!(
            measured("{\"status\":200,\"duration_seconds\":0.1}\n", None),
            Err(MeasureError::Few(1.0))
        );
        let few = HISTOGRAM
            .replace("} 100", "} 10")
            .replace("} 99", "} 9")
            .replace("} 90", "} 8")
            .replace("} 50", "} 5");
        assert_eq!(measured(&few, None), Err(MeasureError::Few(10.0)));
    }
}
