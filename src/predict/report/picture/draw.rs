//! Draws a picture as SVG.

use std::fmt::Write;
use std::time::Duration;

use super::record::{Band, Change, Record, State};
use crate::kubelet::ProbeKind;
use crate::predict::fail_on::Percent;
use crate::predict::report::View;
use crate::predict::report::markup::Escaped;
use crate::predict::run::{Options, Prediction, Replicas};
use crate::predict::summary::Summary;
use crate::predict::timeline::Short;
use crate::predict::workload::Workload;
use crate::units::Show;

const WIDTH: f64 = 960.0;
const LEFT: f64 = 190.0;
const RIGHT: f64 = 20.0;
const LANE: f64 = 20.0;
const GAP: f64 = 6.0;
const CHART: f64 = 60.0;

/// Colours for light and dark backgrounds and for print. Shapes also differ, for readers who cannot tell colours apart.
const STYLE: &str = "\
svg.predict{--ink:#1f2328;--soft:#59636e;--line:#d1d9e0;--back:#ffffff;--ready:#1a7f37;--down:#cf222e;--run:#0969da;\
--stop:#9a6700;--wait:#d1d9e0;--fault:#bf8700}\
@media(prefers-color-scheme:dark){svg.predict{--ink:#f0f6fc;--soft:#9198a1;--line:#3d444d;--back:#0d1117;--ready:#3fb950;\
--down:#f85149;--run:#4493f8;--stop:#d29922;--wait:#3d444d;--fault:#d29922}}\
@media print{svg.predict{--ink:#000;--soft:#333;--line:#999;--back:#fff;--ready:#1a7f37;--down:#a40e26;--run:#0550ae;\
--stop:#7d4e00;--wait:#ccc;--fault:#7d4e00}}\
svg.predict text{font:12px system-ui,sans-serif;fill:var(--ink)}svg.predict .soft{fill:var(--soft)}\
svg.predict .title{font-size:14px;font-weight:600}";

/// The picture of a run.
pub(super) fn svg(
    workload: &Workload,
    replicas: &Replicas,
    options: &Options,
    view: &View,
    record: &Record,
    prediction: &Prediction,
) -> String {
    let mut canvas = Canvas { body: String::new(), y: 34.0, end: options.horizon };
    let mut bands_from = canvas.y;
    if let Some(pod) = replicas.pods.get(view.shown) {
        canvas.heading(&format!("Pod {}", pod.name));
        bands_from = canvas.y;
        for (position, container) in workload.pod.containers.iter().enumerate() {
            canvas.container(&container.name, &record.containers[position]);
            for kind in ProbeKind::ALL {
                if container.probe(kind).is_some() {
                    let label = format!("{} probe", kind.name().to_ascii_lowercase());
                    canvas.failures(&label, &record.failures[position][kind as usize]);
                }
            }
        }
        if let Some((_, lane)) = record.ready.get(view.shown) {
            canvas.ready("Ready", lane);
        }
    }
    let bands_to = canvas.y;
    for band in &record.bands {
        canvas.band(band, (bands_from, bands_to));
    }
    if record.pods() > 1 {
        canvas.heading("Ready Pods");
        for (name, lane) in &record.ready {
            canvas.ready(name, lane);
        }
        let more = record.pods() - record.ready.len();
        if more > 0 {
            canvas.note(&format!("and {more} more"));
        }
    }
    canvas.heading("Ready endpoints");
    let most = record.endpoints.iter().map(|(_, count)| *count).max().unwrap_or_default();
    canvas.endpoints(&record.endpoints, most.max(replicas.pods.len()));
    canvas.axis();
    let summary = Summary::of(prediction);
    let restarts = summary.restarts.map_or(0, |spread| spread.worst);
    let description = format!(
        "{} {}: {replicas} for {} of virtual time. Up to {restarts} restarts of a Pod; the worst Pod is available {} of the time; \
         {} of the calls fail.",
        workload.kind,
        workload.name,
        Show(options.horizon),
        Percent(summary.worst_availability),
        Percent(prediction.service.failed_calls),
    );
    document(workload, &description, canvas.y, &canvas.body)
}

/// A picture for a workload that is not assessed.
pub(super) fn empty(workload: &Workload, why: &str) -> String {
    let body =
        format!("<text x=\"16\" y=\"48\">{}</text>\n", Escaped("Restarts and availability: not assessed"));
    document(workload, why, 64.0, &body)
}

fn document(workload: &Workload, description: &str, height: f64, body: &str) -> String {
    let title = format!("{} {}", workload.kind, workload.name);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"predict\" role=\"img\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" style=\"max-width:100%;height:auto\">\n<title>{}</title>\n<desc>{}</desc>\n\
         <style>{STYLE}</style>\n<rect width=\"100%\" height=\"100%\" fill=\"var(--back)\"/>\n\
         <text class=\"title\" x=\"16\" y=\"22\">{}</text>\n{body}</svg>\n",
        Escaped(&title),
        Escaped(description),
        Escaped(&title),
    )
}

struct Canvas {
    body: String,
    y: f64,
    end: Duration,
}

impl Canvas {
    fn x(&self, at: Duration) -> f64 {
        let share = at.as_secs_f64() / self.end.as_secs_f64().max(f64::MIN_POSITIVE);
        LEFT + (WIDTH - LEFT - RIGHT) * share.min(1.0)
    }

    fn heading(&mut self, text: &str) {
        self.y += 14.0;
        let _ = writeln!(
            self.body,
            "<text x=\"16\" y=\"{:.1}\" font-weight=\"600\">{}</text>",
            self.y,
            Escaped(text)
        );
        self.y += GAP;
    }

    fn note(&mut self, text: &str) {
        self.y += 12.0;
        let _ = writeln!(
            self.body,
            "<text class=\"soft\" x=\"{LEFT}\" y=\"{:.1}\">{}</text>",
            self.y,
            Escaped(text)
        );
        self.y += GAP;
    }

    /// The label of a lane.
    fn label(&mut self, text: &str) {
        let shown = shortened(text);
        let _ = writeln!(
            self.body,
            "<text class=\"soft\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}<title>{}</title></text>",
            LEFT - 8.0,
            self.y + LANE - 6.0,
            Escaped(&shown),
            Escaped(text),
        );
    }

    /// The spans of a lane, each with a colour, a height and a text.
    fn spans<T: Copy>(
        &mut self,
        lane: &[Change<T>],
        shape: impl Fn(T) -> Option<(&'static str, f64, &'static str)>,
    ) {
        for (number, (from, value)) in lane.iter().enumerate() {
            let to = lane.get(number + 1).map_or(self.end, |(at, _)| *at);
            let Some((fill, height, what)) = shape(*value) else { continue };
            let (left, right) = (self.x(*from), self.x(to));
            let _ = writeln!(
                self.body,
                "<rect x=\"{left:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\" fill=\"{fill}\"><title>{what}, +{} to +{}</title></rect>",
                self.y + LANE - 2.0 - height,
                (right - left).max(0.6),
                Short(*from),
                Short(to),
            );
        }
    }

    fn container(&mut self, name: &str, lane: &[Change<State>]) {
        self.label(&format!("container {name}"));
        self.spans(lane, |state| {
            Some(match state {
                State::Running => ("var(--run)", 14.0, "runs"),
                State::Stopping => ("var(--stop)", 10.0, "stops"),
                State::BackOff => ("var(--down)", 4.0, "waits in back-off"),
                State::Waiting => ("var(--wait)", 2.0, "waits"),
            })
        });
        self.y += LANE;
    }

    fn ready(&mut self, name: &str, lane: &[Change<Option<bool>>]) {
        self.label(name);
        self.spans(lane, |ready| {
            Some(if ready? { ("var(--ready)", 14.0, "Ready") } else { ("var(--down)", 4.0, "not Ready") })
        });
        self.y += LANE;
    }

    /// A tick for each failed attempt; attempts at the same pixel share a tick.
    fn failures(&mut self, label: &str, failures: &[Duration]) {
        self.label(label);
        let mut last = f64::MIN;
        let mut path = String::new();
        for at in failures {
            let x = self.x(*at);
            if x - last >= 1.0 {
                let _ = write!(path, "M{x:.1} {:.1}v12", self.y + 4.0);
                last = x;
            }
        }
        let bottom = self.y + LANE - 2.0;
        let _ = writeln!(
            self.body,
            "<path d=\"M{LEFT} {bottom:.1}H{:.1}\" stroke=\"var(--line)\"/><path d=\"{path}\" stroke=\"var(--down)\" stroke-width=\"1.2\"><title>{} \
             failed attempts</title></path>",
            WIDTH - RIGHT,
            failures.len(),
        );
        self.y += LANE;
    }

    /// The windows of a rule: a bar in its own lane, and a band behind the lanes of the Pod.
    fn band(&mut self, Band { name, is_always, windows }: &Band, (top, bottom): (f64, f64)) {
        self.label(&format!("fault {name}"));
        for (from, to) in windows {
            let (left, right) = (self.x(*from), self.x(*to));
            let width = (right - left).max(0.6);
            // A band for a rule that is always in force would hide the others.
            if !is_always {
                let _ = writeln!(
                    self.body,
                    "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"var(--fault)\" opacity=\"0.12\"/>",
                    bottom - top,
                );
            }
            let _ = writeln!(
                self.body,
                "<rect x=\"{left:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"8\" fill=\"var(--fault)\"><title>fault {}, +{} to +{}</title></rect>",
                self.y + 8.0,
                Escaped(name),
                Short(*from),
                Short(*to),
            );
        }
        self.y += LANE;
    }

    /// The number of endpoints over time, as steps.
    fn endpoints(&mut self, lane: &[Change<usize>], most: usize) {
        let height = |count: usize| CHART * count as f64 / most.max(1) as f64;
        let bottom = self.y + CHART;
        let mut path = format!("M{LEFT} {bottom:.1}");
        for (at, count) in lane {
            let _ = write!(path, "H{:.1}V{:.1}", self.x(*at), bottom - height(*count));
        }
        let _ = writeln!(
            self.body,
            "<path d=\"{path}H{:.1}V{bottom:.1}Z\" fill=\"var(--ready)\" opacity=\"0.3\"/><path d=\"{path}H{:.1}\" fill=\"none\" \
             stroke=\"var(--ready)\" stroke-width=\"1.5\"/>",
            WIDTH - RIGHT,
            WIDTH - RIGHT,
        );
        for (text, y) in [(most.to_string(), self.y + 10.0), ("0".to_owned(), bottom)] {
            let _ = writeln!(
                self.body,
                "<text class=\"soft\" x=\"{:.1}\" y=\"{y:.1}\" text-anchor=\"end\">{text}</text>",
                LEFT - 8.0
            );
        }
        self.y = bottom + GAP;
    }

    fn axis(&mut self) {
        let steps = 6_u32;
        for step in 0..=steps {
            let at = self.end * step / steps;
            let x = self.x(at);
            let anchor = match step {
                0 => "start",
                _ if step == steps => "end",
                _ => "middle",
            };
            let _ = writeln!(
                self.body,
                "<path d=\"M{x:.1} {:.1}v5\" stroke=\"var(--soft)\"/><text class=\"soft\" x=\"{x:.1}\" y=\"{:.1}\" \
                 text-anchor=\"{anchor}\">+{}</text>",
                self.y,
                self.y + 18.0,
                Short(at),
            );
        }
        self.y += 30.0;
    }
}

/// A label that fits beside its lane. The names of Pods differ at their end, so the middle is left out.
fn shortened(text: &str) -> String {
    const PART: usize = 12;
    let length = text.chars().count();
    if length <= 2 * PART + 1 {
        return text.to_owned();
    }
    text.chars().take(PART).chain(['…']).chain(text.chars().skip(length - PART)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_label_keeps_the_end_that_tells_pods_apart() {
        assert_eq!(shortened("a-long-name-of-a-deployment-7d9f-x8k2p"), "a-long-name-…t-7d9f-x8k2p");
        assert_eq!(shortened("kube-probesim-f6ffc-zxrwl"), "kube-probesim-f6ffc-zxrwl");
    }
}
