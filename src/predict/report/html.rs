//! The report as an HTML page: picture, budgets, timeline and text, without external resources.

use std::io::{self, Write};

use super::budgets::amount;
use super::markup::Escaped;
use super::picture::{self, Pictured};
use super::{NOT_ASSESSED, Outcome, View, all_advice, assumptions, is_assessed, of_manifest, origin};
use crate::kubelet::RULES;
use crate::predict::advice::Advice;
use crate::predict::budget::{Budget, Meaning, budgets};
use crate::predict::fail_on::Percent;
use crate::predict::run::{Options, Prediction, Replicas};
use crate::predict::summary::Summary;
use crate::predict::timeline::Short;
use crate::predict::workload::Workload;
use crate::units::Show;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1f2328;--back:#fff;--line:#d1d9e0;--soft:#59636e}\
@media(prefers-color-scheme:dark){:root{--ink:#f0f6fc;--back:#0d1117;--line:#3d444d;--soft:#9198a1}}\
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--back);max-width:980px;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.4rem}h2{font-size:1.2rem;border-bottom:1px solid var(--line);padding-bottom:.3rem;margin-top:2.5rem}h3{font-size:1rem}\
figure{margin:1rem 0;overflow-x:auto}figure svg{min-width:640px}table{border-collapse:collapse;width:100%;margin:.5rem 0}\
caption{text-align:left;font-weight:600;padding:.4rem 0}th,td{text-align:left;vertical-align:top;border-bottom:1px solid var(--line);padding:.3rem .6rem .3rem 0}\
td.n,th.n{text-align:right;width:7.5rem;white-space:nowrap;font-variant-numeric:tabular-nums}small{color:var(--soft);font-weight:400}tbody th{font-weight:500}\
pre{overflow-x:auto;border:1px solid var(--line);padding:.6rem;font-size:13px}code{color:var(--soft)}\
@media(max-width:600px){td.n,th.n{width:4.5rem;white-space:normal}}@media print{:root{--ink:#000;--back:#fff;--line:#999;--soft:#333}body{max-width:none;margin:0}pre{white-space:pre-wrap}tr,figure{break-inside:avoid}h2,h3,caption{break-after:avoid}}";

pub(super) fn begin(out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>kube-probesim predict</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>What the kubelet will do</h1>"
    )
}

pub(super) fn end(out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "</main>\n</body>\n</html>")
}

/// Runs the Pods of a workload and writes its section.
pub(super) fn section(
    workload: &Workload,
    replicas: &Replicas,
    options: &Options,
    view: &View,
    out: &mut dyn Write,
) -> io::Result<Outcome> {
    let title = format!("{} {}", workload.kind, workload.name);
    writeln!(out, "<section>\n<h2>{}</h2>\n<p>{}</p>", Escaped(&title), Escaped(&workload.place))?;
    tables(workload, options, out)?;
    if !is_assessed(workload, options) {
        let advice = all_advice(workload, replicas, options, None);
        writeln!(out, "<p>Restarts and availability: not assessed; {}</p>", Escaped(NOT_ASSESSED))?;
        texts(workload, &advice, &of_manifest(workload), out)?;
        writeln!(out, "</section>")?;
        return Ok(Outcome { prediction: None, advice });
    }
    let Pictured { prediction, svg, timeline } = picture::run(workload, replicas, options, view);
    writeln!(
        out,
        "<h3>Prediction</h3>\n<p>{replicas} for {} of virtual time, under the rules of Kubernetes {RULES}. {}</p>\n<figure tabindex=\"0\">\n{svg}</figure>",
        Show(options.horizon),
        Escaped(&origin(workload, replicas)),
    )?;
    figures(&prediction, out)?;
    if let Some(pod) = replicas.pods.get(view.shown) {
        let timeline = timeline.to_string();
        writeln!(
            out,
            "<h3>Timeline of Pod {}</h3>\n<pre tabindex=\"0\">{}</pre>",
            Escaped(&pod.name),
            Escaped(&timeline)
        )?;
    }
    let advice = all_advice(workload, replicas, options, Some(&prediction));
    texts(workload, &advice, &assumptions(workload, replicas, options), out)?;
    writeln!(out, "</section>")?;
    Ok(Outcome { prediction: Some(prediction), advice })
}

fn tables(workload: &Workload, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let all = budgets(workload, options.endpoint_lag);
    let mut owners: Vec<Option<usize>> = (0..workload.pod.containers.len()).map(Some).collect();
    owners.push(None);
    for owner in owners {
        for meaning in [Meaning::Limit, Meaning::Time] {
            let rows: Vec<&Budget> =
                all.iter().filter(|it| it.container == owner && it.meaning == meaning).collect();
            if rows.is_empty() {
                continue;
            }
            let name = owner.map_or_else(
                || format!("{} {}", workload.kind, workload.name),
                |at| format!("container {}", workload.pod.containers[at].name),
            );
            let (what, first, second) = match meaning {
                Meaning::Limit => ("Budgets", "safe up to", "certain beyond"),
                Meaning::Time => ("Times", "shortest", "longest"),
            };
            writeln!(
                out,
                "<table>\n<caption>{what} of {}</caption>\n<thead><tr><th scope=\"col\">budget</th><th scope=\"col\" class=\"n\">{first}</th><th \
                 scope=\"col\" class=\"n\">{second}</th></tr></thead>\n<tbody>",
                Escaped(&name)
            )?;
            for row in rows {
                let [one, two] = &row.formulas;
                let formula = if one == two { one.clone() } else { format!("{one} | {two}") };
                writeln!(
                    out,
                    "<tr><th scope=\"row\">{}<br><small>{}</small></th><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
                    Escaped(&row.what),
                    Escaped(&formula),
                    amount(row.least),
                    amount(row.most),
                )?;
            }
            writeln!(out, "</tbody>\n</table>")?;
        }
    }
    Ok(())
}

fn figures(prediction: &Prediction, out: &mut dyn Write) -> io::Result<()> {
    if prediction.pods.is_empty() {
        return Ok(());
    }
    let summary = Summary::of(prediction);
    writeln!(
        out,
        "<table>\n<caption>Over the Pods</caption>\n<thead><tr><th scope=\"col\">figure</th><th scope=\"col\" class=\"n\">p50</th><th scope=\"col\" \
         class=\"n\">p95</th><th scope=\"col\" class=\"n\">worst</th></tr></thead>\n<tbody>"
    )?;
    let mut row = |name: &str, values: [String; 3]| {
        let [one, two, three] = values;
        writeln!(
            out,
            "<tr><th scope=\"row\">{name}</th><td class=\"n\">{one}</td><td class=\"n\">{two}</td><td class=\"n\">{three}</td></tr>"
        )
    };
    if let Some(spread) = summary.restarts {
        row("restarts", [spread.p50, spread.p95, spread.worst].map(|count| count.to_string()))?;
    }
    for (name, _, spread) in &summary.times {
        if let Some(spread) = spread {
            row(name, [spread.p50, spread.p95, spread.worst].map(|time| Short(time).to_string()))?;
        }
    }
    writeln!(
        out,
        "</tbody>\n</table>\n<p>Availability of the worst Pod from its first Ready on: {}. Failed calls: {}.</p>",
        Percent(summary.worst_availability),
        Percent(prediction.service.failed_calls),
    )
}

fn texts(
    workload: &Workload,
    advice: &[Advice],
    assumptions: &[String],
    out: &mut dyn Write,
) -> io::Result<()> {
    let advice: Vec<String> =
        advice.iter().map(|it| format!("{} <code>{}</code>", Escaped(&it.text), it.code)).collect();
    let escaped = |lines: &[String]| lines.iter().map(|line| Escaped(line).to_string()).collect();
    let lists: [(&str, Vec<String>); 3] = [
        ("Advice", advice),
        ("Assumptions", escaped(assumptions)),
        ("Warnings", escaped(&workload.warnings)),
    ];
    for (title, lines) in lists {
        if lines.is_empty() {
            continue;
        }
        writeln!(out, "<h3>{title}</h3>\n<ul>")?;
        for line in lines {
            writeln!(out, "<li>{line}</li>")?;
        }
        writeln!(out, "</ul>")?;
    }
    Ok(())
}
