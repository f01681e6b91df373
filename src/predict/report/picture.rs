//! The picture of a prediction: the events of one Pod, readiness of all Pods, and the number of endpoints.

mod draw;
mod record;

use std::io::{self, Write};

use super::{NOT_ASSESSED, Outcome, View, all_advice, is_assessed};
use crate::predict::run::{Detail, Observation, Options, Prediction, Replicas, run_in};
use crate::predict::timeline::Timeline;
use crate::predict::workload::Workload;

use record::Record;

/// A run with its picture and timeline.
pub(super) struct Pictured<'a> {
    pub(super) prediction: Prediction,
    pub(super) svg: String,
    pub(super) timeline: Timeline<'a>,
}

/// Runs the Pods and draws the picture.
pub(super) fn run<'a>(
    workload: &'a Workload,
    replicas: &Replicas,
    options: &Options,
    view: &View,
) -> Pictured<'a> {
    let mut timeline = Timeline::new(&workload.pod.containers);
    let mut record = Record::new(workload, replicas, view.shown);
    let detail = Detail::Pod(view.shown);
    let prediction = run_in(detail, workload, replicas, options, &mut |observation| match observation {
        Observation::Pod { pod, event, flips } => {
            record.see(pod, &event);
            if pod == view.shown {
                timeline.see(&event, flips);
            }
        }
        Observation::Rollout(milestone) => timeline.milestone(milestone),
        Observation::Cluster { at, what } => {
            record.cluster_event(at, &what);
            timeline.cluster_event(at, &what);
        }
    });
    record.finish(options.horizon);
    let svg = draw::svg(workload, replicas, options, view, &record, &prediction);
    Pictured { prediction, svg, timeline }
}

/// Writes the picture alone.
pub(super) fn svg(
    workload: &Workload,
    replicas: &Replicas,
    options: &Options,
    view: &View,
    out: &mut dyn Write,
) -> io::Result<Outcome> {
    if !is_assessed(workload, options) {
        let advice = all_advice(workload, replicas, options, None);
        out.write_all(draw::empty(workload, NOT_ASSESSED).as_bytes())?;
        return Ok(Outcome { prediction: None, advice });
    }
    let Pictured { prediction, svg, .. } = run(workload, replicas, options, view);
    out.write_all(svg.as_bytes())?;
    let advice = all_advice(workload, replicas, options, Some(&prediction));
    Ok(Outcome { prediction: Some(prediction), advice })
}
