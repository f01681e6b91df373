//! The text page at `/`.

use std::fmt::Write as _;

use super::App;
use crate::fault::Target;
use crate::plan::error::shown;
use crate::plan::write_rule;
use crate::units::{Show, show_timestamp};

/// Identity, uptime, seed, targets and rules in plain text.
pub(super) fn page(app: &App) -> String {
    text(app).unwrap_or_default()
}

fn text(app: &App) -> Result<String, std::fmt::Error> {
    let snapshot = app.engine.snapshot();
    let plan = &snapshot.active.plan;
    let conditions = *app.conditions.borrow();
    let mut page = String::new();
    writeln!(page, "kube-probesim {} ({})", crate::VERSION, crate::REVISION)?;
    let identity = &app.identity;
    for (name, value) in
        [("pod", &identity.pod), ("namespace", &identity.namespace), ("node", &identity.node)]
    {
        writeln!(page, "{name:<10} {}", value.as_deref().unwrap_or("-"))?;
    }
    let uptime = std::time::Duration::from_secs(app.engine.uptime().as_secs());
    writeln!(page, "{:<10} {}", "uptime", Show(uptime))?;
    writeln!(page, "{:<10} {}", "seed", plan.seed().0)?;
    let listener = match conditions.link.whole {
        Some(cut) => format!("cut by {} ({})", plan.rule(cut.rule).name(), cut.cut.name()),
        None if conditions.link.partial => "cut for some clients".to_owned(),
        None => "open".to_owned(),
    };
    writeln!(page, "{:<10} {listener}", "listener")?;
    if let Some(stop) = &snapshot.active.stop {
        let since = show_timestamp(stop.since);
        writeln!(page, "{:<10} no rule is in force, by {} since {since}", "stopped", shown(&stop.by))?;
    }

    writeln!(page, "\ntargets")?;
    for target in Target::ALL {
        let down = plan.is_down(target, snapshot.elapsed, &snapshot.counts)
            || (target == Target::Readiness && app.is_leaving());
        let paths: Vec<&str> =
            app.paths.iter().filter(|(_, of)| *of == target).map(|(path, _)| path.as_str()).collect();
        writeln!(page, "{:<10} {:<5} {}", target.name(), if down { "down" } else { "up" }, paths.join(" "))?;
    }

    writeln!(page, "\nrules (generation {})", snapshot.active.generation)?;
    for (position, rule) in plan.rules().enumerate() {
        let active = snapshot.is_active(position);
        let state = match (plan.is_stopped(), active) {
            (true, _) => "stopped",
            (false, true) => "active",
            (false, false) => "idle",
        };
        let source = snapshot.active.sources[position].name();
        writeln!(page, "{state:<7} {source:<11} {}", write_rule(rule))?;
    }
    if plan.is_empty() {
        writeln!(page, "none")?;
    }
    Ok(page)
}
