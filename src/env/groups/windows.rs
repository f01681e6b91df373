//! Failures in windows of time and of requests.

use std::time::Duration;

use super::{Groups, OF_STARTUP, OF_WINDOWS};
use crate::env::reader::{is_bad, on};
use crate::fault::{RequestWindow, Target, TimeWindow, Trigger};
use crate::plan::error::Reason;
use crate::units::Show;

impl Groups<'_> {
    pub(super) fn startup(&mut self) {
        for target in Target::ALL {
            let Some(given) = self.held(target, OF_STARTUP, |of| &of.startup) else { continue };
            let Some(delay) = given.on() else { continue };
            match TimeWindow::new(Duration::ZERO, Some(*delay), None) {
                Ok(time) => {
                    let trigger = Trigger { time: Some(time), ..Trigger::ALWAYS };
                    self.failure(target, "startup", trigger, &given.name);
                }
                Err(error) => self.reader.fail(given.error(error)),
            }
        }
    }

    pub(super) fn time(&mut self) {
        for target in Target::ALL {
            let after = self.held(target, OF_WINDOWS, |of| &of.after_time);
            let length = self.held(target, OF_WINDOWS, |of| &of.length);
            let period = self.held(target, OF_WINDOWS, |of| &of.period);
            let own = &self.own[target.index()];
            let others = [own.length.is_some(), own.period.is_some()];
            if self.is_turned_off(target, |of| &of.after_time, &others) {
                continue;
            }
            if is_bad(after) || is_bad(length) || is_bad(period) {
                self.use_of(period);
                continue;
            }
            let time = match (on(length), period.filter(|period| period.on().is_some())) {
                (None, _) if on(after).is_none() => continue,
                (None, Some(period)) => {
                    self.reader
                        .fail(period.error(Reason::Needs("FAIL_FOR, the length of each window".into())));
                    self.use_of(Some(period));
                    continue;
                }
                (Some(window), Some(every)) if on(Some(every)).is_some_and(|period| window >= period) => {
                    let value = Show(on(Some(every)).copied().unwrap_or_default()).to_string();
                    if let Some(length) = length {
                        self.reader.fail(length.error(Reason::NotBelow { name: every.name.clone(), value }));
                    }
                    self.use_of(period);
                    continue;
                }
                (window, _) => TimeWindow::new(
                    on(after).copied().unwrap_or_default(),
                    window.copied(),
                    on(period).copied(),
                ),
            };
            self.use_of(period);
            let Some(main) = after.filter(|given| given.on().is_some()).or(length) else { continue };
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
            let after = self.held(target, OF_WINDOWS, |of| &of.after_requests);
            let length = self.held(target, OF_WINDOWS, |of| &of.requests);
            let others = [self.own[target.index()].requests.is_some()];
            if self.is_turned_off(target, |of| &of.after_requests, &others) || is_bad(after) || is_bad(length)
            {
                continue;
            }
            let Some(main) = after.filter(|given| given.on().is_some()).or(length) else { continue };
            if on(length).is_none() && main.name.ends_with("FAIL_COUNT") {
                self.warn(&main.name, "RECOVERY_PERIOD");
                continue;
            }
            if main.on().is_none() {
                continue;
            }
            match RequestWindow::new(on(after).copied().unwrap_or(0), on(length).copied(), None) {
                Ok(window) => {
                    let trigger = Trigger { requests: Some(window), ..Trigger::ALWAYS };
                    self.failure(target, "requests", trigger, &main.name);
                }
                Err(error) => self.reader.fail(main.error(error)),
            }
        }
    }
}
