//! What is shown of injections: a line for each change, and the sums at the end.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::cli::fault::table;
use crate::cli::kubectl::fields::{list, text};
use crate::cli::shared::OutputFormat;
use crate::cli::text::OneLine;

/// How an injection came to its end.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    /// It did not begin.
    Failed(String),
    /// `attach` refused, with what it said: `reason` and `remedy`.
    Refused(Value),
    /// `attach` ended it, with what it said: `reason`, `totals` and `next_connection`.
    Released(Value),
    /// It ended, or may go on, without an account.
    Lost(String),
}

impl Outcome {
    /// Whether the injection took place and nothing of it is left.
    pub(super) fn is_good(&self) -> bool {
        match self {
            Self::Released(released) => {
                // An application that ended takes its connections with it, whoever has the port.
                released["next_connection"] == "application"
                    || matches!(released["reason"].as_str(), Some("application ended" | "listener closed"))
            }
            _ => false,
        }
    }
}

/// Prints changes and sums.
pub(super) struct Report<'a> {
    pub(super) output: OutputFormat,
    pub(super) namespace: String,
    /// Of the names of the Pods.
    pub(super) width: usize,
    pub(super) out: &'a mut dyn Write,
}

impl Report<'_> {
    /// The proxy has the port.
    pub(super) fn attached(&mut self, pod: &str, container: &str, attached: &Value) -> io::Result<()> {
        let listen: Vec<String> = list(&attached["listen"]).iter().map(text).collect();
        let told = format!(
            "taken over: {} -> {}, until {}",
            listen.join(", "),
            text(&attached["upstream"]),
            text(&attached["until"])
        );
        self.print(pod, container, &json!({ "attached": attached }), &told)
    }

    /// It has ended, or has not begun.
    pub(super) fn ended(&mut self, pod: &str, container: &str, outcome: &Outcome) -> io::Result<()> {
        let (object, told) = match outcome {
            Outcome::Failed(reason) => (json!({ "failed": reason }), format!("FAILED: {reason}")),
            Outcome::Lost(reason) => (json!({ "lost": reason }), format!("LOST: {reason}")),
            Outcome::Refused(refused) => {
                let told = format!("REFUSED: {}: {}", text(&refused["reason"]), text(&refused["remedy"]));
                (json!({ "refused": refused }), told)
            }
            Outcome::Released(released) => {
                let next = match released["next_connection"].as_str() {
                    Some("application") => "the next connection reached the application",
                    _ => "THE NEXT CONNECTION WAS REFUSED",
                };
                (json!({ "released": released }), format!("ended by {}: {next}", text(&released["reason"])))
            }
        };
        self.print(pod, container, &object, &told)
    }

    /// A line of a Pod.
    fn print(&mut self, pod: &str, container: &str, object: &Value, told: &str) -> io::Result<()> {
        match self.output {
            OutputFormat::Text => writeln!(self.out, "{pod:width$}  {}", OneLine(told), width = self.width)?,
            OutputFormat::Json => {
                let mut line = json!({"namespace": self.namespace, "pod": pod, "container": container});
                if let (Some(line), Some(object)) = (line.as_object_mut(), object.as_object()) {
                    line.extend(object.clone());
                }
                writeln!(self.out, "{line}")?;
            }
        }
        self.out.flush()
    }

    /// What each rule did in each Pod.
    pub(super) fn totals<'a>(&mut self, all: impl Iterator<Item = (&'a str, &'a Outcome)>) -> io::Result<()> {
        if self.output == OutputFormat::Json {
            return Ok(());
        }
        let (mut rows, mut sums) = (Vec::new(), [0; 2]);
        for (pod, outcome) in all {
            let Outcome::Released(released) = outcome else { continue };
            for rule in list(&released["totals"]) {
                let numbers = ["eligible", "injected"].map(|field| rule[field].as_u64().unwrap_or_default());
                sums.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += number);
                let mut row = vec![pod.to_owned(), text(&rule["rule"])];
                row.extend(numbers.map(|number| number.to_string()));
                rows.push(row);
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        if rows.len() > 1 {
            rows.push(vec!["all".to_owned(), String::new(), sums[0].to_string(), sums[1].to_string()]);
        }
        self.out.write_all(table::aligned(&["POD", "RULE", "ELIGIBLE", "INJECTED"], rows).as_bytes())
    }
}
