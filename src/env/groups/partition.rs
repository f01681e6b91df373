//! Partitions, and the delay before the probe listener starts.

use std::time::Duration;

use super::{ALL_TARGETS, Groups};
use crate::env::raw::ServiceVariables;
use crate::env::reader::{Parsed, VariableReader, duration, is_bad, value_of, word};
use crate::fault::{
    Action, Cut, DEFAULT_STATUS, ListenerName, Mode, Networks, Target, Targets, TimeWindow, Trigger,
};
use crate::units::Bare;

/// The rule of a partition that only fails readiness.
pub(super) const PARTITION: &str = "readiness-partition";

/// The variables of partitions and `LISTEN_DELAY`.
pub(in crate::env) struct Partition {
    pub(in crate::env) listen: Option<Parsed<Duration>>,
    pub(in crate::env) after: Option<Parsed<Duration>>,
    pub(in crate::env) length: Option<Parsed<Duration>>,
    /// How connections are cut; `None` makes readiness fail instead.
    pub(in crate::env) cut: Option<Parsed<Option<Cut>>>,
}

impl Partition {
    pub(in crate::env) fn read(reader: &mut VariableReader, raw: &mut ServiceVariables) -> Self {
        let cuts: Vec<_> = Cut::ALL.iter().map(|cut| (cut.name(), Some(*cut))).collect();
        let cuts = [vec![("status", None)], cuts].concat();
        let minutes = duration(Bare::Minutes);
        let after = reader.read("PARTITION_AFTER", raw.partition_after.take(), &minutes);
        let disconnect = reader.read("DISCONNECT_AFTER", raw.disconnect_after.take(), &minutes);
        let length = reader.read("PARTITION_FOR", raw.partition_for.take(), &minutes);
        let reconnect = reader.read("RECONNECT_AFTER", raw.reconnect_after.take(), &minutes);
        Self {
            listen: reader.read("LISTEN_DELAY", raw.listen_delay.take(), duration(Bare::Seconds)),
            after: reader.either(after, disconnect),
            length: reader.either(length, reconnect),
            cut: reader.read("PARTITION_MODE", raw.partition_mode.take(), word(&cuts)),
        }
    }
}

impl<'a> Groups<'a> {
    /// Creates the rule of `LISTEN_DELAY`: a partition from the start until the end of the delay.
    pub(super) fn listen(&mut self, partition: &'a Partition) {
        let Some((parsed, delay)) =
            partition.listen.as_ref().and_then(|parsed| Some((parsed, *parsed.value()?)))
        else {
            return;
        };
        match TimeWindow::new(Duration::ZERO, Some(delay), None) {
            Ok(time) => {
                let action = Action::Listener {
                    listener: ListenerName::Probe,
                    cut: Cut::Refuse,
                    from: Networks::default(),
                };
                let trigger = Trigger { time: Some(time), ..Trigger::ALWAYS };
                self.rule("listener-listen", trigger, action, &parsed.name);
            }
            Err(error) => self.reader.fail(parsed.error(error)),
        }
    }

    pub(super) fn partition(&mut self, partition: &'a Partition) {
        let Partition { after, length, cut, .. } = partition;
        let (after, length) = (after.as_ref(), length.as_ref());
        let Some(main) = after
            .filter(|parsed| parsed.value().is_some())
            .or(length)
            .filter(|parsed| parsed.value().is_some())
        else {
            if !is_bad(after)
                && !is_bad(length)
                && let Some(mode) = cut
            {
                self.warn(&mode.name, "PARTITION_AFTER or PARTITION_FOR");
            }
            return;
        };
        if is_bad(after) || is_bad(length) || is_bad(cut.as_ref()) {
            return;
        }
        if value_of(after).is_none() && main.name == "RECONNECT_AFTER" {
            self.warn(&main.name, "DISCONNECT_AFTER");
            return;
        }
        if main.name == "DISCONNECT_AFTER" && value_of(length).is_none() {
            // The original never cuts in this case, and its manifests must keep their meaning.
            self.warn(
                &main.name,
                "RECONNECT_AFTER, as in the original; PARTITION_AFTER by itself lasts forever",
            );
            return;
        }
        let time =
            TimeWindow::new(value_of(after).copied().unwrap_or_default(), value_of(length).copied(), None);
        let time = match time {
            Ok(time) => Some(time),
            // `after` by itself is always valid.
            Err(error) => return self.reader.fail(length.unwrap_or(main).error(error)),
        };
        let trigger = Trigger { time, ..Trigger::ALWAYS };
        if let Some(cut) = cut.as_ref().and_then(|cut| *cut.value()?) {
            let action = Action::Listener { listener: ListenerName::Probe, cut, from: Networks::default() };
            self.rule("listener-partition", trigger, action, &main.name);
            return;
        }
        let status = self.variable_for(Target::Readiness, ALL_TARGETS, |of| &of.status);
        if is_bad(status) {
            return;
        }
        let mode = Mode::Status(value_of(status).copied().unwrap_or(DEFAULT_STATUS));
        let targets = Targets::NONE.with(Target::Readiness);
        let action = Action::Requests { targets, delay: None, mode: Some(mode) };
        self.rule(PARTITION, trigger, action, &main.name);
    }
}
