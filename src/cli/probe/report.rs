//! The output of `probe`.

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use serde_json::json;

use super::latency::Latencies;
use crate::cli::shared::OutputFormat;
use crate::cli::text::{OneLine, without_local_address};
use crate::prober::{Outcome, Phase, ProbeResult};

const PERCENTILES: [u64; 3] = [50, 90, 99];

/// Writes outcomes and a summary.
pub(super) struct ProbeReport<'a> {
    address: &'a str,
    output: OutputFormat,
    out: &'a mut dyn Write,
}

impl<'a> ProbeReport<'a> {
    pub(super) fn new(address: &'a str, output: OutputFormat, out: &'a mut dyn Write) -> Self {
        Self { address, output, out }
    }

    /// Writes the line of an attempt. `elapsed` is the time since the start of the first attempt, if there are several.
    ///
    /// Equal outcomes of single attempts have equal texts: the text becomes the message of an exec probe's event, and
    /// Kubernetes aggregates events with equal messages.
    pub(super) fn outcome(&mut self, outcome: &Outcome, elapsed: Option<Duration>) -> io::Result<()> {
        let Outcome { result, phase, status, duration, message } = outcome;
        match self.output {
            OutputFormat::Text => {
                let status = status.map_or_else(|| "-".to_owned(), |status| status.to_string());
                if let Some(elapsed) = elapsed {
                    let latency = Time(*duration);
                    write!(self.out, "+{:.3}s {result} {phase} {status} {latency}", elapsed.as_secs_f64())?;
                } else {
                    write!(self.out, "{result} {phase} {status}")?;
                }
                if !message.is_empty() {
                    write!(self.out, " {}", OneLine(&without_local_address(message)))?;
                }
                writeln!(self.out)?;
            }
            OutputFormat::Json => {
                let mut line = json!({ "address": self.address });
                if let Some(elapsed) = elapsed {
                    line["elapsed_seconds"] = json!(elapsed.as_secs_f64());
                }
                line["result"] = json!(result.name());
                line["phase"] = json!(phase.name());
                line["status"] = json!(status);
                line["duration_seconds"] = json!(duration.as_secs_f64());
                line["message"] = json!(message);
                writeln!(self.out, "{line}")?;
            }
        }
        self.out.flush()
    }

    pub(super) fn summary(&mut self, tally: &ResultTally) -> io::Result<()> {
        let attempts = tally.attempts();
        let latencies = &tally.latencies;
        match self.output {
            OutputFormat::Text => {
                write!(self.out, "attempts {attempts}:")?;
                for (at, result) in ProbeResult::ALL.into_iter().enumerate() {
                    let comma = if at > 0 { "," } else { "" };
                    write!(self.out, "{comma} {result} {}", tally.count(result))?;
                }
                writeln!(self.out)?;
                if let Some(availability) = tally.availability() {
                    // Rounded down, so that 100 % means that nothing failed.
                    let percent = (availability * 1e5).floor() / 1e3;
                    writeln!(self.out, "availability {percent:.3}% (success and warning, of all attempts)")?;
                }
                if latencies.total() > 0 {
                    write!(self.out, "latency")?;
                    for percent in PERCENTILES {
                        write!(self.out, " p{percent} {},", Time(latencies.percentile(percent)))?;
                    }
                    writeln!(self.out, " max {} (of {} answers)", Time(latencies.max()), latencies.total())?;
                }
            }
            OutputFormat::Json => {
                let mut line = json!({ "address": self.address, "attempts": attempts });
                for result in ProbeResult::ALL {
                    line[result.name()] = json!(tally.count(result));
                }
                line["availability"] = json!(tally.availability());
                if latencies.total() > 0 {
                    let mut latency = json!({ "answers": latencies.total() });
                    for percent in PERCENTILES {
                        let seconds = latencies.percentile(percent).as_secs_f64();
                        latency[format!("p{percent}")] = json!(seconds);
                    }
                    latency["max"] = json!(latencies.max().as_secs_f64());
                    line["latency_seconds"] = latency;
                }
                writeln!(self.out, "{}", json!({ "summary": line }))?;
            }
        }
        self.out.flush()
    }
}

/// Counts of the results of many attempts, in constant memory.
#[derive(Debug, Default)]
pub(super) struct ResultTally {
    counts: [u64; ProbeResult::ALL.len()],
    /// Latencies of the attempts with a complete answer.
    latencies: Latencies,
}

impl ResultTally {
    pub(super) fn add(&mut self, outcome: &Outcome) {
        self.counts[outcome.result.index()] += 1;
        if outcome.phase == Phase::Complete {
            self.latencies.add(outcome.duration);
        }
    }

    pub(super) fn attempts(&self) -> u64 {
        self.counts.iter().sum()
    }

    fn count(&self, result: ProbeResult) -> u64 {
        self.counts[result.index()]
    }

    /// Share of the attempts that count as success; `None` if there were none.
    fn availability(&self) -> Option<f64> {
        let good: u64 =
            ProbeResult::ALL.into_iter().filter(|result| result.is_success()).map(|r| self.count(r)).sum();
        (self.attempts() > 0).then(|| good as f64 / self.attempts() as f64)
    }
}

/// A duration with few digits, for people.
struct Time(Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < Duration::from_secs(1) {
            write!(f, "{:.1}ms", self.0.as_secs_f64() * 1e3)
        } else {
            write!(f, "{:.3}s", self.0.as_secs_f64())
        }
    }
}
