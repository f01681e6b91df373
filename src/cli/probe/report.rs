//! What the command prints.

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use serde_json::json;

use crate::prober::{Outcome, Phase, ProbeResult};

use super::latency::Latencies;

const PERCENTILES: [u64; 3] = [50, 90, 99];

/// Form of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Output {
    /// Words in a line.
    #[default]
    Text,
    /// One object per line.
    Json,
}

/// Writes outcomes and a summary.
pub(super) struct Report<'a> {
    address: &'a str,
    output: Output,
    out: &'a mut dyn Write,
}

impl<'a> Report<'a> {
    pub(super) fn new(address: &'a str, output: Output, out: &'a mut dyn Write) -> Self {
        Self { address, output, out }
    }

    /// Writes a line of an attempt, and `began`, if it is one of many: the time from the start of the first.
    pub(super) fn outcome(&mut self, outcome: &Outcome, began: Option<Duration>) -> io::Result<()> {
        let Outcome { result, phase, status, duration, message } = outcome;
        match self.output {
            Output::Text => {
                if let Some(began) = began {
                    write!(self.out, "+{:.3}s ", began.as_secs_f64())?;
                }
                let status = status.map_or_else(|| "-".to_owned(), |status| status.to_string());
                write!(self.out, "{result} {phase} {status} {}", Time(*duration))?;
                if !message.is_empty() {
                    write!(self.out, " {}", OneLine(message))?;
                }
                writeln!(self.out)?;
            }
            Output::Json => {
                let mut line = json!({ "address": self.address });
                if let Some(began) = began {
                    line["elapsed_seconds"] = json!(began.as_secs_f64());
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

    pub(super) fn summary(&mut self, tally: &Tally) -> io::Result<()> {
        let attempts = tally.attempts();
        let latencies = &tally.latencies;
        match self.output {
            Output::Text => {
                write!(self.out, "attempts {attempts}:")?;
                for (at, result) in ProbeResult::ALL.into_iter().enumerate() {
                    let comma = if at > 0 { "," } else { "" };
                    write!(self.out, "{comma} {result} {}", tally.count(result))?;
                }
                writeln!(self.out)?;
                if let Some(availability) = tally.availability() {
                    // Rounded down: 100 % is said only where nothing failed.
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
            Output::Json => {
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

/// What came of many attempts, in constant memory.
#[derive(Debug, Default)]
pub(super) struct Tally {
    counts: [u64; ProbeResult::ALL.len()],
    /// Of the attempts with an answer.
    latencies: Latencies,
}

impl Tally {
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

/// A duration in digits that a person compares.
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

/// A text of the server on one line, without what would steer a terminal.
struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if c.is_control() { write!(f, "{}", c.escape_default())? } else { write!(f, "{c}")? }
        }
        Ok(())
    }
}
