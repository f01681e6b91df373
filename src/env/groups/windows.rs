//! Failures in windows of time and of requests.

use std::time::Duration;

use super::{Groups, STARTUP_TARGETS, WINDOWS_TARGETS};
use crate::env::reader::{is_bad, value_of};
use crate::fault::{RequestWindow, Target, TimeWindow, Trigger};
use crate::plan::error::Reason;
use crate::units::Show;

impl Groups<'_> {
    pub(super) fn startup(&mut self) {
        for target in Target::ALL {
            let Some(parsed) = self.variable_for(target, STARTUP_TARGETS, |of| &of.startup) else { continue };
            let Some(delay) = parsed.value() else { continue };
            match TimeWindow::new(Duration::ZERO, Some(*delay), None) {
                Ok(time) => {
                    let trigger = Trigger { time: Some(time), ..Trigger::ALWAYS };
                    self.failure(target, "startup", trigger, &parsed.name);
                }
                Err(error) => self.reader.fail(parsed.error(error)),
            }
        }
    }

    pub(super) fn time(&mut self) {
        for target in Target::ALL {
            let after = self.variable_for(target, WINDOWS_TARGETS, |of| &of.after_time);
            let length = self.variable_for(target, WINDOWS_TARGETS, |of| &of.length);
            let period = self.variable_for(target, WINDOWS_TARGETS, |of| &of.period);
            let own = &self.own[target.index()];
            let others = [own.length.is_some(), own.period.is_some()];
            if self.is_turned_off(target, |of| &of.after_time, &others) {
                continue;
            }
            if is_bad(after) || is_bad(length) || is_bad(period) {
                self.mark_used(period);
                continue;
            }
            let time = match (value_of(length), period.filter(|period| period.value().is_some())) {
                (None, _) if value_of(after).is_none() => continue,
                (None, Some(period)) => {
                    self.reader
                        .fail(period.error(Reason::Needs("FAIL_FOR, the length of each window".into())));
                    self.mark_used(Some(period));
                    continue;
                }
                (Some(window), Some(every))
                    if value_of(Some(every)).is_some_and(|period| window >= period) =>
                {
                    let value = Show(value_of(Some(every)).copied().unwrap_or_default()).to_string();
                    if let Some(length) = length {
                        self.reader.fail(length.error(Reason::NotBelow { name: every.name.clone(), value }));
                    }
                    self.mark_used(period);
                    continue;
                }
                (window, _) => TimeWindow::new(
                    value_of(after).copied().unwrap_or_default(),
                    window.copied(),
                    value_of(period).copied(),
                ),
            };
            self.mark_used(period);
            let Some(main) = after.filter(|parsed| parsed.value().is_some()).or(length) else { continue };
            match time {
                Ok(time) => {
                    let trigger = Trigger { time: Some(time), ..Trigger::ALWAYS };
                    self.failure(target, "time", trigger, &main.name);
                }
                Err(error) => {
                    let wrong = match error.window_field() {
                        Some("for") => length,
                        Some("every") => period,
                        _ => None,
                    };
                    self.reader.fail(wrong.unwrap_or(main).error(error));
                }
            }
        }
    }

    pub(super) fn requests(&mut self) {
        for target in Target::ALL {
            let after = self.variable_for(target, WINDOWS_TARGETS, |of| &of.after_requests);
            let length = self.variable_for(target, WINDOWS_TARGETS, |of| &of.requests);
            let others = [self.own[target.index()].requests.is_some()];
            if self.is_turned_off(target, |of| &of.after_requests, &others) || is_bad(after) || is_bad(length)
            {
                continue;
            }
            let Some(main) = after.filter(|parsed| parsed.value().is_some()).or(length) else { continue };
            if value_of(length).is_none() && main.name.ends_with("FAIL_COUNT") {
                self.warn(&main.name, "RECOVERY_PERIOD");
                continue;
            }
            if main.value().is_none() {
                continue;
            }
            match RequestWindow::new(value_of(after).copied().unwrap_or(0), value_of(length).copied(), None) {
                Ok(window) => {
                    let trigger = Trigger { requests: Some(window), ..Trigger::ALWAYS };
                    self.failure(target, "requests", trigger, &main.name);
                }
                Err(error) => self.reader.fail(main.error(error)),
            }
        }
    }
}
