//! The budgets as text tables.

use std::io::{self, Write};

use super::page::Page;
use crate::predict::budget::{Amount, Budget, Meaning, budgets};
use crate::predict::run::Options;
use crate::predict::timeline::Short;
use crate::predict::workload::Workload;

/// The width of the first column, in characters.
const NAME: usize = 58;
const NUMBER: usize = 14;

/// Writes a table for each container and one for the workload, with the formula of each budget.
pub(super) fn write(workload: &Workload, options: &Options, out: &mut Page) -> io::Result<()> {
    let all = budgets(workload, options.endpoint_lag);
    for (position, container) in workload.pod.containers.iter().enumerate() {
        let of_container: Vec<&Budget> = all.iter().filter(|it| it.container == Some(position)).collect();
        table(&format!("Budgets of container {}", container.name), &of_container, out)?;
    }
    let of_workload: Vec<&Budget> = all.iter().filter(|it| it.container.is_none()).collect();
    table(&format!("Budgets of {} {}", workload.kind, workload.name), &of_workload, out)
}

fn table(title: &str, budgets: &[&Budget], out: &mut Page) -> io::Result<()> {
    let name_width = NAME.min(out.width() - 2 * NUMBER - 3);
    let mut title = Some(title);
    for meaning in [Meaning::Limit, Meaning::Time] {
        let of_meaning: Vec<&&Budget> = budgets.iter().filter(|it| it.meaning == meaning).collect();
        if of_meaning.is_empty() {
            continue;
        }
        let (first, second) = match meaning {
            Meaning::Limit => ("safe up to", "certain beyond"),
            Meaning::Time => ("shortest", "longest"),
        };
        if title.is_some() {
            writeln!(out)?;
        }
        let name = title.take().unwrap_or_default();
        let heading = out.bold(name);
        row(out, name_width, &heading, name.chars().count(), [first, second])?;
        for budget in of_meaning {
            let (least, most) = (amount(budget.least), amount(budget.most));
            let what = format!("  {}", budget.what);
            let length = what.chars().count();
            row(out, name_width, &what, length, [&least, &most])?;
            let [first, second] = &budget.formulas;
            let text = if first == second { first.clone() } else { format!("{first} | {second}") };
            out.paragraph("     ", "     ", &text)?;
        }
    }
    Ok(())
}

/// A row of a table. A name that is longer than its column gets its own line.
fn row(
    out: &mut Page,
    width: usize,
    name: &str,
    length: usize,
    [first, second]: [&str; 2],
) -> io::Result<()> {
    let pad = if length > width + usize::from(out.style.width.is_none()) {
        writeln!(out, "{name}")?;
        width
    } else {
        write!(out, "{name}")?;
        width.saturating_sub(length)
    };
    writeln!(out, "{:pad$}  {first:>NUMBER$} {second:>NUMBER$}", "")
}

/// An amount, for people.
pub(super) fn amount(amount: Amount) -> String {
    match amount {
        Amount::Time(time) => Short(time).to_string(),
        Amount::Pods(1) => "1 Pod".to_owned(),
        Amount::Pods(count) => format!("{count} Pods"),
        Amount::NoLimit => "no limit".to_owned(),
        Amount::Never => "never".to_owned(),
    }
}
