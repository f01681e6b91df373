//! The report as `JUnit` XML: a suite for each workload, a case for each condition, figure and piece of advice.

use std::io::{self, Write};

use super::markup::Escaped;
use super::{NOT_ASSESSED, Outcome, View, all_advice, is_assessed};
use crate::predict::advice::NAMES;
use crate::predict::fail_on::Percent;
use crate::predict::run::{Detail, Options, Replicas, run_in};
use crate::predict::summary::Summary;
use crate::predict::workload::Workload;

/// The result of a test case.
enum Case {
    Passed(String),
    Failed(String),
    Skipped(&'static str),
}

pub(super) fn begin(out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"kube-probesim predict\">")
}

pub(super) fn end(out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "</testsuites>")
}

/// Runs the Pods of a workload and writes its suite.
pub(super) fn suite(
    workload: &Workload,
    replicas: &Replicas,
    options: &Options,
    view: &View,
    out: &mut dyn Write,
) -> io::Result<Outcome> {
    let prediction = is_assessed(workload, options)
        .then(|| run_in(Detail::None, workload, replicas, options, &mut |_| {}));
    let advice = all_advice(workload, replicas, options, prediction.as_ref());
    let mut cases: Vec<(String, Case)> = Vec::new();
    let pods = prediction.as_ref().map_or(&[][..], |prediction| prediction.pods.as_slice());
    for condition in &view.fail_on {
        let case = if condition.needs_run() && prediction.is_none() {
            Case::Skipped("not assessed")
        } else {
            condition.check(pods, &advice).map_or(Case::Passed(String::new()), Case::Failed)
        };
        cases.push((condition.text().to_owned(), case));
    }
    let figures: [(&str, Option<String>); 2] = match prediction.as_ref().filter(|it| !it.pods.is_empty()) {
        Some(prediction) => {
            let summary = Summary::of(prediction);
            [
                ("restarts", summary.restarts.map(|spread| format!("{} in the worst Pod", spread.worst))),
                ("availability", Some(format!("{} of the worst Pod", Percent(summary.worst_availability)))),
            ]
        }
        None => [("restarts", None), ("availability", None)],
    };
    for (name, figure) in figures {
        let why = if prediction.is_some() { "no Pods" } else { NOT_ASSESSED };
        cases.push((name.to_owned(), figure.map_or(Case::Skipped(why), Case::Passed)));
    }
    for (code, _) in NAMES {
        if options.no_advice.contains(&code) || view.fail_on.iter().any(|condition| condition.text() == code)
        {
            continue;
        }
        let texts: Vec<&str> =
            advice.iter().filter(|advice| advice.code == code).map(|advice| advice.text.as_str()).collect();
        cases.push((format!("advice {code}"), Case::Passed(texts.join("\n"))));
    }
    let count = |wanted: fn(&Case) -> bool| cases.iter().filter(|(_, case)| wanted(case)).count();
    let name = format!("{} {}", workload.kind, workload.name);
    writeln!(
        out,
        "<testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" skipped=\"{}\" file=\"{}\">",
        Escaped(&name),
        cases.len(),
        count(|case| matches!(case, Case::Failed(_))),
        count(|case| matches!(case, Case::Skipped(_))),
        Escaped(&workload.place),
    )?;
    for (case, result) in &cases {
        write!(out, "<testcase classname=\"{}\" name=\"{}\"", Escaped(&name), Escaped(case))?;
        match result {
            Case::Passed(text) if text.is_empty() => writeln!(out, "/>")?,
            Case::Passed(text) => {
                writeln!(out, "><system-out>{}</system-out></testcase>", Escaped(text))?;
            }
            Case::Failed(text) => writeln!(out, "><failure message=\"{}\"/></testcase>", Escaped(text))?,
            Case::Skipped(why) => writeln!(out, "><skipped message=\"{}\"/></testcase>", Escaped(why))?,
        }
    }
    writeln!(out, "</testsuite>")?;
    Ok(Outcome { prediction, advice })
}
