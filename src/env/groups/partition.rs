//! What happens to the listener as a whole.

use std::time::Duration;

use super::{Groups, OF_ALL};
use crate::env::raw::ServiceVariables;
use crate::env::reader::{Given, Reader, duration, is_bad, on, word};
use crate::fault::{Action, Cut, Mode, Networks, Target, Targets, TimeWindow, Trigger};
use crate::plan::ModeParts;
use crate::units::Bare;

/// The cut of the network, and how long nothing listens at first, as the variables have it.
pub(in crate::env) struct Partition {
    pub(in crate::env) listen: Option<Given<Duration>>,
    pub(in crate::env) after: Option<Given<Duration>>,
    pub(in crate::env) length: Option<Given<Duration>>,
    /// What is cut; `None` makes readiness fail instead.
    pub(in crate::env) cut: Option<Given<Option<Cut>>>,
}

impl Partition {
    pub(in crate::env) fn read(reader: &mut Reader, raw: &mut ServiceVariables) -> Self {
        const CUTS: &[(&str, Option<Cut>)] = &[
            ("status", None),
            ("drop", Some(Cut::Drop)),
            ("refuse", Some(Cut::Refuse)),
            ("reset", Some(Cut::Reset)),
        ];
        let minutes = duration(Bare::Minutes);
        let after = reader.read("PARTITION_AFTER", raw.partition_after.take(), &minutes);
        let disconnect = reader.read("DISCONNECT_AFTER", raw.disconnect_after.take(), &minutes);
        let length = reader.read("PARTITION_FOR", raw.partition_for.take(), &minutes);
        let reconnect = reader.read("RECONNECT_AFTER", raw.reconnect_after.take(), &minutes);
        Self {
            listen: reader.read("LISTEN_DELAY", raw.listen_delay.take(), duration(Bare::Seconds)),
            after: reader.either(after, disconnect),
            length: reader.either(length, reconnect),
            cut: reader.read("PARTITION_MODE", raw.partition_mode.take(), word(CUTS)),
        }
    }
}

impl<'a> Groups<'a> {
    /// Until the delay is over, nothing listens: a partition from the start.
    pub(super) fn listen(&mut self, partition: &'a Partition) {
        let Some((given, delay)) = partition.listen.as_ref().and_then(|given| Some((given, *given.on()?)))
        else {
            return;
        };
        match TimeWindow::new(Duration::ZERO, Some(delay), None) {
            Ok(time) => {
                let action = Action::Listener { cut: Cut::Refuse, from: Networks::default() };
                let trigger = Trigger { time: Some(time), ..Trigger::ALWAYS };
                self.rule("listener-listen", trigger, action, &given.name);
            }
            Err(error) => self.reader.fail(given.error(error)),
        }
    }

    pub(super) fn partition(&mut self, partition: &'a Partition) {
        let Partition { after, length, cut, .. } = partition;
        let (after, length) = (after.as_ref(), length.as_ref());
        let Some(main) =
            after.filter(|given| given.on().is_some()).or(length).filter(|given| given.on().is_some())
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
        if on(after).is_none() && main.name == "RECONNECT_AFTER" {
            self.warn(&main.name, "DISCONNECT_AFTER");
            return;
        }
        let time = TimeWindow::new(on(after).copied().unwrap_or_default(), on(length).copied(), None);
        let time = match time {
            Ok(time) => Some(time),
            // `after` alone cannot be wrong.
            Err(error) => return self.reader.fail(length.unwrap_or(main).error(error)),
        };
        let trigger = Trigger { time, ..Trigger::ALWAYS };
        if let Some(cut) = cut.as_ref().and_then(|cut| *cut.on()?) {
            let action = Action::Listener { cut, from: Networks::default() };
            self.rule("listener-partition", trigger, action, &main.name);
            return;
        }
        let status = self.held(Target::Readiness, OF_ALL, |of| &of.status);
        if is_bad(status) {
            return;
        }
        let mode = Mode::Status(on(status).copied().unwrap_or(ModeParts::default().status));
        let targets = Targets::NONE.with(Target::Readiness);
        let action = Action::Requests { targets, delay: None, mode: Some(mode) };
        self.rule("readiness-partition", trigger, action, &main.name);
    }
}
