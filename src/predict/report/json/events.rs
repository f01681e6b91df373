//! Events as lines of JSON.

use std::time::Duration;

use serde_json::{Value, json};

use crate::kubelet::{ContainerSpec, PodEvent, PodEventKind, ProbeKind};
use crate::predict::replicas::Replicas;
use crate::predict::watcher::Flips;
use crate::predict::workload::Workload;

/// Formats events.
pub(super) struct EventLines<'a> {
    containers: &'a [ContainerSpec],
    /// For each Pod, the beginning of its lines, and the number of its events with each text.
    pods: Vec<(String, Vec<u64>)>,
    texts: Vec<Text>,
    buffer: Vec<u8>,
}

/// The common part of lines of the same kind.
struct Text {
    container: usize,
    kind: PodEventKind,
    /// The members from the container to the message.
    members: String,
    /// The position of the first text with equal members; these are counted together.
    counted_as: usize,
}

impl<'a> EventLines<'a> {
    pub(super) fn new(name: &str, workload: &'a Workload, replicas: &Replicas) -> Self {
        Self {
            containers: &workload.pod.containers,
            pods: replicas.pods.iter().map(|pod| (opening(name, &pod.name), Vec::new())).collect(),
            texts: Vec::new(),
            buffer: Vec::new(),
        }
    }

    /// Adds a Pod that is created later.
    pub(super) fn meet(&mut self, workload: &str, position: usize, pod: &str) {
        if position >= self.pods.len() {
            self.pods.push((opening(workload, pod), Vec::new()));
        }
    }

    /// The line of an event, with the line break.
    pub(super) fn line(&mut self, pod: usize, event: &PodEvent, flips: Flips) -> &[u8] {
        let text = self.text(event);
        let (opening, counts) = &mut self.pods[pod];
        let buffer = &mut self.buffer;
        buffer.clear();
        buffer.extend_from_slice(opening.as_bytes());
        push_seconds(buffer, event.at);
        buffer.extend_from_slice(self.texts[text].members.as_bytes());
        match event.kind {
            PodEventKind::Started { restarts } => {
                buffer.extend_from_slice(b",\"restarts\":");
                push_number(buffer, restarts);
            }
            PodEventKind::BackOff { delay } => {
                buffer.extend_from_slice(b",\"delay_seconds\":");
                push_seconds(buffer, delay);
            }
            PodEventKind::PodReady(ready) => {
                buffer.extend_from_slice(b",\"watchers_see\":[");
                for (number, value) in flips.values(ready).iter().enumerate() {
                    buffer.extend_from_slice(if number > 0 { b"," } else { b"" });
                    buffer.extend_from_slice(if *value { b"true" } else { b"false" });
                }
                buffer.push(b']');
            }
            _ => {}
        }
        if event.kind.reason().is_some() {
            let text = self.texts[text].counted_as;
            if counts.len() <= text {
                counts.resize(text + 1, 0);
            }
            counts[text] += 1;
            buffer.extend_from_slice(b",\"count\":");
            push_number(buffer, if event.kind.repeats() { counts[text] } else { 1 });
        }
        buffer.extend_from_slice(b",\"recorded\":");
        buffer.extend_from_slice(if event.recorded { b"true}\n" } else { b"false}\n" });
        buffer
    }

    /// The position of an event's text among the known ones.
    fn text(&mut self, event: &PodEvent) -> usize {
        // The numbers are not part of the message.
        let kind = match event.kind {
            PodEventKind::Started { .. } => PodEventKind::Started { restarts: 0 },
            PodEventKind::BackOff { .. } => PodEventKind::BackOff { delay: Duration::ZERO },
            kind => kind,
        };
        let container = event.container;
        let known = self.texts.iter().position(|text| text.container == container && text.kind == kind);
        known.unwrap_or_else(|| {
            let members = members(event, &self.containers[container]);
            let number = self.texts.len();
            let counted_as = self.texts.iter().position(|text| text.members == members).unwrap_or(number);
            self.texts.push(Text { container, kind, members, counted_as });
            number
        })
    }
}

/// The beginning of a Pod's lines.
fn opening(workload: &str, pod: &str) -> String {
    format!("{{\"workload\":{},\"pod\":{},\"elapsed_seconds\":", Value::from(workload), Value::from(pod))
}

fn members(event: &PodEvent, container: &ContainerSpec) -> String {
    let (name, details) = match event.kind {
        PodEventKind::Started { .. } => ("Started", json!({})),
        PodEventKind::Unhealthy { probe, error, .. } => {
            ("Unhealthy", json!({ "probe": probe.name(), "error": error }))
        }
        PodEventKind::Warning { probe, .. } => ("ProbeWarning", json!({ "probe": probe.name() })),
        PodEventKind::Result { probe, success } => {
            ("Result", json!({ "probe": probe.name(), "success": success }))
        }
        PodEventKind::Killing { probe, grace, restart } => (
            "Killing",
            json!({
                "probe": probe.map(ProbeKind::name), "grace_seconds": grace.as_secs_f64(), "restart": restart
            }),
        ),
        PodEventKind::OutOfMemory => ("OutOfMemory", json!({})),
        PodEventKind::Exited { code } => ("Exited", json!({ "exit_code": code })),
        PodEventKind::BackOff { .. } => ("BackOff", json!({})),
        PodEventKind::Ready(ready) => ("Ready", json!({ "ready": ready })),
        PodEventKind::PodReady(ready) => ("PodReady", json!({ "ready": ready })),
        PodEventKind::PodFails(why) => ("PodFails", json!({ "reason": why.reason() })),
        PodEventKind::PodGone => ("PodGone", json!({})),
        PodEventKind::PodFinished { succeeded } => {
            ("PodFinished", json!({ "phase": if succeeded { "Succeeded" } else { "Failed" } }))
        }
        PodEventKind::CallsFail(fail) => ("CallsFail", json!({ "fail": fail })),
    };
    let mut all = json!({ "container": container.name, "event": name, "message": event.message(container) });
    if let (Value::Object(all), Value::Object(details)) = (&mut all, details) {
        all.extend(details);
    }
    let all = all.to_string();
    format!(",{}", all.trim_start_matches('{').trim_end_matches('}'))
}

/// Appends a number in decimal digits.
fn push_number(buffer: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    buffer.extend_from_slice(&digits[first..]);
}

/// Appends seconds with as many decimals as needed, at least one.
fn push_seconds(buffer: &mut Vec<u8>, duration: Duration) {
    push_number(buffer, duration.as_secs());
    buffer.push(b'.');
    let mut nanos = duration.subsec_nanos();
    let mut place = 100_000_000;
    loop {
        buffer.push(b'0' + (nanos / place) as u8);
        nanos %= place;
        place /= 10;
        if nanos == 0 || place == 0 {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_seconds_are_written_as_json() {
        let written = |push: &dyn Fn(&mut Vec<u8>)| {
            let mut buffer = Vec::new();
            push(&mut buffer);
            String::from_utf8_lossy(&buffer).into_owned()
        };
        for number in [0, 7, 10, 1_234_567, u64::MAX] {
            assert_eq!(written(&|buffer| push_number(buffer, number)), number.to_string());
        }
        for (nanos, text) in [
            (0, "0.0"),
            (1_000_000_000, "1.0"),
            (1_405_000_000, "1.405"),
            (86_399_999_999_999, "86399.999999999"),
            (1, "0.000000001"),
        ] {
            assert_eq!(written(&|buffer| push_seconds(buffer, Duration::from_nanos(nanos))), text);
        }
    }
}
