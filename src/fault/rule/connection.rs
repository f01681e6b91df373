//! Rules on TCP proxies.

use super::{Action, Rule};
use crate::fault::error::RuleError;
use crate::fault::limits::MAX_DELAY;
use crate::fault::mode::{ActsOn, Mode, ModeField, ModeInfo};
use crate::fault::proxy::Protocol;
use crate::fault::stream::OnConnection;
use crate::fault::target::ClientFilter;

impl Rule {
    /// The rule with fields for connections of TCP proxies, if its mode has them.
    pub fn with_connection(mut self, on_connection: OnConnection) -> Result<Self, RuleError> {
        let is_delayed = matches!(self.action, Action::Requests { delay: Some(_), .. });
        let takes = |field| {
            self.mode().is_some_and(|mode| mode.info().takes_on_tcp(field))
                || (is_delayed && field == ModeField::Stream)
        };
        let OnConnection { streams, after, close_after } = on_connection;
        let given = [
            (ModeField::Stream, streams.is_some()),
            (ModeField::After, after.is_some()),
            (ModeField::CloseAfter, close_after.is_some()),
        ];
        if let Some((field, _)) = given.into_iter().find(|(field, given)| *given && !takes(*field)) {
            let (field, mode) = (field.name(), self.effect());
            return Err(RuleError::FieldOfMode { field, mode });
        }
        if let Some(time) = [after, close_after].into_iter().flatten().find(|time| *time > MAX_DELAY) {
            return Err(RuleError::ConnectionTime(time));
        }
        self.on_connection = on_connection.given().map(|_| Box::new(on_connection));
        Ok(self)
    }

    /// Its fields for connections of TCP proxies.
    pub fn on_connection(&self) -> OnConnection {
        self.on_connection.as_deref().copied().unwrap_or_default()
    }

    /// Checks that the rule is possible on a proxy of this protocol.
    ///
    /// # Errors
    ///
    /// The first field that is not possible.
    pub fn check_protocol(&self, protocol: Protocol) -> Result<(), RuleError> {
        if self.is_partition() {
            return Ok(());
        }
        let info = self.mode().map(Mode::info);
        if protocol == Protocol::Http {
            let is_of_tcp = info.is_some_and(|info| matches!(info.acts_on, ActsOn::Connections(_)));
            return match self.on_connection().given().or(is_of_tcp.then_some("mode")) {
                Some(field) => Err(RuleError::OnlyOnTcp(field)),
                None => Ok(()),
            };
        }
        let status = self.mode().is_some_and(|mode| mode.parts().status.is_some());
        let not_possible = [
            ("client", self.client != ClientFilter::Unset),
            ("match", self.request_match.is_some()),
            ("mode", info.is_some_and(|info| info.tcp.is_empty())),
            ("status", status),
            ("headers", !self.answer().headers.is_empty()),
            ("body_text", self.answer().body_text.is_some()),
            ("forward", self.answer().forward),
            ("connection", self.answer().ends_connection),
        ];
        match not_possible.into_iter().find(|(_, given)| *given) {
            Some((field, _)) => Err(RuleError::NotOnTcp { field, hint: hint(field) }),
            None => Ok(()),
        }
    }
}

/// What to write on a rule for a TCP proxy instead of `field`.
fn hint(field: &str) -> String {
    match field {
        "client" => "; to select peers, use `from`".to_owned(),
        "mode" => {
            let modes: Vec<&str> = ModeInfo::all_of_tcp().map(|info| info.name).collect();
            format!("; its modes are {}", modes.join(", "))
        }
        _ => String::new(),
    }
}
