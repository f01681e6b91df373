//! Compares two versions of a workload.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::budgets::amount;
use super::{Outcome, all_advice, is_assessed};
use crate::predict::budget::{Budget, budgets};
use crate::predict::fail_on::Percent;
use crate::predict::run::{Detail, Options, Replicas, run_in};
use crate::predict::summary::Summary;
use crate::predict::timeline::Short;
use crate::predict::workload::Workload;

/// A description with its value before and after. A value is absent if the version does not have it.
struct Row {
    what: String,
    before: Option<String>,
    after: Option<String>,
}

/// A workload before and after; one of them may be absent.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    /// The old version.
    pub before: Option<&'a Workload>,
    /// The new version.
    pub after: Option<&'a Workload>,
}

/// The workloads of two inputs, paired by kind and name.
pub fn pairs<'a>(before: &'a [Workload], after: &'a [Workload]) -> Vec<Pair<'a>> {
    let same = |one: &Workload, other: &Workload| one.kind == other.kind && one.name == other.name;
    let mut all: Vec<Pair> = before
        .iter()
        .map(|it| Pair { before: Some(it), after: after.iter().find(|other| same(it, other)) })
        .collect();
    let new = after.iter().filter(|it| !before.iter().any(|other| same(it, other)));
    all.extend(new.map(|it| Pair { before: None, after: Some(it) }));
    all
}

/// Writes the changes between two versions: their budgets, and their outcomes if both are assessed. Returns the outcome
/// of the new version.
pub fn compare(
    pair: Pair,
    options: &Options,
    as_json: bool,
    out: &mut dyn Write,
) -> io::Result<Option<Outcome>> {
    let Some(named) = pair.after.or(pair.before) else { return Ok(None) };
    let name = format!("{} {}", named.kind, named.name);
    let [before, after] =
        [pair.before, pair.after].map(|it| it.map(|workload| (workload, outcome(workload, options))));
    let budgets = rows([pair.before, pair.after].map(|it| it.map(|workload| of_budgets(workload, options))));
    let of =
        |version: &Option<(&Workload, Outcome)>| version.as_ref().map(|(_, outcome)| of_outcome(outcome));
    let outcomes = rows([of(&before), of(&after)]);
    let after = after.map(|(_, outcome)| outcome);
    let changed = |rows: &[Row]| rows.iter().filter(|row| row.before != row.after).count();
    if as_json {
        let lines = |rows: &[Row]| -> Value {
            rows.iter()
                .map(|row| json!({ "what": row.what, "before": row.before, "after": row.after }))
                .collect()
        };
        let line = json!({
            "workload": format!("{}/{}", named.kind, named.name),
            "changed": changed(&budgets) + changed(&outcomes),
            "budgets": lines(&budgets),
            "outcomes": lines(&outcomes),
        });
        writeln!(out, "{}", json!({ "comparison": line }))?;
        return Ok(after);
    }
    let state = match (pair.before, pair.after) {
        (Some(_), None) => " (removed)",
        (None, Some(_)) => " (new)",
        _ => "",
    };
    writeln!(out, "{name}{state}")?;
    for (title, rows) in [("Budgets", &budgets), ("Outcomes", &outcomes)] {
        if rows.is_empty() {
            continue;
        }
        writeln!(out, "\n  {title:<62} {:>24} {:>24}", "before", "after")?;
        // All outcomes are shown; unchanged budgets are only counted.
        let shown = rows.iter().filter(|row| title == "Outcomes" || row.before != row.after);
        for row in shown {
            let mark = if row.before == row.after { ' ' } else { '*' };
            let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
            writeln!(out, "{mark} {:<62} {:>24} {:>24}", row.what, value(&row.before), value(&row.after))?;
        }
        let same = rows.len() - changed(rows);
        if title == "Budgets" && same > 0 {
            writeln!(out, "  {same} others are the same")?;
        }
    }
    Ok(after)
}

/// The values of both versions, paired by description.
fn rows([before, after]: [Option<Vec<(String, String)>>; 2]) -> Vec<Row> {
    let mut after = after.unwrap_or_default();
    let mut rows = Vec::new();
    for (what, value) in before.unwrap_or_default() {
        let same = after.iter().position(|(other, _)| *other == what);
        let after = same.map(|position| after.remove(position).1);
        rows.push(Row { what, before: Some(value), after });
    }
    rows.extend(after.into_iter().map(|(what, value)| Row { what, before: None, after: Some(value) }));
    rows
}

fn of_budgets(workload: &Workload, options: &Options) -> Vec<(String, String)> {
    let line = |budget: Budget| {
        let owner = budget.container.map(|at| format!("{}: ", workload.pod.containers[at].name));
        let (least, most) = (amount(budget.least), amount(budget.most));
        let value = if least == most { least } else { format!("{least} .. {most}") };
        (format!("{}{}", owner.unwrap_or_default(), budget.what), value)
    };
    budgets(workload, options.endpoint_lag).into_iter().map(line).collect()
}

/// The outcome of a version.
fn outcome(workload: &Workload, options: &Options) -> Outcome {
    let replicas = Replicas::new(workload, options);
    let assessed = is_assessed(workload, options);
    let prediction = assessed.then(|| run_in(Detail::None, workload, &replicas, options, &mut |_| {}));
    let advice = all_advice(workload, &replicas, options, prediction.as_ref());
    Outcome { prediction, advice }
}

fn of_outcome(outcome: &Outcome) -> Vec<(String, String)> {
    let Some(prediction) = &outcome.prediction else {
        return vec![("restarts and availability".to_owned(), "not assessed".to_owned())];
    };
    if prediction.pods.is_empty() {
        return Vec::new();
    }
    let summary = Summary::of(prediction);
    let mut all = vec![(
        "restarts of the worst Pod".to_owned(),
        summary.restarts.map_or(0, |spread| spread.worst).to_string(),
    )];
    for (name, _, spread) in &summary.times {
        let worst = spread.map_or_else(|| "-".to_owned(), |spread| Short(spread.worst).to_string());
        all.push((format!("{name}, worst Pod"), worst));
    }
    all.push(("availability of the worst Pod".to_owned(), Percent(summary.worst_availability).to_string()));
    all.push(("failed calls".to_owned(), Percent(prediction.service.failed_calls).to_string()));
    all
}
